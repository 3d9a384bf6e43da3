"""A memory verdict in words: whatever numbers stand in the sentence imply the verdict that stands
beside them.
"""

from collections.abc import Sequence
from functools import partial

from hakaru.language import say
from hakaru.planning.shares import Placement, Share, judge
from hakaru.planning.ways_out import Alternative
from hakaru.units import bytes_told, compared, format_bytes, unit_beside


def verdict_word(verdict: str) -> str:
    """A verdict in words."""
    return {
        "fits": say("it fits"),
        "tight": say("it fits, but tightly"),
        "does_not_fit": say("it does not fit"),
    }[verdict]


def verdict_sentences(placement: Placement, margin: float) -> list[str]:
    """The verdict, and what lies in RAM of which nothing is known."""
    sentences = [verdict_sentence(placement, margin)]
    if not placement.ram_known and placement.ram.needed_bytes:
        sentences.append(
            say(
                "It also needs {needed} of RAM; no size was named for it.",
                needed=format_bytes(placement.ram.needed_bytes),
            )
        )
    return sentences


def verdict_sentence(placement: Placement, margin: float) -> str:
    """What is needed of what may be used, on the same devices, and the verdict; with several
    devices the one that decides.
    """
    first, *others = placement.devices
    return _devices_sentence(placement, margin) if others else _sum_sentence(first, margin)


def _sum_sentence(share: Share, margin: float) -> str:
    needed, free = compared(
        share.needed_bytes, share.device.usable_bytes, partial(judge, margin=margin)
    )
    return say(
        "Needs {needed} of the {free} that may be used: {verdict}.",
        needed=needed,
        free=free,
        verdict=verdict_word(share.verdict(margin)),
    )


def _devices_sentence(placement: Placement, margin: float) -> str:
    share = placement.fullest
    unit = unit_beside(share.needed_bytes, share.device.usable_bytes)
    needed, free = compared(
        share.needed_bytes, share.device.usable_bytes, partial(judge, margin=margin)
    )
    return say(
        "Needs {total} in all. The fullest device is {device}, with {needed} of the {free} that "
        "may be used: {verdict}.",
        total=bytes_told(sum(s.needed_bytes for s in placement.devices), unit),
        device=share.device.name,
        needed=needed,
        free=free,
        verdict=verdict_word(placement.verdict),
    )


def ways_sentences(ways: Sequence[Alternative]) -> list[str]:
    """The ways out, one line each, or that there is none."""
    if not any(way.fits for way in ways):
        none = say(
            "No smaller type, KV cache or context is enough: choose a smaller model, or a "
            "machine with more memory."
        )
        return [*map(_way_sentence, ways), none]
    return [_way_sentence(way) for way in ways]


def _way_sentence(way: Alternative) -> str:
    signs = {
        "fits": say("then it fits"),
        "tight": say("then it fits, but tightly"),
        "does_not_fit": say("not enough alone"),
    }
    sign = signs[way.verdict]
    if way.change.ram_bytes:
        return say(
            "  {flag} keeps {layers} layers on the cards and {ram} in RAM, which is slower "
            "({sign})",
            flag=way.flag,
            layers=way.outcome.gpu_layers,
            ram=format_bytes(way.outcome.ram_bytes),
            sign=sign,
        )
    if way.frees_bytes <= 0:
        return say("  {flag} ({sign})", flag=way.flag, sign=sign)
    return say(
        "  {flag} frees {bytes} ({sign})",
        flag=way.flag,
        bytes=format_bytes(way.frees_bytes),
        sign=sign,
    )
