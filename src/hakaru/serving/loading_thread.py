"""The one thread in which models are planned and loaded, with a ledger of its own: SQLite wants a
connection used in the thread that opened it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from msgspec.structs import replace

from hakaru.ledger import Ledger
from hakaru.session import Session

T = TypeVar("T")


class LoadingThread:
    """Does one thing at a time, with `session`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pool = ThreadPoolExecutor(1, "load")

    async def run(self, does: Callable[[Session], T]) -> T:
        """What `does` returns."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._with_ledger, does)

    def end(self) -> None:
        """Return when nothing is done any more; what has not begun is left."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _with_ledger(self, does: Callable[[Session], T]) -> T:
        with closing(Ledger(self._session.ledger.path, keeps=False)) as ledger:
            return does(replace(self._session, ledger=ledger))
