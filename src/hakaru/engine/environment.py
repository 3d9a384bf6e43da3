"""The environment variables of the engine's processes."""

import os
from collections.abc import Mapping
from typing import Final

CHILD_ENVIRONMENT: Final = {"GGML_NO_BACKTRACE": "1"}
"""ggml would start a debugger when it aborts, which delays the end and hides the reason."""
MALLOC_ENVIRONMENT: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 2**20),
}
"""glibc gives every thread an arena, which keeps what it once held: a server that tokenized texts
of 280 KB grew by 208 MiB over 40 of them, and by 18 MiB with one arena that gives back what is free
(docs/labbook.md). Other systems ignore these names.
"""
KEPT_NAMES: Final = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TZ")
KEPT_BEGINNINGS: Final = (
    "CUDA_", "GGML_", "GOMP_", "GPU_", "HIP_", "HSA_", "KMP_", "LC_", "MALLOC_", "NVIDIA_", "OMP_",
    "ROCR_", "VK_",
)  # fmt: skip
"""The variables that an isolated engine is told. Others may hold keys of other programs."""


def child_environment() -> dict[str, str]:
    """The environment of a child: ours, and CUDA's cards in the order in which a split over them
    was planned.
    """
    from hakaru.hardware.nvidia import pinned_order  # an early engine is started without

    return {**os.environ, **CHILD_ENVIRONMENT, **pinned_order()}


def engine_environment() -> dict[str, str]:
    """The environment of a program of llama.cpp's own: a child's, without the settings that such
    programs read from names such as LLAMA_ARG_CTX_SIZE, since what is measured is what the command
    line says.
    """
    return _without_settings(child_environment())


def server_environment(
    *, is_program: bool, is_private: bool, cards: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a server: `is_program` is a `llama-server`, not the wheel's. `cards` is
    the order of CUDA's cards.
    """
    environment = {**os.environ, **CHILD_ENVIRONMENT, **cards, **MALLOC_ENVIRONMENT}
    if is_program:
        environment = _without_settings(environment)
    return told(environment) if is_private else environment


def told(environment: dict[str, str]) -> dict[str, str]:
    """The part of the environment that an isolated engine is told."""
    return {
        name: value
        for name, value in environment.items()
        if name in KEPT_NAMES or name.startswith(KEPT_BEGINNINGS)
    }


def _without_settings(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("LLAMA_")}
