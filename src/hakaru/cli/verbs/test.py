"""How `hakaru test` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.called import around, given
from hakaru.cli.completing import model_names
from hakaru.cli.number_types import DURATION
from hakaru.cli.parameters import (
    PATH,
    TASK_FORMAT,
    again_option,
    context_options,
    json_option,
    quality_option,
    ray_option,
    taking,
    tasks_options,
    template_option,
)

if TYPE_CHECKING:
    from hakaru.cli.commands.test import TestOptions


@click.command(epilog=TASK_FORMAT)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, shell_complete=model_names)
@click.option(
    "--reference", metavar="MODEL", help="The model it is compared with.  [default: itself]"
)
@click.option(
    "--text", "texts", type=PATH, multiple=True, help="Also test on this file (repeatable)."
)
@click.option(
    "--prompts",
    type=PATH,
    help="Also test on the reference's answers to these prompts, one per line.",
)
@click.option(
    "--budget",
    type=DURATION,
    metavar="TIME",
    help="Stop comparing windows after this time, such as 120s or 2m; the reference's answers "
    "when they are first asked for, the noise floor, speed and tasks come on top.",
)
@tasks_options("Also answer tasks: ours, HumanEval, or a file (hakaru tasks new).")
@ray_option
@template_option
@quality_option
@context_options
@click.option("--no-speed", is_flag=True, help="Measure quality only.")
@click.option(
    "--full-speed",
    is_flag=True,
    help="Also decode behind long contexts and for several users at once.",
)
@click.option("--report", type=PATH, metavar="FILE.html", help="Also write a report with pictures.")
@click.option(
    "--plot", type=PATH, metavar="FILE.svg|png", help="Also draw the pictures of the report."
)
@click.option(
    "--page",
    is_flag=True,
    help="Also show a page on which the interval closes; without --json it stays until Ctrl-C.",
)
@again_option
@json_option
@taking
def test(options: "TestOptions") -> int:
    """Measure what was lost and how fast it is here. Several models are compared side by side."""
    from hakaru.cli.commands import test as command

    return command.run(options, given(), live=around().live)
