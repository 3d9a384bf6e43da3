"""`hakaru engine`: what stands on stdout, and how it ends."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from platformdirs import user_data_dir

from hakaru.cli import run
from hakaru.engine.binary import version_of_binary
from hakaru.engine.builds import ABOUT_SCHEMA, processor_flags, selection, wheel
from hakaru.engine.capi import STAMP
from hakaru.engine.native import backend_for
from hakaru.engine.server_flags import every_flag
from hakaru.hardware.machine import Cpu, Device, Machine, Memory, Vendor

VERSION = wheel().version


@pytest.fixture(autouse=True)
def no_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the builds of this machine can use does not matter here."""
    monkeypatch.setattr("hakaru.engine.inventory.devices_of", lambda build: [])


def native() -> Path:
    """A finished native build, without its programs' contents."""
    folder = Path(user_data_dir("hakaru")) / "engines" / "native-cpu-0123456789ab"
    folder.mkdir(parents=True)
    (folder / "llama-server").touch()
    about = {
        "schema": ABOUT_SCHEMA, "version": VERSION, "backend": "cpu",
        "processor": processor_flags(), "digest": "0badcafe", "built_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    (folder / STAMP).write_text(json.dumps(about))
    return folder


def own_server(folder: Path, options: set[str]) -> Path:
    """A program that answers as a `llama-server` with these options does."""
    path = folder / "llama-server"
    says = {
        "--version": "version: 0.6.0-dev (build 11549)\nbuilt with GNU",
        "--help": "\n".join(sorted(options)),
    }
    path.write_text(f"#!{sys.executable}\nimport sys\nprint({says!r}.get(sys.argv[1], ''))\n")
    path.chmod(0o755)
    return path


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_list_shows_what_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    """The wheel at first, then the native build; one table."""
    native()
    assert run(["engine", "list"]) == 0
    assert lines(capsys.readouterr().out) == [
        "engine version backend accelerators can used for",
        f"wheel {VERSION} - - measure, serve measuring, serving",
        f"native-cpu {VERSION} cpu - measure, serve, llama-quantize, RPC -",
    ]
    assert run(["engine", "use", "native"]) == 0
    assert "Measured with native-cpu, served with native-cpu" in capsys.readouterr().out
    assert run(["engine", "list"]) == 0
    assert lines(capsys.readouterr().out)[1:] == [
        f"wheel {VERSION} - - measure, serve -",
        f"native-cpu {VERSION} cpu - measure, serve, llama-quantize, RPC measuring, serving",
    ]


def test_the_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The same, for programs."""
    folder = native()
    assert run(["engine", "list", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {**shown, "builds": len(shown["builds"])} == {
        "schema": "hakaru.engines/1", "lab": "wheel", "server": "wheel", "chosen_by": None,
        "builds": 2,
    }  # fmt: skip
    assert shown["builds"][1] == {
        "name": "native-cpu",
        "identity": f"xllamacpp {VERSION} native-cpu+0badcafe",
        "version": VERSION,
        "backend": "cpu",
        "devices": [],
        "library": str(folder),
        "llama_server": str(folder / "llama-server"),
        "llama_quantize": str(folder / "llama-quantize"),
        "rpc_server": str(folder / "ggml-rpc-server"),
        "usable": True,
        "used_for": [],
    }


def test_what_was_used_and_is_gone_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The list is shown all the same, with exit code 6."""
    folder = native()
    assert run(["engine", "use", "native"]) == 0
    (folder / STAMP).unlink()
    assert run(["engine", "list"]) == 6
    shown = capsys.readouterr()
    assert f"wheel {VERSION} - - measure, serve -" in lines(shown.out)
    assert "there is no engine 'native-cpu' here; make one: hakaru engine build" in shown.err


def test_a_server_of_one_s_own_must_know_every_option(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It is refused with the names of those that it lacks, and the choice stays."""
    old = own_server(tmp_path, every_flag() - {"--ctx-checkpoints"})
    assert version_of_binary(old) == "0.6.0-dev (build 11549)"
    assert run(["engine", "use", str(old)]) == 6
    assert "does not know --ctx-checkpoints" in capsys.readouterr().err
    assert selection().server == wheel()
    new = own_server(tmp_path, every_flag())
    assert run(["engine", "use", str(new)]) == 0
    assert (selection().lab, selection().server.server) == (wheel(), new)
    assert run(["engine", "list"]) == 0
    assert f"{new} 0.6.0-dev (build 11549) - - serve serving" in lines(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("vendors", "backend"),
    [
        ([], "cpu"),
        (["nvidia"], "cuda"),
        (["amd"], "hip"),
        (["intel"], "vulkan"),
        (["other"], "cpu"),
    ],
)
def test_the_backend_is_that_of_the_gpu_that_is_there(vendors: list[Vendor], backend: str) -> None:
    """A native build for the processor would leave the GPU idle."""
    assert backend_for(machine(vendors=vendors)) == backend


def machine(*, vendors: Sequence[Vendor] = ()) -> Machine:
    cpu = Cpu(
        model="x",
        architecture="x86_64",
        physical_cores=1,
        logical_cores=1,
        usable_cores=1,
        threads=1,
        instruction_sets=(),
    )
    devices = tuple(
        Device(name="GPU", vendor=vendor, total_bytes=2**34, free_bytes=None) for vendor in vendors
    )
    return Machine(
        system="Linux",
        cpu=cpu,
        memory=Memory(total_bytes=2**34, available_bytes=2**34),
        devices=devices,
    )
