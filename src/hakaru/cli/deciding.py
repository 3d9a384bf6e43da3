"""What `hakaru up` and `hakaru tune` share: a decision, told on the terminal while it is made."""

from hakaru.choosing.decision import Decision
from hakaru.choosing.tune import tune
from hakaru.cli.options import WishOptions
from hakaru.cli.progress import Watching
from hakaru.cli.terminal import terminal_session


def decide(options: WishOptions, *, serves: bool) -> Decision:
    """The decision for the wishes of a person."""
    with Watching(quiet=options.json) as watch:
        return tune(
            options.model,
            tier=options.quality,
            min_tokens_per_s=options.min_speed,
            memory=options.memory,
            tasks=options.tasks,
            language=options.language,
            chat_template=options.chat_template,
            again=options.again,
            serves=serves,
            session=terminal_session(watch=watch, quiet=options.json),
            **options.as_context(),
        )
