"""`hakaru completion`: the lines that make a shell ask hakaru what can be typed next."""

from dataclasses import dataclass

import click
from click.shell_completion import get_completion_class


@dataclass(frozen=True, kw_only=True)
class CompletionOptions:
    """`hakaru completion`."""

    shell: str


def run(options: CompletionOptions) -> int:
    """Print the lines. The shell then runs hakaru with `_HAKARU_COMPLETE`, whenever Tab is
    pressed, and Click answers.
    """
    made = get_completion_class(options.shell)
    assert made is not None  # the choices are those of Click
    group = click.get_current_context().find_root().command
    shell = made(group, {}, "hakaru", "_HAKARU_COMPLETE")
    print(made.source_template % shell.source_vars())
    return 0
