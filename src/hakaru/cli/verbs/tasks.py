"""How `hakaru tasks` is typed."""

from typing import TYPE_CHECKING

import click

from hakaru.cli.parameters import PATH, TASK_FORMAT, taking

if TYPE_CHECKING:
    from hakaru.cli.commands.tasks import TasksNewOptions


@click.group(epilog=TASK_FORMAT)
def tasks() -> None:
    """Tasks of your own, for --tasks of test, tune and up."""


@tasks.command("new")
@click.argument("file", metavar="FILE", type=PATH)
@taking
def tasks_new(options: "TasksNewOptions") -> int:
    """Write a commented example to start from; it can be run as it is."""
    from hakaru.cli.commands import tasks as command

    return command.write_new(options)
