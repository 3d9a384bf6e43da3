"""`hakaru trust`: which files may be served, by their SHA-256."""

from dataclasses import dataclass
from functools import partial

from msgspec.structs import asdict

from hakaru import trust
from hakaru.cli.output import print_json, print_text
from hakaru.cli.progress import Watching
from hakaru.cli.wrapping import whole
from hakaru.language import say
from hakaru.ledger import sha256_of
from hakaru.models.sources.find import whole_model


@dataclass(frozen=True, kw_only=True)
class TrustOptions:
    """`hakaru trust`."""

    model: str | None
    json: bool


def run(options: TrustOptions) -> int:
    """Trust the files of a model as they are now, or list all that are trusted."""
    shown = trust.trusted()
    if options.model is not None:
        with Watching(quiet=options.json) as watching:
            paths = whole_model(options.model).parts
            found = trust.accept(paths, partial(sha256_of, watch=watching))
        shown = {path: file for path, file in trust.trusted().items() if path in found}
    if options.json:
        files = {str(path): asdict(file) for path, file in shown.items()}
        print_json({"schema": trust.SCHEMA, "files": files})
        return 0
    for path, file in shown.items():
        print_text(whole(f"{file.sha256}  {path}"))
    if not shown:
        print_text(say("Nothing is trusted yet: hakaru serve remembers what it serves."))
    return 0
