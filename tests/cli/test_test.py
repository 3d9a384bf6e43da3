"""`hakaru test` without an engine: what is refused before anything is measured, and what is told of
speeds alone.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hakaru.cli import run
from hakaru.cli.tell.test import loss_sentences
from hakaru.errors import Misuse
from hakaru.evaluation import comparison, losses
from hakaru.evaluation import test as verb
from hakaru.evaluation.divergence import identical, quality_of
from hakaru.evaluation.findings import NOT_COMPARED
from hakaru.evaluation.grading import Graded
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.speed import Point, Speed
from hakaru.evaluation.tasks import Item
from hakaru.evaluation.test import Wishes
from hakaru.evaluation.timing import Timing
from hakaru.evaluation.trial import Trial
from hakaru.language import use_language
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama
from hakaru.units import Figure

pytestmark = pytest.mark.alone


def figure(value: float, *, spread: float = 0.05, unit: str = "tokens/s") -> Figure:
    return Figure(
        value=value,
        unit=unit,
        source="measured",
        low=value * (1 - spread),
        high=value * (1 + spread),
    )


class Quick:
    """Speeds by the model's name; nothing is ever read."""

    rates: ClassVar = {"slow": 100.0, "same": 103.0, "fast": 200.0}

    def __init__(self) -> None:
        self.timed: list[str] = []  # the models, in order
        self.prefill = 900.0
        self.answers_right = True

    def windows_of(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the reference's answers were asked for")

    def noise_floor(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the reference was read")

    def trial(self, model: Model, settings: ContextSettings, **_: Any) -> Trial:
        self.timed.append(model.path.stem)
        speed = Speed(
            decode_tokens_per_s=figure(self.rates[model.path.stem]),
            prefill_tokens_per_s=figure(self.prefill), first_token_ms=figure(9, unit="ms"),
            n_prompt=128, n_predict=48, repeats=6,
        )  # fmt: skip
        memory = Footprint(
            weights_bytes=2**20,
            kv_cache_bytes=2**20,
            compute_bytes=0,
            output_bytes=0,
            source="measured",
        )
        return Trial(speed=speed, memory=memory, peak_rss_bytes=2**22)

    def loads(self, model: Model, settings: ContextSettings, speed: Speed) -> list[Point]:
        depths = [2048] if speed.prefill_tokens_per_s.value > 100 else []
        return [
            Point(
                depth=d,
                users=u,
                decode_tokens_per_s=figure(90),
                first_token_ms=figure(9, unit="ms"),
            )
            for d, u in [*((d, 1) for d in depths), (0, 1), (0, 2)]
        ]

    def graded_answers(
        self, session: Session, model: Model, items: Sequence[Item], *_: Any, **__: Any
    ) -> list[Graded]:
        return [Graded(item=item, answer="", right=self.answers_right) for item in items]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Quick:
    """Nothing is measured; who was to be timed is noted."""
    quick = Quick()
    for name in ("windows_of", "noise_floor", "graded_answers"):
        monkeypatch.setattr(verb, name, getattr(quick, name))
    monkeypatch.setattr(comparison, "graded_answers", quick.graded_answers)
    monkeypatch.setattr(Timing, "trial", lambda _, *given, **named: quick.trial(*given, **named))
    monkeypatch.setattr(Timing, "loads", lambda _, *given: quick.loads(*given))
    return quick


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    """Three files whose speeds `Quick` knows."""
    shape = tiny_shape(n_ctx_train=16384)
    return {
        name: str(write_tiny_llama(tmp_path / f"{name}.gguf", shape, seed=i))
        for i, name in enumerate(Quick.rates)
    }


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("names", [("slow",), ("slow", "fast")])
def test_the_verb_gives_what_the_command_prints(
    quick: Quick, models: dict[str, str], capsys: pytest.CaptureFixture[str], names: tuple[str, ...]
) -> None:
    """The same object for one model and for several, by text, path or model."""
    first, *others = [models[name] for name in names]
    printed = told(capsys, "test", first, *others, "--context", "1024", "--tasks", "ours")
    wishes = Wishes(n_ctx=1024, tasks=["ours"])
    for model in (first, Path(first), read_model(Path(first))):
        answer = verb.test(model, *others, **wishes)
        assert json.loads(json.dumps(answer.as_json())) == printed
    assert quick.timed == [*names] * 4


def test_the_verb_names_the_field_that_has_nothing_to_judge(
    quick: Quick, models: dict[str, str]
) -> None:
    """Whoever imports hakaru typed no option."""
    with pytest.raises(Misuse, match=r"`tier` is about what is lost .* name it with `reference`"):
        verb.test(models["slow"], tier="balanced")
    with pytest.raises(Misuse, match="`full_speed` is of one model"):
        verb.test(models["slow"], models["fast"], full_speed=True)
    assert quick.timed == []


def test_nothing_is_judged_without_a_reference(
    quick: Quick, models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """No verdict, no tier and no figure of quality: what was not compared is not known. The speed
    is.
    """
    data = told(capsys, "test", models["slow"])
    assert (data["verdict"], data["tier"], data["best_tier"], data["tokens_evaluated"]) == (
        "inconclusive",
        None,
        None,
        0,
    )
    assert (data["reference"], data["reference_is_quantized"], data["noise_floor"]) == (
        None,
        None,
        None,
    )
    assert data["quality"] == NOT_COMPARED
    assert data["speed"]["decode_tokens_per_s"]["value"] == 100
    assert run(["test", models["slow"]]) == 0
    out = capsys.readouterr().out
    assert "No --reference was named, so nothing was compared" in out
    assert "mean KLD" not in out
    assert "Tier" not in out
    assert list(NOT_COMPARED) == list({**NOT_COMPARED, **identical().as_json()})


@pytest.mark.parametrize("option", ["--text", "--prompts", "--quality", "--budget", "--page"])
@pytest.mark.parametrize("names", [("slow",), ("slow", "fast")])
def test_what_needs_a_reference_is_refused_without_one(
    quick: Quick,
    models: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    names: tuple[str, ...],
    option: str,
) -> None:
    """A line of CI that forgets its reference is never green: exit code 2, and nothing was
    measured.
    """
    text = tmp_path / "own.txt"
    text.write_text("Measure twice, cut once. " * 60)
    value = {
        "--text": [str(text)],
        "--prompts": [str(text)],
        "--quality": ["balanced"],
        "--budget": ["5s"],
        "--page": [],
    }[option]
    assert run(["test", *[models[name] for name in names], option, *value]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"hakaru: {option} is ")
    assert "of one model" in err or "name it with --reference" in err
    assert quick.timed == []


def test_a_model_is_its_own_reference_without_reading(
    quick: Quick, models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is lost by definition, so that nothing is asked of it."""
    data = told(
        capsys, "test", models["slow"], "--reference", models["slow"], "--quality", "transparent"
    )
    assert (data["verdict"], data["tier"], data["quality"]["kld_mean"]["value"]) == (
        "pass",
        "transparent",
        0.0,
    )
    assert data["quality"]["kld_mean"]["source"] == "computed"
    assert run(["test", models["slow"], "--reference", models["slow"]]) == 0
    assert (
        "The reference is this same file: nothing is lost, by definition."
        in capsys.readouterr().out
    )


def test_kinds_of_text_that_were_not_read_are_told() -> None:
    """A person's one prompt may stand behind the window at which the verdict was known."""
    row = {
        "n": 100.0,
        "kld": 0.4,
        "klds": [0.004] * 100,
        "agreed": 98.0,
        "nll_reference": 200.0,
        "nll_candidate": 200.1,
    }
    domains = ["code", "code", "answers-own", "own"]
    for n, words in (
        (2, "nothing was read before that: answers to your prompts, your texts."),
        (4, "4 of 4 windows"),
    ):
        some = [row] * n
        tested = losses.Tested(
            quality=quality_of(some, domains[:n]),
            judgement=Judgement("pass"),
            domains=domains,
            rows=some,
        )
        told = " ".join(loss_sentences(tested))
        assert words in told
        assert ("nothing was read" in told) == (n == 2)


def test_another_vocabulary_is_refused_before_anything_is_asked(
    quick: Quick, models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reference's answers would take minutes and say nothing."""
    other = write_tiny_llama(tmp_path / "other.gguf", tiny_shape(n_vocab=1024))
    assert run(["test", models["slow"], "--reference", str(other)]) == 2
    assert "another vocabulary" in capsys.readouterr().err


def test_models_are_compared_by_their_speed_alone(
    quick: Quick, models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each two: who is faster and by how much, or that nobody can tell; and that nobody looked at
    quality.
    """
    data = told(capsys, "test", *models.values())
    first, second, third = (pair["speed"] for pair in data["pairs"])
    assert (first["decode"]["faster"], second["decode"]["faster"], third["decode"]["faster"]) == (
        "cannot tell",
        "second",
        "second",
    )
    ratio = second["decode"]["ratio"]
    assert (ratio["value"], ratio["low"], ratio["high"]) == pytest.approx(
        (0.5, 95 / 210, 105 / 190)
    )
    assert {pair["speed"]["prefill"]["faster"] for pair in data["pairs"]} == {"cannot tell"}
    assert {pair["speed"]["contended"] for pair in data["pairs"]} == {False}
    assert [m["memory"]["total_bytes"] for m in data["models"]] == [2**21] * 3
    assert (data["tier"], data["pairs"][0]["less_loss"], data["models"][0]["verdict"]) == (
        None,
        None,
        None,
    )
    assert run(["test", *models.values()]) == 0
    out = capsys.readouterr().out
    assert (
        "Decode: slow.gguf and same.gguf: cannot tell their speeds apart (0.97 [0.88…1.07])." in out
    )
    assert "Decode: fast.gguf is 2.00 [1.81…2.21] times as fast as slow.gguf." in out
    assert "Prefill: same.gguf and fast.gguf: cannot tell their speeds apart" in out
    assert (
        "Quality was not compared: name a --reference of the same vocabulary, or ask for --tasks."
        in out
    )
    assert "2.0 MiB" in out
    assert "mean KLD" not in out
    assert run(["test", *models.values(), "--no-speed"]) == 2
    assert "--reference of the same vocabulary" in capsys.readouterr().err


def test_tasks_of_two_models_say_what_could_have_been_seen(
    quick: Quick,
    models: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twenty items without a flip: six to one side would have been seen. Their speeds stand beside
    them.
    """
    file, check = tmp_path / "own.jsonl", {"type": "exact", "answer": "a"}
    lines = [json.dumps({"id": str(i), "prompt": "ab", "check": check}) for i in range(20)]
    file.write_text("\n".join(lines), encoding="utf-8")
    assert run(["test", models["slow"], models["fast"], "--tasks", str(file)]) == 0
    out = capsys.readouterr().out
    assert "cannot tell them apart (p = 1; 30.0% of the tasks would have been seen)." in out
    assert "times as fast as slow.gguf" in out
    assert "Quality was not compared" not in out
    assert "answered right by no model" not in out
    quick.answers_right = False
    assert run(["test", models["slow"], models["fast"], "--tasks", str(file)]) == 0
    assert (
        "20 of your own tasks were answered right by no model (0, 1, 2, 3, 4, …)"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("options", "prefill", "words", "reason"),
    [
        (
            (),
            900.0,
            "8,192 tokens was left out: the context holds 4,096 tokens (--context 8448).",
            "context",
        ),
        (
            ("--parallel", "2"),
            900.0,
            "the context holds 2,048 tokens (--context 16896).",
            "context",
        ),
        (
            ("--context", "8448"),
            10.0,
            "8,192 tokens was left out: its prompt would take more than 30 s to read here.",
            "prefill",
        ),
    ],
)
def test_depths_that_are_left_out_are_told(
    quick: Quick,
    models: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    prefill: float,
    words: str,
    reason: str,
) -> None:
    """Why, and with which context they would be timed."""
    quick.prefill = prefill
    assert run(["test", models["slow"], "--full-speed", *options]) == 0
    assert words in capsys.readouterr().out
    left = told(capsys, "test", models["slow"], "--full-speed", *options)["speed"][
        "depths_left_out"
    ]
    assert left[-1] == {"depth": 8192, "reason": reason, "context_needed": 8241}
    assert told(capsys, "test", models["slow"])["speed"]["depths_left_out"] == []


def test_a_context_that_the_model_cannot_have_is_not_advised(
    quick: Quick, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """8,192 tokens and an answer do not go into a model that was trained for 8,192."""
    model = write_tiny_llama(tmp_path / "slow.gguf", tiny_shape(n_ctx_train=8192))
    assert run(["test", str(model), "--full-speed"]) == 0
    out = capsys.readouterr().out
    assert "it needs a context of 8,241 tokens, and the model was trained for 8,192." in out


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("--report", "none/report.html", "there is no folder"),
        ("--report", "/proc/report.html", "cannot be written"),
        ("--plot", "none/report.svg", "there is no folder"),
        ("--plot", "folder.svg", "is a folder; name a file in it"),
        ("--plot", "report.svg", "there is nothing to draw"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_measured(
    quick: Quick,
    models: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    name: str,
    words: str,
) -> None:
    """A missing folder, a place that takes no files, a folder, and a picture of nothing: exit code
    2, and nothing was timed.
    """
    (tmp_path / "folder.svg").mkdir()
    assert run(["test", models["slow"], option, str(tmp_path / name)]) == 2
    assert words in capsys.readouterr().err
    assert quick.timed == []
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("arguments", [["tune"], ["tune", "MODEL"]])
def test_a_picture_that_cannot_be_written_stops_the_loop_before_it_begins(
    models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """The same of `hakaru tune`, before the model is even looked for."""
    command = [models["slow"] if word == "MODEL" else word for word in arguments]
    assert run([*command, "--plot", str(tmp_path / "none" / "levels.svg")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_loads_can_be_drawn_and_reported_without_a_reference(
    quick: Quick, models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Speeds behind contexts and for users are pictures, too; the report says what was not
    compared, in its language.
    """
    use_language("en")
    report, plot = tmp_path / "report.html", tmp_path / "report.svg"
    assert (
        run(
            [
                "test",
                models["slow"],
                "--full-speed",
                "--report",
                str(report),
                "--plot",
                str(plot),
                "--lang",
                "ja",
            ]
        )
        == 0
    )
    assert plot.read_text(encoding="utf-8").startswith("<svg")
    page = report.read_text(encoding="utf-8")
    assert '<html lang="ja">' in page
    assert "比較していません" in page
    assert "KLD" not in page[page.index("<main>") : page.index("<script")]
