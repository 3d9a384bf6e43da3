"""What `choose` found, in sentences: what was asked, the machine, the recommended row and where its
figures come from. The command line and the page say the same. Pure.
"""

from typing import Final

from hakaru.hardware.machine import Hardware
from hakaru.language import language_name, listed, say
from hakaru.models.scores import Score
from hakaru.selection.chosen import Chosen
from hakaru.selection.conditions import Conditions
from hakaru.selection.contender import Contender
from hakaru.selection.remembered import RowSpeed
from hakaru.selection.seeing import Seeing
from hakaru.selection.traffic import USUAL, reason
from hakaru.selection.why import disagreements, why_recommended
from hakaru.units import bytes_in, bytes_told, format_bytes, three_digits

MOST_DISAGREEMENTS: Final = 2
"""Columns that say otherwise that are told; the JSON has all scores."""


def asked_lines(conditions: Conditions) -> list[str]:
    """The task as a traffic shape, and what is wished for."""
    traffic, task = conditions.traffic, conditions.task
    usual = USUAL[task]
    shape = (traffic.n_kept, traffic.n_prompt, traffic.n_answer)
    return [
        say(
            "{task} ({language}), users at a time: {users}. A turn reads {prompt:,} tokens, with "
            "{kept:,} before it in the cache, and writes {answer:,}{why}.",
            task=task,
            language=language_name(conditions.language),
            users=traffic.users,
            prompt=traffic.n_prompt,
            kept=traffic.n_kept,
            answer=traffic.n_answer,
            why=say(" ({reason})", reason=reason(task))
            if shape == (usual.n_kept, usual.n_prompt, usual.n_answer)
            else "",
        ),
        _wishes(conditions),
    ]


def machine_lines(hardware: Hardware) -> list[str]:
    """The devices that models are placed on, and how their names were read."""
    devices = [*hardware.accelerators, *([hardware.ram] if hardware.ram else [])]
    names = [
        say("{name} ({free} usable)", name=device.name, free=format_bytes(device.usable_bytes))
        for device in devices
    ]
    return [say("Machine: {devices}", devices=listed(names)), *hardware.notes]


def memory_forms(contender: Contender) -> tuple[str, ...]:
    """What a row takes of each accelerator that it uses, and of RAM; the longest form first. Where
    accelerators differ, the figure is that of the fullest.
    """
    used = [share for share in contender.placement.shares if share.needed_bytes]
    if not used or contender.hardware.is_unified:
        told = bytes_told(contender.memory_bytes, "GiB")
        return told, told, _short(bytes_in(contender.memory_bytes, "GiB"))
    most, ram = max(share.needed_bytes for share in used), contender.placement.ram.needed_bytes
    count = f"{len(used)}x " if len(used) > 1 else ""
    return (
        f"{count}{bytes_told(most, 'GiB')} + RAM {bytes_told(ram, 'GiB')}",
        f"{count}{bytes_in(most, 'GiB').removesuffix(' GiB')} + {bytes_in(ram, 'GiB')}",
        f"{count}{_short(bytes_in(most, 'GiB'))}",
    )


def _short(size: str) -> str:
    return size.replace(" ", "").removesuffix("B")


def _wishes(conditions: Conditions) -> str:
    traffic = conditions.traffic
    if not traffic.n_answer:
        return say(
            "Context: {n_ctx:,} tokens for each user. Wished for: {first:g} s for a text.",
            n_ctx=conditions.n_ctx,
            first=traffic.first_token_s,
        )
    return say(
        "Context: {n_ctx:,} tokens for each user. Wished for: the first word within {first:g} s, "
        "then {speed:g} tokens/s.",
        n_ctx=conditions.n_ctx,
        first=traffic.first_token_s,
        speed=traffic.decode_tokens_per_s,
    )


def recommended_lines(chosen: Chosen) -> list[str]:
    """The row to take, its reason, and where its score comes from."""
    first = chosen.recommended
    assert first is not None
    lead, conditions = chosen.search.lead, chosen.conditions
    lines = [
        say(
            "Recommended: {model} {type}: {why}.",
            model=first.model.id,
            type=first.type,
            why=why_recommended(chosen.search).rstrip(".。"),
        )
    ]
    if lead and lead.language != conditions.language:
        lines.append(
            say(
                "No board of the last year measures {task} in {language}; the scores "
                "are of {other}, a hint and no more.",
                task=conditions.task,
                language=language_name(conditions.language),
                other=language_name(lead.language),
            )
        )
    if first.score:
        lines.append(score_line(first.score))
        lines += disagreements(chosen.search)[:MOST_DISAGREEMENTS]
    if first.pace and first.users == 1:
        lines.append(
            say("Speeds are predicted: nine of ten that are measured lie in the interval.")
        )
    elif not first.pace and not chosen.hardware.text:
        lines.append(
            say(
                "No speed is predicted before this machine was timed, which takes a minute: "
                "{command}",
                command="hakaru bench --calibrate",
            )
        )
    lines += [where_line(first)] if where_line(first) else []
    if first.eyes:
        lines.append(_projector(first, first.eyes))
    if first.pace and first.first_token_s is None and first.speeds.why_no_prefill:
        lines.append(
            say(
                "Whether the first word comes in time is not known: {reason}.",
                reason=first.speeds.why_no_prefill,
            )
        )
    lines += solved_lines(chosen)
    if chosen.conditions.traffic.users > 1:
        lines.append(
            say(
                "It holds {n_ctx:,} tokens for each of {n} users; at most {most} users fit.",
                n_ctx=first.n_ctx,
                n=chosen.conditions.traffic.users,
                most=first.most_users(),
            )
        )
        lines += _several(first)
    return lines


def _several(first: Contender) -> list[str]:
    """What the speed of a row for several users means."""
    all_ = first.speeds.of_all(first.users)
    if not first.writes or all_ is None:
        return []
    return [
        say(
            "Each of {n} gets this speed when all write at the same time, {all} tokens/s together: "
            "computed, not calibrated.",
            n=first.users,
            all=three_digits(all_.value),
        )
    ]


def solved_lines(chosen: Chosen) -> list[str]:
    """How many tasks the rows solved in the latest race here; empty where there was none."""
    latest = {(row.model.id, t): one for row in chosen.rows for t, one in chosen.solved_by(row)[:1]}
    told = [
        say(
            "{model} {type} solved {right} of {n} ({tasks}, {date})",
            model=model,
            type=type_,
            right=solved.n_right,
            n=solved.n,
            tasks=solved.tasks,
            date=solved.at[:10],
        )
        for (model, type_), solved in latest.items()
    ]
    if not told:
        return []
    return [
        say(
            "Measured here: {told}. Which one to take by that is told by: {command}",
            told=say("; ").join(told),
            command="hakaru choose --race",
        )
    ]


def score_line(score: Score) -> str:
    """Where the scores of the rows come from."""
    line = say(
        "Scores: {metric} of {board}, {date}, of the unquantized model{direction}.",
        metric=score.benchmark,
        board=score.board.name,
        date=score.date,
        direction="" if score.higher_is_better else say("; less is better"),
    )
    if "reasoning on" not in score.setting:
        return line
    return say(
        "{line} It was measured thinking ({setting}), which comes before the first word.",
        line=line,
        setting=score.setting,
    )


def _projector(contender: Contender, eyes: Seeing) -> str:
    """What its memory has for the projector, and what tells it by a real file."""
    known = {
        "computed": say("by the shape of its tower"),
        "counted": say("at most, by the published number"),
        "assumed": say("assumed"),
    }
    return say(
        "Its memory has {bytes} for the projector: {weights} of weights ({how}); the rest, to "
        "compute with, is assumed. By a real file: {command}",
        bytes=format_bytes(eyes.bytes),
        weights=format_bytes(eyes.weights_bytes),
        how=known[eyes.weights_source],
        command=f"hakaru pull {contender.model.id}:{contender.type} --vision --dry-run",
    )


def where_line(contender: Contender) -> str:
    """Where the layers lie, if a part of them stays in RAM; else empty."""
    layout = contender.placement.layout
    if contender.is_whole:
        return ""
    if layout.n_cpu_moe:
        return say(
            "The experts of {n} of its {all} layers stay in RAM.",
            n=layout.n_cpu_moe,
            all=contender.placement.n_items - 1,
        )
    return say(
        "{n} of its {all} layers stay in RAM.",
        n=contender.placement.n_items - layout.n_gpu_layers,
        all=contender.placement.n_items - 1,
    )


def speed_text(speed: RowSpeed | None) -> str:
    """A predicted speed; `?` where none is."""
    return _speed(speed.value) if speed else "?"


def interval_text(speed: RowSpeed | None) -> str:
    """The interval of a predicted speed; empty where none is."""
    return f"{_speed(speed.low)}…{_speed(speed.high)}" if speed else ""


def _speed(tokens_per_s: float) -> str:
    return f"{tokens_per_s:,.0f}" if tokens_per_s >= 100 else f"{tokens_per_s:.1f}"
