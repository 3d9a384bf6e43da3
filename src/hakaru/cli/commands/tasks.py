"""`hakaru tasks`: files of tasks, to start from."""

from dataclasses import dataclass
from pathlib import Path

from hakaru.cli.output import next_step, print_text
from hakaru.cli.paste import pasted
from hakaru.cli.wrapping import whole
from hakaru.errors import ModelNotFound
from hakaru.evaluation.task_example import write_example
from hakaru.evaluation.tasks import read_items
from hakaru.language import current_language, say
from hakaru.models.embedded import embedded_model


@dataclass(frozen=True, kw_only=True)
class TasksNewOptions:
    """`hakaru tasks new`."""

    file: Path


def write_new(options: TasksNewOptions) -> int:
    """Write a commented example that can be run as it is."""
    write_example(options.file)
    print_text(
        say(
            "{path}: an example with {n} tasks, one for every type of check, explained in its "
            "comments. Write your own tasks in their place.",
            path=whole(str(options.file)),
            n=len(read_items(options.file)),
        )
    )
    try:
        model = embedded_model()
    except ModelNotFound:
        return 0
    print_text(say("It runs as it is, on the embedded model or on any model file of yours."))
    if current_language() != "en":  # the example is in the language in use
        print_text(say("The embedded model understands English only: its score here says nothing."))
    next_step(pasted("hakaru", "test", model, "--no-speed", "--tasks", options.file))
    return 0
