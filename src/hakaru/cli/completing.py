"""What a shell offers for a model: files, and the names of the catalogue.

Click asks while the shell waits for an answer, so the catalogue is read only for what cannot be a
path.
"""

import re
from typing import Final

import click
from click.shell_completion import CompletionItem

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")


def model_names(
    _context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The models whose names begin as what is typed; where none does, the shell offers files."""
    if _NAME.fullmatch(incomplete):
        from hakaru.models.own_catalogue import all_models

        names = [one.id for one in all_models() if one.id.startswith(incomplete.lower())]
        if names:
            return [CompletionItem(name) for name in names]
    return [CompletionItem(incomplete, type="file")]
