"""Speed beside other work is taken again, and marked where the machine stays busy; several users
and long contexts.
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from hakaru.engine.server import EngineServer
from hakaru.evaluation import speed
from hakaru.evaluation import timing as timing_module
from hakaru.evaluation.speed import (
    RETRIES,
    Point,
    Speed,
    measure_depths,
    measure_speed,
    measure_users,
)
from hakaru.evaluation.timing import Timing
from hakaru.hardware.busy import Clock, Others, read_clock
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.planning.timed_here import power_here, timed_files
from hakaru.session import Session
from hakaru.testing import write_tiny_llama
from hakaru.units import Figure

pytestmark = pytest.mark.alone

EMPTY = Footprint(
    source="measured", weights_bytes=1, kv_cache_bytes=0, compute_bytes=0, output_bytes=0
)


class Server:
    """A server that is only asked for its process and its context."""

    engine_pid = 0
    settings = ContextSettings(n_ctx=4096)

    class log:  # noqa: N801  # stands for an attribute
        @staticmethod
        def context_per_slot() -> int:
            return 4096

        @staticmethod
        def accelerator_bytes() -> int:
            return 0

        @staticmethod
        def footprint() -> Footprint:
            return EMPTY

    @staticmethod
    def client() -> Any:
        return nullcontext()


class Served(Server):
    """One that also tells what it takes."""

    @staticmethod
    def peak_rss_bytes() -> int:
        return 1


class OnGpu(Server):
    """The same with its weights on a GPU."""

    class log(Server.log):  # noqa: N801  # stands for an attribute
        @staticmethod
        def accelerator_bytes() -> int:
            return 1


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Answers without an engine; the list grows with every prompt's length."""
    asked: list[int] = []

    def one(server: object, client: object, prompt: list[int]) -> dict[str, float]:
        asked.append(len(prompt))
        return {
            "decode": 10.0 + len(asked),
            "prefill": 100.0,
            "first": 5.0,
            "first_at": 0.0,
            "last_at": 4.7,
        }

    monkeypatch.setattr(speed, "_one", one)
    return asked


def others(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """Each sample finds others so busy; the last value stays."""
    readings: list[Clock] = []
    for i in range(200):
        value = values[min(i, len(values) - 1)]
        readings += [
            Clock(at=0.0, system_s=0.0, ours_s=0.0),
            Clock(at=1.0, system_s=value + 2, ours_s=2.0),
        ]
    clocks = iter(readings)
    monkeypatch.setattr(speed, "read_clock", lambda pids: next(clocks))


def test_others_are_what_the_system_took_and_we_did_not() -> None:
    """By hand: 3 of 4 seconds of two processors were ours."""
    before = Clock(at=10.0, system_s=100.0, ours_s=40.0)
    assert Clock(at=12.0, system_s=104.0, ours_s=43.0).others_since(before) == 0.5
    assert Clock(at=12.0, system_s=102.0, ours_s=43.0).others_since(before) == 0.0
    assert read_clock([0, 2**22 + 1]).ours_s > 0


def test_a_sample_beside_other_work_is_taken_again(
    monkeypatch: pytest.MonkeyPatch, answers: list[int]
) -> None:
    """Two busy samples, then quiet: four samples count, six were taken beside the warm-up, and
    nothing is marked.
    """
    others(monkeypatch, 1.0, 0.9, 0.0)
    found = measure_speed(Server(), n_vocab=100, repeats=4)  # type: ignore[arg-type]  # a stand-in
    assert len(answers) == 1 + 2 + 4
    assert (found.is_contended, found.repeats) == (False, 4)
    assert found.decode_tokens_per_s.lowest == 10 + 4


def test_a_machine_that_stays_busy_is_marked(
    monkeypatch: pytest.MonkeyPatch, answers: list[int], tmp_path: Path
) -> None:
    """The speed is told, says how busy others were, and nobody remembers it."""
    others(monkeypatch, 0.7)
    found = measure_speed(Server(), n_vocab=100, repeats=3)  # type: ignore[arg-type]  # a stand-in
    assert len(answers) == 1 + RETRIES + 3
    assert found.is_contended
    assert found.others == Others(processors=0.7)
    assert Speed.from_json(found.as_json()) == found


@pytest.mark.parametrize(
    ("loads", "looks", "busiest", "contended"),
    [
        ([0.05], 2, 0.05, False),  # a desktop is drawn
        ([0.9, 0.9, 0.0], 4, 0.0, False),  # somebody was about to end
        ([0.0, 0.6], 2, 0.6, True),  # and somebody began
        ([0.6], 2 + RETRIES, 0.6, True),
        ([None], 2, None, False),  # the driver does not tell
    ],
)
def test_a_gpu_that_others_use_is_marked(
    monkeypatch: pytest.MonkeyPatch,
    answers: list[int],
    loads: list[float | None],
    looks: int,
    busiest: float | None,
    contended: bool,
) -> None:
    """It is looked at before and after the samples, while ours waits; where it is busy before,
    again. On a processor nobody looks.
    """
    others(monkeypatch, 0.0)
    looked: list[int] = []

    def look(pid: int) -> float | None:
        looked.append(pid)
        return loads[min(len(looked), len(loads)) - 1]

    monkeypatch.setattr(speed, "gpu_of_others", look)
    found = measure_speed(OnGpu(), n_vocab=100, repeats=2)  # type: ignore[arg-type]  # a stand-in
    assert (len(looked), found.others.gpu, found.is_contended) == (looks, busiest, contended)
    assert Speed.from_json(found.as_json()) == found
    measure_speed(Server(), n_vocab=100, repeats=2)  # type: ignore[arg-type]  # a stand-in
    assert len(looked) == looks


def test_depths_that_take_too_long_or_do_not_fit_are_left_out(
    monkeypatch: pytest.MonkeyPatch, answers: list[int]
) -> None:
    """2,048 tokens fit into 4,096, 8,192 do not; and at 10 tokens per second nobody waits for
    either.
    """
    others(monkeypatch, 0.0)
    base = measure_speed(Server(), n_vocab=100, repeats=1)  # type: ignore[arg-type]  # a stand-in
    points = measure_depths(Server(), base, n_vocab=100)  # type: ignore[arg-type]  # a stand-in
    assert [(p.depth, p.users) for p in points] == [(2048, 1)]
    assert answers[-1] == 2048
    slow = Speed.from_json(
        {
            **base.as_json(),
            "prefill_tokens_per_s": {**base.prefill_tokens_per_s.as_json(), "value": 10.0},
        }
    )
    assert measure_depths(Server(), slow, n_vocab=100) == []  # type: ignore[arg-type]  # a stand-in


def test_a_load_beside_other_work_is_marked_and_not_remembered(
    monkeypatch: pytest.MonkeyPatch, answers: list[int], tmp_path: Path
) -> None:
    """And with `again` a remembered one is measured anew."""
    model, ledger = (
        read_model(write_tiny_llama(tmp_path / "tiny.gguf")),
        Ledger(tmp_path / "ledger.sqlite"),
    )
    monkeypatch.setattr(timing_module, "served", lambda *_, **__: nullcontext(Server()))
    timing, settings = (
        Timing(session=Session(machine=probe_machine(), ledger=ledger)),
        ContextSettings(n_ctx=4096),
    )
    others(monkeypatch, 0.0)
    quiet = measure_speed(Server(), n_vocab=100, repeats=1)  # type: ignore[arg-type]  # a stand-in
    for busy, remembered, again in ((0.7, False, False), (0.0, True, False), (0.7, True, True)):
        others(monkeypatch, busy)
        asker = Timing(session=timing.session, again=again)
        points = asker.loads(model, settings, quiet)
        assert [p.is_contended for p in points] == [busy > 0] * len(points)
        assert [Point.from_json(p.as_json()) for p in points] == points
        answers.clear()
        assert [p.is_contended for p in timing.loads(model, settings, quiet)] == [
            busy > 0 and not remembered
        ] * len(points)
        assert bool(answers) != remembered


def test_again_times_every_cache_anew(
    monkeypatch: pytest.MonkeyPatch, answers: list[int], tmp_path: Path
) -> None:
    """Once each: that the file was timed with one cache says nothing of it with another."""
    model, ledger = (
        read_model(write_tiny_llama(tmp_path / "tiny.gguf")),
        Ledger(tmp_path / "ledger.sqlite"),
    )
    usual, small = (
        ContextSettings(n_ctx=256),
        ContextSettings(n_ctx=256, type_k="q8_0", type_v="q8_0"),
    )
    timed: list[ContextSettings] = []

    def serve(session: Session, model: Model, settings: ContextSettings, **_: object) -> Any:
        timed.append(settings)
        return nullcontext(Served())

    others(monkeypatch, 0.0)
    for name, value in {"served": serve, "remember_load": lambda *_, **__: None}.items():
        monkeypatch.setattr(timing_module, name, value)
    session = Session(machine=probe_machine(), ledger=ledger)
    Timing(session=session).trial(model, small)
    again = Timing(session=session, again=True)
    for settings in (usual, small, usual, small):
        again.trial(model, settings)
    assert timed == [small, usual, small]


@pytest.mark.engine
def test_several_users_are_served_together(tmp_path: Path) -> None:
    """Through the real server: each count of users has its rate, and what a point says survives the
    ledger.
    """
    tiny = write_tiny_llama(tmp_path / "tiny.gguf")
    model = read_model(tiny)
    settings = ContextSettings(n_ctx=4 * 256, n_parallel=4)
    with EngineServer(tiny, settings) as server:
        points = measure_users(server, n_vocab=model.shape.n_vocab)
    assert [(p.depth, p.users) for p in points] == [(0, 1), (0, 2), (0, 4)]
    assert all(p.decode_tokens_per_s.lowest > 0 and p.first_token_ms.lowest > 0 for p in points)
    assert [Point.from_json(p.as_json()) for p in points] == points


@pytest.mark.engine
def test_a_contended_trial_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next one measures again; a quiet one is recalled, and tells the machine's pace."""
    model, ledger = (
        read_model(write_tiny_llama(tmp_path / "tiny.gguf")),
        Ledger(tmp_path / "ledger.sqlite"),
    )
    timing, settings = (
        Timing(session=Session(machine=probe_machine(), ledger=ledger)),
        ContextSettings(n_ctx=256),
    )
    others(monkeypatch, 1.0)
    assert timing.trial(model, settings, repeats=1).speed.is_contended
    assert timing.known_trial(ledger.model_sha256(model), settings, repeats=1) is None
    assert timed_files(timing.session.ledger, timing.session.machine) == []
    others(monkeypatch, 0.0)
    assert not timing.trial(model, settings, repeats=1).speed.is_contended
    assert timing.known_trial(ledger.model_sha256(model), settings, repeats=1)
    assert len(timed_files(timing.session.ledger, timing.session.machine)) == 1


def test_the_power_of_a_quiet_timing_is_remembered(
    monkeypatch: pytest.MonkeyPatch, tiny: Path, session_with: Callable[..., Session]
) -> None:
    """Joules of an answer by the seconds that it takes: 128 tokens at 64 tokens/s and 48 at 12 are
    6 s; 180 J in 6 s are 30 W. Beside other work nothing is remembered, and where no counter tells.
    """

    def figure(value: float, unit: str) -> Figure:
        return Figure(value=value, unit=unit, source="measured")

    timed = Speed(
        decode_tokens_per_s=figure(12, "tokens/s"), prefill_tokens_per_s=figure(64, "tokens/s"),
        first_token_ms=figure(9, "ms"), n_prompt=128, n_predict=48, repeats=1,
        energy_j=figure(180, "J"),
    )  # fmt: skip
    assert timed.watts == 30 and replace(timed, energy_j=None).watts is None
    session, model = session_with(), read_model(tiny)
    log = SimpleNamespace(accelerator_bytes=dict, footprint=lambda: EMPTY)
    server = SimpleNamespace(log=log, peak_rss_bytes=lambda: 1)
    monkeypatch.setattr(timing_module, "served", lambda *_: nullcontext(server))
    for speed_now, watts in (
        (replace(timed, others=Others(processors=3.0)), None),
        (replace(timed, energy_j=None), None),
        (timed, 30),
    ):
        monkeypatch.setattr(timing_module, "measure_speed", lambda *_, found=speed_now, **__: found)
        Timing(session=session, again=True, teaches_memory=False).trial(
            model, ContextSettings(n_ctx=256)
        )
        power = power_here(session.ledger, session.machine, on_gpu=False)
        assert (power and power.value) == watts
