"""What `serve` and `up` say once the model answers: what it is for, and the next step last."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hakaru.cli.staying import stay
from hakaru.engine.mode import Gives
from hakaru.language import use_language
from hakaru.models.embedded import embedded_model
from hakaru.servers import Deployment
from hakaru.serving.serve_at import Serving
from hakaru.signals import ENDING, heeded


@contextmanager
def serving(path: Path, gives: Gives = "text", *, is_new: bool = True) -> Iterator[Serving]:
    """A server that ends at once."""
    deployment = Deployment(
        pid=1, started=0.0, port=8600, model=path.stem, path=str(path), settings={}
    )
    served = Serving(deployment=deployment, gives=gives, is_new=is_new)
    served.ended.set()
    yield served


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_embedded_model_says_that_it_speaks_english(
    language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its path, also where a level that was made from it is served."""
    words = {"en": "English only", "ja": "英語だけ"}[language]
    use_language(language)
    stay(serving(embedded_model()), has_pages=True)
    assert words in capsys.readouterr().out
    stay(serving(Path("level.gguf")), has_pages=True, source=embedded_model())
    assert words in capsys.readouterr().out
    stay(serving(Path("level.gguf")), has_pages=True)
    assert words not in capsys.readouterr().out
    use_language("en")


def test_the_next_step_stands_last(capsys: pytest.CaptureFixture[str]) -> None:
    """The address for programs, the page, then what to type; a model that gives no text has no
    chat.
    """
    stay(serving(Path("a.gguf")), has_pages=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a answers at http://127.0.0.1:8600/v1  (Ctrl-C stops it)"
    assert lines[1].endswith("http://127.0.0.1:8600/")
    assert "base_url http://127.0.0.1:8600/v1" in lines[2]
    assert lines[-2:] == ["Talk to it in another terminal: hakaru chat", "Stopped."]
    stay(serving(Path("a.gguf"), "embedding"), has_pages=False)
    assert "chat" not in capsys.readouterr().out
    stay(serving(Path("a.gguf"), is_new=False), has_pages=True)
    assert capsys.readouterr().out.splitlines()[-1].endswith("hakaru chat")


def test_with_json_stdout_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """All of it stands on stderr."""
    stay(serving(Path("a.gguf")), quiet=True, has_pages=True)
    out, err = capsys.readouterr()
    assert not out
    assert "hakaru chat" in err


@contextmanager
def slow_to_stop() -> Iterator[Serving]:
    """A server that ends by Ctrl-C only, and takes a moment for it."""
    with serving(Path("a.gguf")) as served:
        served.ended.clear()
        yield served
        time.sleep(0.5)


def test_a_second_ctrl_c_breaks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever presses Ctrl-C twice, or whose shell sends it twice, sees the same end."""

    def twice() -> None:
        for pause in (0.3, 0.2):
            time.sleep(pause)
            os.kill(os.getpid(), signal.SIGINT)

    impatient = threading.Thread(target=twice)
    impatient.start()
    with heeded(*ENDING):
        assert stay(slow_to_stop(), has_pages=True) == 0
    impatient.join()
    assert capsys.readouterr().out.splitlines()[-1] == "Stopped."
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
