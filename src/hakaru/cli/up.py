"""`hakaru up`: the whole way in one command."""

from pathlib import Path
from typing import Any

from hakaru.cli.decision import print_decision, save_decision_report
from hakaru.cli.hardware import describe
from hakaru.cli.loading import mode_for, needs_text
from hakaru.cli.output import Watching, print_json, print_text, warn_silent_devices
from hakaru.cli.serve import serve
from hakaru.cli.settings import settings_for
from hakaru.engine.mode import Mode
from hakaru.errors import Misuse
from hakaru.evaluation.tasks import named_tasks
from hakaru.evaluation.tiers import tier_named
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.models.embedded import embedded_model
from hakaru.models.model import Model, read_model
from hakaru.models.sources.find import whole_model
from hakaru.pictures.page_file import check_report
from hakaru.pictures.save import check_picture
from hakaru.quantization.source import source_kind
from hakaru.serving.deployment import Pages, beside_servers, running
from hakaru.session import Session
from hakaru.tuning.bench import Bench
from hakaru.tuning.decide import Constraints
from hakaru.tuning.loop import Effort, tune
from hakaru.units import format_bytes, format_params, parse_bytes


def run(
    *,
    model: str | None,
    quality: str,
    min_speed: float | None,
    memory: str | None,
    tasks: tuple[str, ...],
    language: str,
    port: int | None,
    no_serve: bool,
    again: bool,
    json: bool,
    chat_template: str | None,
    pages: Pages | None,
    plot: Path | None = None,
    report: Path | None = None,
    **options: Any,
) -> int:
    """Decide, and serve what was chosen. Returns 1 if nothing meets every constraint."""
    if min_speed is not None and not min_speed > 0:
        raise Misuse("--min-speed is {found}, expected a number of tokens per second above 0.", found=min_speed)
    if plot:
        check_picture(plot)
    if report:
        check_report(report)
    tier, limit = tier_named(quality), parse_bytes(memory) if memory else None
    found = whole_model(model or embedded_model())
    settings = settings_for(found, **options)
    needs_text(found, "up", tasks=bool(tasks), chat_template=chat_template)
    mode = Mode() if no_serve and not chat_template else mode_for(found, chat_template)
    machine = beside_servers(probe_machine(), found.parts)
    warn_silent_devices(machine)
    asked = named_tasks(tasks, language) if tasks else None
    constraints = Constraints(tier=tier, min_tokens_per_s=min_speed, memory_bytes=limit, tasks=asked)
    if not json:
        print("\n".join(describe(machine)))
        print_text(_model_line(found))
        if warning := source_kind(found).sentence():
            print_text(warning)
    with Watching(quiet=json) as watch:
        session = Session.here(machine=machine, watch=watch)
        bench = Bench(session, again=again)
        bench.mode = mode
        decision = tune(bench, found, settings, constraints, effort_beside_servers())
    if plot:
        from hakaru.pictures.pareto import save_pareto_picture

        save_pareto_picture(decision, plot)
    if report:
        save_decision_report(decision, report)
    if json:
        print_json(decision.as_json())
    else:
        print_decision(decision)
    if decision.chosen is None or decision.chosen.path is None:
        return 1
    return (
        0
        if no_serve
        else serve(
            read_model(decision.chosen.path), decision.served, port, pages, memory=memory, mode=mode, session=session, quiet=json
        )
    )


def effort_beside_servers() -> Effort:
    """The usual effort, which leaves the files of running servers alone."""
    return Effort(keep=frozenset(Path(d.path) for d in running()))


def _model_line(model: Model) -> str:
    return say("Model      {name} ({architecture}, {type}, {params} parameters, {bytes})",
               name=model.name, architecture=model.shape.architecture, type=model.type_name,
               params=format_params(model.n_params), bytes=format_bytes(model.weights_bytes))  # fmt: skip
