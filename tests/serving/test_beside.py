"""What another server of ours may still take is not free."""

import os

import psutil
import pytest
from msgspec.structs import replace

from hakaru.hardware.machine import Memory
from hakaru.hardware.probe import probe_machine
from hakaru.servers import Deployment, beside_servers

GIB = 2**30


@pytest.mark.parametrize(("own_now", "held"), [(0, 4), (2, 4), (3, 3), (6, 0), (9, 0)])
def test_what_a_server_was_promised_is_held_until_it_has_it(
    own_now: int, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 GiB of checkpoints and requests beside the 2 GiB that its engine had when it was ready."""
    record = Deployment(
        pid=os.getpid(), started=psutil.Process().create_time(), port=1, model="m", path="/m.gguf",
        settings={}, grows_bytes=4 * GIB, own_bytes=2 * GIB,
    )  # fmt: skip
    monkeypatch.setattr("hakaru.servers.running", lambda: [record])
    monkeypatch.setattr("hakaru.servers.engine_bytes", lambda server: own_now * GIB)
    machine = replace(
        probe_machine(), memory=Memory(total_bytes=16 * GIB, available_bytes=10 * GIB)
    )
    assert beside_servers(machine, ()).memory.available_bytes == (10 - held) * GIB


def test_a_record_of_before_says_nothing_of_it() -> None:
    """It still is a record."""
    old = {"pid": 1, "started": 0.0, "port": 8600, "model": "m", "path": "p", "settings": {}}
    assert Deployment(**old).grows_bytes == 0  # type: ignore[arg-type]
