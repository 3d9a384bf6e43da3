"""What a mix gains over the best preset of its size."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from test_loop import ANYTHING, EVEN, CountingLab

from hakaru.choosing.candidate import SOURCE, Candidate
from hakaru.choosing.loop import tune_at
from hakaru.choosing.mix_gain import best_smaller_preset, measured_gain
from hakaru.choosing.smaller_cache import SMALL_CACHE
from hakaru.choosing.worker import Effort
from hakaru.errors import Misuse
from hakaru.evaluation.divergence import identical
from hakaru.evaluation.timing import Timing
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.quantization.quantize import quantize
from hakaru.quantization.to_preset import MadePreset
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama


def candidate(type_: str, n_bytes: int, kld: float | None, **changes: Any) -> Candidate:
    """A candidate that lost so much on twelve windows; None: it was not read."""
    quality = identical()
    lost = replace(quality, n_windows=12, kld_mean=replace(quality.kld_mean, value=kld or 0.0))
    fields: dict[str, Any] = {
        "type": type_, "weights_bytes": n_bytes, "bpw": 4.0, "total_bytes": n_bytes, "fits": True,
        "quality": None if kld is None else lost,
    }  # fmt: skip
    return Candidate(**fields | changes)


def best(*candidates: Candidate) -> str | None:
    """The type of the best preset that is smaller than a source of 100 bytes."""
    decision: Any = SimpleNamespace(
        candidates=candidates, model=SimpleNamespace(weights_bytes=100), path=None
    )
    found = best_smaller_preset(decision)
    return found.type if found else None


def test_the_mix_is_compared_with_the_best_preset_that_is_smaller_and_was_read() -> None:
    """No mix, no level of the source's size or more, and none with another KV cache."""
    q3, q2 = candidate("Q3_K_M", 90, 0.1), candidate("Q2_K", 80, 0.2)
    others = (
        candidate("Q8_0", 100, 0.01),
        candidate("mix-1f2e3d4c", 90, 0.01),
        candidate("Q4_K_M", 90, 0.01, cache=SMALL_CACHE),
        candidate("IQ4_XS", 95, None),
        candidate(SOURCE, 99, 0.0),
    )
    assert best(*others, q2, q3) == "Q3_K_M"
    assert best(*others, q2) == "Q2_K"
    assert best(*others) is None


@pytest.mark.engine
@pytest.mark.alone
def test_the_gain_is_measured_remembered_and_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mix is no larger than the preset, is read on the same windows and leaves no file; the
    second time nothing is asked of the engine. `quantize` makes this very mix by its name.
    """
    path = write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024, n_layer=4))
    model, lab = read_model(path), CountingLab()
    monkeypatch.setattr(Timing, "trial", lambda *_, **__: EVEN)
    effort = Effort(n_documents=4, n_prompts=1, presets=("Q5_K_M", "Q3_K_M"), sweep=True)
    session = Session(machine=probe_machine(), ledger=Ledger(), lab=lab)
    decision = tune_at(session, model, ContextSettings(n_ctx=512), ANYTHING, effort)
    gain = measured_gain(session, decision, effort)
    assert gain and gain.preset.preset == "Q5_K_M"
    assert gain.mix.weights_bytes <= gain.preset.weights_bytes
    (read,) = {c.quality.n_windows for c in decision.candidates if c.type == "Q5_K_M" and c.quality}
    assert gain.mix_quality.n_windows == gain.preset_quality.n_windows == read
    exact = gain.mix_quality.kld_mean.value / gain.preset_quality.kld_mean.value
    assert gain.ratio.value == pytest.approx(exact)
    assert gain.n_tensors == len(gain.mix.types)
    assert not list((tmp_path / "XDG_DATA_HOME").rglob("*-mix-*.gguf"))
    lab.asked.clear()
    assert measured_gain(session, decision, effort) == gain
    assert lab.asked == []
    made = quantize(path, preset=gain.mix.preset, output=tmp_path / "mix.gguf", session=session)
    assert isinstance(made, MadePreset) and made.written
    assert {t.name: t.type.name for t in made.written.tensors if t.name in gain.mix.types} == (
        dict(gain.mix.types)
    )


def test_a_mix_that_nobody_measured_here_cannot_be_named(tmp_path: Path) -> None:
    """It is said how to find one."""
    path, session = (
        write_tiny_llama(tmp_path / "model.gguf"),
        Session(machine=probe_machine(), ledger=Ledger()),
    )
    with pytest.raises(Misuse, match=r"no mix of .*model.gguf has this name here"):
        quantize(path, preset="mix-00000000", output=tmp_path / "mix.gguf", session=session)
