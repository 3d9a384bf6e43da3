"""The accelerators of machines that we do not have: drivers and kernels that answer as public
reports say they do.
"""

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from msgspec import Struct

from hakaru.hardware import apple, nvidia
from hakaru.hardware.accelerators import (
    _without_driver,
    all_devices,
    drm_scan,
    nvidia_load,
    nvidia_process_bytes,
)
from hakaru.hardware.machine import Cpu, Device, Machine, Memory, hardware_of
from hakaru.hardware.spoken import describe

MIB, GIB = 2**20, 2**30
RAM = Memory(total_bytes=124_618 * MIB, available_bytes=117_453 * MIB)
NO_BOARD = Path("/nonexistent")


class Gpu(Struct, frozen=True, kw_only=True):
    """A GPU as NVML tells of it; `mib` None where it does not tell the memory, `speed` None where
    it does not tell the cores.
    """

    name: str
    mib: int | None = None
    uuid: str | None = None
    speed: int | None = None
    lost: bool = False
    slices: tuple["Gpu", ...] = ()
    mig_mode_told: bool = True


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts an NVML with these GPUs in the place of the real one. What a GPU does not tell raises,
    as NVML's functions do.
    """

    def install(*gpus: Gpu) -> None:
        module = ModuleType("pynvml")

        class NVMLError(Exception):
            pass

        def told(value: object, why: str = "Not Supported") -> object:
            if value is None:
                raise NVMLError(why)
            return value

        def handle(i: int) -> Gpu:
            if gpus[i].lost:
                raise NVMLError("GPU is lost")
            return gpus[i]

        def memory(gpu: Gpu) -> SimpleNamespace:
            total = (
                int(
                    str(
                        told(gpu.mib, "Insufficient Permissions" if gpu.slices else "Not Supported")
                    )
                )
                * MIB
            )
            return SimpleNamespace(total=total, free=total - 100 * MIB)

        for name, value in {
            "NVMLError": NVMLError,
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: len(gpus),
            "nvmlDeviceGetHandleByIndex": handle,
            "nvmlDeviceGetName": lambda gpu: gpu.name,
            "nvmlDeviceGetUUID": lambda gpu: told(gpu.uuid),
            "nvmlDeviceGetMemoryInfo": memory,
            "nvmlDeviceGetNumGpuCores": lambda gpu: told(gpu.speed),
            "nvmlDeviceGetMaxClockInfo": lambda gpu, kind: 1,
            "nvmlDeviceGetMigMode": lambda gpu: told(
                (1, 1) if gpu.slices and gpu.mig_mode_told else None
            ),
            "nvmlDeviceGetMaxMigDeviceCount": lambda gpu: 7 if gpu.slices else 0,
            "nvmlDeviceGetMigDeviceHandleByIndex": lambda gpu, i: told(
                gpu.slices[i] if i < len(gpu.slices) else None, "Not Found"
            ),
        }.items():
            setattr(module, name, value)
        monkeypatch.setitem(sys.modules, "pynvml", module)
        monkeypatch.setattr(nvidia, "_has_library", lambda: True)

    return install


def found(
    environment: Mapping[str, str] | None = None, board: Path = NO_BOARD
) -> tuple[list[str], list[str]]:
    """Names of the devices that CUDA shows, and what is said of the others."""
    devices, silent = nvidia.scan(RAM, environment or {}, board)
    return [d.name for d in devices], [f"{d.name}: {d.reason}" for d in silent]


GB10 = Gpu(name="NVIDIA GB10")
R3090 = Gpu(name="NVIDIA GeForce RTX 3090", mib=24576, uuid="GPU-3090aaaa", speed=10496)
R4090 = Gpu(name="NVIDIA GeForce RTX 4090", mib=24564, uuid="GPU-4090bbbb", speed=16384)
P40 = Gpu(name="Tesla P40", mib=22919, uuid="GPU-0040cccc", speed=3840)


@pytest.mark.parametrize("name", ["NVIDIA GB10", "Orin (nvgpu)", "NVIDIA Thor", "Xavier (nvgpu)"])
def test_a_board_without_memory_of_its_own_has_the_system_s(
    driver: Callable[..., None], name: str
) -> None:
    """NVML has nothing to tell: `/proc/meminfo` has."""
    driver(Gpu(name=name))
    (device,), silent = nvidia.scan(RAM, {}, NO_BOARD)
    assert (device.total_bytes, device.free_bytes, device.unified) == (
        RAM.total_bytes,
        RAM.available_bytes,
        True,
    )
    assert silent == []


def test_a_board_whose_driver_tells_page_cache_as_used_has_the_system_s_too(
    driver: Callable[..., None],
) -> None:
    """Newer drivers answer for GB10; what is free is still what the system can give."""
    driver(Gpu(name="NVIDIA GB10", mib=124_618))
    (device,), _ = nvidia.scan(RAM, {}, NO_BOARD)
    assert device.free_bytes == RAM.available_bytes


def test_a_container_s_limit_holds_for_unified_memory(driver: Callable[..., None]) -> None:
    """Which is RAM."""
    driver(GB10)
    (device,), _ = nvidia.scan(
        Memory(total_bytes=128 * GIB, available_bytes=10 * GIB, limit_bytes=16 * GIB), {}, NO_BOARD
    )
    assert (device.total_bytes, device.free_bytes) == (16 * GIB, 10 * GIB)


def test_a_jetson_without_nvml_is_known_by_its_board(
    driver: Callable[..., None], tmp_path: Path
) -> None:
    """As under JetPack 5."""
    driver()
    board = tmp_path / "model"
    board.write_text("NVIDIA Jetson AGX Orin Developer Kit\0")
    assert found(board=board) == (["NVIDIA Jetson AGX Orin Developer Kit"], [])
    board.write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    assert found(board=board) == ([], [])


def test_one_card_that_cannot_be_asked_hides_no_other(driver: Callable[..., None]) -> None:
    """It is told with the reason."""
    driver(R3090, Gpu(name="", lost=True), R3090, Gpu(name="NVIDIA RTX A2000", mib=None))
    assert found() == (
        [R3090.name] * 2,
        ["NVIDIA GPU 1: GPU is lost", "NVIDIA RTX A2000: Not Supported"],
    )


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetCount"])
def test_a_driver_that_fails_as_a_whole_is_told(driver: Callable[..., None], function: str) -> None:
    """As after an update without a restart; no driver at all is no news."""
    for name, silent in (
        ("NVMLError_LibRmVersionMismatch", ["NVIDIA GPU 0: Driver/library version mismatch"]),
        (
            "NVMLError_LibraryNotFound",
            [] if function == "nvmlInit" else ["NVIDIA GPU 0: Driver/library version mismatch"],
        ),
    ):
        driver(R3090)
        pynvml = sys.modules["pynvml"]
        error = type(name, (pynvml.NVMLError,), {})

        def fail(error: type[Exception] = error) -> None:
            raise error("Driver/library version mismatch")

        setattr(pynvml, function, fail)
        assert found() == ([], silent)


def test_a_card_without_nvidia_s_driver_is_told(tmp_path: Path) -> None:
    """The kernel lists it."""
    root = cards(
        tmp_path,
        {"device/vendor": "0x10de", "device/device": "0x2684"},
        {"device/vendor": "0x1a03"},
    )
    (silent,) = _without_driver(root)
    assert (silent.name, silent.reason) == ("NVIDIA GPU 0x2684", "no driver of NVIDIA's answers")


def test_one_card_that_does_not_tell_its_load_hides_no_other(driver: Callable[..., None]) -> None:
    """Of several, those count that can be asked."""
    driver(R3090, GB10, R4090)
    pynvml = sys.modules["pynvml"]

    def processes(gpu: Gpu) -> list[SimpleNamespace]:
        if gpu is GB10:
            raise pynvml.NVMLError("Not Supported")
        return [SimpleNamespace(pid=7, usedGpuMemory=100)]

    monkey = {
        "nvmlDeviceGetComputeRunningProcesses": processes,
        "nvmlDeviceGetUtilizationRates": lambda gpu: SimpleNamespace(gpu=40),
    }
    for name, value in monkey.items():
        setattr(pynvml, name, value)
    assert nvidia_process_bytes(7) == {R3090.name: [100], R4090.name: [100]}
    assert nvidia_load(7) == 0.4


def test_a_card_beside_unified_memory_is_what_the_engine_takes(driver: Callable[..., None]) -> None:
    """llama.cpp uses an integrated GPU only where there is no other; both are listed."""
    driver(R4090, GB10)
    devices, silent = all_devices(RAM, {})
    assert {d.name for d in devices} == {R4090.name, GB10.name}
    machine = machine_with(devices)
    assert [d.name for d in hardware_of(machine, uses_gpu=True).accelerators] == [R4090.name]
    assert not hardware_of(machine, uses_gpu=True).is_unified
    assert any("NVIDIA GB10: shares the RAM" in line for line in describe(machine))
    assert silent == ()


def test_a_slice_of_a_card_is_what_a_container_has(driver: Callable[..., None]) -> None:
    """The card itself may not be asked there, nor whether it is sliced."""
    part = Gpu(name="NVIDIA H200 MIG 1g.18gb", mib=16384, uuid="MIG-1111")
    for told in (True, False):
        driver(Gpu(name="NVIDIA H200", slices=(part,), mig_mode_told=told))
        (device,), silent = nvidia.scan(RAM, {}, NO_BOARD)
        assert (device.name, device.total_bytes, silent) == (part.name, 16384 * MIB, [])


def test_a_sliced_card_that_tells_nothing_is_not_planned_with(driver: Callable[..., None]) -> None:
    """Its whole memory would be a false promise."""
    driver(Gpu(name="NVIDIA H200", slices=(Gpu(name="NVIDIA H200 MIG 1g.18gb"),)))
    assert found() == ([], ["NVIDIA H200: Insufficient Permissions"])


SLICES = (
    Gpu(name="A100 MIG 1g.5gb", mib=4864, uuid="MIG-aaaa"),
    Gpu(name="A100 MIG 2g.10gb", mib=9856, uuid="MIG-bbbb"),
)


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        (None, ["A100 MIG 1g.5gb"]),
        ("MIG-bbbb", ["A100 MIG 2g.10gb"]),
        ("MIG-bbbb,MIG-aaaa", ["A100 MIG 2g.10gb"]),
        ("MIG-GPU-a100/2/0", ["A100 MIG 1g.5gb"]),
        ("0", ["A100 MIG 1g.5gb"]),
        ("", []),
    ],
)
def test_cuda_shows_one_slice(
    driver: Callable[..., None], listed: str | None, names: list[str]
) -> None:
    """The first, or the first that is named; the others are told."""
    driver(Gpu(name="NVIDIA A100-SXM4-40GB", uuid="GPU-a100", slices=SLICES))
    shown, silent = found({} if listed is None else {"CUDA_VISIBLE_DEVICES": listed})
    assert shown == names
    assert len(shown) + len(silent) == 2


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, [R4090, R3090, P40]),  # the fastest first
        ({"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, [R4090, R3090, P40]),
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, [P40, R3090, R4090]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, [R4090]),
        ({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, [P40]),
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, [P40, R4090]),
        ({"CUDA_VISIBLE_DEVICES": " 1 , 0 "}, [R3090, R4090]),
        ({"CUDA_VISIBLE_DEVICES": "0,2,-1,1"}, [R4090, P40]),  # up to the first that is none
        ({"CUDA_VISIBLE_DEVICES": "7,0"}, []),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
        ({"CUDA_VISIBLE_DEVICES": "GPU-3090aaaa"}, [R3090]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-3090,GPU-0040"}, [R3090, P40]),  # a beginning is enough
        ({"CUDA_VISIBLE_DEVICES": "GPU-"}, []),  # of more than one
        ({"CUDA_VISIBLE_DEVICES": "GPU-ffff"}, []),
    ],
)
def test_cuda_s_variables_are_obeyed(
    driver: Callable[..., None], environment: dict[str, str], names: Sequence[Gpu]
) -> None:
    """NVML lists by the PCI bus (here: P40, 3090, 4090), and a split is in CUDA's order."""
    driver(P40, R3090, R4090)
    shown, silent = found(environment)
    assert shown == [gpu.name for gpu in names]
    assert len(silent) == 3 - len(names)
    assert all("CUDA_VISIBLE_DEVICES" in text for text in silent)


def test_cards_whose_cores_nobody_tells_are_sorted_by_the_catalogue(
    driver: Callable[..., None],
) -> None:
    """And stay in the order of the bus where that does not know them either."""
    driver(
        Gpu(name="NVIDIA GeForce RTX 3060", mib=12288),
        Gpu(name="NVIDIA GeForce RTX 4090", mib=24564),
    )
    assert found()[0] == ["NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3060"]
    driver(Gpu(name="NVIDIA X1", mib=12288), Gpu(name="NVIDIA GeForce RTX 4090", mib=24564))
    assert found()[0] == ["NVIDIA X1", "NVIDIA GeForce RTX 4090"]


def test_children_see_different_cards_in_the_planned_order(
    driver: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their UUIDs; cards that are alike need no order."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    for gpus, order in (
        ((P40, R4090), {"CUDA_VISIBLE_DEVICES": "GPU-4090bbbb,GPU-0040cccc"}),
        ((R3090, R3090), {}),
        ((), {}),
    ):
        driver(*gpus)
        nvidia.pinned_order.cache_clear()
        assert nvidia.pinned_order() == order
    nvidia.pinned_order.cache_clear()


def cards(root: Path, *devices: dict[str, object]) -> Path:
    """`/sys/class/drm` with these cards; a key is a path below the card."""
    for n, files in enumerate(devices):
        for name, value in files.items():
            path = root / f"card{n}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{value}\n")
    return root


def amd(
    number: str, vram: int | None, used: int = 0, gtt: int | None = None, **more: object
) -> dict[str, object]:
    """amdgpu's files of one card, in MiB."""
    files: dict[str, object] = {"device/vendor": "0x1002", "device/device": number}
    for name, mib in {
        "vram_total": vram,
        "vram_used": None if vram is None else used,
        "gtt_total": gtt,
    }.items():
        if mib is not None:
            files[f"device/mem_info_{name}"] = mib * MIB
    return files | {f"device/{name}": value for name, value in more.items()}


XTX = amd("0x744c", 24560, 900, 64000, unique_id="aaaa0001")


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        # Strix Halo: 512 MiB set aside, and what the kernel lends
        ([amd("0x1586", 512, 200, 122880)],
            [("AMD Ryzen AI Max+ 395 (Strix Halo, Radeon 8060S)", 122880, 117453, True)]),
        ([amd("0x1586", 512, 200, 64000)],
            [("AMD Ryzen AI Max+ 395 (Strix Halo, Radeon 8060S)", 64000, 64000, True)]),
        ([amd("0x1586", 98304, 100, 15860)],
            [("AMD Ryzen AI Max+ 395 (Strix Halo, Radeon 8060S)", 98304, 98204, False)]),
        ([amd("0x15bf", 4096, 300, 14336)],
            [("AMD Radeon 780M (Phoenix/Hawk Point)", 14336, 14336, True)]),
        ([amd("0x1681", 2048, 0, 6000)], [("AMD GPU 0x1681", 6000, 6000, True)]),
        # cards, beside which the kernel lends RAM, too
        ([amd("0x744c", 24560, 900, 64000)], [("AMD Radeon RX 7900 XTX", 24560, 23660, False)]),
        ([amd("0x744c", 20464, 0, 64000)], [("AMD Radeon RX 7900 XT", 20464, 20464, False)]),
        ([amd("0x6fdf", 2048, 50, 16000)], [("AMD GPU 0x6fdf", 2048, 1998, False)]),
        ([amd("0x66a1", 32752, 0)], [("AMD Instinct MI50 32GB", 32752, 32752, False)]),
        ([amd("0x164e", 512, 30), XTX], [("AMD Radeon RX 7900 XTX", 24560, 23660, False)]),
        # Intel
        ([{"device/vendor": "0x8086", "device/device": "0xe20b",
            "device/tile0/physical_vram_size_bytes": 12 * GIB}],
         [("Intel Arc B580", 12288, None, False)]),
        ([{"device/vendor": "0x8086", "device/device": "0x0bd5",
            "device/tile0/physical_vram_size_bytes": 64 * GIB,
           "device/tile1/physical_vram_size_bytes": 64 * GIB}],
           [("INTEL GPU 0x0bd5", 131072, None, False)]),
        ([{"device/vendor": "0x8086", "device/device": "0x56a0", "lmem_total_bytes": 16 * GIB,
            "lmem_avail_bytes": 15 * GIB}],
         [("Intel Arc A770", 16384, 15360, False)]),
        ([{"device/vendor": "0x8086", "device/device": "0x64a0"}],
            [("Intel Arc 140V (Lunar Lake)", 62309, 62309, True)]),
        ([{"device/vendor": "0x1a03", "device/device": "0x2000"}], []),
         # a server's management controller
    ],
)  # fmt: skip
def test_sysfs_is_read_as_drivers_fill_it(
    tmp_path: Path,
    devices: list[dict[str, object]],
    expected: list[tuple[str, int, int | None, bool]],
) -> None:
    """Name, total and free MiB, and whether it is RAM."""
    shown, silent = drm_scan(cards(tmp_path, *devices), memory=RAM, environment={})
    rows = [
        (
            d.name,
            d.total_bytes // MIB,
            None if d.free_bytes is None else d.free_bytes // MIB,
            d.unified,
        )
        for d in shown
    ]
    assert (rows, silent) == (expected, [])


def test_a_card_of_the_host_that_a_container_may_not_open_is_told(tmp_path: Path) -> None:
    """sysfs shows it all the same."""
    root = cards(tmp_path / "drm", XTX)
    (root / "card0" / "device" / "drm" / "renderD128").mkdir(parents=True)
    nodes = tmp_path / "dev"
    shown, (silent,) = drm_scan(root, memory=RAM, environment={}, nodes=nodes)
    assert (shown, silent.reason) == ([], f"this process may not open {nodes}/renderD128")
    nodes.mkdir()
    (nodes / "renderD128").touch()
    assert len(drm_scan(root, memory=RAM, environment={}, nodes=nodes)[0]) == 1


def test_the_kernel_s_limit_of_pages_holds_for_what_it_lends(tmp_path: Path) -> None:
    """GTT may promise more."""
    root = cards(tmp_path / "class" / "drm", amd("0x1586", 512, 0, 122880))
    limit = tmp_path / "module" / "ttm" / "parameters" / "pages_limit"
    limit.parent.mkdir(parents=True)
    limit.write_text(f"{32768 * MIB // 4096}\n")
    ((device,), _) = drm_scan(root, memory=RAM, environment={})
    assert device.total_bytes == 32768 * MIB


def test_an_intel_card_that_tells_nothing_is_told(tmp_path: Path) -> None:
    """An older kernel's xe; it is no integrated GPU."""
    shown, (silent,) = drm_scan(
        cards(tmp_path, {"device/vendor": "0x8086", "device/device": "0xe20b"}),
        memory=RAM,
        environment={},
    )
    assert (shown, silent.reason, silent.on_purpose) == (
        [],
        "its driver does not tell its memory",
        False,
    )


@pytest.mark.parametrize(
    ("environment", "beside", "totals"),
    [
        ({}, False, [24560, 20464]),
        ({"HIP_VISIBLE_DEVICES": "1"}, False, [20464]),
        ({"HIP_VISIBLE_DEVICES": "1,0"}, False, [20464, 24560]),
        ({"HIP_VISIBLE_DEVICES": ""}, False, []),
        ({"HIP_VISIBLE_DEVICES": "-1"}, False, []),
        ({"ROCR_VISIBLE_DEVICES": "1"}, False, [20464]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-aaaa0001"}, False, [24560]),
        (
            {"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "0"},
            False,
            [20464],
        ),  # HIP counts what ROCr left
        ({"CUDA_VISIBLE_DEVICES": "0"}, False, [24560]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, True, [24560, 20464]),  # that one is NVIDIA's
    ],
)
def test_rocm_s_variables_are_obeyed(
    tmp_path: Path, environment: dict[str, str], beside: bool, totals: list[int]
) -> None:
    """What is hidden is told, as meant."""
    root = cards(tmp_path, XTX, amd("0x744c", 20464, 0, 64000, unique_id="bbbb0002"))
    shown, silent = drm_scan(root, memory=RAM, environment=environment, beside_nvidia=beside)
    assert [d.total_bytes // MIB for d in shown] == totals
    assert len(silent) == 2 - len(totals)
    assert all(device.on_purpose for device in silent)


@pytest.mark.parametrize(
    ("metal", "wired", "gib", "mib", "source"),
    [
        (53084 * MIB, None, 64, 53084, "Metal"),
        (None, "60000", 64, 60000, "iogpu.wired_limit_mb"),
        (None, "0", 64, 53084, "unified memory"),
        (None, None, 16, 12123, "unified memory"),
    ],
)
def test_a_mac_is_asked_itself(
    monkeypatch: pytest.MonkeyPatch,
    metal: int | None,
    wired: str | None,
    gib: int,
    mib: int,
    source: str,
) -> None:
    """Metal first, then what was set by hand, then the figure that a named Mac gets."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(apple, "_metal", lambda: metal)
    monkeypatch.setattr(
        apple,
        "sysctl",
        {"machdep.cpu.brand_string": "Apple M4 Max", "iogpu.wired_limit_mb": wired}.get,
    )
    (device,) = apple.apple(Memory(total_bytes=gib * GIB, available_bytes=gib * GIB))
    assert (device.name, device.total_bytes, device.free_bytes, device.source) == (
        "Apple M4 Max",
        mib * MIB,
        mib * MIB,
        source,
    )
    assert device.unified


def machine_with(devices: tuple[Device, ...], **more: object) -> Machine:
    """A machine with these devices."""
    cpu = Cpu(
        model="Test",
        architecture="x86_64",
        physical_cores=8,
        logical_cores=16,
        usable_cores=16,
        threads=8,
        instruction_sets=(),
    )
    return Machine(system="Linux x86_64", cpu=cpu, memory=RAM, devices=devices, **more)  # type: ignore[arg-type]


def test_graphics_inside_a_processor_change_neither_class_nor_ledger(tmp_path: Path) -> None:
    """A PC without a card is what its RAM is, until the engine tells that it uses the graphics."""
    plain = machine_with(())
    (graphics,), _ = drm_scan(
        cards(tmp_path, {"device/vendor": "0x8086", "device/device": "0x64a0"}),
        memory=RAM,
        environment={},
    )
    machine = machine_with((graphics,))
    assert (machine.size_class, machine.fingerprint, machine.has_gpu) == (
        plain.size_class,
        plain.fingerprint,
        False,
    )
    assert hardware_of(machine, uses_gpu=True).accelerators == (graphics,)


def test_what_cannot_be_asked_is_printed(driver: Callable[..., None]) -> None:
    """In `hakaru hardware`, with the reason."""
    driver(R3090, Gpu(name="", lost=True))
    devices, silent = all_devices(RAM, {})
    lines = "\n".join(describe(machine_with(devices, silent_devices=silent)))
    assert "GPU        NVIDIA GeForce RTX 3090: 23.90 GiB free of 24.00 GiB (NVML)" in lines
    assert "GPU        NVIDIA GPU 1: not planned with (GPU is lost)" in lines
    assert "Threads    8, for the lab and the server alike (one for each performance core)" in lines
