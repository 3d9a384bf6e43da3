"""The sandbox: code runs where it can do no harm, its tests run whichever way they are written, and
nothing else counts as passing.
"""

import os
import shutil
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from hakaru.evaluation import sandbox
from hakaru.evaluation.grading import grade
from hakaru.evaluation.sandbox import passes, why_no_sandbox
from hakaru.evaluation.tasks import parse_items
from hakaru.language import use_language

needs_sandbox = pytest.mark.skipif(
    why_no_sandbox() is not None, reason=f"no sandbox: {why_no_sandbox()}"
)
RIGHT, WRONG = "def twice(x):\n    return 2 * x", "def twice(x):\n    return 3 * x"
CASES = """
import unittest
class Doubling(unittest.TestCase):
    def setUp(self):
        self.n = 2
    def test_two(self):
        self.assertEqual(twice(self.n), 4)
"""
FUNCTION = "def test_two():\n    assert twice(2) == 4\n"


@needs_sandbox
@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "x = bytearray(2**31)",
        "import os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "import os\nos.fork()",
        "open('big', 'wb').write(b'0' * 2**22)",
        "import socket\nsocket.create_connection(('127.0.0.1', 1), timeout=1)",
        "raise KeyboardInterrupt",
        "def (",
        "print('passed')",
    ],
)
def test_nothing_that_code_does_counts_as_passing(code: str) -> None:
    """Endless, greedy, leaving early, forking, writing much, calling out, or no Python at all."""
    assert not passes(code, "assert answer == 1", seconds=1.5)


@needs_sandbox
def test_the_sandbox_has_no_network() -> None:
    """Not even the loopback: there are no sockets."""
    tests = (
        "import errno, socket\ntry:\n    socket.create_connection(('127.0.0.1', 9), "
        "timeout=1)\nexcept OSError as error:\n    assert error.errno == errno.EPERM"
    )
    assert passes("", tests)


@needs_sandbox
def test_the_sandbox_changes_nothing_and_reaches_nobody(tmp_path: Path) -> None:
    """No file can be written, old or new, not even after asking for it, and none of the person's
    read; no pipe, socket, terminal, process or thread; this process cannot be signalled; nothing
    runs on afterwards.
    """
    mine, pipe, listening = tmp_path / "mine.txt", tmp_path / "pipe", socket.socket(socket.AF_UNIX)
    mine.write_text("mine")
    os.mkfifo(pipe)
    listening.bind(str(tmp_path / "socket"))
    listening.listen()
    code = f"""
import ctypes, os, socket, threading
ctypes.CDLL(None).mount(None, b"/", None, 32 | 4096, None)
refused = 0
for path in ({str(mine)!r}, {str(tmp_path / "new")!r}, "own.txt", "/dev/shm/hakaru", "/tmp/hakaru"):
    try:
        open(path, "w").write("x")
    except OSError:
        refused += 1
try:
    os.kill({os.getpid()}, 0)
except OSError:
    refused += 1
for attempt in (
    lambda: open({str(mine)!r}).read(),
    lambda: os.open({str(pipe)!r}, os.O_RDWR | os.O_NONBLOCK),
    lambda: socket.socket(socket.AF_UNIX).connect({str(tmp_path / "socket")!r}),
    lambda: open("/dev/null", "w"),
    lambda: os.listdir("/proc/self"),
    lambda: os.open("/dev/tty", os.O_RDWR),
    os.fork,
    lambda: threading.Thread(target=print).start(),
    lambda: os.posix_spawn("/bin/true", ["true"], {{}}),
):
    try:
        attempt()
    except (OSError, RuntimeError):
        refused += 1
"""
    assert passes(code, "assert refused == 6 + 9")
    listening.close()
    assert mine.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "pipe", "socket"]
    assert not passes("while True: pass", "assert True", seconds=0.5)
    time.sleep(0.2)
    running = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    assert not [line for line in running if str(tmp_path) in line]


@needs_sandbox
@pytest.mark.parametrize(
    "tests",
    [
        "assert twice(2) == 4",
        CASES,
        CASES + "\nunittest.main()",
        CASES + "\nif __name__ == '__main__':\n    unittest.main()",
        CASES + "\nunittest.main(verbosity=2, exit=False)\n",
        CASES + "\nassert unittest.main(exit=False).result.wasSuccessful()",
        CASES
        + "\nloaded = unittest.defaultTestLoader.loadTestsFromTestCase(Doubling)"
        + "\nunittest.TextTestRunner().run(loaded)",
        (
            "from unittest import TestCase, main\nclass T(TestCase):\n    def test(self):\n        "
            "self.assertEqual(twice(2), 4)\nmain()"
        ),
        FUNCTION,
        FUNCTION + "\nimport sys\nsys.exit(0)",
        FUNCTION + "\nraise SystemExit",
        "def test_two(factor=2):\n    assert twice(factor) == 4",
        (
            "class TestTwice:\n    def setup_method(self):\n        self.n = 2\n    def "
            "test_two(self):\n        assert twice(self.n) == 4"
        ),
        (
            "class TestTwice:\n    def setup_method(self, method):\n        self.n = 2\n    def "
            "test_two(self):\n        assert twice(self.n) == 4"
        ),
        (
            "class Base:\n    def test_two(self):\n        assert twice(2) == 4\nclass "
            "TestTwice(Base):\n    pass"
        ),
        "class TestTwice:\n    @staticmethod\n    def test_two():\n        assert twice(2) == 4",
        "def test_it(n, m):\n    assert twice(n) == m\ntest_it(2, 4)",
        "if __name__ == '__main__':\n    assert twice(2) == 4",
        "from answer import twice as double\nassert double(2) == 4",
        "import inspect\nassert 'return' in inspect.getsource(twice) and twice(2) == 4",
    ],
)
def test_tests_run_whichever_way_they_are_written(tests: str) -> None:
    """Statements, classes of unittest, functions and classes as pytest knows them: a right answer
    passes, a wrong one does not.
    """
    assert passes(RIGHT, tests)
    assert not passes(WRONG, tests)
    assert not passes("", tests)
    assert not passes("def twice(x):\n    raise SystemExit(0)", tests), "an answer that leaves"
    assert not passes("import sys\ndef twice(x):\n    sys.exit()", tests)
    assert not passes("import os\ndef twice(x):\n    os._exit(0)", tests)
    assert not passes(RIGHT + "\nraise SystemExit(0)", tests)


@needs_sandbox
@pytest.mark.parametrize(
    "code",
    [
        RIGHT + "\nif __name__ == '__main__':\n    print(twice(int(input())))",
        "from __future__ import annotations\n" + RIGHT,
        RIGHT + "\ndef test_two():\n    assert twice(2) == 5",
        RIGHT + "\nimport unittest\nclass Mine(unittest.TestCase):\n    def test(self):\n        "
        "self.fail()\nunittest.main()",
        (
            "from dataclasses import dataclass\n@dataclass\nclass Twice:\n    n: int\n    def "
            "value(self): return 2 * self.n\ndef twice(x): return Twice(x).value()"
        ),
        "FACTOR = math.floor(2.5)\ndef twice(x): return FACTOR * x",
        "def twice(x): return 2 * x  # '''",
        'NOTE = "日本語 \ud800"\n' + RIGHT,
    ],
)
def test_whole_programs_are_answers(code: str) -> None:
    """A main block stays out, and so do tests of the answer's own; what stands before it is
    there.
    """
    assert passes(code, "assert twice(2) == 4\nassert twice(0) == 0", before="import math")
    assert passes(code, CASES + "\nunittest.main()", before="import math")


@needs_sandbox
def test_cases_run_once_and_after_the_statements() -> None:
    """`unittest.main()` runs what is there by then; what is defined below it runs, too, and nothing
    runs twice.
    """
    tests = (
        "import unittest\nran = []\nclass A(unittest.TestCase):\n    def test(self): "
        "ran.append('a')\nunittest.main()\nassert ran == ['a']\n"
        "class B(unittest.TestCase):\n    def test(self):\n        assert ran == ['a']\n        "
        "ran.append('b')\n"
        "class C(unittest.TestCase):\n    def test(self): assert ran == ['a', 'b']\n"
    )
    assert passes("", tests)
    assert not passes(
        "",
        tests + "class D(unittest.TestCase):\n    def test(self): assert ran == ['a', 'b', 'a']\n",
    )


@needs_sandbox
def test_the_sandbox_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the person's, no rights, nobody's name; what the code writes is not kept."""
    monkeypatch.setenv("SECRET", "mine")
    tests = (
        "import os\nassert 'SECRET' not in os.environ and os.getuid() == 65534 and os.getcwd() "
        "== '/'"
    )
    assert passes("import sys\nprint('x' * 2**22, file=sys.stderr)", tests)


def test_why_nothing_runs_is_told_in_the_person_s_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """On another system, without one of the programs, and where namespaces are refused."""
    refusal = "bwrap: setting up uid map: Permission denied"
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sandbox, "_filter", lambda: b"rules")
    monkeypatch.setattr(sandbox, "_refusal", lambda: refusal)
    assert why_no_sandbox() == f"the system refuses bubblewrap ({refusal})"
    use_language("ja")
    assert why_no_sandbox() == f"システムが bubblewrap を許していません（{refusal}）"
    use_language("en")
    monkeypatch.setattr(sandbox, "_filter", lambda: b"")
    assert why_no_sandbox() == "libseccomp is missing: sudo apt install libseccomp2"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert why_no_sandbox() == "bubblewrap is missing: sudo apt install bubblewrap"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert why_no_sandbox() == "darwin has no namespaces"


def test_code_never_runs_unconfined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where bwrap refuses, its words are the reason, and an answer of code is not checked."""
    refusing = tmp_path / "bwrap"
    refusing.write_text(
        "#!/bin/sh\necho 'warning' >&2\necho 'bwrap: no namespaces here' >&2\nexit 1\n"
    )
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sandbox, "_filter", lambda: b"rules")
    sandbox._refusal.cache_clear()
    try:
        assert why_no_sandbox() == "the system refuses bubblewrap (bwrap: no namespaces here)"
        (task,) = parse_items(
            "x", '{"prompt": "a", "check": {"type": "python", "tests": "assert f(1)"}}'
        )
        (graded,) = grade([task], [f"open({str(tmp_path / 'written')!r}, 'w')"])
        assert graded.right is None
        assert not (tmp_path / "written").exists()
    finally:
        sandbox._refusal.cache_clear()
