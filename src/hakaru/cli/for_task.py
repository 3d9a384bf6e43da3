"""The model for a task, where a person names a task and no model: what `choose` recommends."""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from hakaru.cli.output import print_aside, print_text
from hakaru.cli.paste import pasted
from hakaru.cli.progress import Watching
from hakaru.cli.tell.choose import print_chosen
from hakaru.cli.terminal import terminal_session
from hakaru.errors import Misuse
from hakaru.evaluation.calibrating import calibrate
from hakaru.language import current_language, say
from hakaru.models.benchmarks import TASKS, Task
from hakaru.selection.choose import choose
from hakaru.selection.chosen import Chosen

if TYPE_CHECKING:
    from hakaru.cli.commands.up import UpOptions


NOT_TEXT: Final = frozenset({"vision", "embedding"})
"""Tasks whose answers no text shows: what a level loses is measured on texts."""


def names_task(options: "UpOptions") -> bool:
    """Whether a task stands in the place of a model: `up --task chat`, but not `--task ours`."""
    return options.model is None and any(name in TASKS for name in options.tasks)


def with_model_for(options: "UpOptions") -> "UpOptions":
    """The options with the model that is recommended here for their task, at its type, and with the
    context that the task needs. Without a model if none meets every condition, which is told. A
    machine of which no speed is known is timed before anything is fetched.
    """
    task = next(name for name in TASKS if name in options.tasks)
    if task in NOT_TEXT:
        raise Misuse(
            "`tasks` {task}: up decides by texts that a model writes; the model for it, and how it "
            "is fetched, tells: {command}",
            task=task,
            command=pasted("hakaru", "choose", "--task", task),
        )
    chosen = _chosen(task, options)
    if chosen.recommended and not chosen.recommended.pace:
        told = print_aside if options.json else print_text
        told(
            say(
                "How fast models are here is not known yet: timing this machine, which takes a "
                "minute."
            )
        )
        with Watching(quiet=options.json) as watch:
            calibrate(terminal_session(watching=watch, aside=True, keeps=False))
        chosen = _chosen(task, options)
    if not options.json or not chosen.rows:
        print_chosen(chosen)
    first = chosen.recommended
    if first is None:
        return options
    model = f"{first.model.id}:{first.type}"
    if not options.json:
        print_text(say("Going on with {model}.", model=model))
    own_tasks = tuple(name for name in options.tasks if name not in TASKS)
    n_ctx = options.context or chosen.conditions.n_ctx
    return replace(options, model=model, tasks=own_tasks, context=n_ctx)


def _chosen(task: Task, options: "UpOptions") -> Chosen:
    source = click.get_current_context().get_parameter_source("language")
    return choose(
        task,
        memory=options.memory,
        language=options.language if source is ParameterSource.COMMANDLINE else current_language(),
        n_ctx=options.context,
        min_speed=options.min_speed,
        session=terminal_session(aside=True, quiet=options.json, keeps=False),
    )
