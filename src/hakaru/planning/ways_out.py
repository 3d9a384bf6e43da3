"""What would change the answer: the KV cache's type, a shorter context, fewer bits, a smaller batch. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hakaru.memory.footprint import ContextSettings
from hakaru.planning.placement import FitVerdict
from hakaru.planning.search import largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a variation needs in all, and whether it fits."""

    total_bytes: int
    verdict: FitVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One change that frees memory: what to type, and how many bytes it frees."""

    flag: str
    frees_bytes: int
    fits: bool


Try = Callable[[ContextSettings, str | None], Outcome]
"""The outcome at other settings, or as another preset."""


def alternatives(settings: ContextSettings, outcome: Try, *, presets: Sequence[str]) -> list[Alternative]:
    """The ways out, those that fit first: the KV cache's type, the longest context that fits, the largest of the
    `presets` (from the most bits to the least) that fits, a smaller micro-batch.
    """
    now = outcome(settings, None)
    ways: list[Alternative] = []

    def add(flag: str, at: Outcome) -> None:
        if at.total_bytes < now.total_bytes:
            ways.append(Alternative(flag=flag, frees_bytes=now.total_bytes - at.total_bytes, fits=at.verdict != "does_not_fit"))

    if settings.type_k == settings.type_v == "f16":
        add("--cache-type-k q8_0 --cache-type-v q8_0", outcome(replace(settings, type_k="q8_0", type_v="q8_0"), None))
    context = 256 * largest(
        1, max(1, (settings.n_ctx - 1) // 256), lambda n: outcome(settings.with_context(256 * n), None).verdict == "fits"
    )
    if context < settings.n_ctx:
        add(f"--context {context}", outcome(settings.with_context(context), None))
    if tried := [(preset, outcome(settings, preset)) for preset in presets]:
        preset, at = next(((p, o) for p, o in tried if o.verdict == "fits"), tried[-1])
        add(f"--type {preset}", at)
    if settings.n_ubatch > 64:
        add("--ubatch 64", outcome(replace(settings, n_ubatch=64), None))
    return sorted(ways, key=lambda way: not way.fits)
