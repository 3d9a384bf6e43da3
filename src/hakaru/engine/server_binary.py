"""The child that becomes a `llama-server`: it ties its life to the parent's and then runs that
program in its place.

`python -m hakaru.engine.server_binary PROGRAM OPTION…`. The process keeps its number, so that what
is read of it (peak memory, memory on a GPU) is the program's; in private that is bubblewrap's, and
the engine stands below it. What the program prints goes to stderr, where the parent reads its log.
"""

import os
import signal
import sys

from hakaru.engine.core_dump import leave_no_core_dump
from hakaru.engine.orphan import die_with_parent


def main() -> None:
    """Become the program. Ends with exit code 127 and one line where it cannot be run."""
    program, *options = sys.argv[1:]
    os.dup2(2, 1)
    leave_no_core_dump()
    die_with_parent()  # Linux keeps this wish when the program takes over
    if sys.platform != "linux":
        end_with_stdin(os.getpid())
    try:
        os.execv(program, [program, *options])
    except OSError as error:
        print(f"error: {program}: {error.strerror}", file=sys.stderr)
        raise SystemExit(127) from error


def end_with_stdin(process: int) -> None:
    """Where the kernel does not end orphans: leave a watcher behind that ends `process` when stdin
    closes.
    """
    if os.fork() == 0:
        while os.read(0, 1024):
            pass
        try:
            os.kill(process, signal.SIGKILL)
        finally:
            os._exit(0)


if __name__ == "__main__":
    main()
