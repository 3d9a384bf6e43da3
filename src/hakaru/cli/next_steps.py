"""What to type next: the last line of every command, the same rule for all of them.

A next step is a whole command line that can be pasted as it stands: paths are quoted, and what is
named is there. `again` is the command that runs, as it was typed, with some options changed.
"""

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from hakaru.cli.fields import OPTION_OF
from hakaru.cli.paste import pasted
from hakaru.cli.wrapping import whole
from hakaru.language import say
from hakaru.models.presets import USUAL

if TYPE_CHECKING:  # each command brings what it tells of
    from hakaru.cli.commands.fit import FitOptions
    from hakaru.evaluation.comparison import Comparison, Measured
    from hakaru.evaluation.findings import Findings
    from hakaru.planning.answer import Fit
    from hakaru.planning.ways_out import Alternative

SMALL_MODELS: Final = "hakaru ls --catalog small"
Options = Mapping[str, str]
"""Options by their names (`--context`), with their values."""


def again(
    *,
    verb: str | None = None,
    model: str | Path | None = None,
    without: Collection[str] = (),
    changes: Options | None = None,
) -> str:
    """The command that runs, as it was typed, but for the options `without`, and with `changes`.

    With `verb` it is another command for `model`, which gets those of the options that it knows:
    what `up --context 8192` chose is served by `serve --context 8192`.
    """
    context = click.get_current_context()
    names = [*context.command_path.split()[:1], verb] if verb else context.command_path.split()
    return pasted(*names, *_given_words(verb, model, without, changes or {}))


def words_typed(without: Collection[str] = ()) -> list[str]:
    """The words of the command that runs, from its name on and without these options; options by
    their first names.
    """
    names = click.get_current_context().command_path.split()[1:]
    return [str(word) for word in (*names, *_given_words(None, None, without, {}))]


def _given_words(
    verb: str | None, model: str | Path | None, without: Collection[str], changed: Options
) -> list[str | Path]:
    context = click.get_current_context()
    known = {param.opts[0] for param in _command(context, verb).params}
    words = [
        word
        for param in context.command.params
        if context.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        and param.opts[0] in known - {*without, *changed}
        and not (model and isinstance(param, click.Argument))
        for word in _typed(param, context.params[param.name or ""])
    ]
    return [
        *([model] if model else []),
        *words,
        *(word for pair in changed.items() for word in pair),
    ]


def _command(context: click.Context, verb: str | None) -> click.Command:
    """The command that runs, or the one that is called `verb`."""
    group = context.find_root().command
    return group.commands[verb] if verb and isinstance(group, click.Group) else context.command


def _typed(param: click.Parameter, value: object) -> Iterator[str | Path]:
    """The words of one option or argument; a whole number of a fraction has no `.0`."""
    values = value if isinstance(value, tuple) else (value,)
    if isinstance(param, click.Argument):
        yield from (named(str(one)) for one in values)
    elif isinstance(param, click.Option) and param.is_flag:
        yield param.opts[0]
    else:
        for one in values:
            yield from (param.opts[0], str(one).removesuffix(".0"))


def named(model: str) -> str | Path:
    """A model as it was typed. A file whose name begins with a dash gets `./` when it is pasted."""
    return Path(model) if model.startswith("-") else model


def after_show(model: str) -> str:
    """Whether it fits."""
    return pasted("hakaru", "fit", named(model))


def after_fit(fit: "Fit", options: "FitOptions") -> str:
    """What does not fit is asked again with the first change that helps. What fits is looked for,
    or fetched, or made, or measured.
    """
    if fit.verdict == "does_not_fit":
        ways = _changes(fit.alternatives)
        if not ways:
            return SMALL_MODELS
        other_name = {"--bits"} if "--type" in ways[0] else set()
        return again(without={"--plot"} | other_name, changes=ways[0])
    found = fit.found
    if found and (to_fetch := found.gguf_search or found.fetch_at(options.preset)):
        return to_fetch
    if found and found.stored:
        return pasted("hakaru", "show", named(options.model))
    if options.preset:
        return pasted("hakaru", "quantize", named(options.model), "--type", options.preset)
    if options.cluster:
        n_ctx = str(fit.settings.n_ctx)
        model = named(options.model)
        return pasted("hakaru", "serve", model, "-c", n_ctx, "--cluster", options.cluster)
    return pasted("hakaru", "test", named(options.model))


def check_of_speed(fit: "Fit", options: "FitOptions") -> str:
    """The command that measures what was predicted; empty for a model that is not on this
    machine.
    """
    if not fit.model.complete or options.type_:
        return ""
    behind = ["--depth", str(options.depth)] if options.depth else []
    return pasted("hakaru", "bench", named(options.model), *behind)


def before_fetching(fit: "Fit", options: "FitOptions") -> str:
    """What the command is for that looks for GGUF files; empty where `after_fit` is another."""
    if fit.verdict == "does_not_fit" or fit.found is None or fit.found.gguf_search is None:
        return ""
    return say(
        "Nothing was downloaded. The next command lists repositories with GGUF files of this "
        "model; {command} checks one of them and says how to fetch it.",
        command=f"hakaru fit hf:ORG/REPO:{options.preset or USUAL[4]}",
    )


def after_refusal(fit: "Fit") -> str:
    """The command that would not load the model, with the first change that it can make and that
    helps; where only a smaller type does, the command that makes it.
    """
    context = click.get_current_context()
    able = {param.opts[0] for param in context.command.params}
    for changes in _changes(fit.alternatives):
        if able.issuperset(changes):
            return again(changes=changes)
        if "--type" in changes:
            return pasted("hakaru", "quantize", fit.model.path, "--type", changes["--type"])
    return SMALL_MODELS


def _changes(ways: "Sequence[Alternative]") -> list[Options]:
    """The options of the ways out that fit, those that fit comfortably first."""
    helpful = sorted((way for way in ways if way.fits), key=lambda way: way.verdict != "fits")
    return [_options(shlex.split(way.flag)) for way in helpful]


def _options(words: Sequence[str]) -> Options:
    """Fields in backticks, each with its value, as options."""
    return {
        OPTION_OF[field.strip("`")]: value
        for field, value in zip(words[::2], words[1::2], strict=True)
    }


def after_dry_run() -> str:
    """The same in earnest."""
    return again(without={"--dry-run"})


def after_formula(model: str | None, type_: str) -> str:
    """The exact question about the known model of that size; without one, the list of names."""
    if model is None:
        return "hakaru ls --catalog"
    return again(verb="fit", model=model, without={"--bits"}, changes={"--type": type_})


def after_quantize(made: Path, source: Path, broken: str | None) -> str:
    """What was lost; where the tier `broken` is not kept, the search for a level that keeps it."""
    if broken:
        return pasted("hakaru", "tune", source, "--quality", broken)
    return pasted("hakaru", "test", made, "--reference", source)


def after_test(findings: "Findings") -> str:
    """To serve it; where the tier is broken, the search for a level that keeps it; where the time
    was too short to tell, the same without a limit.
    """
    model, original, tested = findings.model, findings.original, findings.tested
    if tested and original:
        verdict = tested.judgement.verdict
        tier = ["--quality", findings.tier.name]
        if verdict == "fail":
            return pasted("hakaru", "tune", original.path, *tier)
        if verdict == "inconclusive" and tested.quality.n_windows < len(tested.domains):
            return pasted("hakaru", "test", model.path, "--reference", original.path, *tier)
    return pasted("hakaru", "serve", model.path)


def after_comparison(comparison: "Comparison") -> str:
    """To serve the fastest of those that keep the tier, or without speeds the smallest. Where only
    tasks were compared, the one with the most right answers comes first; where nothing but speed
    was, the same with tasks; where none keeps the tier, the search for a level that does.
    """
    models, reference = comparison.measured, comparison.reference
    if reference is None and not any(measured.graded for measured in models):
        return again(changes={"--tasks": "ours"})
    keeping = [m for m in models if m.judgement is None or m.judgement.verdict == "pass"]
    if reference and not keeping:
        return pasted("hakaru", "tune", reference.path, "--quality", comparison.tier.name)

    def worth(measured: "Measured") -> tuple[int, float, int]:
        trial, n_right = measured.trial, sum(graded.right is True for graded in measured.graded)
        return (
            0 if reference else n_right,
            trial.speed.decode_tokens_per_s.value if trial else 0.0,
            -measured.model.weights_bytes,
        )

    return pasted("hakaru", "serve", max(keeping, key=worth).model.path)


def english_only(command: str) -> str:
    """The sentence for a model that knows no other language, and how to take another one."""
    return say(
        "This small model understands English only. Another one: {command}", command=whole(command)
    )
