"""The verb `serve`: a model answers while a block lasts, and no process stays after it."""

import time
from pathlib import Path
from typing import NoReturn

import httpx
import psutil
import pytest

from hakaru.errors import DoesNotFit, EngineDied
from hakaru.servers import Deployment, running
from hakaru.serving.serve import serve
from hakaru.serving.serve_at import Serving

pytestmark = pytest.mark.engine


def engines() -> list[psutil.Process]:
    """The engines that this process has started, and that run."""
    children = psutil.Process().children(recursive=True)
    alive = [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
    return [c for c in alive if c.name() != "bwrap"]  # which isolates an engine


def test_a_model_answers_while_the_block_lasts(tiny: Path) -> None:
    """Other commands find it meanwhile, and a second block takes the server that is there."""
    with serve(tiny, n_ctx=256) as serving:
        assert serving.url.endswith(f":{serving.deployment.port}/v1")
        answer = httpx.post(f"{serving.url}/completions", json={"prompt": "a", "max_tokens": 2})
        assert answer.status_code == 200
        assert [d.port for d in running()] == [serving.deployment.port]
        with serve(tiny, n_ctx=256) as again:
            assert (again.url, again.is_new, serving.is_new) == (serving.url, False, True)
        assert httpx.get(f"{serving.url}/models").status_code == 200
        assert len(engines()) == 1
    assert (engines(), running()) == ([], [])
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{serving.url}/models")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_however_the_block_ends_no_process_stays(tiny: Path, error: type[BaseException]) -> None:
    """An error of the program, and Ctrl-C."""
    with pytest.raises(error), serve(tiny, n_ctx=256):
        raise error
    assert (engines(), running()) == ([], [])


def test_ctrl_c_between_the_load_and_the_gateway_leaves_no_engine(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine answers already, and no gateway would end it."""

    def interrupted(deployment: Deployment) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("hakaru.serving.serve_at.engine_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt), serve(tiny, n_ctx=256):
        raise AssertionError("it was served")
    assert engines() == []


def test_what_does_not_fit_is_refused_before_it_is_loaded(tiny: Path) -> None:
    """With the figures and the ways out."""
    with pytest.raises(DoesNotFit, match="nothing was loaded"), serve(tiny, memory="1MiB"):
        raise AssertionError("it was served")
    assert engines() == []


def test_an_engine_that_keeps_dying_ends_the_block_with_its_reason(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits is told why nobody answers any more."""
    monkeypatch.setattr("hakaru.serving.supervisor.FIRST_PAUSE_S", 0.0)
    deadline = time.monotonic() + 60
    with pytest.raises(EngineDied, match="signal 9"), serve(tiny, n_ctx=256) as serving:
        kill_until(serving, deadline)
    assert (engines(), running()) == ([], [])


def kill_until(serving: Serving, deadline: float) -> None:
    """Kill every engine of `serving` until nobody starts another one."""
    while not serving.ended.wait(0.05):
        assert time.monotonic() < deadline
        for engine in engines():
            engine.kill()
