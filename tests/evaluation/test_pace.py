"""Seconds per byte are found again from speeds that they made, and a proposal that is too slow
gives way to a faster one.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from hakaru.errors import DoesNotFit
from hakaru.evaluation.pace import TypeSpeeds, fit_paces, fit_speeds
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.planning.timed_file import TimedFile
from hakaru.planning.token_work import part_read
from hakaru.quantization.allocate import Allocation, Limits, allocate
from hakaru.quantization.hull import Choice, Item
from hakaru.quantization.speed_search import fast_enough
from hakaru.quantization.study.recipe_speed import recipe_speed
from hakaru.quantization.study.study import Study
from hakaru.session import Session
from hakaru.testing import tiny_hyperparameters, write_tiny
from hakaru.units import Figure

pytestmark = pytest.mark.alone

SETTINGS = ContextSettings(n_ctx=512, n_ubatch=512, type_k="f16", type_v="f16", n_parallel=1)


def test_rates_are_found_again(tmp_path: Path) -> None:
    """Three types, from five recipes whose speeds follow from them. What every token costs beside
    is in any whole recipe's speed.
    """
    model = read_model(write_tiny(tmp_path / "m.gguf", tiny_hyperparameters("llama"), tied=False))
    tensors = [t for t in model.tensors if len(t.shape) > 1]
    rates = {"Q8_0": 2e-9, "Q4_K": 5e-9, "Q4_0": 1e-9}
    random = np.random.default_rng(0)
    recipes: list[Mapping[str, str]] = [
        dict.fromkeys((t.name for t in tensors), type_) for type_ in rates
    ]
    recipes += [{t.name: str(random.choice(list(rates))) for t in tensors} for _ in range(2)]
    seconds = TypeSpeeds(rates=rates).seconds(tensors, model.shape)

    def taken(by_type: Mapping[str, Mapping[str, float]], recipe: Mapping[str, str]) -> float:
        return sum(by_type[name][type_] for name, type_ in recipe.items())

    found = fit_speeds(
        tensors, model.shape, recipes, [1 / taken(seconds, recipe) for recipe in recipes]
    )
    assert found.rates == pytest.approx(rates, rel=1e-6)
    slower = fit_speeds(
        tensors, model.shape, recipes, [1 / (3e-4 + taken(seconds, recipe)) for recipe in recipes]
    )
    predicted = slower.seconds(tensors, model.shape)
    assert [taken(predicted, r) for r in recipes] == pytest.approx(
        [3e-4 + taken(seconds, r) for r in recipes], rel=1e-6
    )


def test_a_token_reads_the_experts_in_use_and_one_row_of_the_embedding(tmp_path: Path) -> None:
    """Two of four experts; a tied embedding is the output matrix and is read whole."""
    model = read_model(
        write_tiny(
            tmp_path / "m.gguf",
            tiny_hyperparameters("llama", expert_count=4, expert_used_count=2),
            tied=False,
        )
    )
    by_name = {t.name: t for t in model.tensors}
    embedding = by_name["token_embd.weight"]
    assert part_read(by_name["blk.0.ffn_up_exps.weight"], model.shape, is_tied=False) == 0.5
    assert part_read(by_name["blk.0.attn_q.weight"], model.shape, is_tied=False) == 1
    assert part_read(embedding, model.shape, is_tied=False) == 1 / embedding.shape[1]
    assert part_read(embedding, model.shape, is_tied=True) == 1


def measured_speed(types: Mapping[str, str]) -> Figure:
    """The speed on a machine that is a fifth slower than the rates say."""
    value = 1 / (1.2 * sum(SECONDS[type_] for type_ in types.values()))
    return Figure(value=value, unit="tokens/s", source="measured")


SECONDS = {"Q8_0": 0.02, "Q5_0": 0.014, "Q4_0": 0.01}
ITEMS = [
    Item(
        name=f"blk.{i}.w",
        choices=tuple(
            Choice(type=type_, n_bytes=n, damage=(i + 1) * damage, seconds=SECONDS[type_])
            for type_, n, damage in (("Q8_0", 34, 1.0), ("Q5_0", 22, 4.0), ("Q4_0", 18, 9.0))
        ),
    )
    for i in range(10)
]


def allocated(max_seconds: float) -> Allocation:
    """The best mix of at most so many seconds per token."""
    return allocate(ITEMS, 10_000, limits=Limits(max_seconds=max_seconds))


def test_a_mix_that_is_measured_too_slow_gives_way_to_a_faster_one() -> None:
    """The rates promise 6 tokens/s, the measurement says 5: the next proposal may take a fifth
    less.
    """
    timed = []

    def decoded(types: Mapping[str, str]) -> Figure:
        timed.append(types)
        return measured_speed(types)

    found, speed = fast_enough(allocated(1 / 6), 6, decoded=decoded, within=allocated)
    assert speed.value >= 6
    assert len(timed) > 1
    assert sum(SECONDS[type_] for type_ in found.types.values()) <= 1 / 6 / 1.2


def test_a_speed_that_no_mix_reaches_is_said_with_the_fastest_one() -> None:
    """All in Q4_0 gives 8.3 tokens/s."""
    with pytest.raises(
        DoesNotFit, match=r"decodes 8\.3 tokens per second here, expected at least 9\.9"
    ):
        fast_enough(allocated(1 / 9.9), 9.9, decoded=measured_speed, within=allocated)


@pytest.mark.engine
def test_a_recipe_is_timed_through_the_server_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figure is measured and remembered, and nothing is left of the file."""
    monkeypatch.setattr("hakaru.hardware.busy.Others.matter", False)  # else it is not remembered
    monkeypatch.setattr("hakaru.evaluation.losses.gather_windows", lambda *_, **__: [])
    ledger = Ledger(tmp_path / "ledger.sqlite")
    session = Session(machine=probe_machine(), ledger=ledger)
    study = Study(session, read_model(tiny), "quick")
    types = {t.name: "Q8_0" for t in study.tensors}
    speed = recipe_speed(study, types, None, SETTINGS)
    assert (speed.unit, speed.source, speed.value > 0) == ("tokens/s", "measured", True)
    assert recipe_speed(study, types, None, SETTINGS) == speed
    assert not list(tmp_path.rglob("trial-*"))


def test_the_pace_of_other_files_predicts_a_new_one() -> None:
    """Files of several types with 10% of noise: a mix of them lies within its interval, a type
    that none held has the usual rate, and more files make the interval narrower.
    """
    random = np.random.default_rng(1)
    truth = {"Q8_0": 1e-10, "Q4_K": 2e-10, "Q6_K": 1.5e-10}
    paces = []
    for _ in range(8):
        read = {type_: float(random.uniform(0, 1e8)) for type_ in truth}
        seconds = sum(n * truth[type_] for type_, n in read.items()) * float(
            np.exp(random.normal(0, 0.1))
        )
        paces.append(TimedFile(read=read, seconds=seconds))
    new = {"Q8_0": 2e7, "Q4_K": 7e7, "Q6_K": 1e7}
    real = 1 / sum(n * truth[type_] for type_, n in new.items())
    few, many = fit_paces(paces[:1]).predict(new), fit_paces(paces).predict(new)
    for figure in (few, many):
        assert figure.low is not None and figure.high is not None
        assert figure.low < real < figure.high
        assert figure.source == "computed"
    assert many.highest / many.lowest < few.highest / few.lowest
    assert abs(many.value / real - 1) < 0.15
    assert fit_paces(paces).predict({"Q2_K": 1e8}).value == pytest.approx(
        1 / (1e8 * (fit_paces(paces).usual or 0))
    )
