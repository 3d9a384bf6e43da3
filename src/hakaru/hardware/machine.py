"""What a machine is: devices with memory, a CPU, and RAM of which a container may have a part."""

import hashlib
from typing import Final, Literal

import msgspec
from msgspec import Struct

from hakaru.language import say

SizeClass = Literal["tiny", "small", "medium", "large"]
Vendor = Literal["nvidia", "amd", "intel", "apple", "other"]

CLASS_GIGABYTES: Final[tuple[tuple[SizeClass, int], ...]] = (
    ("large", 20),
    ("medium", 8),
    ("small", 4),
)
"""The least memory of each class in GB (10^9 bytes): from 20 GB a machine is large."""
_CLASSES: Final[tuple[SizeClass, ...]] = ("large", "medium", "small", "tiny")
CORES_OF_MEDIUM: Final = 8
"""Cores from which a machine without a GPU is medium; it is never large.

Two cores of a server processor decode a model of 135 million parameters with 56 tokens/s
(docs/the-loop.md): 4 billion parameters a second and core. At 5 tokens/s, the speed of reading,
that is a model of 0.8 billion parameters for each core: of billions from 8 cores on.
"""


class Rates(Struct, frozen=True, kw_only=True):
    """How fast a GPU computes, in TFLOP/s as published; None where that is unknown."""

    fp16_tflops: float | None  # dense, of its matrix units where it has such
    fp32_tflops: float | None  # two for each lane and clock
    tdp_w: float | None = None  # watts that the card, or the package, may draw

    def of_part(self, part: float) -> "Rates":
        """The rates of a chip of which only this part of the cores is switched on."""
        return Rates(
            fp16_tflops=self.fp16_tflops and self.fp16_tflops * part,
            fp32_tflops=self.fp32_tflops and self.fp32_tflops * part,
            tdp_w=self.tdp_w,
        )


class Device(Struct, frozen=True, kw_only=True):
    """A memory that a model can lie in: a GPU's own, a GPU's part of a unified memory, or RAM."""

    name: str
    vendor: Vendor
    total_bytes: int
    free_bytes: int | None  # None: the system does not tell
    unified: bool = False  # the GPU shares the processor's memory
    bandwidth_gb_s: float | None = None
    rates: Rates | None = None  # None: unknown
    source: str = "system"  # who tells these figures, such as "NVML"
    label_gib: float | None = None  # size that it is sold with; None: `total_bytes` is that size
    is_host: bool = False  # RAM that another machine offers as a device, by llama.cpp's RPC

    @property
    def label_gigabytes(self) -> float:
        """The memory as people call it: "80 GB" for a card of 80 GiB. A size that a person named in
        GB stays as it was named.
        """
        if self.label_gib is not None:
            return self.label_gib
        in_gb = self.source == "as named" and self.name.upper().endswith("GB")
        return self.total_bytes / (10**9 if in_gb else 2**30)

    @property
    def usable_bytes(self) -> int:
        """Bytes to plan with: free memory, or all memory where the free part is unknown."""
        return self.total_bytes if self.free_bytes is None else self.free_bytes

    def as_json(self) -> dict[str, object]:
        """The device as it stands in `--json`."""
        return {
            "name": self.name, "vendor": self.vendor, "total_bytes": self.total_bytes,
            "free_bytes": self.free_bytes, "unified": self.unified,
            "bandwidth_gb_s": self.bandwidth_gb_s, "source": self.source,
            "label_gigabytes": self.label_gigabytes,
        }  # fmt: skip


class SilentDevice(Struct, frozen=True, kw_only=True):
    """An accelerator that is in the machine and that hakaru does not plan with."""

    name: str
    reason: str  # why not, in words
    on_purpose: bool = False  # a person hid it, such as by CUDA_VISIBLE_DEVICES

    def as_json(self) -> dict[str, str]:
        """The device as it stands in `--json`."""
        return {"name": self.name, "reason": self.reason}


class Cpu(Struct, frozen=True, kw_only=True):
    """The processor, and the part of it that this process may use."""

    model: str
    architecture: str  # such as "x86_64"
    physical_cores: int
    logical_cores: int  # with hyper-threads
    usable_cores: int  # logical cores that the affinity mask and the quota leave
    threads: int  # with which llama.cpp is started
    quota: float | None = None  # processors' worth of time that a container has, such as 1.5
    instruction_sets: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The processor as it stands in `--json`."""
        return {
            "model": self.model, "architecture": self.architecture,
            "physical_cores": self.physical_cores, "logical_cores": self.logical_cores,
            "usable_cores": self.usable_cores, "threads": self.threads, "quota": self.quota,
            "instruction_sets": list(self.instruction_sets),
        }  # fmt: skip


class Memory(Struct, frozen=True, kw_only=True, rename={"limit_bytes": "cgroup_limit_bytes"}):
    """RAM."""

    total_bytes: int
    available_bytes: int  # now, under the container's limit
    limit_bytes: int | None = None  # the tightest cgroup limit (a container's); None: no limit

    def as_json(self) -> dict[str, object]:
        """RAM as it stands in `--json`."""
        told: dict[str, object] = msgspec.to_builtins(self)
        return told


class Machine(Struct, frozen=True, kw_only=True):
    """This machine, or one that somebody thinks of buying."""

    system: str  # such as "Linux x86_64"
    cpu: Cpu
    memory: Memory
    devices: tuple[Device, ...]
    silent_devices: tuple[SilentDevice, ...] = ()

    @property
    def accelerators(self) -> tuple[Device, ...]:
        """The devices that llama.cpp uses: those with memory of their own, or else those that share
        the RAM.

        Source: llama.cpp, src/llama.cpp (integrated GPUs are taken where there is no other).
        """
        return tuple(d for d in self.devices if not d.unified) or self.devices

    @property
    def has_gpu(self) -> bool:
        """True if there is a GPU for which people install a build of the engine. Graphics inside a
        PC's processor are no such GPU.
        """
        return any(not d.unified or d.vendor in {"nvidia", "apple"} for d in self.devices)

    @property
    def size_class(self) -> SizeClass:
        """The class of the machine: by the memory of all accelerators. Without a GPU by the RAM and
        by the cores, which then compute every word: the smaller of both.
        """
        accelerators = sum(d.total_bytes for d in self.accelerators) if self.has_gpu else 0
        if accelerators:
            return size_class(accelerators)
        by_cores: SizeClass = "medium" if self.cpu.threads >= CORES_OF_MEDIUM else "small"
        by_ram = size_class(self.memory.limit_bytes or self.memory.total_bytes)
        return max(by_cores, by_ram, key=_CLASSES.index)

    @property
    def fingerprint(self) -> str:
        """The name of this kind of machine in the ledger. Free memory changes, so it is no part of
        the name.
        """
        parts = [
            self.system,
            self.cpu.model,
            str(self.cpu.usable_cores),
            *(d.name for d in self.devices if not d.unified or self.has_gpu),
        ]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]

    def silence(self) -> list[str]:
        """A sentence for each accelerator that is in the machine and not planned with, except for
        accelerators that a person hid.
        """
        return [
            say("{name} is not planned with: {reason}", name=device.name, reason=device.reason)
            for device in self.silent_devices
            if not device.on_purpose
        ]

    def as_json(self) -> dict[str, object]:
        """The machine as it stands in `--json`."""
        return {
            "system": self.system, "cpu": self.cpu.as_json(), "memory": self.memory.as_json(),
            "devices": [d.as_json() for d in self.devices],
            "silent_devices": [d.as_json() for d in self.silent_devices],
            "size_class": self.size_class, "fingerprint": self.fingerprint,
        }  # fmt: skip


class Hardware(Struct, frozen=True, kw_only=True):
    """Where a model may be placed."""

    accelerators: tuple[Device, ...]  # in llama.cpp's order
    ram: Device | None = None  # None: nobody said how much the machine has
    notes: tuple[str, ...] = ()  # how a name was understood, in sentences
    text: str = ""  # how a person named the machine; empty for this machine

    @property
    def is_unified(self) -> bool:
        """Whether processor and accelerator share one memory."""
        return any(d.unified for d in self.accelerators)

    @property
    def usable_bytes(self) -> int:
        """Bytes to plan with, over all devices."""
        ram = self.ram.usable_bytes if self.ram and not self.is_unified else 0
        return sum(d.usable_bytes for d in self.accelerators) + ram


def named_ram(n_bytes: int) -> Device:
    """RAM of the size that a person named."""
    return Device(
        name="RAM", vendor="other", total_bytes=n_bytes, free_bytes=None, source="as named"
    )


def ram_device(memory: Memory) -> Device:
    """This machine's RAM as a device: what is available now."""
    total = min(memory.total_bytes, memory.limit_bytes or memory.total_bytes)
    return Device(name="RAM", vendor="other", total_bytes=total, free_bytes=memory.available_bytes)


def hardware_of(machine: Machine, *, uses_gpu: bool) -> Hardware:
    """Where an engine on the machine can put a model."""
    return Hardware(
        accelerators=machine.accelerators if uses_gpu else (), ram=ram_device(machine.memory)
    )


def size_class(n_bytes: int) -> SizeClass:
    """The class of a machine with `n_bytes` of memory; "tiny" below 4 GB."""
    for name, gigabytes in CLASS_GIGABYTES:
        if n_bytes >= gigabytes * 10**9:
            return name
    return "tiny"
