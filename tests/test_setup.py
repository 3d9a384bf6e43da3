"""The set-up script: what it says when it cannot go on, and when a compiled engine may be used again."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def setup() -> ModuleType:
    """scripts/setup.py as a module."""
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "scripts" / "setup.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_compiler_one_sentence_names_the_way_round(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code 1, what was looked for, and two next steps."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("HAKARU_LLAMA_WHEEL", raising=False)
    with pytest.raises(SystemExit) as caught:
        setup.engine_wheel(Path("python"), "llama-cpp-python==0.3.36")
    said = capsys.readouterr().err
    assert caught.value.code == 1
    assert said.startswith("hakaru: no C++ compiler was found (looked for $CXX, c++, g++ and clang++)")
    assert "sudo apt install g++" in said
    assert "ready-made wheel" in said


def test_a_compiled_engine_is_used_again_only_where_it_belongs(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key changes with version, processor and options, and with nothing else."""
    key = setup.wheel_key("llama-cpp-python==0.3.36")
    assert key == setup.wheel_key("llama-cpp-python==0.3.36")
    assert key != setup.wheel_key("llama-cpp-python==0.3.35")
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_CUDA=ON")
    assert key != setup.wheel_key("llama-cpp-python==0.3.36")
    monkeypatch.delenv("CMAKE_ARGS")
    monkeypatch.setattr(setup, "processor_flags", lambda: "another processor")
    assert key != setup.wheel_key("llama-cpp-python==0.3.36")


def test_a_wheel_that_is_kept_is_not_compiled_again(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also without a compiler; a wheel that is named goes before it."""
    monkeypatch.delenv("HAKARU_LLAMA_WHEEL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = setup.cache() / setup.wheel_key("llama-cpp-python==0.3.36") / "llama_cpp_python-0.3.36-py3-none-any.whl"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert setup.engine_wheel(Path("python"), "llama-cpp-python==0.3.36") == kept
    monkeypatch.setenv("HAKARU_LLAMA_WHEEL", str(tmp_path / "mine.whl"))
    assert setup.engine_wheel(Path("python"), "llama-cpp-python==0.3.36") == tmp_path / "mine.whl"


def test_every_pin_satisfies_the_project_s_own_range() -> None:
    """constraints.txt and pyproject.toml do not contradict each other."""
    import tomllib

    from packaging.requirements import Requirement

    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pins = {name.lower(): version.strip() for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for text in [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]:
        wanted = Requirement(text)
        if wanted.name != "llama-cpp-python":
            assert wanted.specifier.contains(pins[wanted.name.lower()]), text
