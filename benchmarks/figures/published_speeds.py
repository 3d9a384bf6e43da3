"""Speeds that people published, as a table of facts has them: read, understood, and sorted out.

A row names a device, a backend, a model, a type and a test in its source's own words. Here it
becomes a `Published` speed: the chip by our catalogue, the route (the backend, with its driver
where that decides), and the work of the model by our arithmetic, scaled to the size of the file. A
row that says something else than the speed of a whole model on a GPU under llama.cpp is left out,
with the reason; so is a row that the roofline forbids, since no token can be decoded in less time
than the memory takes to deliver its weights.
"""

import csv
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from figures.speed_models import OTHERS, our_name, preset_of
from hakaru.formats.header_file import header_tensors
from hakaru.formats.metadata import Metadata
from hakaru.hardware.facts import rates_of
from hakaru.hardware.lookup import Row, find_rows
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.models.mixture import preset_types
from hakaru.models.presets import BASE_TYPES, NEEDS_IMPORTANCE
from hakaru.models.roster import quantizer_facts, roster
from hakaru.planning.speed_terms import Chip
from hakaru.planning.token_work import TokenWork, item_works, whole_work

COEFFICIENTS_ONLY: Final = ("kyuz0/", "Orion-zhen/", "DandinPower/", "AtomGradient/")
"""Sources without a licence: their rows are fitted to, and not carried."""
OPEN: Final = re.compile(r"\b(?:MIT|Apache)\b")
FITS_PART: Final = 0.98
"""A file larger than this part of a card's memory cannot lie on it as a whole."""
SIZE_FACTORS: Final = (0.85, 1.5)
"""A file's size by our arithmetic, beside the published one: what lies outside is another file."""
LEAST_PROMPT: Final = 64
"""Shorter prompts than this are no prefill that anybody waits for."""
SLOW_HOSTS: Final = re.compile(r"\b(?:Pi|HiFive|Minisforum|Radxa)\b")
"""Boards whose slow host, or narrow bus, holds up the card."""

What = Literal["decode", "prefill"]


class Published(Struct, frozen=True, kw_only=True):
    """One published speed."""

    device: str  # the id in the catalogue, with the number of GPU cores where the name has it
    route: str
    n_devices: int
    model: str  # the id in the catalogue
    type_name: str
    what: What
    n_tokens: int  # of the prompt, or decoded
    depth: int
    n_ubatch: int
    tokens_per_s: float
    source: str
    chip: Chip
    work: TokenWork

    @property
    def may_be_carried(self) -> bool:
        """Whether the row itself may stand in this repository: its source names an open licence."""
        return bool(OPEN.search(self.source)) and not self.source.startswith(COEFFICIENTS_ONLY)

    @property
    def mean_depth(self) -> float:
        """Tokens before the average decoded one."""
        return self.depth + self.n_tokens / 2


class LeftOut(Struct, frozen=True, kw_only=True):
    """A row that is not used, and why."""

    reason: str


def read_speeds(path: Path) -> Iterator[Published | LeftOut]:
    """Every row of the table at `path`."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield published(row)


def published(row: dict[str, str]) -> Published | LeftOut:
    """What a row of the table says, or why it is left out."""
    if reason := _unfit(row):
        return LeftOut(reason=reason)
    found = _device(row["device"])
    if isinstance(found, str):
        return LeftOut(reason=found)
    catalogue_row, n_cores = found
    chip = _chip(catalogue_row, n_cores)
    route = _route(row["backend"], catalogue_row["vendor"], chip)
    what: What = "prefill" if "pp" in row["test"] else "decode"
    count = re.match(r"(?:pp|tg)(\d+)", row["test"])
    n_tokens = int(count[1]) if count else 128
    model = _model_id(row["model"])
    preset = preset_of(row["quant"], model)
    if model is None or preset not in BASE_TYPES:
        return LeftOut(reason="model or type not in our catalogue")
    cache = re.search(r"kv=(\w+)", row["backend"])
    work, computed = _work(model, preset, cache[1].upper() if cache else "F16")
    size = float(row["size_GiB"]) * 2**30 if row["size_GiB"] else computed
    if not SIZE_FACTORS[0] <= size / computed <= SIZE_FACTORS[1]:
        return LeftOut(reason="size is that of another file")
    counted = re.match(r"(\d+)x ", row["device"])
    n_devices = int(counted[1]) if counted else 1
    memory = catalogue_row["memory_gib"]
    on_card = catalogue_row["kind"] != "unified" and memory
    if on_card and size > FITS_PART * n_devices * memory * 2**30:
        return LeftOut(reason="larger than the card")
    batch = re.search(r"ub=(\d+)", row["backend"])
    speed = Published(
        device=catalogue_row["id"] + (f" {n_cores} cores" if n_cores else ""),
        route=route or "", n_devices=n_devices, model=model, type_name=row["quant"], what=what,
        n_tokens=n_tokens, depth=int(row["depth"] or 0),
        n_ubatch=int(batch[1]) if batch else 512, tokens_per_s=float(row["tokens_per_s"]),
        source=row["source"], chip=chip,
        work=work.scaled(size / computed),
    )  # fmt: skip
    return _checked(speed)


def _checked(speed: Published) -> Published | LeftOut:
    """The speed, if it can be true and llama.cpp's."""
    if speed.what == "decode":
        least = speed.work.read_bytes / (1e9 * speed.chip.bandwidth_gb_s)
        if speed.tokens_per_s * least > 1:
            return LeftOut(reason="forbidden by the roofline")
    elif speed.chip.matrix_per_s is None:
        return LeftOut(reason="rate unknown")
    elif 2 * speed.work.products * speed.tokens_per_s > speed.chip.matrix_per_s:
        return LeftOut(reason="forbidden by the roofline")
    elif speed.n_tokens < LEAST_PROMPT:
        return LeftOut(reason="short prompt")
    return speed if speed.route else LeftOut(reason="another engine")


def _unfit(row: dict[str, str]) -> str | None:
    """Why a row is no speed of a whole model on a GPU, as far as its own words tell."""
    backend = row["backend"]
    if "SUSPECT" in row["source"]:
        return "throttled"
    if "RPC" in backend or "RPC" in row["device"]:
        return "over a network"
    if SLOW_HOSTS.search(row["device"]):
        return "slow host"
    if "CPU" in backend or "(CPU)" in row["device"] or "experts partly" in row["device"]:
        return "on the processor"
    if not row["test"].startswith(("pp", "tg", "localscore")):
        return "no speed of prefill or decode"
    return None


def _route(backend: str, vendor: str, chip: Chip) -> str | None:
    """The route of a backend in a source's words; None for another engine than llama.cpp."""
    if any(word in backend for word in ("llamafile", "vllm", "Ollama", "ik_llama")):
        return None
    if backend.startswith("CUDA") or ("llmfit" in backend and vendor == "nvidia"):
        return "cuda" if chip.has_matrix_units else "cuda_old"
    for start, route in (("Metal", "metal"), ("MTL", "metal"), ("ROCm", "rocm"), ("HIP", "rocm"),
        ("SYCL", "intel"), ("IPEX", "intel")):  # fmt: skip
        if backend.startswith(start):
            has_units = route == "metal" and chip.has_matrix_units
            return "metal_matrix" if has_units else route
    if "Vulkan" not in backend or vendor == "apple":
        return None
    if "amdvlk" in backend.lower():
        return "amdvlk"
    return "intel" if vendor == "intel" else f"vulkan_{vendor}"


def _device(name: str) -> tuple[Row, int | None] | str:
    """The row of the catalogue, and the number of GPU cores that the name has; or why none."""
    told = re.search(r"(\d+)c GPU|\((\d+) GPU Core\)", name)
    n_cores = int(told[1] or told[2]) if told else None
    match = find_rows(re.sub(r"^\d+x ", "", name))
    rows = sorted(match.rows or match.other_sizes, key=lambda row: not row.get("usual"))
    if not rows:
        return "device not in our catalogue"
    row = rows[0]
    if n_cores and n_cores in row.get("gpu_cores", ()):
        n_cores = None if n_cores == max(row["gpu_cores"]) else n_cores
    return (row, n_cores) if row["bandwidth_gb_s"] else "bandwidth unknown"


def _chip(row: Row, n_cores: int | None) -> Chip:
    part = n_cores / max(row["gpu_cores"]) if n_cores else 1.0
    return Chip(
        bandwidth_gb_s=row["bandwidth_gb_s"],
        rates=rates_of(row).of_part(part),
        is_unified=row["kind"] == "unified",
    )


def _model_id(name: str) -> str | None:
    """The id in the catalogue (or in OTHERS) of a model in a source's words."""
    text = name.lower().strip(".").split("/")[-1]
    text = re.sub(
        r"^(?:qwen|google|microsoft|mistralai|ibm-granite|tencent|liquidai|zai-org|"
        r"moonshotai|nvidia|huggingfacetb)_",
        "",
        text,
    )
    text = re.sub(r"[ _]", "-", text)
    text = re.sub(r"^qwen-(\d)", r"qwen\1", text)
    for ending in ("-moe", "-mxfp4", "-hf", "-qat"):
        text = text.removesuffix(ending)
    text = our_name(text)
    names = (text + ending for ending in ("", "-instruct", "-it", "-instruct-2507"))
    return next((name for name in names if name in _models()), None)


@cache
def _models() -> dict[str, KnownModel]:
    return {model.id: model for model in (*known_models(), *OTHERS)}


@cache
def _work(model_id: str, preset: str, cache_type: str) -> tuple[TokenWork, int]:
    """The work of a model at a preset, and the bytes of its weights."""
    model = _models()[model_id]
    meta, shapes = Metadata(model.id, model.metadata()), list(model.tensors())
    plain = {name: "F16" if len(shape) > 1 else "F32" for name, shape in shapes}
    entries = roster(quantizer_facts(meta), header_tensors(shapes, plain))
    chosen = preset_types(entries, preset, has_imatrix=preset in NEEDS_IMPORTANCE)
    tensors = header_tensors(shapes, plain | chosen)
    items = item_works(tensors, model.shape, type_k=cache_type, type_v=cache_type)
    return whole_work(items), sum(tensor.n_bytes for tensor in tensors)
