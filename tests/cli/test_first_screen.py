"""The first screen of `up`: it fits, explains itself, gives real reasons and ends in a command."""

import io
import shlex
from pathlib import Path

import click
import pytest
from msgspec.structs import replace

from as_typed import typed
from decisions import decision_of_every_state, figure, level
from hakaru.choosing.candidate import Candidate
from hakaru.choosing.decision import Decision
from hakaru.choosing.opening import opening
from hakaru.choosing.replay import Replay
from hakaru.cli import run
from hakaru.cli.app import app
from hakaru.cli.output import print_text
from hakaru.cli.paste import pasted
from hakaru.cli.tell.decision_table import decision_table, legend
from hakaru.cli.tell.reasons import reasons, why_taken
from hakaru.cli.tell.tune import print_decision
from hakaru.cli.tell.ways_on import after_replay, next_command, way_out
from hakaru.cli.wrapping import cells_of
from hakaru.errors import Misuse
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.tiers import TIERS
from hakaru.language import use_language
from hakaru.memory.settings import ContextSettings
from hakaru.planning.speed_figures import Basis, PredictedSpeed, SpeedPrediction
from hakaru.units import Figure

SPEED = SpeedPrediction(
    depth=0, decode=PredictedSpeed(value=57.3, low=50, high=65, basis=Basis(n_timed=3))
)


@pytest.fixture
def decision(tmp_path: Path) -> Decision:
    return decision_of_every_state(tmp_path)


def of(decision: Decision, *candidates: Candidate, chosen: Candidate | None) -> Decision:
    return replace(decision, candidates=candidates, chosen=chosen)


class Terminal(io.StringIO):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_no_line_is_wider_than_the_terminal(
    decision: Decision, language: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both languages; a level stays on one line, and nothing ends in a blank."""
    use_language(language)
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    machine, model, settings = decision.machine, decision.model, decision.settings
    for line in opening(machine, model, settings, decision.constraints, SPEED):
        print_text(line)
    print_decision(decision)
    use_language("en")
    lines = terminal.getvalue().splitlines()
    assert max(map(cells_of, lines)) <= width, [line for line in lines if cells_of(line) > width]
    assert all(line == line.rstrip() for line in lines)
    assert sum(line[:1] in "→✓✗" and line[1:3] == "  " for line in lines) == len(
        decision.candidates
    )


def test_the_loss_is_explained_by_words_and_by_the_tier(decision: Decision) -> None:
    """Before the table, for somebody who has never heard of KLD."""
    machine, model, settings = decision.machine, decision.model, decision.settings
    told = "\n".join(opening(machine, model, settings, decision.constraints))
    assert "Model    tiny (" in told
    assert "balanced allows 0.03: at most one word in 8" in told
    assert "the same in at least 92 of 100 places" in told


def test_a_speed_that_is_predicted_stands_above_the_wishes(decision: Decision) -> None:
    """With its interval; where none is known there is no line."""
    machine, model, settings = decision.machine, decision.model, decision.settings
    told = list(opening(machine, model, settings, decision.constraints, SPEED))
    assert "Speed    57.3 tokens/s predicted for this file (50 to 65)" in told
    unknown = SpeedPrediction(depth=0, why_no_decode="unknown")
    told = list(opening(machine, model, settings, decision.constraints, unknown))
    assert not any(line.startswith("Speed") for line in told)


def test_the_legend_names_the_marks_that_occur(decision: Decision) -> None:
    """And no other."""
    told = legend(decision)
    assert "→ taken" in told and "✗ out" in told and "- not measured" in told
    assert "*" not in told
    only = of(decision, decision.candidates[0], chosen=decision.candidates[0])
    assert "✗" not in legend(only) and "✓" not in legend(only)


def test_reasons_have_the_figure_and_the_bound(decision: Decision) -> None:
    """Whatever decided stands in the sentence; levels with the same reason share it."""
    lossy = replace(level("Q2_K", 3, 0.0665, 50), judgement=Judgement("fail", broken="kld_mean"))
    rare = replace(
        level("Q3_K_M", 4, 0.02, 50), judgement=Judgement("fail", broken="top1_agreement")
    )
    rival = replace(level("Q6_K", 9, 0.01, 80), judgement=Judgement("pass"), passes=True)
    slow = replace(level("Q5_K_M", 8, 0.01, 50), quality=None, judgement=None, beaten_by="Q6_K")
    large = replace(level("Q8_0", 20, 0.001, 78), quality=None, judgement=None, beaten_by="Q6_K")
    told = reasons(of(decision, large, rival, slow, rare, lossy, chosen=rival))
    assert told == [
        "Q8_0 (78.0): as fast as Q6_K (80.0 tokens/s) within 10%, and larger.",
        "Q5_K_M (50.0): slower than Q6_K (80.0 tokens/s).",
        "Q3_K_M (81.0…99.0%): top-1 too rarely the same, the tier balanced asks for 92%.",
        "Q2_K (0.0665): more loss than the tier balanced allows (0.03).",
    ]


def test_an_open_level_says_which_bound_lies_in_its_interval(decision: Decision) -> None:
    """The loss first, then top-1."""
    narrow = replace(level("Q4_K_M", 5, 0.02), judgement=Judgement("inconclusive"))
    assert reasons(of(decision, narrow, chosen=None)) == [
        "Q4_K_M (81.0…99.0%): not proven on this text: the tier balanced asks for top-1 92%."
    ]
    wide = replace(level("Q4_K_M", 5, 0.03), judgement=Judgement("inconclusive"))
    assert reasons(of(decision, wide, chosen=None)) == [
        "Q4_K_M (0.0270…0.0330): not proven on this text: the tier balanced allows a loss of 0.03."
    ]


def test_a_mix_has_a_name_for_people(decision: Decision) -> None:
    """Its own, `mix-49e4375a`, is for commands."""
    mix = replace(level("mix-49e4375a", 9, 0.01, 80), judgement=Judgement("pass"), passes=True)
    slow = replace(level("Q8_0", 20, 0.001, 50), judgement=Judgement("pass"), passes=True)
    told = of(decision, slow, mix, chosen=mix)
    assert decision_table(told).full()[1][1] == "our mix"
    assert reasons(told) == ["Q8_0 (50.0): slower than our mix (80.0 tokens/s)."]


def test_what_is_as_fast_says_both_speeds_and_the_margin(decision: Decision) -> None:
    """As fast is no feeling: this is the margin, and here are the speeds."""
    fast = replace(level("Q8_0", 20, 0.001, 82), judgement=Judgement("pass"), passes=True)
    small = replace(level("Q6_K", 9, 0.01, 80), judgement=Judgement("pass"), passes=True)
    told = why_taken(of(decision, fast, small, chosen=small), small)
    assert told == "as fast as Q8_0 within 10% (80.0 against 82.0 tokens/s), and smaller"
    assert "fastest of the 2" in why_taken(of(decision, fast, small, chosen=fast), fast)


def test_after_a_failed_tier_a_command_asks_for_what_a_level_can_do(decision: Decision) -> None:
    """The strictest tier that a level keeps; everything else stays as it was asked."""
    quality = level("Q4_K_M", 5, 0.05).quality
    assert quality
    good = replace(
        level("Q4_K_M", 5, 0.05, 30),
        quality=replace(quality, top1_agreement=figure(0.99, "fraction")),
        judgement=Judgement("fail", broken="kld_mean"),
    )
    nothing = of(decision, good, chosen=None)
    asked = ("up", "my model.gguf", "--quality", "balanced", "--context", "512", "--memory",
             "8GiB", "--tasks", "ours", "--no-serve", "--again")  # fmt: skip
    way = way_out(nothing)
    assert way and "Q4_K_M loses 0.0500, and the tier compact allows 0.1" in way.sentence
    with typed(*asked):
        assert next_command(nothing) == (
            "hakaru up 'my model.gguf' --tasks ours --memory 8GiB --context 512 --no-serve "
            "--quality compact"
        )


def test_after_too_slow_a_command_asks_for_the_speed_there_is(decision: Decision) -> None:
    """The tier stays."""
    slow = replace(level("Q4_K_M", 5, 0.01, 12), judgement=Judgement("pass"))
    wishes = replace(decision.constraints, min_tokens_per_s=40.0)
    nothing = replace(of(decision, slow, chosen=None), constraints=wishes)
    with typed("tune", "a.gguf", "--min-speed", "40"):
        assert next_command(nothing) == "hakaru tune a.gguf --min-speed 10.8"


def test_where_nothing_would_do_no_command_is_said(decision: Decision) -> None:
    """Better none than one that fails again."""
    hopeless = replace(level("Q2_K", 5, 3.0, 30), judgement=Judgement("fail", broken="kld_mean"))
    with typed("up"):
        assert next_command(of(decision, hopeless, chosen=None)) is None


@pytest.mark.parametrize("name", ["a b.gguf", "モデル.gguf", "-x.gguf"])
def test_what_was_chosen_is_served_by_the_command(decision: Decision, name: str) -> None:
    """With the settings of the decision; the parser that reads what a person types accepts it."""
    chosen = replace(level("Q6_K", 9, 0.01, 80), path=Path(name), cache=("q8_0", "q8_0"))
    asked = ("--memory", "8GiB", "--context", "256", "--cache-type-k", "f16", "--min-speed", "2")
    with typed("up", "source.gguf", *asked, "--no-serve", "--quality", "compact"):
        command = next_command(of(decision, chosen, chosen=chosen))
    assert command
    words = shlex.split(command)
    assert Path(words[2]) == Path(name)
    assert words[3:7] == ["--memory", "8GiB", "--context", "256"]
    assert words[7:] == ["--cache-type-k", "q8_0", "--cache-type-v", "q8_0"]
    serve = app.commands["serve"]
    assert isinstance(serve, click.Command)
    serve.make_context("serve", words[2:])


@pytest.mark.parametrize("before", ["Q6_K, KV cache q8_0", "Q4_K_M"])
def test_after_a_replay_what_was_chosen_is_served_or_sought_anew(
    decision: Decision, before: str
) -> None:
    """A decision that holds is served with the settings of the evidence."""
    chosen = replace(level("Q6_K", 9, 0.01, 80), path=Path("a b.gguf"), cache=("q8_0", "q8_0"))
    now = replace(of(decision, chosen, chosen=chosen), settings=ContextSettings(n_ctx=256))
    with typed("tune", "--replay", "evidence.json"):
        command = after_replay(Replay(before=before, decision=now, changed=()))
    assert command == (
        "hakaru serve 'a b.gguf' --context 256 --cache-type-k q8_0 --cache-type-v q8_0"
        if before == "Q6_K, KV cache q8_0"
        else pasted("hakaru", "tune", now.model.path, "--quality", "balanced")
    )


def test_a_tier_s_words_are_the_tier_s(decision: Decision) -> None:
    """Another tier, other figures."""
    wishes = replace(decision.constraints, tier=TIERS["near-lossless"])
    told = "\n".join(opening(decision.machine, decision.model, decision.settings, wishes))
    assert "near-lossless allows 0.01: at most one word in 14" in told


def test_a_figure_without_an_interval_is_one_number(decision: Decision) -> None:
    """No `50.0…50.0`."""
    exact = Figure(value=50.0, unit="tokens/s", source="measured")
    slow = level("Q8_0", 20, 0.001, 50)
    assert slow.speed
    slow = replace(slow, speed=replace(slow.speed, decode_tokens_per_s=exact), passes=True)
    fast = replace(level("Q6_K", 9, 0.01, 80), passes=True)
    assert reasons(of(decision, slow, fast, chosen=fast)) == [
        "Q8_0 (50.0): slower than Q6_K (80.0 tokens/s)."
    ]


@pytest.mark.parametrize(
    ("command", "is_told"),
    [(["tune"], True), (["tune", "a.gguf"], False), (["tune", "--json"], False), (["up"], False)],
)
def test_tune_without_a_model_says_first_which_it_takes(
    command: list[str],
    is_told: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody waits for minutes to learn it. `up` is meant to be run so."""

    def nothing(*_: object, **__: object) -> Decision:
        raise Misuse("nothing is measured.")

    monkeypatch.setattr("hakaru.cli.deciding.tune", nothing)
    assert run(command) == 2
    told = capsys.readouterr().out
    assert told.startswith("No model was named") is is_told
    assert ("Another one: hakaru tune MODEL.gguf" in told) is is_told
