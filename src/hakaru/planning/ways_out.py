"""What would change the answer, in the order in which a person would take it. Pure.

A smaller type of the weights first, then a smaller KV cache, RAM beside the cards, a smaller
micro-batch, and a shorter context at last, never below what is of use. Where no single change is
enough, the gentlest combination is looked for in the same order.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict, replace

from hakaru.language import say, spelled
from hakaru.memory.settings import F16_CACHE, Cache, ContextSettings
from hakaru.planning.search import largest
from hakaru.planning.shares import FitVerdict

SMALL_CACHE: Final[Cache] = ("q8_0", "q8_0")
SMALL_UBATCH: Final = 128
LEAST_CONTEXT: Final = 2048
"""No way out is shorter, per conversation, nor shorter than LEAST_PART of what was asked for."""
LEAST_PART: Final = 0.25
GENTLE: Final = frozenset({"F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"})
"""Types that a person takes before anything else; those below four bits only after everything
else.
"""
WORTH: Final = 0.01
"""A change that is not enough is told if it frees so much of the whole."""
RAM_SIZES: Final = tuple(
    n * 2**30 for n in (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
)
"""What machines are sold with."""


class Change(Struct, frozen=True, kw_only=True):
    """What is done differently. None is left as it is."""

    preset: str | None = None
    cache: Cache | None = None
    ram_bytes: int | None = None  # beside the cards
    n_ubatch: int | None = None
    n_ctx: int | None = None

    def applied(self, settings: ContextSettings) -> ContextSettings:
        """`settings` with the change."""
        changed = settings.with_cache(self.cache) if self.cache else settings
        return replace(
            changed, n_ubatch=self.n_ubatch or changed.n_ubatch, n_ctx=self.n_ctx or changed.n_ctx
        )

    @property
    def parts(self) -> frozenset[str]:
        """The names of what is changed."""
        return frozenset(name for name, value in asdict(self).items() if value is not None)

    def without(self, part: str) -> "Change":
        """The change less one part of it."""
        return replace(self, **{part: None})

    def flags(self, hardware: str) -> str:
        """What to ask for, fields in backticks (see `language.spell_fields`). `hardware` is how the
        machine was named, with room for the size of its RAM.
        """
        parts = []
        if self.preset:
            parts.append(f"`preset` {self.preset}")
        if self.cache:
            parts.append(f"`type_k` {self.cache[0]} `type_v` {self.cache[1]}")
        if self.ram_bytes:
            parts.append(f'`hardware` "{hardware.format(f"{self.ram_bytes // 2**30}GiB")}"')
        if self.n_ubatch:
            parts.append(f"`n_ubatch` {self.n_ubatch}")
        if self.n_ctx:
            parts.append(f"`n_ctx` {self.n_ctx}")
        return " ".join(parts)


class Outcome(Struct, frozen=True, kw_only=True):
    """What comes out of a change."""

    total_bytes: int  # needed in all
    verdict: FitVerdict
    ram_bytes: int = 0  # the part that lies in RAM
    gpu_layers: int = 0  # layers on cards


class Alternative(Struct, frozen=True, kw_only=True):
    """One change that helps."""

    change: Change
    flag: str  # what to ask for, such as "`n_ctx` 2048"; on the command line that is an option
    frees_bytes: int
    """How much less all devices need. RAM beside cards frees nothing. Below zero: context
    checkpoints take more RAM than the change frees.
    """
    outcome: Outcome

    @property
    def verdict(self) -> FitVerdict:
        """The verdict with the change."""
        return self.outcome.verdict

    @property
    def fits(self) -> bool:
        """Whether it fits then, if only tightly."""
        return self.verdict != "does_not_fit"

    def as_json(self) -> dict[str, object]:
        """The way out as it stands in `--json`."""
        return {"flag": spelled(self.flag), "frees_bytes": self.frees_bytes, "fits": self.fits,
            "verdict": self.verdict,
                "ram_bytes": self.outcome.ram_bytes if self.change.ram_bytes else None}  # fmt: skip


class Search(Struct, frozen=True, kw_only=True):
    """The machine and the settings for which ways out are looked for."""

    settings: ContextSettings  # that were asked for
    presets: Sequence[str]  # smaller than the model's own type, from the most bits to the least
    hardware: str | None = None
    """The machine's name with RAM beside it, such as "RTX 3060 + {}". None: it has RAM already, or
    no cards.
    """
    context_step: int = 256  # contexts that lie closer together are not told apart


Try = Callable[[Change], Outcome | None]
"""The outcome of a change; None where it cannot be made: a cache type that does not divide the
model's heads, say.
"""


def alternatives(search: Search, outcome: Try) -> list[Alternative]:
    """The ways out, those that fit first, else in a person's order."""
    now = outcome(Change())
    assert now is not None
    singles = list(_singles(search, outcome))
    ways = [way for change in singles if (way := _way(change, outcome, now, search.hardware or ""))]
    if not any(way.fits and _is_gentle(way.change) for way in ways):
        combined = _combined(search, outcome)
        if (
            combined
            and combined not in singles
            and (way := _way(combined, outcome, now, search.hardware or ""))
        ):
            ways.append(way)
    return sorted(ways, key=lambda way: not way.fits)


def in_words(ways: Sequence[Alternative]) -> str:
    """The ways out that fit and need no other file, as the end of a sentence."""
    flags = [way.flag for way in ways if way.fits and way.change.preset is None]
    if not flags:
        return say("choose a smaller model, or a machine with more memory")
    return say("try {ways}, or choose a smaller model", ways=say(" or ").join(flags))


def least_context(settings: ContextSettings) -> int:
    """The shortest context that is still of use to whoever asked for `settings`."""
    return max(
        LEAST_CONTEXT * settings.n_parallel, -(-int(settings.n_ctx * LEAST_PART) // 256) * 256
    )


def _way(change: Change, outcome: Try, now: Outcome, hardware: str) -> Alternative | None:
    at = outcome(change)
    if at is None:
        return None
    way = Alternative(
        change=change,
        flag=change.flags(hardware),
        frees_bytes=now.total_bytes - at.total_bytes,
        outcome=at,
    )
    helps = way.fits and way.verdict != now.verdict
    return way if helps or way.frees_bytes > WORTH * now.total_bytes else None


def _is_gentle(change: Change) -> bool:
    return change.n_ctx is None and (change.preset is None or change.preset in GENTLE)


def _singles(search: Search, outcome: Try) -> Iterator[Change]:
    """One change each, in a person's order."""
    if search.presets:
        yield _first_type(search.presets, Change(), outcome) or Change(
            preset=_least_gentle(search.presets)
        )
    if search.settings.cache == F16_CACHE:
        yield Change(cache=SMALL_CACHE)
    if search.hardware and (ram := _with_ram(Change(), outcome)):
        yield ram
    if search.settings.n_ubatch > SMALL_UBATCH:
        yield Change(n_ubatch=SMALL_UBATCH)
    if context := _with_context(Change(), search, outcome):
        yield context


def _combined(search: Search, outcome: Try) -> Change | None:
    """The gentlest combination that fits, with nothing in it that is not needed; None where all
    changes together are not enough.

    Types of four bits and more are tried with one more kind of change at a time, in a person's
    order; then the smaller types are.
    """
    gentle = [preset for preset in search.presets if preset in GENTLE]
    for types in ([None, *gentle], [preset for preset in search.presets if preset not in GENTLE]):
        for change in _growing(search, outcome, types):
            if change and _fits(change, outcome):
                return _thinned(change, outcome)
    return None


def _growing(search: Search, outcome: Try, types: Sequence[str | None]) -> Iterator[Change | None]:
    """Combinations of one of `types` with more and more other changes. Where the types end, the
    least of them is kept.
    """
    if not types:
        return
    cache = (
        SMALL_CACHE
        if search.settings.cache == F16_CACHE and outcome(Change(cache=SMALL_CACHE))
        else None
    )
    yield _first_type(types, Change(cache=cache), outcome)
    least = Change(preset=types[-1], cache=cache)
    if search.hardware:
        yield _with_ram(least, outcome)
    if search.settings.n_ubatch > SMALL_UBATCH:
        least = replace(least, n_ubatch=SMALL_UBATCH)
        yield least
    yield _with_context(least, search, outcome)


def _first_type(types: Sequence[str | None], change: Change, outcome: Try) -> Change | None:
    """`change` with the first of `types` that fits, or that fits tightly if none does better."""
    tried = [(at, outcome(at)) for at in (replace(change, preset=preset) for preset in types)]
    for wanted in ("fits", "tight"):
        for candidate, result in tried:
            if result and result.verdict == wanted:
                return candidate
    return None


def _least_gentle(presets: Sequence[str]) -> str:
    """The smallest type of four bits and more, or the smallest of all where there is none."""
    return next((preset for preset in reversed(presets) if preset in GENTLE), presets[-1])


def _with_ram(change: Change, outcome: Try) -> Change | None:
    """`change` with the least RAM that makes it fit."""
    tried = [replace(change, ram_bytes=size) for size in RAM_SIZES]
    steps = len(tried) - largest(
        0, len(tried), lambda n: _fits(tried[len(tried) - n], outcome) if n else True
    )
    return tried[steps] if steps < len(tried) else None


def _with_context(change: Change, search: Search, outcome: Try) -> Change | None:
    """`change` with the longest context of use that fits."""
    least, step = least_context(search.settings), search.context_step

    def at(n: int) -> Change:
        return replace(change, n_ctx=least + step * n)

    most = (search.settings.n_ctx - 1 - least) // step
    return (
        at(largest(0, most, lambda n: _fits(at(n), outcome)))
        if most >= 0 and _fits(at(0), outcome)
        else None
    )


def _fits(change: Change, outcome: Try) -> bool:
    result = outcome(change)
    return result is not None and result.verdict == "fits"


def _thinned(change: Change, outcome: Try) -> Change:
    """`change` less everything without which it fits as well, the last kinds first."""
    for part in ("n_ctx", "n_ubatch", "ram_bytes", "cache", "preset"):
        if len(change.parts) > 1 and part in change.parts and _fits(change.without(part), outcome):
            change = change.without(part)
    return change
