"""Every step is asked of the engine in the right words, and files of losers go at once."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, field
from msgspec.structs import replace
from worlds import World

from hakaru.choosing import steps
from hakaru.choosing.candidate import Constraints
from hakaru.choosing.level_files import LevelFiles
from hakaru.choosing.loop import walked
from hakaru.choosing.smaller_cache import SMALL_CACHE
from hakaru.choosing.transitions import opened
from hakaru.choosing.worker import Effort, Worker
from hakaru.engine.mode import Mode
from hakaru.errors import MachineError
from hakaru.evaluation.divergence import identical
from hakaru.evaluation.grading import grade
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.tasks import TaskSet, our_items
from hakaru.evaluation.tiers import TIERS
from hakaru.evaluation.trial import Trial
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import F16_CACHE, Cache, ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.quantization.build import Recipe
from hakaru.testing import write_tiny_llama
from speeds import speed_of

ROW = {"n": 10, "kld": 0.01, "agreed": 10, "nll_candidate": 1.0, "nll_reference": 1.0}
CONSTRAINTS = Constraints(tier=TIERS["balanced"], min_tokens_per_s=None, memory_bytes=2**40)
Q8_0, Q8_0_SMALL, SOURCE_KEY = ("Q8_0", F16_CACHE), ("Q8_0", SMALL_CACHE), ("source", F16_CACHE)


class FakeLedger(Struct):
    """Files known by their names."""

    def model_sha256(self, model: Model) -> str:
        return model.path.stem


class FakeEngine(Struct):
    """Session, speeds, losses and answers in one, which notes what it is asked."""

    folder: Path
    model: Model
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    ever_built: set[str] = field(default_factory=set)
    full: frozenset[str] = frozenset()  # types for which the disk is too small
    knows_trials: bool = False
    knows_finals: bool = False  # readings, answers and long contexts of finalists
    ledger: FakeLedger = field(default_factory=FakeLedger)

    def windows_of(
        self,
        session: Any,
        model: Model,
        *,
        parts: Sequence[str],
        n_documents: int | None,
        n_prompts: int | None,
    ) -> list[Any]:
        return [(parts, n_documents, n_prompts)] * 5

    def tested(
        self,
        session: Any,
        candidate: Model,
        reference: Model,
        windows: Sequence[Any],
        tier: Any,
        *,
        cache: Cache,
        name: str,
    ) -> steps.Reading:
        self.asked.append(
            ("test", candidate.path.stem, reference.path.stem, windows[0], tier.name, cache, name)
        )
        return steps.Reading(quality=identical(), judgement=Judgement("pass"))

    def known_test(self, session: Any, sha256: str, *_: Any, **__: Any) -> steps.Reading | None:
        known = steps.Reading(quality=identical(), judgement=Judgement("fail"))
        return known if self.knows_finals else None

    def known_answers(
        self, session: Any, sha256: str, items: Sequence[Any], *_: Any
    ) -> list[Any] | None:
        return grade(items, ["known"] * len(items)) if self.knows_finals else None

    def known_deep(self, sha256: str, settings: ContextSettings, depth: int) -> list[Any] | None:
        return [] if self.knows_finals else None

    def known_trial(self, sha256: str, settings: ContextSettings, *, repeats: int) -> Trial | None:
        return self.trial_of(90.0) if self.knows_trials else None

    def trial(self, model: Model, settings: ContextSettings, *, name: str, repeats: int) -> Trial:
        self.asked.append(("time", model.path.stem, settings.cache, name, repeats))
        return self.trial_of(50.0)

    def trial_of(self, rate: float) -> Trial:
        memory = Footprint(
            source="measured", weights_bytes=1, kv_cache_bytes=0, compute_bytes=0, output_bytes=0
        )
        return Trial(speed=speed_of(rate), memory=memory, peak_rss_bytes=1)

    def deep(self, model: Model, settings: ContextSettings, speed: Any, depth: int) -> None:
        self.asked.append(
            ("deep", model.path.stem, settings.cache, speed.decode_tokens_per_s.value, depth)
        )

    def graded_answers(
        self,
        session: Any,
        model: Model,
        items: Sequence[Any],
        settings: ContextSettings,
        mode: Mode,
        name: str,
    ) -> Any:
        self.asked.append(("answers", model.path.stem, settings.cache, name))
        return grade(items, ["?"] * len(items))


class FakeLevels(Struct):
    """Levels that are empty files."""

    engine: FakeEngine

    def path(self, recipe: Recipe) -> Path:
        return self.engine.folder / f"{recipe.preset}.gguf"

    def known_sha256(self, recipe: Recipe) -> str | None:
        return recipe.preset if recipe.preset in self.engine.ever_built else None

    def built(self, recipe: Recipe) -> Model:
        path = self.path(recipe)
        if not path.exists():
            if recipe.preset in self.engine.full:
                raise MachineError("{path}: the disk is full.", path=path)
            self.engine.asked.append(("build", recipe.preset))
            path.touch()
        self.engine.ever_built.add(recipe.preset)
        return replace(self.engine.model, path=path)

    def groups(self, several: Sequence[Any]) -> list[list[Any]]:
        self.engine.asked.append(("groups", [each.weights_bytes for each in several]))
        return [[each] for each in several]

    def losses(
        self, recipes: Sequence[Recipe | None], windows: Any, n: int, *, cache: Cache
    ) -> list[list[Any]]:
        for recipe in recipes:
            if recipe:
                self.built(recipe)
        names = [recipe.preset if recipe else None for recipe in recipes]
        self.engine.asked.append(("losses", names, n, cache))
        return [[ROW] * n for _ in recipes]


class FakeForecast:
    """What was learned, in place of predictions."""

    def __init__(self, mix: Recipe | None = None) -> None:
        self.learned: list[tuple[str, int]] = []
        self._mix = mix

    def learn(self, name: str, types: Any, rows: Sequence[Any]) -> None:
        self.learned.append((name, len(rows)))

    def kld(self, types: Any) -> None:
        return None

    def mix(self, tier: Any) -> Recipe | None:
        return self._mix


def recipe(preset: str, model: Model, n_bytes: int = 100) -> Recipe:
    return Recipe(
        preset=preset, types={t.name: preset for t in model.tensors}, weights_bytes=n_bytes, bpw=4.0
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return read_model(write_tiny_llama(tmp_path_factory.mktemp("model") / "model.gguf"))


@pytest.fixture
def engine(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    engine = FakeEngine(folder=tmp_path, model=model)
    for name in ("windows_of", "tested", "known_test", "graded_answers", "known_answers"):
        monkeypatch.setattr(f"hakaru.choosing.worker.{name}", getattr(engine, name))
    return engine


def worker_of(
    engine: FakeEngine,
    kind: type[Worker] = Worker,
    types: Collection[str] = ("Q8_0", "Q2_K"),
    keep: frozenset[Path] = frozenset(),
    **changes: Any,
) -> Any:
    """A worker with these levels and a text of 20 windows, of which 12 are a round."""
    session: Any = engine
    recipes = {type_: recipe(type_, engine.model) for type_ in types}
    files = LevelFiles(session=session, source=engine.model, recipes=recipes, keep=keep)
    files.__dict__["levels"] = FakeLevels(engine)
    whole: dict[str, Any] = {
        "timing": engine, "mode": Mode(), "files": files, "settings": ContextSettings(n_ctx=512),
        "constraints": CONSTRAINTS, "effort": Effort(n_documents=4, n_prompts=1, repeats=2),
        "mix": None, "windows": [Windowed()] * 20,
    }  # fmt: skip
    worker = kind(**whole | changes)
    worker.__dict__["forecast"] = FakeForecast()
    return worker


class Windowed(Struct):
    """A window, of which only the domain is looked at."""

    domain: str = "code"


def test_a_group_is_read_with_its_cache_and_teaches_only_with_f16(engine: FakeEngine) -> None:
    """What another cache loses is no run of the weights' types; the source has no recipe."""
    worker = worker_of(engine)
    answer = worker.answer(steps.Read((Q8_0,), 12))
    assert isinstance(answer, dict)
    assert (answer[Q8_0].quality.n_windows, answer[Q8_0].quality.n_tokens) == (12, 120)
    worker.answer(steps.Read((Q8_0_SMALL, ("source", SMALL_CACHE)), 20))
    assert engine.asked == [
        ("build", "Q8_0"),
        ("losses", ["Q8_0"], 12, F16_CACHE),
        ("losses", ["Q8_0", None], 20, SMALL_CACHE),
    ]
    assert worker.forecast.learned == [("Q8_0", 12)]


def test_a_full_disk_is_an_answer(engine: FakeEngine) -> None:
    """In the words of the error, so that others are read all the same."""
    engine.full = frozenset({"Q8_0"})
    answer = worker_of(engine).answer(steps.Read((Q8_0,), 12))
    assert isinstance(answer, str) and "Q8_0.gguf: the disk is full" in answer


def test_groups_hold_one_cache(engine: FakeEngine) -> None:
    """The disk is asked once per cache, with what each file weighs."""
    groups = worker_of(engine).answer(
        steps.Group((Q8_0, Q8_0_SMALL, ("Q2_K", F16_CACHE), SOURCE_KEY))
    )
    assert groups == ((Q8_0,), (("Q2_K", F16_CACHE),), (SOURCE_KEY,), (Q8_0_SMALL,))
    assert engine.asked == [("groups", [100, 100, engine.model.weights_bytes]), ("groups", [100])]


def test_who_was_timed_is_not_built_for_it_again(engine: FakeEngine) -> None:
    """A remembered trial needs no file. Otherwise a level is built and timed as it will be
    served.
    """
    worker = worker_of(engine)
    timed = worker.answer(steps.Time((Q8_0_SMALL,)))
    assert isinstance(timed, dict) and timed[Q8_0_SMALL].decode_tokens_per_s.value == 50.0
    assert engine.asked == [
        ("build", "Q8_0"),
        ("time", "Q8_0", SMALL_CACHE, "Q8_0, KV cache q8_0", 2),
    ]
    engine.asked, engine.knows_trials = [], True
    worker.files.remove("Q8_0")
    timed = worker.answer(steps.Time((Q8_0_SMALL,)))
    assert isinstance(timed, dict) and timed[Q8_0_SMALL].decode_tokens_per_s.value == 90.0
    assert engine.asked == []


def test_finalists_are_tested_as_they_will_be_served(engine: FakeEngine) -> None:
    """On the test part of the texts and with their cache. The source answers tasks with its own."""
    tasks = TaskSet(names=("ours",), language="en", items=tuple(our_items("en")[:2]), digest="d")
    worker = worker_of(engine, constraints=replace(CONSTRAINTS, tasks=tasks))
    worker.answer(steps.Prove(Q8_0_SMALL))
    worker.answer(steps.Examine(Q8_0_SMALL))
    worker.answer(steps.TimeDeep((Q8_0_SMALL, Q8_0), (speed_of(1), speed_of(2)), 256))
    assert engine.asked == [
        ("build", "Q8_0"),
        (
            "test",
            "Q8_0",
            "model",
            (("test",), 4, 1),
            "balanced",
            SMALL_CACHE,
            "Q8_0 (untouched texts)",
        ),
        ("answers", "model", F16_CACHE, "source"),
        ("answers", "Q8_0", SMALL_CACHE, "Q8_0"),
        ("deep", "Q8_0", SMALL_CACHE, 1, 256),
        ("deep", "Q8_0", F16_CACHE, 2, 256),
    ]


def test_a_finalist_whose_figures_are_remembered_is_not_built_again(engine: FakeEngine) -> None:
    """The ledger is asked by the hash of the file that was removed."""
    tasks = TaskSet(names=("ours",), language="en", items=tuple(our_items("en")[:2]), digest="d")
    worker = worker_of(engine, constraints=replace(CONSTRAINTS, tasks=tasks))
    for type_ in ("Q8_0", "Q2_K"):
        worker.files.built(type_)
        worker.files.remove(type_)
    engine.asked, engine.knows_finals = [], True
    assert worker.answer(steps.Prove(Q8_0)).judgement.verdict == "fail"
    assert worker.answer(steps.TimeDeep((Q8_0_SMALL, Q8_0), (speed_of(1), speed_of(2)), 256)) == (
        None,
        None,
    )
    assert worker.answer(steps.Examine(Q8_0)).n == 2
    assert engine.asked == [("answers", "model", F16_CACHE, "source")]


def test_a_level_that_cannot_be_built_for_timing_says_why(engine: FakeEngine) -> None:
    """The other levels are timed all the same; behind a long context it is the same."""
    engine.full = frozenset({"Q8_0"})
    worker = worker_of(engine)
    speeds = worker.answer(steps.Time((Q8_0, ("Q2_K", F16_CACHE))))
    assert "Q8_0.gguf: the disk is full" in speeds[Q8_0]
    assert speeds["Q2_K", F16_CACHE].decode_tokens_per_s.value == 50.0
    deep = worker.answer(steps.TimeDeep((Q8_0_SMALL, Q8_0), (speed_of(1), speed_of(2)), 256))
    assert "Q8_0.gguf: the disk is full" in deep


def test_the_mix_is_the_one_asked_for_or_the_one_that_is_forecast(engine: FakeEngine) -> None:
    """None where the mix asked for is empty; its file can then be built like any level's."""
    assert worker_of(engine, mix={}).answer(steps.Mix()) is None
    given = worker_of(engine, mix={t.name: "Q8_0" for t in engine.model.tensors}).answer(
        steps.Mix()
    )
    assert isinstance(given, steps.Level) and given.type.startswith("mix-") and not given.is_copy
    copy = worker_of(engine, mix={t.name: t.type.name for t in engine.model.tensors}).answer(
        steps.Mix()
    )
    assert isinstance(copy, steps.Level) and copy.is_copy
    worker = worker_of(engine)
    worker.__dict__["forecast"] = FakeForecast(recipe("mix-1", engine.model, 77))
    sought = worker.answer(steps.Mix())
    assert isinstance(sought, steps.Level) and (sought.type, sought.weights_bytes) == ("mix-1", 77)
    assert worker.files.built("mix-1").path.name == "mix-1.gguf"


def test_files_in_use_are_not_removed(engine: FakeEngine) -> None:
    """Nor the source, which has no recipe."""
    worker = worker_of(engine, keep=frozenset({engine.folder / "Q8_0.gguf"}))
    for type_ in ("Q8_0", "Q2_K"):
        assert worker.files.built(type_).path.exists()
    for type_ in ("Q8_0", "Q2_K", "source"):
        worker.files.remove(type_)
    assert [(engine.folder / f"{type_}.gguf").exists() for type_ in ("Q8_0", "Q2_K")] == [
        True,
        False,
    ]
    assert engine.model.path.exists()


class BuildingWorker(Worker):
    """A worker that builds what it reads, is answered by a world, and finds no files of losers."""

    def walk_in(self, world: World) -> None:
        self.world, self.field = world, opened(world.terms, world.entrants())
        assert walked(self.field, self) == self.field

    def answer(self, step: steps.Step) -> Any:
        lying = {
            path.stem
            for path in self.files.levels.path(self.files.recipes["Q2_K"]).parent.glob("*.gguf")
        }
        assert not lying & self.field.lost_types()
        keys = step.keys if isinstance(step, steps.Read | steps.Time) else ()
        for type_, _ in keys:
            self.files.built(type_)
        answer = self.world.answer(step)
        self.field = self.field.after(answer)
        return answer


@pytest.mark.parametrize("number", range(0, 200, 5))
def test_the_files_of_losers_go_at_once(number: int, engine: FakeEngine) -> None:
    """Before the next step is done."""
    world = World(number)
    types = {level.type for level in world.levels} | {"Q2_K", "mix-1"}
    worker = worker_of(engine, kind=BuildingWorker, types=types)
    worker.walk_in(world)
