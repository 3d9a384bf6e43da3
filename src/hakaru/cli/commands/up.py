"""`hakaru up`: look at the machine, check, quantize, test, decide, serve."""

from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from hakaru.choosing.decision import Decision
from hakaru.choosing.mix_gain import Gain
from hakaru.cli.commands.pull import on_this_disk
from hakaru.cli.deciding import decide, decide_with_gain
from hakaru.cli.for_task import names_task, with_model_for
from hakaru.cli.options import ServingOptions, WishOptions
from hakaru.cli.output import next_step, print_json
from hakaru.cli.staying import stay
from hakaru.cli.tell.gain import gain_json, print_gain
from hakaru.cli.tell.tune import print_decision
from hakaru.cli.tell.ways_on import next_command
from hakaru.cli.terminal import terminal_session
from hakaru.engine.isolation import is_private
from hakaru.engine.mode import checked_alias
from hakaru.models.model import read_model
from hakaru.serving.origins import origin_of
from hakaru.serving.serve_at import Pages, serve_at


@dataclass(frozen=True, kw_only=True)
class UpOptions(WishOptions, ServingOptions):
    """`hakaru up`."""

    mmproj: Path | None
    no_serve: bool


def run(options: UpOptions, *, pages: Pages | None) -> int:
    """Decide, and serve what was chosen. Returns 1 if nothing meets every constraint, and 3 if no
    model fits the task that was named in the place of one.
    """
    entrance = options.entrance()  # before anything is measured
    origins = [origin_of(name) for name in options.allow_origin]
    if names_task(options):
        options = with_model_for(options)
        if options.model is None:
            next_step("hakaru choose")
            return 3
    decision, gain = _decided(options)
    if options.json:
        print_json({**decision.as_json(), "gain": gain_json(gain) if gain else None})
    else:
        if gain:
            print_gain(gain)
        print_decision(decision)
    step = next_command(decision)
    if step and not options.json and (decision.path is None or options.no_serve):
        next_step(step)
    if decision.path is None:
        return 1
    if options.no_serve:
        return 0
    session = terminal_session(aside=True, keeps=False)
    private = is_private(options.private, note=session.note)
    alias = checked_alias(options.alias) if options.alias is not None else None
    model, eyes = read_model(decision.path), options.mmproj
    mode = structs.replace(
        decision.mode, private=private, alias=alias, projector=eyes.absolute() if eyes else None
    )
    serving = serve_at(
        model,
        decision.served,
        mode,
        session,
        port=options.port,
        memory=options.memory,
        pages=pages,
        origins=origins,
        entrance=entrance,
        queue=options.queue,
        warns_of_idle_gpu=False,  # the decision said it
    )
    return stay(
        serving,
        quiet=options.json,
        has_pages=pages is not None,
        source=decision.model.path,
        drain_s=options.drain,
    )


def _decided(options: UpOptions) -> tuple[Decision, Gain | None]:
    """The decision; whoever names no model also sees what hakaru can make of the embedded one."""
    serves = not options.no_serve
    if options.model is None:
        return decide_with_gain(options, serves=serves)
    here = on_this_disk(options.model, options.as_context(), options.memory, quiet=options.json)
    return decide(replace(options, model=here), serves=serves), None
