"""Options and arguments that several commands share, as click declares them, and how a command
takes them.
"""

import os
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from hakaru.cli.completing import model_names
from hakaru.cli.number_types import DURATION, DURATION_OR_NONE, RATE, TOKENS
from hakaru.errors import DoesNotFit, Misuse
from hakaru.language import LANGUAGES, listed

TASK_FORMAT = """\b
A task file has one JSON object per line; lines with # in front are comments.
hakaru tasks new FILE writes an example to start from. A line:
{"prompt": "What is the capital of Portugal?",
 "check": {"type": "contains", "answer": "Lisbon"}}

\b
Checks:
{"type": "contains", "answer": "Lisbon"}   the text is in the answer
{"type": "exact", "answer": "Lisbon"}      the answer is the text
{"type": "numeric", "answer": 5, "tolerance": 0.1}
{"type": "choice", "answer": "B", "n": 4}  one of the first n letters
{"type": "regex", "pattern": "^yes"}
{"type": "json", "schema": {"type": "object"}}
{"type": "python", "tests": "assert f(1) == 2"}
"""


F = TypeVar("F", bound=Callable[..., Any])
Options = TypeVar("Options")


class _AbsolutePath(click.Path):
    """A path as typed, made absolute: what is remembered must mean the same file from everywhere.
    Links are not followed.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return Path(os.fsdecode(super().convert(value, param, ctx))).absolute()


PATH = _AbsolutePath()


def taking(command: Callable[[Options], int]) -> Callable[..., int]:
    """Hand a command its options as one value, of the type that the command's parameter `options`
    has.

    The type stands in the module of `commands` that does what the verb asks for, and is imported
    when it runs: `hakaru --help` starts without it.
    """
    does = "hakaru.cli.commands." + command.__module__.rpartition(".")[2]

    @wraps(command)
    def called(**values: object) -> int:
        kind = getattr(import_module(does), command.__annotations__["options"])
        try:
            return command(kind(**values))
        except DoesNotFit as error:  # while what was typed is known
            from hakaru.cli.tell.not_loaded import told

            if told(error):
                return error.exit_code
            raise

    return called


def model_argument(function: F) -> F:
    """The model, required: a file, a folder, or where it can be found."""
    return click.argument("model", metavar="MODEL", shell_complete=model_names)(function)


def optional_model(function: F) -> F:
    """The model, or what the command takes without one."""
    return click.argument("model", required=False, metavar="[MODEL]", shell_complete=model_names)(
        function
    )


def hardware_option(function: F) -> F:
    """`--hardware`: a machine that is only named."""
    return click.option(
        "--hardware",
        metavar="DEVICES",
        help="A machine: '2x L4', 'RTX 4090 + 64GiB RAM', 'M4 Max 64GB'.  [default: this one]",
    )(function)


def parallel_options(function: F) -> F:
    """The shape of a replica of vLLM."""
    by_matrix = click.option(
        "--tensor-parallel",
        type=click.IntRange(min=1),
        help="With vllm: devices that divide every matrix.  [default: as is best]",
    )
    by_layers = click.option(
        "--pipeline-parallel",
        type=click.IntRange(min=1),
        help="With vllm: stages that divide the layers.  [default: as is best]",
    )
    return by_matrix(by_layers(function))


def trust_option(function: F) -> F:
    """`--trust-network`."""
    return click.option(
        "--trust-network",
        is_flag=True,
        help="Nodes speak to each other unencrypted, and to whoever comes; without it through ssh.",
    )(function)


def json_option(function: F) -> F:
    """`--json`."""
    return click.option("--json", is_flag=True, help="Print one JSON object.")(function)


def dry_run_option(function: F) -> F:
    """`--dry-run`."""
    return click.option(
        "--dry-run", is_flag=True, help="Print what would be done and change nothing."
    )(function)


def context_options(function: F) -> F:
    """How the engine is asked to run; spelled as in llama.cpp."""
    for option in reversed(
        (
            click.option(
                "--context",
                "-c",
                type=TOKENS,
                help="Tokens of context, shared by all conversations; 8k is 8192.  [default: 4096 "
                "or less]",
            ),
            click.option(
                "--ubatch",
                type=TOKENS,
                default=512,
                show_default=True,
                help="Tokens per micro-batch.",
            ),
            click.option(
                "--cache-type-k",
                default="f16",
                show_default=True,
                metavar="TYPE",
                help="Type of the K cache.",
            ),
            click.option(
                "--cache-type-v",
                default="f16",
                show_default=True,
                metavar="TYPE",
                help="Type of the V cache.",
            ),
            click.option(
                "--parallel",
                type=int,
                default=1,
                show_default=True,
                help="Conversations at the same time.",
            ),
        )
    ):
        function = option(function)
    return function


def cache_ram_option(function: F) -> F:
    """`--cache-ram`."""
    return click.option(
        "--cache-ram",
        type=click.IntRange(min=0),
        metavar="MIB",
        help="RAM for prompts whose slot another one took.  [default: for a server half of what is "
        "left, at most 8192]",
    )(function)


def mmproj_option(function: F) -> F:
    """`--mmproj`."""
    text = "The model's projector, with which it sees pictures or hears."
    return click.option("--mmproj", type=PATH, metavar="FILE", help=text)(function)


def serving_options(function: F) -> F:
    """Where a server listens, for whom, and how it ends."""
    for option in reversed(
        (
            click.option(
                "--alias",
                metavar="NAME",
                help="What clients call the model, instead of its file's name.",
            ),
            port_option,
            private_option,
            click.option(
                "--allow-origin",
                multiple=True,
                metavar="ORIGIN",
                help="A site whose pages may use the server: http://localhost:3000 (repeatable).",
            ),
            click.option(
                "--host",
                metavar="ADDRESS",
                help="Address to listen at; others than 127.0.0.1 need a key.",
            ),
            click.option(
                "--api-key", metavar="KEY", multiple=True, help="A key to ask for (repeatable)."
            ),
            click.option(
                "--api-key-file", metavar="FILE", type=PATH, help="Keys to ask for, one a line."
            ),
            click.option(
                "--tls-cert", metavar="FILE", type=PATH, help="Certificate for HTTPS, in PEM."
            ),
            click.option(
                "--tls-key", metavar="FILE", type=PATH, help="The certificate's key, in PEM."
            ),
            click.option("--insecure", is_flag=True, help="Let other machines in without TLS."),
            click.option(
                "--drain",
                type=DURATION_OR_NONE,
                default="10s",
                show_default=True,
                metavar="TIME",
                help="How long answers on their way may go on after SIGTERM.",
            ),
            click.option(
                "--queue",
                type=click.IntRange(0),
                metavar="N",
                help="How many requests may wait for their turn; by default 64 for each of "
                "--parallel.",
            ),
        )
    ):
        function = option(function)
    return function


def backend_options(function: F) -> F:
    """Servers elsewhere, for which a gateway answers."""
    for option in reversed(
        (
            click.option(
                "--backend",
                metavar="URL",
                multiple=True,
                help="A server that answers instead of a model here: hakaru, llama-server, vLLM "
                "(repeatable).",
            ),
            click.option(
                "--backend-key-file",
                metavar="FILE",
                type=PATH,
                help="The key of all backends, or lines of URL and KEY.",
            ),
            click.option(
                "--backend-timeout",
                type=DURATION,
                metavar="TIME",
                default="30s",
                show_default=True,
                help="How long a backend may give no token until it is taken for lost.",
            ),
        )
    ):
        function = option(function)
    return function


def hand_options(function: F) -> F:
    """What a person sets of the engine where hakaru would choose; spelled as in llama.cpp."""
    for option in reversed(
        (
            click.option(
                "--threads", "-t", type=int, help="Threads that compute.  [default: one per core]"
            ),
            click.option(
                "--gpu-layers",
                "-ngl",
                type=int,
                help="Layers on accelerators.  [default: as many as fit]",
            ),
            click.option(
                "--draft",
                metavar="MODEL",
                shell_complete=model_names,
                help="A smaller model, which guesses tokens ahead.",
            ),
            mmproj_option,
            *sampling_options(),
        )
    ):
        function = option(function)
    return function


def sampling_options() -> tuple[Callable[[F], F], ...]:
    """How tokens are chosen where a request does not say."""
    return (
        click.option(
            "--temp",
            type=float,
            metavar="N",
            help="Temperature where a request has none; 0: the likeliest token.  [default: the "
            "model's]",
        ),
        click.option("--top-k", type=int, metavar="N", help="Choose from the N likeliest tokens."),
        click.option(
            "--top-p",
            type=float,
            metavar="N",
            help="Choose from the likeliest tokens that make up this part of the probability.",
        ),
        click.option(
            "--min-p",
            type=float,
            metavar="N",
            help="Choose from tokens at least so likely, as a part of the likeliest.",
        ),
        click.option(
            "--repeat-penalty",
            type=float,
            metavar="N",
            help="Make tokens that were just there less likely; 1: no penalty.",
        ),
        click.option("--seed", type=int, metavar="N", help="Seed where a request has none."),
    )


def type_options(as_type: str, as_bits: str) -> Callable[[F], F]:
    """`--type` and `--bits`, which name a preset; the texts say what becomes of it."""

    def decorate(function: F) -> F:
        by_name = click.option("--type", "type_", metavar="TYPE", help=as_type)
        return by_name(click.option("--bits", metavar="N", help=as_bits)(function))

    return decorate


def memory_option(function: F) -> F:
    """`--memory`."""
    return click.option(
        "--memory",
        metavar="SIZE",
        help="Memory that may be used, such as 2GiB.  [default: what is free]",
    )(function)


def private_option(function: F) -> F:
    """`--private`."""
    text = (
        "The engine sees no network, and of all files only the model's.  [default: wherever Linux "
        "allows it]"
    )
    return click.option("--private/--no-private", default=None, help=text)(function)


def template_option(function: F) -> F:
    """`--chat-template`."""
    text = (
        "Write conversations in this format: a Jinja file, or a name that the engine knows.  "
        "[default: the model's own]"
    )
    return click.option("--chat-template", metavar="NAME|FILE", help=text)(function)


def ray_option(function: F) -> F:
    """`--ray`."""
    text = "Have the tasks answered on this Ray cluster; speed is measured here."
    return click.option("--ray", metavar="auto|HOST:PORT", help=text)(function)


def again_option(function: F) -> F:
    """`--again`."""
    return click.option(
        "--again", is_flag=True, help="Measure the speed anew instead of recalling it."
    )(function)


def quality_option(function: F) -> F:
    """`--quality`."""
    text = "transparent, near-lossless, balanced, compact or extreme."
    return click.option(
        "--quality", default="balanced", show_default=True, metavar="TIER", help=text
    )(function)


def wishes(function: F) -> F:
    """What a person asks of the level that is chosen: quality, speed, memory, and how the engine is
    run.
    """
    min_speed = click.option(
        "--min-speed", type=RATE, metavar="N", help="Tokens per second that decoding must reach."
    )
    tasks = tasks_options(
        "Tasks at which the level must not be worse than the source: ours, HumanEval, or a file "
        "(hakaru tasks --help)."
    )
    return quality_option(
        min_speed(tasks(template_option(memory_option(context_options(function)))))
    )


def _known_language(_context: click.Context, _option: click.Parameter, language: str) -> str:
    """`language`, if our tasks have it; also where none of them are asked for."""
    if language not in LANGUAGES:
        raise Misuse(
            "`language` is '{found}', expected one of {known}.",
            found=language,
            known=listed(LANGUAGES),
        )
    return language


def tasks_options(text: str) -> Callable[[F], F]:
    """`--tasks` and `--language`."""

    def decorate(function: F) -> F:
        language = click.option(
            "--language",
            default="en",
            show_default=True,
            metavar="en|ja",
            callback=_known_language,
            help="Language of our tasks.",
        )
        names = click.option(
            "--tasks", "--task", "tasks", metavar="ours|humaneval|FILE", multiple=True, help=text
        )
        return names(language(function))

    return decorate


def port_option(function: F) -> F:
    """`--port`."""
    return click.option(
        "--port",
        type=click.IntRange(1, 65535),
        help="Port on 127.0.0.1.  [default: 8600, or a free one]",
    )(function)
