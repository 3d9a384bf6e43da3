"""Sentences about what the engine's build leaves unused, a GPU or the processor's widest vectors,
with the command that mends it.

The makers of the wheel publish the same version for GPUs, each kind in an index of its own. The
ready-made wheel for processors is compiled for AVX2, so a native build is faster where there is
AVX-512.
"""

import platform
from typing import Final

from hakaru.engine.builds import PACKAGE, Build
from hakaru.engine.capi import PINNED
from hakaru.hardware.machine import Machine
from hakaru.language import say

INDEX: Final = "https://xorbitsai.github.io/xllamacpp/whl/"
KINDS: Final = {"nvidia": "cu128", "amd": "rocm-7.2.4"}  # the newest that older drivers run, too
ANY_GPU: Final = "vulkan"


def idle_gpu(machine: Machine) -> str:
    """The sentence for a GPU that the engine's build cannot use; the machine must have one."""
    gpu = machine.accelerators[0]
    if gpu.vendor == "apple":
        return say(
            "{gpu} is here, but the engine computes on the processor alone: install it again "
            "with make.",
            gpu=gpu.name,
        )
    return say(
        "{gpu} is here, but the engine computes on the processor alone. To use it: pip install "
        "{package}=={version} --force-reinstall --no-deps --index-url {index} (README, With a "
        "GPU), or: hakaru engine build",
        gpu=gpu.name,
        package=PACKAGE,
        version=PINNED,
        index=INDEX + KINDS.get(gpu.vendor, ANY_GPU),
    )


def narrow_vectors(machine: Machine, build: Build) -> str | None:
    """The sentence for a processor with AVX-512 on which the ready-made wheel computes; None where
    there is nothing to say.
    """
    is_wide = (
        "avx512f" in machine.cpu.instruction_sets and platform.system() != "Darwin"
    )  # Apple's wheels are native
    if build.name != "wheel" or not is_wide or machine.has_gpu:
        return None
    return say(
        "The ready-made engine leaves this processor's AVX-512 unused. One built here reads "
        "prompts up to twice as fast (F16; Q4_1 no faster): hakaru engine build"
    )
