"""`hakaru serve` a second time: the engine loads while the plan is made, and only if it stays."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from test_serving import Served

from hakaru.places import log_dir, run_dir
from hakaru.testing import write_tiny_llama
from ports import free_port

pytestmark = pytest.mark.engine
EARLY = "the engine was started before its plan"


@contextmanager
def one_processor() -> Iterator[None]:
    """Plans with one thread instead of two."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def was_early(model: Path, port: int) -> bool:
    """Whether a server that answers had its engine early; nothing of it stays."""
    log = log_dir() / f"serve-{port}.log"
    before = log.read_text() if log.exists() else ""
    served = Served(model, "--context", "256", "--port", str(port))
    assert served.url, served.process.communicate()
    engine = served.engine_pid()
    answer = httpx.post(f"{served.url}/completions", json={"prompt": "a", "max_tokens": 1})
    assert answer.status_code == 200, answer.text
    code, said = served.stop(signal.SIGTERM)
    assert (code, "Stopped." in said) == (0, True), said
    assert not psutil.pid_exists(engine)
    assert not list(run_dir().glob("engine-*"))
    return EARLY in log.read_text().removeprefix(before)


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="affinity changes the number of threads"
)
def test_it_loads_while_the_plan_is_made_if_the_plan_is_the_same(tmp_path: Path) -> None:
    model, port = write_tiny_llama(tmp_path / "tiny.gguf"), free_port()
    assert not was_early(model, port)
    assert was_early(model, port)
    if len(os.sched_getaffinity(0)) > 1:
        with one_processor():
            assert not was_early(model, port)
            assert was_early(model, port)
    model.write_bytes(model.read_bytes() + bytes(32))  # no longer the file that is trusted
    refused = Served(model, "--context", "256", "--port", str(port))
    assert not refused.url
    assert "is not the file that was served before" in refused.process.communicate()[1]
