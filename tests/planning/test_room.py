"""What the weights may take on each device so that a model fits."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from hakaru.errors import DoesNotFit
from hakaru.hardware.machine import Hardware, named_ram
from hakaru.hardware.named_machine import parse_hardware
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import known_models
from hakaru.models.model import Model, as_preset, read_model, with_types
from hakaru.planning.budget import room_for_weights
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task, placement
from hakaru.planning.search import place
from hakaru.testing import write_header

SETTINGS = ContextSettings(n_ctx=8192)


def header(folder: Path, id_: str) -> Model:
    known = next(m for m in known_models() if m.id == id_)
    return read_model(
        write_header(
            folder / f"{id_}.gguf", known.metadata(), n_vocab=known.n_vocab, tied=known.tied
        )
    )


@pytest.fixture
def qwen(tmp_path: Path) -> Model:
    return header(tmp_path, "qwen3-14b")


def test_what_fits_the_room_fits_the_card(qwen: Model) -> None:
    """A preset within the room fits, one beyond it does not, and the planner says the same."""
    card = parse_hardware("12GiB")
    room = room_for_weights(qwen, card, SETTINGS)
    for preset, fits in (("Q4_K_M", True), ("Q8_0", False)):
        variant = as_preset(qwen, preset)
        task = Task(
            load=load_of(variant.loaded, qwen.shape.n_layer), shape=qwen.shape, settings=SETTINGS
        )
        within = all(n <= room.device_bytes[name] for name, n in room.used_bytes(variant).items())
        assert (within, room.holds(variant), place(task, card).verdict == "fits") == (
            fits,
            fits,
            fits,
        )


@pytest.mark.parametrize("hardware", ["12GiB", "2x L4", "8GiB + 12GiB", "RAM"])
@pytest.mark.parametrize(
    "id_",
    ["qwen3-14b", "gemma-3-4b-it", "llama-3.2-1b-instruct", "gemma-4-12b-it", "qwen3-30b-a3b"],
)
def test_every_byte_is_counted_where_the_planner_counts_it(
    tmp_path: Path, id_: str, hardware: str
) -> None:
    """Tied heads, several devices, unequal ones, and no accelerator at all."""
    if hardware == "RAM":
        there = Hardware(accelerators=(), ram=named_ram(12 * 2**30))
    else:
        there = replace(parse_hardware(hardware), ram=named_ram(32 * 2**30))
    model = as_preset(header(tmp_path, id_), "Q4_K_M")
    room = room_for_weights(model, there, SETTINGS)
    task = Task(
        load=load_of(model.loaded, model.shape.n_layer), shape=model.shape, settings=SETTINGS
    )
    placed = placement(task, there, room.layout)
    shares = [share.weights_bytes for share in (*placed.shares, placed.ram) if share.weights_bytes]
    assert list(room.used_bytes(model).values()) == shares


def test_the_room_is_exact(qwen: Model) -> None:
    """One tensor more on the fullest device than it has room for, and the planner says no."""
    there = parse_hardware("2x L4")
    room = room_for_weights(qwen, there, SETTINGS)
    model = as_preset(qwen, "Q8_0")
    device, names = (
        next(iter(room.device_bytes)),
        [t.name for t in model.tensors if "ffn_" in t.name and "norm" not in t.name],
    )
    on_it = [name for name in names if room.devices_of[name] == (device,)]
    types: dict[str, str] = {}
    assert room.holds(model)
    for name in on_it:
        types[name] = "F32"
        variant = with_types(model, types)
        assert room.holds(variant) == (
            room.used_bytes(variant)[device] <= room.device_bytes[device]
        )
    assert not room.holds(with_types(model, types))


def test_a_longer_context_leaves_less_for_weights(qwen: Model) -> None:
    """And one that fills the card leaves nothing."""
    card = parse_hardware("12GiB")
    short, long = (
        room_for_weights(qwen, card, ContextSettings(n_ctx=n)).total_bytes for n in (4096, 32768)
    )
    assert long < short
    with pytest.raises(DoesNotFit, match="no file of this model fits there with 131,072 tokens"):
        room_for_weights(qwen, card, ContextSettings(n_ctx=131072))


def test_a_stranger_s_memory_is_not_guessed(qwen: Model) -> None:
    """Without arithmetic there is no room from a machine."""
    with pytest.raises(DoesNotFit, match="no arithmetic"):
        room_for_weights(
            replace(qwen, shape=replace(qwen.shape, caches=None)),
            parse_hardware("12GiB"),
            ContextSettings(n_ctx=256),
        )
