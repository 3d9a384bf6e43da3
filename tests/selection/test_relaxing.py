"""Where nothing meets every condition, each change that is told is enough, and no more than
enough.
"""

from typing import Any

import pytest
from msgspec.structs import replace

from hakaru.hardware.machine import Hardware, named_ram
from hakaru.hardware.named_machine import parse_hardware
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.selection import judging, relaxing
from hakaru.selection.conditions import Conditions, conditions_of
from hakaru.selection.contender import Contender
from hakaru.selection.judging import Where, contender_of
from hakaru.selection.relaxing import Relaxation, relaxations
from hakaru.selection.row_speeds import speeds
from hakaru.selection.searching import search

MODELS = [m for m in known_models() if m.id in {"qwen3-8b", "gemma-3-12b-it", "gemma-4-31b-it"}]


def where(hardware: Hardware) -> Where:
    return Where(hardware=hardware, predict=speeds)


def ways(conditions: Conditions, hardware: Hardware) -> dict[str, Relaxation]:
    assert not search(conditions, where(hardware), MODELS).contenders
    return {way.field: way for way in relaxations(conditions, where(hardware), MODELS)}


def has_row(conditions: Conditions, hardware: Hardware) -> bool:
    return bool(search(conditions, where(hardware), MODELS).contenders)


def test_a_speed_that_no_row_reaches() -> None:
    """The fastest row of all types, to a tenth; a tenth more is too much."""
    hardware, asked = parse_hardware("RTX 3060 12GB"), conditions_of("chat", min_speed=500)
    way = ways(asked, hardware)["min_speed"]
    assert isinstance(way.enough, float) and way.asked == 500
    assert has_row(conditions_of("chat", min_speed=way.enough), hardware)
    assert not has_row(conditions_of("chat", min_speed=way.enough + 0.1), hardware)


def test_a_context_that_no_memory_holds() -> None:
    """The longest that has a row, to 256 tokens; users and memory are told, too."""
    hardware, asked = parse_hardware("RTX 3060 12GB"), conditions_of("chat", n_ctx=40960, users=8)
    found = ways(asked, hardware)
    longest, most, memory = (found[f].enough for f in ("n_ctx", "users", "memory"))
    assert isinstance(longest, int) and isinstance(most, int) and isinstance(memory, int)
    assert has_row(replace(asked, n_ctx=longest), hardware)
    assert not has_row(replace(asked, n_ctx=longest + 256), hardware)
    for users, expected in ((most, True), (most + 1, False)):
        traffic = replace(asked.traffic, users=users)
        assert has_row(replace(asked, traffic=traffic), hardware) == expected
    assert memory > hardware.usable_bytes


def test_a_licence_is_one_of_the_changes() -> None:
    """Where the only model that fits is not open."""
    gemma = [m for m in MODELS if m.id == "gemma-3-12b-it"]
    asked = conditions_of("chat", license="open")
    found = relaxations(asked, where(parse_hardware("RTX 4090")), gemma)
    assert [(way.field, way.enough, way.model) for way in found] == [
        ("license", "any", "gemma-3-12b-it")
    ]


def test_memory_that_is_too_small_by_a_part() -> None:
    """The least memory is told to a sixty-fourth of what there is."""
    tiny = Hardware(accelerators=(), ram=named_ram(2 * 2**30))
    way = ways(conditions_of("chat"), tiny)["memory"]
    assert isinstance(way.enough, int)
    step = 2 * 2**30 // 64
    assert has_row(conditions_of("chat"), replace(tiny, ram=named_ram(way.enough)))
    assert not has_row(conditions_of("chat"), replace(tiny, ram=named_ram(way.enough - step)))


@pytest.mark.parametrize("first_token_s", [0.001, 0.01])
def test_a_first_word_that_comes_too_late(first_token_s: float) -> None:
    """The earliest that there is."""
    hardware = parse_hardware("RTX 3060 12GB")
    way = ways(conditions_of("chat", first_token_s=first_token_s), hardware)["first_token_s"]
    assert isinstance(way.enough, float)
    assert has_row(conditions_of("chat", first_token_s=way.enough), hardware)


def test_what_no_device_reaches_is_not_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where both a speed and a first word are asked for that physics rules out, nor more
    than once for each model where nobody knows how fast the machine is.
    """
    placed = list[str]()

    def counted(model: KnownModel, *args: Any) -> Contender | None:
        placed.append(model.id)
        return contender_of(model, *args)

    for module in (judging, relaxing):
        monkeypatch.setattr(module, "contender_of", counted)
    asked = conditions_of("chat", min_speed=100_000, first_token_s=0.0001)
    card = Hardware(
        accelerators=parse_hardware("RTX 3060 12GB").accelerators, ram=named_ram(32 * 2**30)
    )
    assert ways(asked, card) == {} and not placed
    unknown = where(Hardware(accelerators=(), ram=named_ram(64 * 2**30)))
    found = search(conditions_of("chat", min_speed=5), unknown, MODELS)
    assert found.left_out == {"speed_unknown": 3} and sorted(placed) == sorted(
        model.id for model in MODELS
    )
    timed = replace(unknown, is_timed=True)
    assert search(conditions_of("chat", min_speed=5), timed, MODELS).left_out == found.left_out
    assert len(placed) > 6  # a smaller type may have been timed
