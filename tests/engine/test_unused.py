"""A GPU that the engine cannot use and vectors that the wheel was not compiled for are never
silent.
"""

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from hakaru.cli import run
from hakaru.engine.builds import Build
from hakaru.engine.devices import EngineDevice
from hakaru.engine.unused import idle_gpu, narrow_vectors
from hakaru.hardware.machine import Device, Machine, Vendor
from hakaru.language import use_language
from old_ledger import MACHINE

ROOT = Path(__file__).parents[2]
WHEEL = Build(name="wheel", identity="xllamacpp 1", version="1", backend=None, library=None)
NATIVE = replace(WHEEL, name="native-cpu", backend="cpu")


def with_card(vendor: Vendor, *, unified: bool = False) -> Machine:
    card = Device(
        name="A card", vendor=vendor, total_bytes=2**34, free_bytes=2**34, unified=unified
    )
    return replace(MACHINE, devices=(card,))


def with_vectors(*sets: str) -> Machine:
    return replace(MACHINE, devices=(), cpu=replace(MACHINE.cpu, instruction_sets=sets))


@pytest.mark.parametrize(
    ("vendor", "index"),
    [("nvidia", "whl/cu128 "), ("amd", "whl/rocm-7.2.4 "), ("intel", "whl/vulkan ")],
)
def test_the_maker_of_a_card_decides_which_wheel_is_named(vendor: Vendor, index: str) -> None:
    """With the whole command, in both languages."""
    said = idle_gpu(with_card(vendor))
    assert said.startswith(
        "A card is here, but the engine computes on the processor alone. To use it: pip install "
        "xllamacpp=="
    )
    assert index in said
    use_language("ja")
    assert index.strip() in idle_gpu(with_card(vendor))


def test_apple_s_wheel_is_the_usual_one() -> None:
    """There is no other to name."""
    assert "make" in idle_gpu(with_card("apple", unified=True))
    assert "index" not in idle_gpu(with_card("apple", unified=True))


def test_wide_vectors_are_told_where_the_wheel_computes_on_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not of a native build, not beside a GPU, not without AVX-512, not on Apple's system."""
    monkeypatch.setattr("platform.system", lambda: "Linux")
    wide = with_vectors("avx2", "avx512f")
    said = narrow_vectors(wide, WHEEL)
    assert said is not None
    assert "up to twice as fast (F16; Q4_1 no faster)" in said
    row = re.search(r"reading prompts(.*)", (ROOT / "docs" / "engine.md").read_text("utf-8"))
    assert row
    first, *_, last = re.findall(r"\d\.\d+", row[1])  # F16 … Q4_1, the wheel over a native build
    assert 2.0 <= 1 / float(first) < 2.2 and float(last) >= 1
    assert said.endswith("hakaru engine build")
    assert narrow_vectors(wide, NATIVE) is None
    assert narrow_vectors(with_vectors("avx2"), WHEEL) is None
    assert narrow_vectors(replace(wide, devices=with_card("nvidia").devices), WHEEL) is None
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert narrow_vectors(wide, WHEEL) is None


@pytest.mark.parametrize("can", [True, False])
def test_doctor_says_whether_the_engine_can_use_the_gpu(
    can: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By what the build itself lists."""
    card = EngineDevice(name="CUDA0", description="NVIDIA L4", total_bytes=2**34, free_bytes=2**34)
    monkeypatch.setattr("hakaru.session.probe_machine", lambda: with_card("nvidia"))
    monkeypatch.setattr("hakaru.planning.checkup.devices_of", lambda build: [card] if can else [])
    assert run(["doctor"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert ("The engine can use: NVIDIA L4." in out) == can
    assert ("A card is here, but the engine computes on the processor alone." in out) != can
    assert run(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["engine_devices"] == (["NVIDIA L4"] if can else [])
