"""`hakaru fit`: memory by part and by device, computed and dry-run, the verdict, and what would
change it.
"""

from hakaru.cli.next_steps import after_fit, before_fetching, check_of_speed
from hakaru.cli.options import FitOptions
from hakaru.cli.output import next_step, print_json
from hakaru.cli.tell.fit import print_fit
from hakaru.cli.terminal import terminal_session
from hakaru.pictures.memory import save_memory_picture
from hakaru.pictures.save import check_picture
from hakaru.planning.fit import fit


def run(options: FitOptions) -> int:
    """Print the footprint of a model and where it goes. Returns 3 if it does not fit."""
    if options.plot:
        check_picture(options.plot)
    answer = fit(
        options.model,
        hardware=options.hardware,
        memory=options.memory,
        preset=options.type_,
        bits=options.bits,
        mmproj=options.mmproj,
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
