"""`hakaru fit`: memory by part and by device, computed and dry-run, the verdict, and what would
change it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from hakaru.cli.fields import OPTION_OF
from hakaru.cli.next_steps import after_fit, before_fetching, check_of_speed
from hakaru.cli.options import ParallelOptions, ServedContextOptions
from hakaru.cli.output import next_step, print_json
from hakaru.cli.tell.fit import print_fit
from hakaru.cli.tell.fit_vllm import print_vllm_fit
from hakaru.cli.terminal import terminal_session
from hakaru.errors import Misuse
from hakaru.models.presets import preset_asked
from hakaru.pictures.memory import save_memory_picture
from hakaru.pictures.save import check_picture
from hakaru.planning.fit import fit
from hakaru.vllm.vllm_fit import fit_vllm

OF_LLAMA_CPP: Final = (
    "bits", "mmproj", "vision", "draft", "mtp", "memory", "kv_unified", "max_context", "depth",
    "explain_terms", "plot",
)  # fmt: skip
OF_VLLM: Final = ("users", "tensor_parallel", "pipeline_parallel")
"""Fields that one engine alone takes."""


@dataclass(frozen=True, kw_only=True)
class FitOptions(ServedContextOptions, ParallelOptions):
    """`hakaru fit`."""

    model: str
    type_: str | None  # a preset that nobody needs to have built
    bits: str | None  # of the usual preset: 4 is Q4_K_M
    hardware: str | None
    cluster: Path | None
    engine: Literal["llama.cpp", "vllm"]
    users: int | None
    memory: str | None
    mmproj: Path | None
    vision: bool
    draft: str | None
    mtp: bool
    kv_unified: bool
    source: Literal["computed", "dry-run", "both"]
    max_context: bool
    depth: int
    explain_terms: bool
    plot: Path | None
    json: bool

    @property
    def preset(self) -> str | None:
        """The preset that was named, by whichever option."""
        return preset_asked(self.type_, self.bits)


def run(options: FitOptions) -> int:
    """Print the footprint of a model and where it goes. Returns 3 if it does not fit."""
    if options.engine == "vllm":
        return run_vllm(options)
    _refuse(options, "vllm", OF_VLLM)
    if options.plot:
        check_picture(options.plot)
    answer = fit(
        options.model,
        hardware=options.hardware,
        cluster=options.cluster,
        memory=options.memory,
        preset=options.type_,
        bits=options.bits,
        mmproj=options.mmproj,
        vision=options.vision,
        draft=options.draft,
        mtp=options.mtp,
        kv_unified=options.kv_unified,
        source=options.source,
        find_max=options.max_context,
        depth=options.depth,
        session=terminal_session(quiet=options.json, keeps=False),
        **options.as_context(),
    )
    if options.plot:
        save_memory_picture(answer, options.plot)
    if options.json:
        print_json(answer.as_json(explain=options.explain_terms))
    else:
        terms = answer.explanation() if options.explain_terms else []
        print_fit(answer, terms, check_of_speed(answer, options))
        next_step(after_fit(answer, options), before=before_fetching(answer, options))
    return 3 if answer.verdict == "does_not_fit" else 0


def run_vllm(options: FitOptions) -> int:
    """Print how vLLM would serve the model. Returns 3 if the users do not go in."""
    _refuse(options, "llama.cpp", OF_LLAMA_CPP)
    answer = fit_vllm(
        options.model,
        hardware=options.hardware,
        cluster=options.cluster,
        type_name=options.type_,
        n_ctx=options.context,
        users=options.users,
        parallel=options.parallel_shape,
        session=terminal_session(quiet=options.json, keeps=False),
    )
    if options.json:
        print_json(answer.as_json())
    else:
        print_vllm_fit(answer)
    return 3 if answer.verdict == "does_not_fit" else 0


def _refuse(options: FitOptions, engine: str, names: Sequence[str]) -> None:
    """Raises Misuse where a field has a value that only the other engine knows."""
    for name in names:
        if getattr(options, name):
            option = OPTION_OF[name]
            raise Misuse("{option} is of {engine}; leave it out.", option=option, engine=engine)
