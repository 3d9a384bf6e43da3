"""The console script, and `python -m hakaru`. The two faces meet only here: the command line is told how to make the
pages.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hakaru.cli import run

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from hakaru.evaluation.tiers import Tier
    from hakaru.serving.supervisor import Supervisor
    from hakaru.web.live import LivePage


def main() -> None:
    """Run the command line: one sentence instead of a traceback, and the exit code of the error."""
    sys.exit(run(sys.argv[1:], pages=_pages, live=_live))


def _pages(supervisor: "Supervisor") -> "Sequence[BaseRoute]":
    from hakaru.web.page import page_routes

    return page_routes(supervisor)


def _live(title: str, tier: "Tier") -> "LivePage":
    from hakaru.web.live import LivePage

    return LivePage(title, tier)


if __name__ == "__main__":
    main()
