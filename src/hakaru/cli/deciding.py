"""What `hakaru up` and `hakaru tune` share: from the wishes of a person to a decision of the
loop.
"""

from dataclasses import dataclass
from pathlib import Path

from hakaru.choosing.candidate import Constraints
from hakaru.choosing.decision import Decision
from hakaru.choosing.loop import tune
from hakaru.choosing.worker import Effort
from hakaru.cli.options import WishOptions
from hakaru.cli.output import Watching, print_text, warn, warn_silent_devices
from hakaru.cli.tell.hardware import describe
from hakaru.cli.terminal import terminal_session
from hakaru.engine.builds import selection
from hakaru.engine.mode import Mode
from hakaru.engine.mode_of import mode_for, needs_text
from hakaru.engine.unused import narrow_vectors
from hakaru.errors import Misuse
from hakaru.evaluation.tasks import named_tasks
from hakaru.evaluation.tiers import tier_named
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.memory.context import settings_for
from hakaru.models.embedded import embedded_model
from hakaru.models.model import Model
from hakaru.models.sources.find import whole_model
from hakaru.quantization.source import source_kind
from hakaru.servers import beside_servers, running
from hakaru.session import Session
from hakaru.units import format_bytes, format_params, parse_bytes


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A decision, and what serving it needs."""

    decision: Decision
    session: Session
    mode: Mode  # how the server of the chosen level is run


def decide(options: WishOptions, command: str, *, serves: bool) -> Decided:
    """The decision for the wishes of `command`, which is told while it comes about. Raises Misuse
    for wishes that are none.

    `serves`: the level will be served, so the model must be one that llama.cpp's server runs.
    """
    speed, memory = options.min_speed, options.memory
    if speed is not None and not speed > 0:
        raise Misuse(
            "--min-speed is {found}, expected a number of tokens per second above 0.", found=speed
        )
    tier, limit = tier_named(options.quality), parse_bytes(memory) if memory else None
    model = whole_model(options.model or embedded_model())
    settings = settings_for(model, **options.as_context())
    needs_text(model, command, tasks=bool(options.tasks), chat_template=options.chat_template)
    mode = (
        mode_for(model, options.chat_template, warn=warn)
        if serves or options.chat_template
        else Mode()
    )
    machine = beside_servers(probe_machine(), model.parts)
    warn_silent_devices(machine)
    tasks = named_tasks(options.tasks, options.language) if options.tasks else None
    constraints = Constraints(tier=tier, min_tokens_per_s=speed, memory_bytes=limit, tasks=tasks)
    if not options.json:
        print("\n".join(describe(machine)))
        if narrow := narrow_vectors(machine, selection().lab):
            print_text(narrow)
        print_text(_model_line(model))
        if warning := source_kind(model).sentence():
            print_text(warning)
    with Watching(quiet=options.json) as watch:
        session = terminal_session(machine, watch, quiet=options.json)
        decision = tune(
            session,
            model,
            settings,
            constraints,
            effort_beside_servers(),
            mode=mode,
            again=options.again,
        )
    return Decided(decision=decision, session=session, mode=mode)


def effort_beside_servers() -> Effort:
    """The usual effort, which leaves the files of running servers alone."""
    return Effort(keep=frozenset(Path(d.path) for d in running()))


def _model_line(model: Model) -> str:
    return say(
        "Model      {name} ({architecture}, {type}, {params} parameters, {bytes})",
        name=model.name,
        architecture=model.shape.architecture,
        type=model.type_name,
        params=format_params(model.n_params),
        bytes=format_bytes(model.weights_bytes),
    )
