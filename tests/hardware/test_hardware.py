"""The machine: real here, made elsewhere."""

from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.hardware.accelerators import drm_scan, nvidia_load, nvidia_process_bytes
from hakaru.hardware.busy import gpu_of_others
from hakaru.hardware.facts import known_bandwidth
from hakaru.hardware.machine import Device, Memory, named_ram, size_class
from hakaru.hardware.named_machine import parse_hardware
from hakaru.hardware.probe import probe_machine
from hakaru.hardware.processor import cpu, memory
from hakaru.hardware.spoken import describe_briefly


def test_this_machine_is_described() -> None:
    """Cores, RAM and a fingerprint that does not change with the free memory."""
    machine = probe_machine()
    assert machine.cpu.usable_cores >= 1
    assert 0 < machine.memory.available_bytes <= machine.memory.total_bytes
    assert machine.fingerprint == probe_machine().fingerprint


@pytest.mark.parametrize(
    ("gigabytes", "name"),
    [
        (2, "tiny"),
        (4, "small"),
        (7.9, "small"),
        (8, "medium"),
        (12, "medium"),
        (20, "large"),
        (80, "large"),
    ],
)
def test_the_article_s_classes(gigabytes: float, name: str) -> None:
    """Small from 4 GB, medium from 8, large from 20."""
    assert size_class(int(gigabytes * 1e9)) == name


def test_a_container_s_limit_is_found(tmp_path: Path) -> None:
    """cgroup v2: the tightest limit on the way up counts, less what is used and cannot be taken
    back.
    """
    group = tmp_path / "sys" / "a" / "b"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text("1000000000\n")
    (group.parent / "memory.current").write_text("400000000\n")
    (group.parent / "memory.stat").write_text("anon 1\ninactive_file 100000000\n")
    membership = tmp_path / "cgroup"
    membership.write_text("0::/a/b\n")
    found = memory(tmp_path / "sys", membership)
    assert found.limit_bytes == 1_000_000_000
    assert found.available_bytes == 700_000_000


def test_without_a_container_there_is_no_limit(tmp_path: Path) -> None:
    """No cgroup files, no limit."""
    assert memory(tmp_path, tmp_path / "none").limit_bytes is None


def test_instruction_sets_are_read(tmp_path: Path) -> None:
    """Only those for which llama.cpp has kernels."""
    info = tmp_path / "cpuinfo"
    info.write_text(
        "model name\t: Test CPU\nflags\t\t: fpu pni avx2 avx512f hypervisor\n\nmodel name\t: "
        "second\n"
    )
    found = cpu(info)
    assert found.model == "Test CPU"
    assert found.instruction_sets == ("sse3", "avx2", "avx512f")


def test_an_amd_gpu_is_read_from_sysfs(tmp_path: Path) -> None:
    """amdgpu tells total and used; a card without memory of its own is no device."""
    for name, files in {
        "card0": {
            "vendor": "0x1002",
            "mem_info_vram_total": "17163091968",
            "mem_info_vram_used": "163091968",
            "product_name": "Test",
        },
        "card1": {"vendor": "0x8086"},
        "card2": {
            "vendor": "0x1002",
            "mem_info_vram_total": "536870912",
            "product_name": "part of the processor",
        },
        "card0-DP-1": {"vendor": "0x1002", "mem_info_vram_total": "5"},
    }.items():
        device = tmp_path / name / "device"
        device.mkdir(parents=True)
        for file, text in files.items():
            (device / file).write_text(text + "\n")
    ((found,), _) = drm_scan(tmp_path)
    assert (found.vendor, found.total_bytes, found.free_bytes) == (
        "amd",
        17_163_091_968,
        17_000_000_000,
    )


def test_labels_are_what_people_call_the_memory() -> None:
    """A card of 80 GiB is sold as 80 GB; a size is called what it was called."""
    labels = [
        d.label_gigabytes for d in parse_hardware("A100 80GB PCIe + 80GB + 24GiB").accelerators
    ]
    assert labels == [80.0, 80.0, 24.0]


def test_hardware_is_read_from_words() -> None:
    """Counts, names without the vendor, sizes; one size beside cards is RAM."""
    a100, other = parse_hardware("2x A100 80GB").accelerators
    assert a100 == other
    assert a100.total_bytes == 80 * 2**30
    mixed = parse_hardware("RTX 4090 + 32GiB + L4")
    assert [d.name for d in mixed.accelerators] == ["NVIDIA GeForce RTX 4090", "NVIDIA L4"]
    assert mixed.ram == named_ram(32 * 2**30)
    assert known_bandwidth("NVIDIA L4") == pytest.approx(300, rel=0.01)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2x", "no accelerator"),
        ("0x L4", "expected such as"),
        ("RTX 9999", "no accelerator"),
        ("RTX 6000", "add the memory"),
        ("", "expected"),
    ],
)
def test_hardware_that_nobody_knows_is_refused(text: str, words: str) -> None:
    """And says what to type instead."""
    with pytest.raises(Misuse, match=words):
        parse_hardware(text)


def test_nvml_tells_what_a_process_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the GPU's name, only for that process; nothing where there is no driver."""
    assert nvidia_process_bytes(1) == {}
    processes = {
        0: [SimpleNamespace(pid=7, usedGpuMemory=100), SimpleNamespace(pid=8, usedGpuMemory=5)],
        1: [SimpleNamespace(pid=7, usedGpuMemory=50)],
    }
    for name, value in {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda i: i,
        "nvmlDeviceGetName": lambda handle: b"NVIDIA L4",
        "nvmlDeviceGetComputeRunningProcesses": processes.__getitem__,
    }.items():
        monkeypatch.setattr(pynvml, name, value)
    assert nvidia_process_bytes(7) == {"NVIDIA L4": [100, 50]}


def test_nvml_tells_how_busy_the_gpus_of_a_process_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The busiest of those that it uses; of all where none is known to be its own; nothing where
    there is no driver, or it does not tell.
    """
    assert nvidia_load(7) is None
    processes = {0: [7], 1: [8], 2: [7]}
    busy = {0: 3, 1: 90, 2: 40}
    for name, value in {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 3,
        "nvmlDeviceGetHandleByIndex": lambda i: i,
        "nvmlDeviceGetComputeRunningProcesses": lambda i: [
            SimpleNamespace(pid=pid) for pid in processes[i]
        ],
        "nvmlDeviceGetUtilizationRates": lambda i: SimpleNamespace(gpu=busy[i]),
    }.items():
        monkeypatch.setattr(pynvml, name, value)
    assert nvidia_load(7) == 0.4
    assert nvidia_load(9) == 0.9
    monkeypatch.setattr("hakaru.hardware.busy.GPU_PERIOD_S", 0.0)
    assert gpu_of_others(7) == 0.4

    def silent(_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", silent)
    assert nvidia_load(7) is gpu_of_others(7) is None


@pytest.mark.parametrize(
    ("gib", "threads", "name"),
    [(32, 2, "small"), (512, 7, "small"), (32, 8, "medium"), (512, 64, "medium"), (3, 64, "tiny")],
)
def test_without_a_gpu_the_cores_count_too(gib: int, threads: int, name: str) -> None:
    """Much RAM does not make a machine large: its processor would take seconds for each word."""
    machine = probe_machine()
    machine = replace(
        machine,
        devices=(),
        cpu=replace(machine.cpu, threads=threads),
        memory=Memory(total_bytes=gib * 2**30, available_bytes=gib * 2**30),
    )
    assert machine.size_class == name
    brief = "\n".join(describe_briefly(machine))
    assert "no GPU" in brief and "half the speed" in brief


def test_a_gpu_is_named_first_and_its_memory_is_the_class() -> None:
    """What a person looks for first stands first."""
    card = Device(name="NVIDIA L4", vendor="nvidia", total_bytes=24 * 2**30, free_bytes=22 * 2**30)
    machine = replace(probe_machine(), devices=(card,))
    first, second = describe_briefly(machine)
    assert first.startswith("Machine  NVIDIA L4 (22.0 GiB free), ")
    assert "class large" in second and "speed" not in second
