"""What a machine is: devices with memory, a CPU, and how much of its RAM is really ours."""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

SizeClass = Literal["tiny", "small", "medium", "large"]
Vendor = Literal["nvidia", "amd", "intel", "apple", "other"]

CLASS_GIGABYTES: Final[tuple[tuple[SizeClass, int], ...]] = (
    ("large", 20),
    ("medium", 8),
    ("small", 4),
)
"""The article's classes by the least memory in GB (10^9): 4 is small, 8 medium, 20 large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An accelerator: a GPU, or the GPU's part of a unified memory. `free_bytes` is None where the
    system does not tell.
    """

    name: str
    vendor: Vendor
    total_bytes: int
    free_bytes: int | None
    unified: bool = False
    bandwidth_gb_s: float | None = None
    source: str = "system"
    label_gib: float | None = (
        None  # what it is sold with, where that differs from what a process can have
    )

    @property
    def label_gigabytes(self) -> float:
        """What people call its memory: "80 GB" for a card of 80 GiB, and a named size as it was
        named.
        """
        if self.label_gib is not None:
            return self.label_gib
        return self.total_bytes / (
            10**9 if self.name.upper().endswith("GB") and self.source == "as named" else 2**30
        )

    @property
    def usable_bytes(self) -> int:
        """What may be planned with: free memory, or the total where free is unknown."""
        return self.total_bytes if self.free_bytes is None else self.free_bytes

    def as_json(self) -> dict[str, object]:
        """The device as it stands in `--json`."""
        return {
            "name": self.name, "vendor": self.vendor, "total_bytes": self.total_bytes,
            "free_bytes": self.free_bytes, "unified": self.unified,
            "bandwidth_gb_s": self.bandwidth_gb_s, "source": self.source,
            "label_gigabytes": self.label_gigabytes,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentDevice:
    """An accelerator that is in the machine and that hakaru does not plan with."""

    name: str
    reason: str  # why not, in words
    on_purpose: bool = False  # a person hid it, such as by CUDA_VISIBLE_DEVICES

    def as_json(self) -> dict[str, str]:
        """The device as it stands in `--json`."""
        return {"name": self.name, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """The processor, and what of it this process may use."""

    model: str
    architecture: str
    physical_cores: int
    logical_cores: int
    usable_cores: int  # by the affinity mask
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """RAM. `limit_bytes` is the tightest cgroup limit (a container's), None if there is none."""

    total_bytes: int
    available_bytes: int
    limit_bytes: int | None = None

    def as_json(self) -> dict[str, object]:
        """RAM as it stands in `--json`."""
        return {
            "total_bytes": self.total_bytes,
            "available_bytes": self.available_bytes,
            "cgroup_limit_bytes": self.limit_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """This machine, or one that somebody thinks of buying."""

    system: str
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
        """Whether there is a GPU that people install an engine for; graphics inside a PC's
        processor are used only where the engine tells that it does.
        """
        return any(not d.unified or d.vendor in {"nvidia", "apple"} for d in self.devices)

    @property
    def size_class(self) -> SizeClass:
        """The article's class: by the accelerators' memory, or by RAM where there is none."""
        accelerators = sum(d.total_bytes for d in self.accelerators) if self.has_gpu else 0
        return size_class(accelerators or self.memory.limit_bytes or self.memory.total_bytes)

    @property
    def fingerprint(self) -> str:
        """What identifies this kind of machine in the ledger: not its free memory, which
        changes.
        """
        parts = [
            self.system,
            self.cpu.model,
            str(self.cpu.usable_cores),
            *(d.name for d in self.devices if not d.unified or self.has_gpu),
        ]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]

    def as_json(self) -> dict[str, object]:
        """The machine as it stands in `--json`."""
        return {
            "system": self.system, "cpu": self.cpu.as_json(), "memory": self.memory.as_json(),
            "devices": [d.as_json() for d in self.devices],
            "silent_devices": [d.as_json() for d in self.silent_devices],
            "size_class": self.size_class, "fingerprint": self.fingerprint,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
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
        """What may be planned with, over all devices that are known."""
        ram = self.ram.usable_bytes if self.ram and not self.is_unified else 0
        return sum(d.usable_bytes for d in self.accelerators) + ram


def named_ram(n_bytes: int) -> Device:
    """RAM of which so many bytes may be used, because somebody says so."""
    return Device(
        name="RAM", vendor="other", total_bytes=n_bytes, free_bytes=None, source="as named"
    )


def ram_device(memory: Memory) -> Device:
    """This machine's RAM as a device: what is available now."""
    total = min(memory.total_bytes, memory.limit_bytes or memory.total_bytes)
    return Device(name="RAM", vendor="other", total_bytes=total, free_bytes=memory.available_bytes)


def size_class(n_bytes: int) -> SizeClass:
    """The article's class for `n_bytes` of memory; "tiny" below its smallest."""
    for name, gigabytes in CLASS_GIGABYTES:
        if n_bytes >= gigabytes * 10**9:
            return name
    return "tiny"
