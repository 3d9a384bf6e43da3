"""The trial of a build: the wheel and a native build pass, and whatever dies, hangs or says nothing
does not.
"""

import shutil
from pathlib import Path

import pytest

from hakaru.engine import first_token
from hakaru.engine.builds import OVERRIDE
from hakaru.engine.first_token import give_first_token, write_model
from hakaru.errors import EngineRefused
from hakaru.models.model import read_model

DIES = "#!/bin/sh\nkill -ILL $$\n"
HANGS = "#!/bin/sh\nexec sleep 600\n"


def test_the_model_has_a_type_for_every_kind_of_kernel(tmp_path: Path) -> None:
    """And is smaller than 2 MiB."""
    model = read_model(write_model(tmp_path / "small.gguf"))
    assert model.weights_bytes < 2 * 2**20
    assert {*first_token.TYPES.values(), "F32"} == {t.type.name for t in model.tensors}


@pytest.mark.engine
def test_the_wheel_gives_a_token() -> None:
    """Its library and its server."""
    give_first_token("wheel")


@pytest.mark.engine
def test_a_native_build_gives_one_and_a_broken_copy_does_not(
    native_engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that is cut off, and a server that dies of an instruction or hangs: each is told,
    whatever else is used here.
    """
    monkeypatch.setenv(OVERRIDE, "wheel")
    give_first_token(native_engine)
    server = shutil.copytree(native_engine, tmp_path / "server", symlinks=True)
    (server / "llama-server").write_text(DIES)
    with pytest.raises(EngineRefused, match=r"ended \(signal 4\).* it is not kept"):
        give_first_token(server)
    (server / "llama-server").write_text(HANGS)
    monkeypatch.setattr(first_token, "WITHIN_S", 3.0)
    with pytest.raises(EngineRefused, match=r"\(3 s\)"):
        give_first_token(server)
    monkeypatch.undo()
    library = shutil.copytree(native_engine, tmp_path / "library")
    (library / "libllama.so").write_bytes((library / "libllama.so").read_bytes()[:4096])
    with pytest.raises(EngineRefused, match="gave no token"):
        give_first_token(library)
