"""`hakaru pull`: a model from elsewhere onto this disk, checked."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from hakaru.cli.next_steps import again, named
from hakaru.cli.output import next_step, print_json
from hakaru.cli.paste import pasted
from hakaru.cli.progress import Watching
from hakaru.cli.tell.pull import print_download, print_pulled, pulled_json
from hakaru.cli.terminal import terminal_session
from hakaru.memory.context import Context
from hakaru.models.sources.find import parsed
from hakaru.models.sources.reference import Local, OllamaName
from hakaru.pulling.pull import Pulled, already_here, pull


@dataclass(frozen=True, kw_only=True)
class PullOptions:
    """`hakaru pull`."""

    model: str
    context: int | None
    memory: str | None
    vision: bool
    force: bool
    dry_run: bool
    json: bool

    def as_context(self) -> Context:
        """The options by the names of fields."""
        return {} if self.context is None else {"n_ctx": self.context}


def run(options: PullOptions) -> int:
    """Fetch a model, or say what would be fetched."""
    pulled = brought(
        options.model,
        options.as_context(),
        memory=options.memory,
        vision=options.vision,
        force=options.force,
        dry_run=options.dry_run,
        quiet=options.json,
    )
    if options.json:
        print_json(pulled_json(pulled, dry_run=options.dry_run))
        return 0
    if not options.dry_run:
        print_pulled(pulled)
    next_step(_after(pulled, options))
    return 0


def brought(
    model: str,
    context: Context,
    *,
    memory: str | None = None,
    vision: bool = False,
    force: bool = False,
    dry_run: bool = False,
    quiet: bool = False,
) -> Pulled:
    """The model on this disk, with all that is told and asked on the way."""
    with Watching(quiet=quiet) as watch:
        session = terminal_session(watching=watch, quiet=quiet, keeps=False)
        return pull(
            model,
            vision=vision,
            force=force,
            memory=memory,
            dry_run=dry_run,
            ask=None if quiet or not sys.stdin.isatty() else ask,
            hear=(lambda download: None) if quiet else print_download,
            session=session,
            **context,
        )


def on_this_disk(model: str, context: Context, memory: str | None, *, quiet: bool) -> str:
    """The model as a command finds it afterwards: as it was typed if it is here, else the file that
    is fetched now. A checkpoint stays named by its repository.
    """
    if isinstance(parsed(model), Local | OllamaName):
        return model
    if path := already_here(model):
        return str(path)
    pulled = brought(model, context, memory=memory, quiet=quiet)
    path = pulled.made or pulled.path
    return str(path) if pulled.model else pulled.origin


def ask(question: str, answers: Sequence[str]) -> int:
    """The number of the answer that a person takes."""
    click.echo(question, err=True)
    for number, answer in enumerate(answers, start=1):
        click.echo(f"  {number}  {answer}", err=True)
    chosen: int = click.prompt("?", type=click.IntRange(1, len(answers)), default=1, err=True)
    return chosen - 1


def _after(pulled: Pulled, options: PullOptions) -> str:
    """To fetch it after all; to look at what is no model yet; else to serve it."""
    if options.dry_run:
        return again(without={"--dry-run"})
    where = named(pulled.origin) if pulled.download else pulled.path
    if pulled.download and pulled.download.becomes:
        return pasted("hakaru", "quantize", where, "--type", pulled.download.becomes)
    if pulled.model is None:
        return pasted("hakaru", "show", where)
    return again(verb="up", model=pulled.made or where)
