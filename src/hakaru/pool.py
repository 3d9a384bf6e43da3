"""A pool of threads that does not hold up a command: Ctrl-C ends the command at once, whatever the
threads wait for.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def impatient_pool(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of `n_threads`. A block that ends well has taken all results. If a block is
    interrupted, nothing waits for the threads that still run.
    """
    pool = ThreadPoolExecutor(n_threads)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
