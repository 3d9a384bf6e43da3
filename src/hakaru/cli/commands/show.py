"""`hakaru show`: what is known about a model, before anything is downloaded."""

from dataclasses import dataclass

from hakaru.cli.next_steps import after_show
from hakaru.cli.output import next_step, print_json
from hakaru.cli.tell.show import print_description
from hakaru.models.description import describe
from hakaru.models.sources.find import find_model


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """`hakaru show`."""

    model: str
    json: bool


def run(options: ShowOptions) -> int:
    """Print what is known about a model."""
    description = describe(find_model(options.model))
    if options.json:
        print_json(description.as_json())
    else:
        print_description(description)
        next_step(after_show(options.model))
    return 0
