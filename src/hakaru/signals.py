"""The signals that end a command become exceptions in the main thread: Ctrl-C a KeyboardInterrupt,
SIGTERM a Terminated, a closed terminal a HungUp.

An exception interrupts whatever is computed or waited for. But it comes between any two steps of
Python, and there are three places where it must not be raised, or was raised in vain:

- In a few lines of the standard library a lock was just taken, or a block entered, and nothing
  would give it back. After one in the middle of an `import`, no other thread can import anything.
  A signal that comes there is put off for a moment.
- In a destructor, or a callback of a weak reference, Python drops it. It is sent again.
- In what the first signal has set going: the end of servers and files. Signals that follow soon are
  no news, unless somebody says that they are (`listen_again`).
"""

import signal
import sys
import threading
import time
from _thread import start_new_thread  # in a handler: `threading`'s own locks may be taken
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Final

from hakaru.errors import HungUp, Terminated

Hook = Callable[["sys.UnraisableHookArgs"], object]

KINDS: Final = {signal.SIGHUP: HungUp, signal.SIGTERM: Terminated, signal.SIGINT: KeyboardInterrupt}
"""What is raised for a signal; a subclass stands before its base."""
ENDING: Final = tuple(KINDS)
USUAL: Final = {
    signal.SIGHUP: (signal.SIG_DFL,),
    signal.SIGTERM: (signal.SIG_DFL, signal.SIG_IGN),
    signal.SIGINT: (signal.default_int_handler,),
}
"""What Python does with a signal where nobody asked for something else. SIGTERM is heeded even
where it is ignored, since nothing else would end a server that ignores Ctrl-C, too.
"""
INTERRUPTED: Final = 130
"""The exit code of what such a signal ended before it was done."""
FRAGILE: Final = frozenset(
    (
        "_frozen_importlib", "contextlib", "importlib._bootstrap", "logging", "subprocess",
        "tempfile", "threading", "weakref",
    )
)  # fmt: skip
"""Modules in whose own lines something may be held that only their next line gives back."""
AGAIN_S: Final = 0.002
PUT_OFF_AT_MOST: Final = 10
"""How often a signal is put off. Who waits for an event or a process stands in such a module, too,
and is interrupted after 20 ms.
"""
QUIET_S: Final = 2.0
"""How long signals are no news after one that was raised. An end takes less than a second; who
sends another one later wants out of an end that hangs.
"""


class _Signals:
    """What is known of the signals of this process."""

    quiet_until = 0.0  # by time.monotonic()
    n_put_off = 0


@contextmanager
def heeded(*numbers: signal.Signals) -> Iterator[None]:
    """A block in which these signals are raised as exceptions. What is ignored, as under nohup, or
    handled by the program around stays so; outside the main thread nothing changes.
    """
    hook = sys.unraisablehook
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers if is_main}
    taken = {number: was for number, was in before.items() if was in USUAL[number]}
    if taken:
        sys.unraisablehook = partial(_dropped, hook)
        listen_again()
    try:
        for number in taken:
            signal.signal(number, _heard)
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


def listen_again() -> None:
    """What the last signal asked for is being done, and the next one is news: it is raised however
    soon it comes.
    """
    _Signals.quiet_until = 0.0


def _heard(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if now < _Signals.quiet_until:
        return
    is_fragile = frame is not None and frame.f_globals.get("__name__") in FRAGILE
    if is_fragile and _Signals.n_put_off < PUT_OFF_AT_MOST:
        _Signals.n_put_off += 1
        _send_again(number)
        return
    _Signals.n_put_off, _Signals.quiet_until = 0, now + QUIET_S
    raise KINDS[signal.Signals(number)]


def _dropped(tell: Hook, unraisable: "sys.UnraisableHookArgs") -> None:
    """Send a signal again whose exception Python cannot raise; `tell` of others."""
    for number, kind in KINDS.items():
        if issubclass(unraisable.exc_type, kind):
            listen_again()
            _send_again(number)
            return
    tell(unraisable)


def _send_again(number: int) -> None:
    main = threading.main_thread().ident
    assert main

    def later() -> None:
        time.sleep(AGAIN_S)
        signal.pthread_kill(main, number)

    start_new_thread(later, ())
