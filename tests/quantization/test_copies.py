"""Quantized sources: a tensor that is copied as it is loses nothing, and the comparison with
presets is not flattered by that.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hakaru.cli import run
from hakaru.engine.lab import Lab
from hakaru.evaluation.windows import Window
from hakaru.formats.gguf import read_header
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.models.mixture import preset_types
from hakaru.models.model import Model, read_model
from hakaru.models.roster import quantizer_facts, roster
from hakaru.quantization.build import build, plan_presets
from hakaru.quantization.plan import Plan, plan_recipe
from hakaru.quantization.race import mix_without_copies, race, rival_presets
from hakaru.quantization.study.linking import measured_link, predicted_loss
from hakaru.quantization.study.recipe_file import written as written_file
from hakaru.quantization.study.study import SAMPLINGS, Study
from hakaru.quantization.study.type_errors import type_errors
from hakaru.quantization.target import Target
from hakaru.quantization.to_budget import make
from hakaru.quantization.writer import write_recipe
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama
from little_effort import LITTLE

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def numbers_for_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows are numbers, since a tiny model has no texts of its own; few runs."""
    windows = [Window(domain="own", tokens=tuple(range(i + 2, i + 34)), first=4) for i in range(6)]
    monkeypatch.setitem(SAMPLINGS, "quick", LITTLE)
    monkeypatch.setattr("hakaru.evaluation.losses.gather_windows", lambda *_, **__: windows)
    monkeypatch.setattr("hakaru.quantization.study.study.windows_of", lambda *_, **__: windows)


@pytest.fixture(scope="module")
def quantized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of ten layers at a preset, Q4_K_M if no other one is named; one of them with tied
    embeddings.
    """
    preset, folder = getattr(request, "param", "Q4_K_M"), tmp_path_factory.mktemp("quantized")
    model = read_model(
        write_tiny_llama(folder / "tiny.gguf", tiny_shape(n_layer=10), tied=preset == "Q6_K")
    )
    (recipe,) = plan_presets(model, [preset])
    return build(Lab(), model, recipe, folder / f"{preset}.gguf").path


def study_of(path: Path) -> Study:
    """A study whose ledger lies beside the model, so that tests of one model share it."""
    ledger = Ledger(path.with_name("ledger.sqlite"))
    return Study(Session(machine=probe_machine(), ledger=ledger), read_model(path), "quick")


def damage(plan: Plan) -> float:
    """The damage that a plan is predicted to do, Σ a e."""
    known = plan.link.sensitivities.expected()
    return sum(known[name] * plan.errors[name][type_] for name, type_ in plan.types.items())


def raw(model: Model) -> dict[str, bytes]:
    data = np.memmap(model.path, mode="r")
    return {
        t.name: data[model.data_offset + t.offset :][: t.n_bytes].tobytes() for t in model.tensors
    }


@pytest.mark.parametrize("quantized", ["Q8_0", "Q4_K_M", "Q2_K"], indirect=True)
def test_budgets_below_a_quantized_source_are_filled_with_copies(
    quantized: Path, tmp_path: Path
) -> None:
    """To 99.8% or with what is left over said to be of no use, with the most damage in the
    smallest, and the copied tensors are the source's to the byte. What is told of a mix is what a
    run of it showed, and a dry run without that run is less sure.
    """
    study, damages, filled = study_of(quantized), list[float](), list[bool]()
    for part in (0.999, 0.98, 0.95):
        n_bytes = int(study.model.file_bytes * part)
        plan = plan_recipe(study, Target(file_bytes=n_bytes), imatrix=None)
        assert plan.file_bytes <= n_bytes
        filled.append(plan.file_bytes >= 0.998 * n_bytes)
        assert len(study.choices.copied(plan.types)) > len(plan.types) / 2
        damages.append(damage(plan))
        run = plan.link.runs[-1]
        assert run.types == plan.types
        assert plan.predicted.lowest < run.kld < plan.predicted.highest
        without = predicted_loss(study, measured_link(study, plan.errors, None), plan.types)
        assert without.highest / without.lowest > plan.predicted.highest / plan.predicted.lowest
    assert sum(filled) >= 2
    assert (
        max(damages[:2]) < damages[2]
    )  # close to the source, filling may cost more than a smaller file would
    written = written_file(study, plan.types, None, tmp_path / "out.gguf")
    before, after = raw(study.model), raw(written)
    copied = study.choices.copied(plan.types)
    assert {name for name in plan.types if before[name] == after[name]} == copied


def test_the_row_without_copies_is_raced_and_never_written(quantized: Path, tmp_path: Path) -> None:
    """It copies nothing, has at most the same bytes, and loses more than the mix that may copy."""
    study = study_of(quantized)
    plan = plan_recipe(study, Target(file_bytes=int(study.model.file_bytes * 0.97)), imatrix=None)
    bare = mix_without_copies(study, plan)
    assert bare and not study.choices.copied(bare)
    raced = race(study, plan)
    assert raced.without_copies and raced.ours.value < raced.without_copies.value
    for preset in rival_presets(study, plan.errors, None, at_most=2**40, copies=False):
        assert not {name for name in study.choices.copied(preset.types) if name.startswith("blk.")}
    made = make(study, plan, tmp_path / "out.gguf")
    assert dict(made.types) != bare


def test_the_report_counts_copies_and_names_what_the_loss_is_against(
    quantized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As text and as JSON."""
    size = f"{int(quantized.stat().st_size * 0.97) / 1000:.1f}kB"
    command = [
        "quantize",
        str(quantized),
        "--size",
        size,
        "--importance",
        "none",
        "--effort",
        "quick",
        "--dry-run",
    ]
    assert run([*command, "--json"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    copied = [row for row in data["tensors"] if row["why"] == "copied"]
    assert data["copied"] == {
        "tensors": len(copied),
        "of": data["copied"]["of"],
        "bytes": sum(row["bytes"] for row in copied),
    }
    assert 0 < len(copied) < data["copied"]["of"]
    assert data["source"]["kind"] == "quantized"
    assert all(row["predicted_damage"] == 0 for row in copied)
    assert run(command) == 0
    said = capsys.readouterr().out
    assert f"{len(copied)} of {data['copied']['of']} tensors are copied as they are" in said
    assert "The loss is against this source" in said
    assert "copied as it is" in said


def test_a_source_within_the_budget_is_the_answer(
    quantized: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also at its very size."""
    for size in (quantized.stat().st_size, quantized.stat().st_size + 10**6):
        assert run(["quantize", str(quantized), "--size", f"{size / 1000:.3f}kB", "--dry-run"]) == 2
        assert "the source itself is the answer" in capsys.readouterr().err


def test_a_pin_to_the_own_type_copies(quantized: Path) -> None:
    """And keeps the tensor out of what the budget takes from."""
    study = study_of(quantized)
    own = {t.name: t.type.name for t in study.tensors}
    pins = [(r"blk\.0\.ffn_up", own["blk.0.ffn_up.weight"])]
    plan = plan_recipe(
        study, Target(file_bytes=int(study.model.file_bytes * 0.9)), imatrix=None, pins=pins
    )
    assert plan.types["blk.0.ffn_up.weight"] == own["blk.0.ffn_up.weight"]


def test_a_dequantized_source_keeps_the_choice_of_a_copy(tmp_path: Path) -> None:
    """F16 on a hidden grid: its old types are no choice, F16 is one, and large budgets are filled
    with it.
    """
    source = read_model(write_tiny_llama(tmp_path / "tiny.gguf", tiny_shape(n_layer=10)))
    types = preset_types(roster(quantizer_facts(source.meta), source.tensors), "Q4_0")
    small = write_recipe(Lab(), source, types, tmp_path / "small.gguf")
    back = {
        t.name: source_type
        for t in small.tensors
        if (source_type := _type(source, t.name)) != t.type.name
    }
    wide = write_recipe(Lab(), small, back, tmp_path / "wide.gguf")
    assert {t.type.name for t in read_header(wide.path).tensors} == {"F16", "F32"}
    study = study_of(wide.path)
    assert "Q4_0" in study.choices.hidden(type_errors(study, None))
    n_bytes = int(wide.file_bytes * 0.9)
    plan = plan_recipe(study, Target(file_bytes=n_bytes), imatrix=None)
    assert 0.998 * n_bytes <= plan.file_bytes <= n_bytes
    assert "F16" in plan.types.values()
    assert not {type_ for name, type_ in plan.types.items() if name.startswith("blk.")} & {
        "Q4_0",
        "Q5_0",
    }


def test_the_parts_of_a_split_source_are_copied_from(tmp_path: Path) -> None:
    """Wherever the tensor lies."""
    whole = read_model(write_tiny_llama(tmp_path / "tiny.gguf", tiny_shape(n_layer=6)))
    (recipe,) = plan_presets(whole, ["Q8_0"])
    split = build(Lab(), whole, recipe, tmp_path / "split.gguf", split_bytes=500_000)
    assert len(split.parts) > 2
    study = study_of(split.path)
    n_bytes = int(split.file_bytes * 0.97)
    plan = plan_recipe(study, Target(file_bytes=n_bytes), imatrix=None)
    made = make(study, plan, tmp_path / "out.gguf")
    assert 0.998 * n_bytes <= made.file_bytes <= n_bytes
    assert made.copied


def _type(model: Model, name: str) -> str:
    return next(t.type.name for t in model.tensors if t.name == name)
