"""Predicted speeds as sentences."""

from msgspec.structs import replace

from hakaru.cli.wrapping import whole
from hakaru.language import listed, say, together
from hakaru.planning.speed_figures import (
    LINK_GB_S,
    RAM_GB_S,
    Basis,
    PredictedSpeed,
    SpeedPrediction,
)
from hakaru.units import three_digits


def speed_sentences(speed: SpeedPrediction, check: str) -> list[str]:
    """What is predicted, then from what, and the command `check` that measures it (empty: none);
    or why nothing is.
    """
    if speed.decode is None:
        return [say("No speed is predicted: {reason}.", reason=speed.why_no_decode)]
    decode = interval_text(speed.decode)
    sentences = [
        say(
            "Predicted behind {depth:,} tokens of context: writes {decode} tokens/s.",
            depth=speed.depth,
            decode=decode,
        )
        if speed.depth
        else say("Predicted: writes {decode} tokens/s.", decode=decode)
    ]
    if speed.prefill:
        prefill = interval_text(speed.prefill)
        reads = say("Reads a prompt with {prefill} tokens/s.", prefill=prefill)
        sentences[0] = together([sentences[0], reads])
    else:
        sentences.append(
            say("No speed of reading a prompt is predicted: {reason}.", reason=speed.why_no_prefill)
        )
    if speed.users > 1:
        sentences.append(
            say(
                "That is for each of {n} users who write at the same time, {all} tokens/s for all: "
                "computed, not calibrated.",
                n=speed.users,
                all=interval_text(speed.decode.of_all()),
            )
        )
    basis = speed.decode.basis
    if speed.prefill and speed.prefill.basis.link_is_assumed:
        basis = replace(basis, link_is_assumed=True)
    sentences.append(
        say("The range and the speed are computed from {basis}.", basis=basis_text(basis))
        if basis.is_assumed
        else say(
            "Nine of ten measured speeds lie in the range; computed from {basis}.",
            basis=basis_text(basis),
        )
    )
    if check:
        sentences.append(say("To measure it: {check}", check=whole(check)))
    return sentences


def interval_text(speed: PredictedSpeed) -> str:
    """A speed and its interval, such as `152 (86 to 188)`."""
    value, low, high = (three_digits(rate) for rate in (speed.value, speed.low, speed.high))
    return say("{value} ({low} to {high})", value=value, low=low, high=high)


def basis_text(basis: Basis) -> str:
    """What a speed was computed from."""
    parts = []
    if basis.n_speeds:
        parts.append(
            say(
                "{n:,} speeds measured on {devices} devices under {routes}",
                n=basis.n_speeds,
                devices=basis.n_devices,
                routes=listed(basis.routes),
            )
        )
    if basis.n_timed:
        parts.append(say("{n} files timed on this machine", n=basis.n_timed))
    if basis.ram_is_assumed:
        low, _, high = RAM_GB_S
        parts.append(say("a RAM of {low:.0f} to {high:.0f} GB/s (assumed)", low=low, high=high))
    if basis.link_is_assumed:
        low, _, high = LINK_GB_S
        parts.append(
            say("copies to the card at {low:.0f} to {high:.0f} GB/s (assumed)", low=low, high=high)
        )
    if basis.network_s:
        parts.append(
            say("{ms} ms of network for each token", ms=three_digits(1e3 * basis.network_s))
        )
    return listed(parts)
