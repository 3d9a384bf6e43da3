"""What is left of the memory of a child that dies."""

import subprocess
import sys

import pytest

LEFT = """
import resource
from hakaru.engine.core_dump import leave_no_core_dump
resource.setrlimit(resource.RLIMIT_CORE, ({allowed}, {allowed}))
leave_no_core_dump()
print(resource.getrlimit(resource.RLIMIT_CORE))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limit is always 0")
@pytest.mark.parametrize(("allowed", "left"), [(0, 0), (1, 1), (4096, 1)])
def test_a_limit_that_is_lower_already_stays(allowed: int, left: int) -> None:
    """`LimitCORE=0` of a service, and `hard core 0` of a hardened system, keep no engine from
    starting; where more is allowed, one byte is, at which the system starts no keeper of images.
    """
    done = subprocess.run(
        [sys.executable, "-c", LEFT.format(allowed=allowed)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout == f"({left}, {left})\n", done.stderr
