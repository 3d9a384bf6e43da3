"""Quantizing: plans are exact, files are whole or absent, sources are recognized."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hakaru.engine.jobs import TensorJob
from hakaru.engine.lab import Lab
from hakaru.errors import EngineRefused, MachineError, Misuse
from hakaru.models.model import read_model
from hakaru.models.presets import FTYPES
from hakaru.quantization.build import build, plan_presets
from hakaru.quantization.presets import LADDER, ftype_of
from hakaru.quantization.source import source_kind

pytestmark = pytest.mark.engine


class Interrupting(Lab):
    """An engine that damages the header and is then interrupted, finds the disk full, or is content
    with it.
    """

    def __init__(self, error: BaseException | None) -> None:
        super().__init__()
        self.error = error

    def write_tensors(
        self, jobs: Sequence[TensorJob], *, targets: Sequence[Path], **_: Any
    ) -> None:
        targets[0].write_bytes(
            targets[0].read_bytes().replace(b"blk.0.ffn_up.weight", b"blk.0.ffn_xx.weight")
        )
        if self.error:
            raise self.error


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder for what is made, and nothing else."""
    folder = tmp_path / "made"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("preset", ["Q8_0", "Q4_K_M", "IQ4_XS", "Q2_K"])
def test_what_is_written_is_what_was_planned(tiny: Path, tmp_path: Path, preset: str) -> None:
    """Types and bytes of every tensor, predicted before anything is written, then read back."""
    model = read_model(tiny)
    (recipe,) = plan_presets(model, [preset])
    seen: list[tuple[int, int]] = []
    made = build(
        Lab(),
        model,
        recipe,
        tmp_path / "out.gguf",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert made.weights_bytes == recipe.weights_bytes < model.weights_bytes
    assert made.bpw == pytest.approx(recipe.bpw)
    assert {t.name: t.type.name for t in made.tensors} == dict(recipe.types)
    assert made.n_params == model.n_params
    assert seen[-1][0] == seen[-1][1] == len(model.tensors)
    assert [
        p.name for p in tmp_path.iterdir() if p.suffix != ".gguf" or p.name.startswith(".")
    ] == []


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), MachineError),
        (EngineRefused("no."), EngineRefused),
    ],
)
def test_an_interruption_leaves_no_half_file(
    tiny: Path, tmp_path: Path, made: Path, error: BaseException, raised: type[BaseException]
) -> None:
    """Ctrl-C, a full disk, an engine that refuses: the target is absent, and so is the temporary
    file.
    """
    model = read_model(tiny)
    engine = Interrupting(error)
    (recipe,) = plan_presets(model, ["Q8_0"])
    with pytest.raises(raised):
        build(engine, model, recipe, made / "out.gguf")
    assert list(made.iterdir()) == []


def test_a_file_that_is_not_what_was_planned_is_not_kept(tiny: Path, tmp_path: Path) -> None:
    """The verification compares every tensor."""
    model = read_model(tiny)
    (recipe,) = plan_presets(model, ["Q8_0"])
    with pytest.raises(EngineRefused, match=r"blk.0.ffn_up.weight is null, expected .*Q8_0"):
        build(Interrupting(None), model, recipe, tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_an_existing_file_and_the_source_are_never_overwritten(tiny: Path, tmp_path: Path) -> None:
    """Unless that is asked for; the source not even then by accident."""
    model = read_model(tiny)
    (recipe,) = plan_presets(model, ["Q8_0"])
    with pytest.raises(Misuse, match="is the source itself"):
        build(Lab(), model, recipe, tiny)
    with pytest.raises(Misuse, match="is the source itself"):
        build(Lab(), model, recipe, tiny, overwrite=True)
    with pytest.raises(Misuse, match="is no regular file"):
        build(Lab(), model, recipe, Path("/dev/null"), overwrite=True)
    out = tmp_path / "out.gguf"
    out.write_text("mine")
    with pytest.raises(Misuse, match="exists already"):
        build(Lab(), model, recipe, out)
    assert out.read_text() == "mine"


def test_types_have_names() -> None:
    """Lower case is fine; a type without importance data says so; nonsense shows the list."""
    assert ftype_of("q4_k_m") == ("Q4_K_M", 15)
    assert set(LADDER) <= set(FTYPES)
    with pytest.raises(Misuse, match="needs importance data"):
        ftype_of("IQ2_XS")
    with pytest.raises(Misuse, match="'Q9', expected such as"):
        ftype_of("Q9")


def test_a_quantized_source_is_recognized_and_said(embedded: Path, tiny: Path) -> None:
    """SmolLM2 comes as Q4_1 with a Q8_0 embedding: never called the original; Q4_1 again only looks
    free.
    """
    kind = source_kind(read_model(embedded))
    assert kind.kind == "quantized"
    assert "loses twice" in (kind.sentence("Q4_K_M") or "")
    assert "looks free" in (kind.sentence("Q4_1") or "")
    assert source_kind(read_model(tiny)).sentence("Q4_K_M") is None
