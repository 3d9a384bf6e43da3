"""Which builds of llama.cpp are here, and which of them is used."""

import json
from pathlib import Path
from typing import Any

import pytest
from platformdirs import user_data_dir

from hakaru.engine import builds
from hakaru.engine.builds import natives, processor_flags, selection, use, wheel
from hakaru.engine.capi import STAMP
from hakaru.errors import EngineMissing, Misuse


def native(
    name: str = "native-cpu-0123456789ab", *, folder: Path | None = None, **facts: Any
) -> Path:
    """The folder of a native build as `hakaru engine build` leaves it, without its programs'
    contents.
    """
    folder = folder or Path(user_data_dir("hakaru")) / "engines" / name
    folder.mkdir(parents=True)
    for program in ("llama-server", "llama-quantize", "ggml-rpc-server"):
        (folder / program).write_text("#!/bin/sh\n")
        (folder / program).chmod(0o755)
    about = {
        "schema": builds.ABOUT_SCHEMA, "version": wheel().version, "backend": "cpu",
        "processor": processor_flags(), "digest": "0badcafe", "built_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    (folder / STAMP).write_text(json.dumps(about | facts))
    return folder


def test_without_a_choice_the_wheel_measures_and_serves() -> None:
    """Nothing is written by looking."""
    chosen = selection()
    assert (chosen.lab, chosen.server) == (wheel(), wheel())
    assert chosen.lab.library is not None
    assert chosen.lab.library.is_file()
    assert not Path(user_data_dir("hakaru")).exists()


def test_a_native_build_measures_and_serves_once_it_is_chosen() -> None:
    """Its name in the ledger holds version, backend and its libraries, so that its figures are
    never taken for the wheel's.
    """
    folder = native()
    use("native")
    chosen = selection()
    assert chosen.lab == chosen.server
    assert chosen.lab.identity == f"xllamacpp {wheel().version} native-cpu+0badcafe"
    assert chosen.lab.library == folder
    assert chosen.server.server == folder / "llama-server"
    use("wheel")
    assert selection().server == wheel()


def test_the_newest_native_build_that_fits_is_taken() -> None:
    """One that was made for another processor is passed over, however new it is."""
    native("native-cpu-a", built_at="2026-01-01T00:00:00Z")
    newer = native("native-cuda-b", backend="cuda", built_at="2026-02-01T00:00:00Z")
    native("native-cpu-c", built_at="2026-03-01T00:00:00Z", processor="another")
    assert [build.name for build in natives()] == ["native-cpu", "native-cuda", "native-cpu"]
    assert use("native").lab.library == newer
    assert use("native-cpu").lab.name == "native-cpu"


@pytest.mark.parametrize(
    ("fact", "told"),
    [({"version": "1.0"}, "xllamacpp 1.0"), ({"processor": "old"}, "another processor")],
)
def test_a_build_for_something_else_is_refused_with_the_way_out(
    fact: dict[str, str], told: str
) -> None:
    """After an update of hakaru, or in a home that several machines share."""
    native()
    use("native")
    about = Path(user_data_dir("hakaru")) / "engines" / "native-cpu-0123456789ab" / STAMP
    about.write_text(json.dumps(json.loads(about.read_text()) | fact))
    with pytest.raises(
        EngineMissing, match=f"made for {told}.*hakaru engine build, or: hakaru engine use wheel"
    ):
        selection()
    assert use("wheel").lab == wheel()


def test_a_half_made_build_is_none(tmp_path: Path) -> None:
    """The tree of a build that was interrupted lies beside the finished ones."""
    (native("native-cpu-a") / STAMP).unlink()
    (native("native-cpu-b") / "llama-server").unlink()
    assert natives() == []
    with pytest.raises(EngineMissing, match="hakaru engine build"):
        use("native")
    with pytest.raises(EngineMissing, match="holds no native engine"):
        use(str(tmp_path))


def test_a_person_s_server_serves_and_the_lab_stays(tmp_path: Path) -> None:
    """Whatever measured before goes on: the native build, too."""
    native()
    own = tmp_path / "bin" / "llama-server"
    own.parent.mkdir()
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    use("native")
    chosen = use(str(own))
    assert (chosen.lab.name, chosen.server.server) == ("native-cpu", own)
    assert selection() == chosen
    before = chosen.server.identity
    (own.parent / "libllama.so.0").write_text("a newer library")
    assert selection().server.identity != before


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    """Neither a name that nobody knows nor a file that cannot be run."""
    (tmp_path / "llama-server").write_text("")
    for name in ("vulkan", str(tmp_path / "llama-server")):
        with pytest.raises(Misuse, match="expected wheel, native or the path of a llama-server"):
            use(name)


def test_the_environment_goes_before_the_choice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For one process and its children, such as a test's."""
    folder = native(folder=tmp_path / "elsewhere")
    use(str(folder))
    assert selection().lab.library == folder
    use("wheel")
    monkeypatch.setenv(builds.OVERRIDE, str(folder))
    assert selection().lab.library == folder
    monkeypatch.setenv(builds.OVERRIDE, "wheel")
    assert selection().lab == wheel()


@pytest.mark.parametrize("kept", ["", "[]", '{"lab": "wheel"}', "{"])
def test_a_damaged_choice_is_the_wheel(kept: str) -> None:
    """The file of the choice holds nothing that cannot be chosen again."""
    folder = Path(user_data_dir("hakaru"))
    folder.mkdir(parents=True)
    (folder / "engine-in-use.json").write_text(kept)
    assert selection().lab == wheel()
