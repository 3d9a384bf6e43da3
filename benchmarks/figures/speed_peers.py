"""The formulas that peers publish for decoding, on our rows: each as its authors state it.

A peer has here the same bandwidth, file and active weights as we, so that only the formula
differs. llmfit 1.1 says bandwidth / bytes x 0.55 (its README); whichllm 0.5.21 takes an efficiency
by type and maker, and for mixtures a least part that is read (engine/performance.py); llamafit
0.1.1 takes 0.67 of the bandwidth, the KV cache read, and a millisecond (its design, section 10).
Calibration by a peer's own measurements is left out, as is ours.
"""

from collections.abc import Callable
from typing import Final

from figures.published_speeds import Published

BY_TYPE: Final = {
    "F16": 0.40, "BF16": 0.40, "Q8_0": 0.45, "Q6_K": 0.50, "Q5_K_M": 0.52, "Q5_K_S": 0.52,
    "Q5_0": 0.50, "Q4_K_M": 0.55, "Q4_K_S": 0.55, "Q4_0": 0.53, "MXFP4": 0.55, "Q3_K_M": 0.50,
    "Q3_K_S": 0.48, "Q2_K": 0.45, "IQ4_XS": 0.52, "IQ4_NL": 0.50, "IQ3_S": 0.45, "IQ3_XXS": 0.42,
    "IQ2_M": 0.40, "IQ2_XXS": 0.38,
}  # fmt: skip
OTHER_TYPE: Final = 0.45
BY_ROUTE: Final = {
    "cuda": 1.0, "cuda_old": 1.0, "vulkan_nvidia": 1.0, "rocm": 0.78, "vulkan_amd": 0.78,
    "amdvlk": 0.78, "metal": 0.82, "metal_matrix": 0.82, "intel": 0.65,
}  # fmt: skip
SEVERAL_GPUS: Final = 0.7


def llmfit(speed: Published) -> float:
    """Tokens per second by llmfit's formula."""
    return 0.55 * 1e9 * speed.chip.bandwidth_gb_s / speed.work.read_bytes


def whichllm(speed: Published) -> float:
    """Tokens per second by whichllm's formula."""
    bandwidth, work = speed.chip.bandwidth_gb_s, speed.work
    least = min(0.25, 0.05 * max(1.0, bandwidth / 256)) if work.n_expert else 0.0
    part = max(work.read_bytes / work.stored_bytes, least) if work.n_expert else 1.0
    type_name = speed.type_name.removeprefix("UD-").replace("_XL", "_M")
    efficiency = BY_TYPE.get(type_name, OTHER_TYPE) * BY_ROUTE[speed.route]
    several = SEVERAL_GPUS if speed.n_devices > 1 else 1.0
    return several * efficiency * 1e9 * bandwidth / (work.stored_bytes * part)


def llamafit(speed: Published) -> float:
    """Tokens per second by llamafit's formula."""
    read = speed.work.read_bytes + speed.work.cache_bytes(speed.mean_depth)
    return 1 / (read / (0.67 * 1e9 * speed.chip.bandwidth_gb_s) + 0.001)


FORMULAS: Final[dict[str, Callable[[Published], float]]] = {
    "llmfit": llmfit,
    "whichllm": whichllm,
    "llamafit": llamafit,
}
