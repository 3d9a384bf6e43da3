"""Signals become exceptions, wherever the main thread is, and none is lost."""

import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from hakaru.errors import HungUp, Terminated
from hakaru.signals import ENDING, KINDS, heeded, listen_again

TERM = signal.SIGTERM


def sent(number: signal.Signals) -> None:
    """Send it to this process, which hears it before it does anything else."""
    signal.raise_signal(number)


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_a_signal_is_raised_as_its_kind(number: signal.Signals) -> None:
    """SIGTERM and a closed terminal are also a KeyboardInterrupt, as everything that ends a
    command; afterwards the program around has its own ways again.
    """
    before = signal.getsignal(number), sys.unraisablehook
    with pytest.raises(KeyboardInterrupt) as heard, heeded(*ENDING):
        sent(number)
    assert heard.type is KINDS[number]
    assert (signal.getsignal(number), sys.unraisablehook) == before


IN_AN_IMPORT = """
import _imp, signal, threading
from collections import deque
from functools import partial
from operator import methodcaller
from hakaru.signals import ENDING, heeded

acquire = _imp.acquire_lock
steps = (  # all are C, so that the signal comes before the next step of the import itself
    partial(setattr, _imp, "acquire_lock", acquire),
    acquire,
    partial(signal.raise_signal, signal.SIGTERM),
)

def elsewhere():
    import colorsys
    print("imported", flush=True)

try:
    with heeded(*ENDING):
        _imp.acquire_lock = partial(deque, map(methodcaller("__call__"), steps), 0)
        import wave
        threading.Event().wait(10)
except KeyboardInterrupt as stop:
    print(type(stop).__name__, flush=True)
other = threading.Thread(target=elsewhere, daemon=True)
other.start()
other.join(5)
"""


def test_a_signal_in_an_import_leaves_imports_to_others() -> None:
    """Python takes the lock of all imports in one line, and gives it back in another. Raised
    between them, SIGTERM left the gateway's thread waiting for it, and the end took ten seconds.
    """
    done = subprocess.run(
        [sys.executable, "-c", IN_AN_IMPORT], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("Terminated\nimported\n", "")


class Dying:
    """What is sent a signal while it is destroyed."""

    def __del__(self) -> None:
        sent(TERM)
        [None for _ in range(10)]


def test_a_signal_in_a_destructor_is_not_lost() -> None:
    """Python drops what a destructor raises, and what the hook for that raises."""

    def destroyed() -> None:
        Dying()
        threading.Event().wait(10)

    with pytest.raises(Terminated), heeded(TERM):
        destroyed()


def test_another_error_in_a_destructor_is_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook of the program around hears of it."""

    class Broken:
        def __del__(self) -> None:
            raise ValueError("broken")

    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: told.append(unraisable.exc_type))
    with heeded(TERM):
        Broken()
    assert told == [ValueError]


def test_signals_that_follow_do_not_break_off_the_end() -> None:
    """A terminal that closes sends several."""
    is_ended = False
    with suppress(HungUp), heeded(*ENDING):
        try:
            sent(signal.SIGHUP)
        finally:
            for number in ENDING:
                sent(number)
            is_ended = True
    assert is_ended


def test_a_signal_that_follows_is_heard_where_it_is_waited_for() -> None:
    """`serve` lets answers end after SIGTERM, unless a second signal comes."""

    def draining() -> None:
        try:
            sent(TERM)
        except Terminated:
            listen_again()
            sent(TERM)

    with pytest.raises(Terminated) as second, heeded(TERM):
        draining()
    assert isinstance(second.value.__context__, Terminated)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_what_is_ignored_stays_ignored(number: signal.Signals) -> None:
    """As under nohup, and behind a shell's `&`. SIGTERM ends a command there."""
    before = {other: signal.signal(other, signal.SIG_IGN) for other in (number, TERM)}
    try:
        with heeded(*ENDING):
            sent(number)
            assert signal.getsignal(number) == signal.SIG_IGN
            assert signal.getsignal(TERM) != signal.SIG_IGN
    finally:
        for other, handler in before.items():
            signal.signal(other, handler)


def test_a_program_keeps_its_own_handler() -> None:
    """A program that uses `hakaru.serve` may have its own way with Ctrl-C."""
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with heeded(*ENDING):
            sent(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]


def test_in_another_thread_nothing_changes() -> None:
    """Only the main thread hears signals."""
    inside: list[object] = []

    def look() -> None:
        with heeded(*ENDING):
            inside.append(signal.getsignal(TERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert inside == [signal.getsignal(TERM)]
