"""`hakaru fit`: memory by part and by device, computed and dry-run, the verdict, and what would
change it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hakaru.cli.next_steps import after_fit, before_fetching, check_of_speed
from hakaru.cli.options import ContextOptions
from hakaru.cli.output import next_step, print_json
from hakaru.cli.tell.fit import print_fit
from hakaru.cli.terminal import terminal_session
from hakaru.models.presets import preset_asked
from hakaru.pictures.memory import save_memory_picture
from hakaru.pictures.save import check_picture
from hakaru.planning.fit import fit


@dataclass(frozen=True, kw_only=True)
class FitOptions(ContextOptions):
    """`hakaru fit`."""

    model: str
    type_: str | None  # a preset that nobody needs to have built
    bits: str | None  # of the usual preset: 4 is Q4_K_M
    hardware: str | None
    cluster: Path | None
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
