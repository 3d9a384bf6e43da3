"""What is said while a long work goes on, with a clock that is moved by hand."""

import io
import re
import sys
from collections.abc import Iterator
from threading import Thread

import pytest
from rich.cells import cell_len
from rich.console import Console

from hakaru.cli.progress import Watching
from hakaru.language import say, use_language
from hakaru.units import time_left


class Screen(io.StringIO):
    """A terminal, as far as `isatty` goes."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def english() -> Iterator[None]:
    use_language("en")
    yield
    use_language("en")


@pytest.mark.parametrize(
    ("least", "most", "sentence"),
    [
        (0, 59, "less than a minute left"),
        (50, 60, "less than a minute left"),
        (50, 61, "at most 2 min left"),
        (60, 119, "about 2 min left"),
        (70, 200, "1 to 4 min left"),
        (600, 600, "about 10 min left"),
    ],
)
def test_the_rest_is_told_in_minutes_that_are_rounded_up(
    least: float, most: float, sentence: str
) -> None:
    """Nobody is told that it is done sooner than it is."""
    assert time_left(least, most) == sentence


def test_the_rest_counts_down_and_nothing_is_guessed_without_a_basis() -> None:
    """Before anybody foresees an end, and after the last moment that was foreseen."""
    clock = Clock()
    watching = Watching(clock=clock)
    clock.now += 42
    assert watching.overall() == "0:42 so far, time left not known yet"
    watching.foresee(70, 200)
    assert watching.overall() == "0:42 so far, 1 to 4 min left"
    clock.now += 90
    assert watching.overall() == "2:12 so far, at most 2 min left"
    clock.now += 60
    assert watching.overall() == "3:12 so far, less than a minute left"
    clock.now += 60
    assert watching.overall() == "4:12 so far, longer than foreseen"


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.usefixtures("english")
def test_both_lines_fit_the_terminal(width: int, language: str) -> None:
    """The whole on one line, the step with its bar on the other; a long step is cut, its count is
    not.
    """

    use_language(language)
    watching = Watching(clock=Clock())
    watching.foresee(70, 200)
    watching._step = ("texts read with " + "Q4_K_M, " * 20, 12, 24)
    console = Console(width=width, file=Screen(), color_system=None)
    with console.capture() as capture:
        console.print(watching._shown())
    whole, step, *more = capture.get().splitlines()
    assert more == [""] or not more
    assert ("4 min" in whole) == (language == "en")
    counted = (
        r" 12 of 24 texts read with Q4_K_M.*…$"
        if language == "en"
        else r" texts read with Q4_K_M.*…: 12/24$"
    )
    assert step.startswith(f"{'━' * 10}") and re.search(counted, step.rstrip())
    assert cell_len(step) <= width


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.usefixtures("english")
def test_a_step_names_what_is_counted(language: str) -> None:
    """Nobody wonders of what there are 272."""
    use_language(language)
    watching = Watching(clock=Clock())
    watching._step = (say("tensors built for {type}", type="Q3_K_M"), 61, 272)
    console = Console(width=80, file=Screen(), color_system=None)
    with console.capture() as capture:
        console.print(watching._shown())
    expected = {
        "en": "61 of 272 tensors built for Q3_K_M",
        "ja": "Q3_K_M の作成済みテンソル: 61/272",
    }
    assert capture.get().rstrip().endswith(expected[language])


def test_on_a_terminal_the_lines_go_when_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand there meanwhile."""
    monkeypatch.setattr(sys, "stderr", Screen())
    monkeypatch.setenv("TERM", "xterm")
    with Watching(clock=Clock()) as watching:
        watching("timing Q8_0", 1, 7)
        shown = sys.stderr
        assert isinstance(shown, io.StringIO) or shown.isatty()
    assert isinstance(sys.stderr, Screen)
    assert "timing Q8_0" in sys.stderr.getvalue()
    assert "1 of 7" in sys.stderr.getvalue()
    assert sys.stderr.getvalue().endswith("\x1b[2K")  # the last line is erased


@pytest.mark.usefixtures("english")
def test_the_thread_that_draws_knows_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich draws twice a second from a thread, which has a context of its own."""
    use_language("ja")
    monkeypatch.setattr(sys, "stderr", Screen())
    monkeypatch.setenv("TERM", "xterm")
    drawn: list[str] = []

    def draw(watching: Watching) -> None:
        assert watching._live
        console = Console(width=80, file=io.StringIO())
        with console.capture() as capture:
            console.print(watching._live.get_renderable())
        drawn.append(capture.get())

    with Watching(clock=Clock()) as watching:
        watching("x", 1, 2)
        thread = Thread(target=draw, args=(watching,))
        thread.start()
        thread.join()
    assert "経過 0:00" in drawn[0] and "1/2" in drawn[0]


def test_elsewhere_each_step_is_a_line_and_quiet_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a log as in a pipe."""
    for quiet in (False, True):
        with Watching(quiet=quiet, clock=Clock()) as watching:
            watching.foresee(1, 2)
            for done in range(3):
                watching("timing Q8_0", done, 7)
            watching("building Q4_K_M", 1, 2)
    assert capsys.readouterr().err == "  timing Q8_0 …\n  building Q4_K_M …\n"
