"""The last line of `fit`, `show`, `formula`, `quantize` and `test`: what to type next.

Each is a whole command line that can be pasted as it stands: paths are quoted, and what is named is
there. Of a model that is not on this machine it is an address, since hakaru fetches no weights.
"""

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from hakaru.cli.fields import OPTION_OF
from hakaru.cli.options import FitOptions
from hakaru.cli.paste import pasted
from hakaru.language import say

if TYPE_CHECKING:  # each command brings what it tells of
    from hakaru.evaluation.findings import Findings
    from hakaru.planning.answer import Fit
    from hakaru.planning.ways_out import Alternative


def named(model: str) -> str | Path:
    """A model as it was typed. A file whose name begins with a dash gets `./` when it is pasted."""
    return Path(model) if model.startswith("-") else model


def after_show(model: str) -> str:
    """Whether it fits."""
    return pasted("hakaru", "fit", named(model))


def after_fit(fit: "Fit", options: FitOptions) -> str:
    """What does not fit is asked again with the first change that helps. What fits is fetched, or
    made, or measured.
    """
    if fit.verdict == "does_not_fit":
        helpful = [way for way in fit.alternatives if way.fits]
        comfortable = [way for way in helpful if way.verdict == "fits"]
        ways = comfortable or helpful
        return _fit_with(options, ways[0]) if ways else "hakaru ls --catalog small"
    found = fit.found
    if found and (to_fetch := found.gguf_files_url or found.fetch):
        return to_fetch
    if found and found.stored:
        return pasted("hakaru", "show", named(options.model))
    if options.type_:
        return pasted("hakaru", "quantize", named(options.model), "--type", options.type_)
    return pasted("hakaru", "test", named(options.model))


def before_fetching(fit: "Fit", options: FitOptions) -> str:
    """What to do with the address that `after_fit` names; empty where it names none."""
    found = fit.found
    if fit.verdict == "does_not_fit" or found is None or found.gguf_files_url is None:
        return ""
    return say(
        "Nothing was downloaded. GGUF files of this model are listed at the address below; "
        "{command} checks one of them and says how to fetch it.",
        command=f"hakaru fit hf:ORG/REPO:{options.type_ or 'Q4_K_M'}",
    )


def _fit_with(options: FitOptions, way: "Alternative") -> str:
    """The same question, with the options that the way out names in place of those given."""
    words = shlex.split(way.flag)
    fields, values = (word.strip("`") for word in words[::2]), words[1::2]
    changed = {OPTION_OF[field]: value for field, value in zip(fields, values, strict=True)}
    return _again(options.model, without={"--plot", *changed}) + f" {pasted(*_flat(changed))}"


def _again(model: str, *, without: Collection[str]) -> str:
    """The command that runs, as it was typed, but for the options `without`."""
    context, words = click.get_current_context(), list[str | Path]()
    for param in context.command.params:
        is_given = context.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        if not isinstance(param, click.Option) or not is_given or param.opts[0] in without:
            continue
        value = context.params[param.name or ""]
        if param.is_flag:
            words.append(param.opts[0])
        for one in value if param.multiple else () if param.is_flag else (value,):
            words += [param.opts[0], str(one)]
    return pasted(*context.command_path.split(), named(model), *words)


def _flat(options: Mapping[str, str]) -> list[str]:
    return [word for pair in options.items() for word in pair]


def after_dry_run(model: str) -> str:
    """The same in earnest."""
    return _again(model, without={"--dry-run"})


def after_formula(model: str | None, type_: str | None, hardware: str | None) -> str:
    """The exact question about the known model of that size; without one, the list of names."""
    if model is None:
        return "hakaru ls --catalog"
    at = ["--type", type_] if type_ else []
    return pasted("hakaru", "fit", model, *at, *(["--hardware", hardware] if hardware else []))


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
