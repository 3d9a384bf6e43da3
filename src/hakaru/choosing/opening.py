"""What a person reads before the long work: machine, model, wishes, and what loss is."""

from collections.abc import Iterator

from hakaru.choosing.candidate import Constraints
from hakaru.engine.builds import selection
from hakaru.engine.unused import narrow_vectors
from hakaru.evaluation.tiers import Tier
from hakaru.hardware.machine import Machine
from hakaru.hardware.spoken import describe_briefly
from hakaru.language import say
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.speed_figures import SpeedPrediction
from hakaru.quantization.source import source_kind
from hakaru.units import format_bytes, format_params, three_digits


def opening(
    machine: Machine,
    model: Model,
    settings: ContextSettings,
    constraints: Constraints,
    speed: SpeedPrediction | None = None,
) -> Iterator[str]:
    """The sentences, each of which is one line."""
    yield from describe_briefly(machine)
    yield say(
        "Model    {name} ({params} parameters, {type}, {bytes})",
        name=model.title,
        type=model.type_name,
        params=format_params(model.n_params),
        bytes=format_bytes(model.weights_bytes),
    )
    if speed and speed.decode:
        yield say(
            "Speed    {value} tokens/s predicted for this file ({low} to {high})",
            value=three_digits(speed.decode.value),
            low=three_digits(speed.decode.low),
            high=three_digits(speed.decode.high),
        )
    yield what_was_asked(constraints, settings)
    yield what_loss_is(constraints.tier)
    if narrow := narrow_vectors(machine, selection().lab):
        yield narrow
    if warning := source_kind(model).sentence():
        yield warning


def what_was_asked(constraints: Constraints, settings: ContextSettings) -> str:
    """The wishes in one line."""
    return say("Wanted   {wishes}", wishes=say(", ").join(wishes(constraints, settings)))


def wishes(constraints: Constraints, settings: ContextSettings) -> list[str]:
    """What was asked for, in a few words each."""
    told = [
        say("tier {tier}", tier=constraints.tier.name),
        say("{n_ctx:,} tokens of context", n_ctx=settings.n_ctx),
    ]
    if constraints.memory_bytes:
        told.append(say("at most {memory}", memory=format_bytes(constraints.memory_bytes)))
    if constraints.min_tokens_per_s:
        told.append(say("at least {n:g} tokens/s", n=constraints.min_tokens_per_s))
    return told


def what_loss_is(tier: Tier) -> str:
    """What loss is, on a scale of words, and how much of it the tier allows."""
    return say(
        "Loss     how far a smaller file shifts the chances of the next word. The tier {tier} "
        "allows {kld:g}: at most one word in {n} comes out differently. The likeliest word "
        "(top-1) must be the same in at least {top1:g} of 100 places.",
        tier=tier.name,
        kld=tier.kld_mean,
        n=tier.one_word_in,
        top1=100 * tier.top1_agreement,
    )
