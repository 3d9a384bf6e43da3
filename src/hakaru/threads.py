"""Threads that are no reason to stay: Ctrl-C must end a command at once, whatever its threads wait
for.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def impatient_pool(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of `n_threads`. A block that ends well has taken all results; where it is interrupted
    nobody waits for the rest.
    """
    pool = ThreadPoolExecutor(n_threads)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
