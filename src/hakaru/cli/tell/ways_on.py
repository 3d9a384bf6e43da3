"""How a person goes on after a decision: the command that serves what was chosen, or where nothing
was chosen, the command that asks for what a level can do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import floor
from pathlib import Path
from typing import Final

from hakaru.choosing.candidate import Candidate
from hakaru.choosing.decision import Decision
from hakaru.cli.next_steps import named
from hakaru.cli.options import ContextOptions, UpOptions, WishOptions
from hakaru.cli.paste import pasted
from hakaru.evaluation.tiers import TIERS, Quality, Tier
from hakaru.language import say
from hakaru.memory.context import default_context

USUAL: Final[Mapping[str, object]] = {
    **{f.name: f.default for f in fields(ContextOptions)},
    "quality": "balanced", "language": "en", "again": False, "json": False, "port": None,
    "no_serve": False, "min_speed": None, "memory": None, "chat_template": None,
}  # fmt: skip
"""The options of `up` and `tune` that need not be written, with their values."""


@dataclass(frozen=True, slots=True)
class WayOut:
    """What to ask for instead, and the level that can do it."""

    sentence: str
    changes: Mapping[str, object]  # options by the names of `WishOptions`


def way_out(decision: Decision) -> WayOut | None:
    """What to ask for where nothing was chosen: less speed if a level keeps the tier, else the
    strictest tier that a level seems to keep. None where no level was measured that would do.
    """
    tier, wanted = decision.constraints.tier, decision.constraints.min_tokens_per_s
    able = [c for c in decision.candidates if c.fits and c.quality and c.speed]
    if wanted:
        proven = [c for c in able if c.verdict == "pass" and not c.tasks]
        if proven:
            best = max(proven, key=_slowest)
            rate = max(floor(10 * _slowest(best)) / 10, 0.1)
            return WayOut(
                say(
                    "{type} keeps the tier and writes at least {rate:g} tokens/s here.",
                    type=best.name,
                    rate=rate,
                ),
                {"min_speed": rate},
            )
    names = list(TIERS)
    for looser in (TIERS[name] for name in names[names.index(tier.name) + 1 :]):
        keeping = [
            c for c in decision.candidates if c.fits and c.quality and _keeps(c.quality, looser)
        ]
        if keeping:
            best = min(keeping, key=lambda c: c.total_bytes)
            assert best.quality
            return WayOut(
                say(
                    "{type} loses {kld:.4f}, and the tier {tier} allows {bound:g}: at most one "
                    "word in {n} comes out differently.",
                    type=best.name,
                    kld=best.quality.kld_mean.value,
                    tier=looser.name,
                    bound=looser.kld_mean,
                    n=looser.one_word_in,
                ),
                {"quality": looser.name},
            )
    return None


def next_command(verb: str, decision: Decision, options: WishOptions) -> str | None:
    """The command to paste next; None where there is none to name."""
    if decision.path is not None:
        return _serving(decision, decision.path, options)
    way = way_out(decision)
    return _again(verb, options, way.changes) if way else None


def _serving(decision: Decision, path: Path, options: WishOptions) -> str:
    served = decision.served
    asked = {
        "context": None if served.n_ctx == default_context(decision.model) else served.n_ctx,
        "ubatch": served.n_ubatch, "cache_type_k": served.type_k, "cache_type_v": served.type_v,
        "parallel": served.n_parallel, "memory": options.memory,
        "chat_template": options.chat_template,
        "port": options.port if isinstance(options, UpOptions) else None,
    }  # fmt: skip
    return pasted("hakaru", "serve", path, *_written(asked))


def _again(verb: str, options: WishOptions, changes: Mapping[str, object]) -> str:
    asked = {
        f.name: getattr(options, f.name)
        for f in fields(options)
        if f.name not in {"model", "report", "plot", "replay_file", "again"}
    }
    model = () if options.model is None else (named(options.model),)
    return pasted("hakaru", verb, *model, *_written({**asked, **changes}))


def _written(asked: Mapping[str, object]) -> list[str]:
    """The options as words, those that need not be written left out."""
    words: list[str] = []
    for name, value in asked.items():
        if value == USUAL.get(name, ()):
            continue
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        else:
            values = value if isinstance(value, tuple) else (value,)
            for one in values:
                words += [option, f"{one:g}" if isinstance(one, float) else str(one)]
    return words


def _slowest(candidate: Candidate) -> float:
    assert candidate.speed
    return candidate.speed.decode_tokens_per_s.lowest


def _keeps(quality: Quality, tier: Tier) -> bool:
    """Whether what was read lies within the bounds of `tier` with the whole interval."""
    ratio = tier.perplexity_ratio
    return (
        quality.kld_mean.highest <= tier.kld_mean
        and quality.top1_agreement.lowest >= tier.top1_agreement
        and (ratio is None or quality.perplexity_ratio.highest <= ratio)
    )
