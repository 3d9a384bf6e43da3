"""The declarations of llama.cpp's interface fit the pinned version alone, and every other build is
refused.
"""

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from hakaru.engine import capi
from hakaru.engine.builds import lab_build
from hakaru.engine.call import lab_library
from hakaru.engine.lab import Lab
from hakaru.errors import EngineMissing
from hakaru.hardware.probe import probe_machine
from hakaru.language import use_language
from hakaru.memory.settings import ContextSettings


def context_params() -> capi.ContextParams:
    """The defaults as the pinned version gives them."""
    return capi.ContextParams(**capi.DEFAULTS["llama_context_default_params"])


class Shifted(ctypes.Structure):
    """The parameters of a version that has no `moe_cache_size` yet."""

    _fields_ = tuple(field for field in capi.ContextParams._fields_ if field[0] != "moe_cache_size")


def test_another_version_is_refused(
    embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one sentence that names both versions and the way out, in both languages; llama.cpp is
    not even loaded.
    """
    (tmp_path / capi.STAMP).write_text(json.dumps({"version": "2026.9.1"}))
    monkeypatch.setattr("hakaru.engine.call.lab_library", lambda: str(tmp_path))
    with pytest.raises(
        EngineMissing,
        match=rf"expected xllamacpp {capi.PINNED}, found 2026\.9\.1.*pip install xllamacpp==",
    ) as caught:
        Lab().tokenize(embedded, ["a"])
    assert caught.value.exit_code == 6
    use_language("ja")
    assert "測定に使うビルドではありません" in str(caught.value)


def test_a_folder_that_says_no_version_is_refused(
    embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its path is what was found."""
    for stamp in ("no json", "[]", "{}"):
        (tmp_path / capi.STAMP).write_text(stamp)
        assert capi.version_of(tmp_path) is None
    monkeypatch.setattr("hakaru.engine.call.lab_library", lambda: str(tmp_path))
    with pytest.raises(EngineMissing, match=f"found {tmp_path}"):
        Lab().tokenize(embedded, ["a"])


def test_a_struct_that_is_shifted_shows_other_defaults() -> None:
    """Declared with a field too few, the same bytes read otherwise; with one too many, too."""
    ours = capi.DEFAULTS["llama_context_default_params"]
    assert capi.difference(ours, context_params()) is None
    fewer = Shifted.from_buffer_copy(bytes(context_params()))
    assert capi.difference({k: v for k, v in ours.items() if k != "moe_cache_size"}, fewer) == (
        "offload_kqv = True",
        "offload_kqv = False",
    )
    old = Shifted(**{k: v for k, v in ours.items() if k != "moe_cache_size"})
    more = capi.ContextParams.from_buffer_copy(bytes(old) + bytes(16))
    assert capi.difference(ours, more) is not None


def test_every_declared_function_is_in_the_wheel() -> None:
    """Looked up in a process of its own; a function that is not declared is no attribute."""
    code = (
        "from hakaru.engine import capi; library = capi.opened();print([symbol for symbol in "
        "capi.FUNCTIONS if not hasattr(library, symbol)], hasattr(library, 'llama_n_ctx'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"


def test_a_wheel_for_a_gpu_is_the_same_version(tmp_path: Path) -> None:
    """The part of a version behind the plus names the GPU's libraries; two installations at once
    tell nothing.
    """
    library = tmp_path / "xllamacpp" / "xllamacpp.abi3.so"
    (tmp_path / "xllamacpp-2026.10.11549+cu128.dist-info").mkdir()
    assert capi.version_of(library) == "2026.10.11549"
    (tmp_path / "xllamacpp-2026.9.1.dist-info").mkdir()
    assert capi.version_of(library) is None


def test_a_native_build_that_is_chosen_measures(
    native_engine: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures are kept apart from the wheel's, and its buffers are the same to the byte. Where
    the processor has AMX, a native build packs the weights for it, which takes more.
    """
    of_wheel = lab_build(), Lab().dry_run(embedded, ContextSettings(n_ctx=2048))
    monkeypatch.setenv("HAKARU_ENGINE", str(native_engine))
    assert lab_library() == str(native_engine)
    of_native = lab_build(), Lab().dry_run(embedded, ContextSettings(n_ctx=2048))
    assert of_wheel[0] != of_native[0]
    packed = of_native[1].weights_bytes
    if "amx_int8" in probe_machine().cpu.instruction_sets:
        assert packed >= of_wheel[1].weights_bytes
    else:
        assert packed == of_wheel[1].weights_bytes
    assert replace(of_native[1], weights_bytes=0) == replace(of_wheel[1], weights_bytes=0)
