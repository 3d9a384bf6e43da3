"""Which part of ggml runs a device: from the engine's own name for it, or from its maker. Pure.

A maker is not a backend: AMD's and Intel's cards also run Vulkan, which needs less memory behind
attention. Where the engine has not told, the backend that needs the most of those that people build
for such a card is assumed. A dry run is raised to what these kernels need: its build of the engine
may be older than the server's.
"""

import re
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from hakaru.hardware.machine import Device, Vendor
from hakaru.memory.compute import device_compute
from hakaru.memory.flash_attention import Backend
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.shape import Shape

OF_VENDOR: Final[Mapping[Vendor, Backend]] = {
    "nvidia": "cuda", "amd": "cuda", "intel": "sycl", "apple": "metal", "other": "cuda",
}  # fmt: skip
OF_NAME: Final[Mapping[str, Backend]] = {
    "CUDA": "cuda", "ROCm": "cuda", "MUSA": "cuda", "SYCL": "sycl", "Vulkan": "vulkan",
    "Metal": "metal", "MTL": "metal",
}  # fmt: skip
"""By what the engine's names begin with, such as CUDA0. Source: llama.cpp, GGML_CUDA_NAME and its
like in ggml/include.
"""


def backend_of(device: Device) -> Backend:
    """The backend that is assumed for an accelerator."""
    return "cpu" if device.is_host else OF_VENDOR[device.vendor]


def backend_named(name: str) -> Backend | None:
    """The backend of a device that the engine calls `name`; None for one that is not known here."""
    return next((backend for start, backend in OF_NAME.items() if name.startswith(start)), None)


def backend_name(needs: Footprint) -> str:
    """What runs a load, as it stands in the ledger: `cpu` where nothing lies on accelerators, else
    CUDA of CUDA0.
    """
    if not needs.accelerators:
        return "cpu"
    return re.sub(r"\d.*", "", needs.accelerators[0].name)


def with_conversions(dry_run: Footprint, shape: Shape, settings: ContextSettings) -> Footprint:
    """`dry_run` with at least our compute buffers on each accelerator that converts the KV cache
    for attention.
    """
    n = len(dry_run.accelerators)
    raised = []
    for i, buffers in enumerate(dry_run.accelerators):
        backend = backend_named(buffers.name) or "vulkan"
        ours, plain = (
            device_compute(shape, settings, n_devices=n, backend=b) for b in (backend, "vulkan")
        )
        least = ours.of(i, n) if ours and plain and ours.of(i, n) > plain.of(i, n) else 0
        raised.append(replace(buffers, compute_bytes=max(buffers.compute_bytes, least)))
    more = sum(
        new.compute_bytes - old.compute_bytes
        for new, old in zip(raised, dry_run.accelerators, strict=True)
    )
    return replace(dry_run, accelerators=tuple(raised), compute_bytes=dry_run.compute_bytes + more)
