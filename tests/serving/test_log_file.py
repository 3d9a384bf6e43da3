"""The log of a server: bounded, readable after its end, and followed across its turns."""

import os
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest

from hakaru.places import log_dir
from hakaru.servers import log_of
from hakaru.servers.log_reading import following, last_lines
from hakaru.serving.log_file import KEPT_PORTS, MAX_BYTES, LogFile


def test_it_is_bounded_and_has_the_last_lines() -> None:
    """Two files, however much is said."""
    log = LogFile(8600)
    for n in range(20_000):
        log.engine(f"line {n} {'x' * 80}")
    log.close()
    sizes = [path.stat().st_size for path in log_dir().iterdir()]
    assert len(sizes) == 2 and max(sizes) <= MAX_BYTES
    *_, last, end = last_lines(log_of(8600), 5000)
    assert " engine: line 19999 " in last and end.endswith("hakaru: the server ended")
    assert len(last_lines(log_of(8600), 7)) == 7


def test_logs_of_old_ports_go() -> None:
    """Those that were used longest ago."""
    for port in range(1, KEPT_PORTS + 4):
        log = LogFile(port)
        log.gateway("x")
        log.close()
        os.utime(log_of(port), (port, port))
    LogFile(9999)
    assert not log_of(1).exists() and log_of(KEPT_PORTS + 3).exists()
    assert len(list(log_dir().glob("serve-*.log"))) == KEPT_PORTS


def test_a_disk_that_cannot_be_written_keeps_nobody_from_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a folder that cannot be made, nor a disk that fills up."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    log = LogFile(8600)
    log.engine("x")
    log.close()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    full = LogFile(8600)
    log_of(8600).symlink_to("/dev/full")
    full.engine("x")
    full.close()
    assert capsys.readouterr().err == ""


def test_what_follows_is_shown_also_in_the_next_file() -> None:
    """Until the server has ended, with what it said last."""
    log, more = LogFile(8600), iter(["second", "third"])
    log.gateway("first")

    assert isinstance(log.handler, RotatingFileHandler)
    turn = log.handler.doRollover

    def goes_on() -> bool:
        if said := next(more, None):
            log.gateway(said)
            if said == "second":
                turn()
            return True
        log.gateway("last")
        return False

    shown = list(following(log_of(8600), 10, goes_on=goes_on))
    log.close()
    assert [line.split(": ")[1] for line in shown] == ["first", "second", "third", "last"]
