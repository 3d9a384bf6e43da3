"""What counts as waiting for a processor: neither sleep nor work of one's own."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from queued import Queued

SLEEP_AND_WORK = "import time; time.sleep(1)\nwhile time.process_time() < 0.3: pass"
SPIN = "import time; until = time.monotonic() + 1.5\nwhile time.monotonic() < until: pass"


def test_sleep_and_own_work_are_not_counted() -> None:
    """A command that hangs, or computes, is as slow as it was: a second of sleep and 0.3 s of work
    are none of its waiting, however busy the machine is.
    """
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", SLEEP_AND_WORK]) as process:
        with Queued([process.pid]) as queued:
            process.wait()
        took = time.monotonic() - began
    assert queued.seconds <= took - 1.3


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the system does not count")
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor can be chosen")
def test_a_processor_that_others_have_is_waited_for() -> None:
    """Three who compute on one processor for 1.5 s each had a third of it, and waited for 2 s."""
    one = {min(os.sched_getaffinity(0))}
    spinning = [
        subprocess.Popen([sys.executable, "-c", SPIN], preexec_fn=lambda: pin(one))
        for _ in range(3)
    ]
    with Queued([process.pid for process in spinning]) as queued:
        for process in spinning:
            process.wait()
    assert queued.seconds > 1.5


def pin(processors: set[int]) -> None:
    """Run on these alone from now on."""
    os.sched_setaffinity(0, processors)
