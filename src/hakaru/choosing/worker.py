"""Does the steps of the loop, with the engine, the forecast and the disk."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from hakaru.choosing import steps
from hakaru.choosing.candidate import Constraints, Key, bare_name, name_of
from hakaru.choosing.forecast import Forecast
from hakaru.choosing.level_files import LevelFiles
from hakaru.choosing.rounds import ROUNDS
from hakaru.engine.mode import Mode
from hakaru.errors import MachineError
from hakaru.evaluation.answers import graded_answers, known_answers
from hakaru.evaluation.divergence import quality_of
from hakaru.evaluation.grading import Pairs, pair
from hakaru.evaluation.judgement import judge
from hakaru.evaluation.losses import known_test, tested, windows_of
from hakaru.evaluation.speed import REPEATS, Point, Speed
from hakaru.evaluation.texts import Part
from hakaru.evaluation.timing import Timing
from hakaru.evaluation.windows import Window
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE, ContextSettings
from hakaru.models.model import Model
from hakaru.quantization.build import mix_recipe
from hakaru.quantization.presets import LADDER
from hakaru.quantization.study.study import Study
from hakaru.session import Session


class Effort(Struct, frozen=True, kw_only=True):
    """How much is measured; tests take less than the defaults."""

    n_documents: int | None = None  # of each domain of text; None for all
    n_prompts: int | None = None  # of each language; None for all
    repeats: int = REPEATS  # samples of every speed
    presets: Sequence[str] = LADDER
    keep: frozenset[Path] = frozenset()  # files in use, which are not removed
    sweep: bool = False  # read every level on every window: the rounds are tested against that
    rounds: Sequence[int] = ROUNDS  # windows after which levels are dropped or settled


class Worker(Struct, kw_only=True, dict=True):
    """What one walk of the loop works with."""

    timing: Timing
    mode: Mode  # how the servers that answer tasks are run
    files: LevelFiles  # of the source and its levels
    settings: ContextSettings  # with the KV cache that the person asked for
    constraints: Constraints
    effort: Effort
    mix: Mapping[str, str] | None  # types by tensor name; empty: no mix; None: one is sought
    windows: Sequence[Window] = ()  # those to choose by
    has_timed: Callable[[], None] = lambda: None  # called after each level that was timed

    @property
    def session(self) -> Session:
        """The session of the walk."""
        return self.files.session

    @property
    def model(self) -> Model:
        """The source."""
        return self.files.source

    @cached_property
    def forecast(self) -> Forecast:
        """Predicts what levels will lose. The first prediction takes seconds."""
        return Forecast(Study(self.session, self.model, "quick", glance=True))

    def answer(self, step: steps.Step) -> steps.Answer:
        """Do a step and return its answer."""
        match step:
            case steps.Settle(key):
                return self._read_alone(key, self.windows)
            case steps.Predict(keys):
                return {key: self.forecast.kld(self.files.types(key[0])) for key in keys}
            case steps.Group(keys):
                return self._groups(keys)
            case steps.Read(keys, n_windows):
                return self._read(keys, n_windows)
            case steps.Mix():
                return self._mix()
            case steps.Time(keys):
                return {key: self._timed(key) for key in keys}
            case steps.TimeDeep():
                return self._deep(step)
            case steps.Prove(key):
                name = say("{type} (untouched texts)", type=bare_name(key[0]))
                return self._read_alone(
                    key, loop_windows(self.session, self.model, self.effort, ("test",)), name=name
                )
            case steps.Examine(key):
                return self._examined(key)
            case steps.Done():
                return None

    def _read_alone(self, key: Key, windows: Sequence[Window], *, name: str = "") -> steps.Reading:
        tier, sha256 = self.constraints.tier, self.files.sha256(key[0])
        read = sha256 and known_test(self.session, sha256, self.model, windows, tier, cache=key[1])
        if not read:
            model = self.files.built(key[0])
            read = tested(self.session, model, self.model, windows, tier, cache=key[1], name=name)
        return steps.Reading(quality=read.quality, judgement=read.judgement)

    def _groups(self, keys: Sequence[Key]) -> steps.Groups:
        caches = dict.fromkeys(cache for _, cache in keys)
        alike = [[key for key in keys if key[1] == cache] for cache in caches]
        return tuple(group for some in alike for group in self._grouped(some))

    def _grouped(self, keys: Sequence[Key]) -> Iterator[tuple[Key, ...]]:
        files = [_File(key, self.files.weights_bytes(key[0])) for key in keys]
        return (tuple(file.key for file in group) for group in self.files.levels.groups(files))

    def _read(self, keys: Sequence[Key], n: int) -> steps.Readings | str:
        """What these candidates lose on the first `n` windows.

        The forecast learns from losses with an F16 cache, which come from the weights alone.
        """
        cache, domains = keys[0][1], [w.domain for w in self.windows]
        teaches = cache == F16_CACHE and len(self.windows) > self.effort.rounds[0]
        try:
            recipes = [self.files.recipes.get(type_) for type_, _ in keys]
            losses = self.files.levels.losses(recipes, self.windows, n, cache=cache)
        except MachineError as error:
            return str(error)
        readings = {}
        for key, rows in zip(keys, losses, strict=True):
            if teaches:
                self.forecast.learn(key[0], self.files.types(key[0]), rows)
            judgement = judge(rows, domains, self.constraints.tier)
            readings[key] = steps.Reading(quality=quality_of(rows, domains), judgement=judgement)
        return readings

    def _mix(self) -> steps.Level | None:
        """The mix that was named, or the one that is predicted to keep the tier in the fewest
        bytes.
        """
        if self.mix is None:
            recipe = self.forecast.mix(self.constraints.tier)
        else:
            recipe = mix_recipe(self.model, self.mix) if self.mix else None
        if recipe is None or recipe.preset in self.files.recipes:
            return None
        self.files.recipes[recipe.preset] = recipe
        return replace(self.files.level(recipe), predicted=self.forecast.kld(recipe.types))

    def _timed(self, key: Key) -> Speed | str:
        speed = self._speed(key)
        self.has_timed()
        return speed

    def _speed(self, key: Key) -> Speed | str:
        settings, repeats = self.settings.with_cache(key[1]), self.effort.repeats
        sha256 = self.files.sha256(key[0])
        if sha256 and (trial := self.timing.known_trial(sha256, settings, repeats=repeats)):
            return trial.speed
        try:
            model = self.files.built(key[0])
            return self.timing.trial(model, settings, name=name_of(key), repeats=repeats).speed
        except MachineError as error:
            return str(error)

    def _deep(self, step: steps.TimeDeep) -> steps.Points | str:
        points = list[Point | None]()
        for (type_, cache), speed in zip(step.keys, step.speeds, strict=True):
            settings, sha256 = self.settings.with_cache(cache), self.files.sha256(type_)
            recalled = self.timing.known_deep(sha256, settings, step.depth) if sha256 else None
            if recalled is not None:
                points.append(next(iter(recalled), None))
                continue
            try:
                model = self.files.built(type_)
                points.append(self.timing.deep(model, settings, speed, step.depth))
            except MachineError as error:
                return str(error)
        small, usual = points
        return small, usual

    def _examined(self, key: Key) -> Pairs:
        tasks, usual = self.constraints.tasks, self.settings
        served, name = usual.with_cache(key[1]), bare_name(key[0])
        assert tasks
        sha256 = self.files.sha256(key[0])
        ours = sha256 and known_answers(self.session, sha256, tasks.items, served, self.mode)
        answers = partial(graded_answers, self.session, items=tasks.items, mode=self.mode)
        theirs = answers(self.model, settings=usual, name=say("source"))
        if not ours:
            ours = answers(self.files.built(key[0]), settings=served, name=name)
        return pair(theirs, ours)


def loop_windows(
    session: Session, model: Model, effort: Effort, parts: Sequence[Part]
) -> list[Window]:
    """Windows of these parts of the texts, as many as the effort reads."""
    n_documents, n_prompts = effort.n_documents, effort.n_prompts
    return windows_of(session, model, parts=parts, n_documents=n_documents, n_prompts=n_prompts)


class _File(NamedTuple):
    """A candidate's file, to be put in a group."""

    key: Key
    weights_bytes: int
