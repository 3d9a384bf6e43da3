"""The terms of a token's time on a device, before any coefficient. Pure.

A token's time is a sum of terms, each what the device would take at its published rates, and each
with a coefficient that was fitted to measured speeds. A coefficient of 1.2 at `bytes` says that the
device reads weights at 1/1.2 of its bandwidth. Terms of a type of weights come on top of `bytes` or
`products`: 0.2 at `bytes_iq` says that the IQ types take 20 % of the read longer. So no term knows
a product: only bandwidth, rates, and what the model asks for.

Left out: what differs between builds, drivers and hosts; the intervals carry it.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from hakaru.hardware.machine import Rates
from hakaru.planning.token_work import TokenWork

CLASSES: Final[Mapping[str, str]] = {
    "F32": "full", "F16": "full", "BF16": "bf16", "Q8_0": "q8", "Q2_K": "low", "Q3_K": "low",
    "Q4_K": "k", "Q5_K": "k", "Q6_K": "k", "MXFP4": "mxfp4", "IQ4_NL": "iq", "IQ4_XS": "iq",
    "IQ1_S": "iq", "IQ1_M": "iq", "IQ2_XXS": "iq", "IQ2_XS": "iq", "IQ2_S": "iq", "IQ3_XXS": "iq",
    "IQ3_S": "iq",
}  # fmt: skip
"""Types whose kernels cost alike. All others count as Q4_0, to which the others are compared."""
KINDS: Final = ("full", "bf16", "q8", "k", "low", "iq", "mxfp4")
DECODE: Final = (
    "bytes", *(f"bytes_{kind}" for kind in KINDS), "bytes_unified", "cache", "states", "products",
    "attention", "layers", "expert_layers", "state_layers",
)  # fmt: skip
PREFILL: Final = (
    "products", *(f"products_{kind}" for kind in KINDS), "lane_products", "power",
    "expert_products", "fetch", "attention", "lane_attention", "layers", "expert_layers",
    "state_layers",
)  # fmt: skip
LAYER_S: Final = 1e-5
"""The unit of the terms that count layers: ten microseconds."""
PER_JOULE: Final = 1e12
"""The unit of the term that counts power: operations for each joule."""
LANES_OF_BANDWIDTH: Final = 0.031
"""TFLOP/s of single precision for each GB/s where the catalogue has no rate: the median of its
rows.
"""
DOT_PRODUCTS: Final = 4
"""Integer products for each single-precision one, by the instruction (dp4a) that llama.cpp uses on
GPUs which compute half precision slower than single.
"""

UNITS_OF_MATRIX: Final = 3
"""From this multiple of its rate in single precision on, a GPU has units for matrices: lanes alone
reach two.
"""


class Chip(Struct, frozen=True, kw_only=True):
    """What of a device decides its speed."""

    bandwidth_gb_s: float
    rates: Rates | None = None
    is_unified: bool = False  # it shares the processor's memory

    @property
    def has_matrix_units(self) -> bool:
        """False for a GPU whose rate in half precision is that of its lanes: of NVIDIA's, GeForce
        16 and older.
        """
        if self.rates is None or not self.rates.fp32_tflops:
            return True
        return (self.rates.fp16_tflops or 0.0) >= UNITS_OF_MATRIX * self.rates.fp32_tflops

    @property
    def lanes_per_s(self) -> float:
        """Single-precision operations per second; from the bandwidth where the rate is unknown."""
        known = self.rates.fp32_tflops if self.rates else None
        return 1e12 * (known or LANES_OF_BANDWIDTH * self.bandwidth_gb_s)

    @property
    def matrix_per_s(self) -> float | None:
        """Operations per second on matrices; None where the rate is unknown."""
        if self.rates is None:
            return None
        half, single = self.rates.fp16_tflops, self.rates.fp32_tflops
        if half and single and half < single / DOT_PRODUCTS:
            return 1e12 * single * DOT_PRODUCTS
        best = max(half or 0.0, single or 0.0)
        return 1e12 * best if best else None


def decode_terms(work: TokenWork, chip: Chip, depth: float) -> dict[str, float]:
    """The terms of decoding one token behind `depth` others, in seconds."""
    per_s = 1e9 * chip.bandwidth_gb_s
    terms = dict.fromkeys(DECODE, 0.0)
    for type_, n_bytes in work.read.items():
        terms["bytes"] += n_bytes / per_s
        if kind := CLASSES.get(type_):
            terms[f"bytes_{kind}"] += n_bytes / per_s
    terms["bytes_unified"] = terms["bytes"] * chip.is_unified
    terms["cache"] = work.cache_bytes(depth) / per_s
    terms["states"] = 2 * work.state_bytes / per_s
    terms["products"] = 2 * work.products / chip.lanes_per_s
    terms["attention"] = 2 * work.attention_products(depth) / chip.lanes_per_s
    return terms | _layers(work)


def prefill_terms(
    work: TokenWork, chip: Chip, *, n_prompt: int, depth: float, n_ubatch: int
) -> dict[str, float]:
    """The terms of reading one token of a prompt of `n_prompt`, behind `depth` others, in seconds.
    The chip's matrix rate must be known.
    """
    assert chip.matrix_per_s is not None
    batch = max(1, min(n_prompt, n_ubatch))
    mean_depth = depth + n_prompt / 2
    dense = 2 * (work.products - work.expert_products)
    terms = dict.fromkeys(PREFILL, 0.0)
    terms["products"] = dense / chip.matrix_per_s
    for type_, n_bytes in work.stored.items():
        if kind := CLASSES.get(type_):
            part = n_bytes / work.stored_bytes
            terms[f"products_{kind}"] += part * dense / chip.matrix_per_s
    terms["lane_products"] = dense / chip.lanes_per_s
    if watts := chip.rates and chip.rates.tdp_w:
        terms["power"] = dense / (PER_JOULE * watts)
    terms["expert_products"] = 2 * work.expert_products / chip.matrix_per_s
    fetched = (
        work.stored_bytes - work.expert_bytes + work.expert_bytes * work.part_of_experts(batch)
    )
    terms["fetch"] = fetched / (1e9 * chip.bandwidth_gb_s) / batch
    attention = 2 * work.attention_products(mean_depth)
    terms["attention"] = attention / chip.matrix_per_s
    terms["lane_attention"] = attention / chip.lanes_per_s
    counted = _layers(work)
    return terms | {
        "layers": 10 * counted["layers"] / batch,
        "expert_layers": 10 * counted["expert_layers"] / batch,
        "state_layers": counted["state_layers"] / 10,
    }


def _layers(work: TokenWork) -> dict[str, float]:
    return {
        "layers": LAYER_S * work.n_layer,
        "expert_layers": LAYER_S * work.n_expert_layer,
        "state_layers": LAYER_S * work.n_state_layer,
    }
