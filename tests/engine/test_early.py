"""An engine is started early only as it ran the last time, and kept only as it is planned."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from hakaru import trust
from hakaru.engine.early import KEPT, EarlyEngine, Start
from hakaru.engine.environment import server_environment
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import sha256_of
from hakaru.places import cache_dir, run_dir

WORDS = ["serve", "model.gguf"]
MIB = 2**20


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """How an engine was started that does nothing for a minute; its file is trusted."""
    model = tmp_path / "model.gguf"
    model.write_bytes(b"weights")
    trust.accept([model], sha256_of)
    return Start(
        command=(sys.executable, "-c", "import sys; sys.stdin.read()", "/run/x/http.sock"),
        folder="/run/x",
        is_program=False,
        is_private=False,
        files=(str(model),),
        needs_bytes=MIB,
    )


def environment() -> dict[str, str]:
    """That of a server which is started now."""
    return server_environment(is_program=False, is_private=False, cards={})


@pytest.fixture
def begun() -> Iterator[Callable[..., EarlyEngine]]:
    """Makes the engine for some words, begun."""
    made = []

    def begun(words: list[str] = WORDS) -> EarlyEngine:
        made.append(EarlyEngine(words))
        made[-1].begin()
        return made[-1]

    yield begun
    for engine in made:
        engine.end()


def children() -> list[psutil.Process]:
    return psutil.Process().children()


def test_the_same_words_start_the_same_command(
    start: Start, begun: Callable[..., EarlyEngine]
) -> None:
    EarlyEngine(WORDS).keep(start)
    early = begun()
    (process,) = children()
    folder = early.folder()
    command = [*start.command[:-1], f"{folder.name}/http.sock"]
    assert process.cmdline() == command
    taken = early.taken(command, environment())
    assert taken
    assert taken.pid == process.pid
    assert early.taken(command, environment()) is None  # the next one is a start as every other
    taken.kill()
    taken.communicate()
    folder.cleanup()


@pytest.mark.parametrize("differs", ["command", "environment"])
def test_another_plan_ends_it(
    start: Start, begun: Callable[..., EarlyEngine], differs: str
) -> None:
    EarlyEngine(WORDS).keep(start)
    early = begun()
    folder = early.folder()
    socket = Path(folder.name) / "http.sock"
    socket.touch()  # the engine would listen there
    command = [*start.command[:-1], str(socket)]
    if differs == "command":
        assert early.taken([*command, "--more"], environment()) is None
    else:
        assert early.taken(command, {**environment(), "CUDA_VISIBLE_DEVICES": "1"}) is None
    assert not children()
    assert not socket.exists()  # for the engine that is started now
    folder.cleanup()


def test_one_that_died_is_not_taken(start: Start, begun: Callable[..., EarlyEngine]) -> None:
    EarlyEngine(WORDS).keep(start)
    early = begun()
    (process,) = children()
    process.kill()
    while process.status() != psutil.STATUS_ZOMBIE:
        pass
    folder = early.folder()
    assert early.taken([*start.command[:-1], f"{folder.name}/http.sock"], environment()) is None
    folder.cleanup()


def test_nobody_asked_for_it(start: Start, begun: Callable[..., EarlyEngine]) -> None:
    EarlyEngine(WORDS).keep(start)
    early = begun()
    assert children()
    early.end()
    assert not children()
    assert not list(run_dir().glob("engine-*"))


def test_the_plan_begins_with_the_memory_that_was_free_before(
    start: Start, begun: Callable[..., EarlyEngine]
) -> None:
    EarlyEngine(WORDS).keep(start)
    early = begun()
    now = probe_machine()
    less = replace(now, memory=replace(now.memory, available_bytes=5))
    assert abs(early.as_before(less).memory.available_bytes - now.memory.available_bytes) < 2**30
    folder = early.folder()
    assert early.taken([], {}) is None
    assert early.as_before(less).memory.available_bytes == 5  # it runs no more
    folder.cleanup()


def changed(start: Start) -> Start:
    Path(start.files[0]).write_bytes(b"others!")
    return start


def of_others(start: Start) -> Start:
    (record,) = cache_dir("starts").iterdir()
    record.chmod(0o666)
    return start


def damaged(start: Start) -> Start:
    (record,) = cache_dir("starts").iterdir()
    record.write_bytes(record.read_bytes()[:-5])
    return start


def beside_a_server(start: Start) -> Start:
    (run_dir() / "serve-8600.json").write_text("{}")
    return start


def without_trust(start: Start) -> Start:
    trust.let_go([Path(start.files[0])])
    return start


def with_a_damaged_list(start: Start) -> Start:
    (Path(os.environ["XDG_DATA_HOME"]) / "hakaru/trusted-files.json").write_text("{")
    return start


@pytest.mark.parametrize(
    "what", [changed, of_others, damaged, beside_a_server, without_trust, with_a_damaged_list]
)
def test_it_waits_for_the_plan_where_something_is_otherwise(
    start: Start, begun: Callable[..., EarlyEngine], what: Callable[[Start], Start]
) -> None:
    EarlyEngine(WORDS).keep(start)
    begun().end()
    what(start)
    begun()
    assert not children()


def test_it_waits_for_the_plan_where_memory_is_short(
    start: Start, begun: Callable[..., EarlyEngine]
) -> None:
    EarlyEngine(WORDS).keep(replace(start, needs_bytes=2**50))
    begun()
    assert not children()


@pytest.mark.parametrize("words", [["serve", "other.gguf"], [*WORDS, "-c", "8k"]])
def test_other_words_are_another_start(
    start: Start, begun: Callable[..., EarlyEngine], words: list[str]
) -> None:
    EarlyEngine(WORDS).keep(start)
    begun(words)
    assert not children()


@pytest.mark.parametrize("words", [["--api-key", "secret"], ["--api-key=secret"]])
def test_of_a_key_nothing_is_kept(start: Start, words: list[str]) -> None:
    EarlyEngine([*WORDS, *words]).keep(start)
    assert not cache_dir("starts", make=False).exists()
    EarlyEngine([*WORDS, "--api-key-file", "keys"]).keep(start)
    assert cache_dir("starts", make=False).exists()


def test_a_name_that_is_no_text_keeps_nobody_from_serving(start: Start) -> None:
    """Linux allows any bytes in a name."""
    odd = os.fsdecode(b"/models/\xff.gguf")
    EarlyEngine(["serve", odd]).keep(replace(start, files=(odd,)))
    EarlyEngine(["serve", odd]).begin()
    assert not children()
    assert not list(cache_dir("starts").iterdir())


def test_the_latest_are_kept(start: Start) -> None:
    for n in range(KEPT + 3):
        EarlyEngine([*WORDS, str(n)]).keep(start)
    assert len(list(cache_dir("starts").iterdir())) == KEPT


def test_what_is_kept_already_is_not_written_again(start: Start) -> None:
    EarlyEngine(WORDS).keep(start)
    (record,) = cache_dir("starts").iterdir()
    before = record.stat().st_ino
    EarlyEngine(WORDS).keep(start.moved_to("/run/y"))
    assert record.stat().st_ino == before
    EarlyEngine(WORDS).keep(replace(start, needs_bytes=2 * MIB))
    assert record.stat().st_ino != before
