"""Paired ratios, and what a quantized source must not be offered."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hakaru.engine.jobs import TensorJob
from hakaru.engine.lab import Lab, Probed
from hakaru.evaluation.statistics import paired_ratio
from hakaru.evaluation.windows import Window
from hakaru.formats.imatrix import Imatrix
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.models.model import read_model
from hakaru.models.presets import FTYPES
from hakaru.models.roster import quantizer_facts, roster
from hakaru.places import data_dir
from hakaru.quantization.choices import TypeChoices
from hakaru.quantization.file_bytes import budget_bytes
from hakaru.quantization.plan import plan_recipe
from hakaru.quantization.source import hidden_grids
from hakaru.quantization.study.calibration import importance as collected_importance
from hakaru.quantization.study.linking import measured_link, sensitivities
from hakaru.quantization.study.probing import probed
from hakaru.quantization.study.study import SAMPLINGS, Study, imatrix_digest
from hakaru.quantization.study.type_errors import type_errors
from hakaru.quantization.target import Target
from hakaru.quantization.to_budget import make
from hakaru.quantization.writer import write_recipe
from hakaru.session import Session
from hakaru.testing import tiny_hyperparameters, tiny_shape, write_tiny, write_tiny_llama
from little_effort import FEW, LITTLE


def test_a_ratio_is_paired_over_windows() -> None:
    """Half the loss in every window is a ratio of one half without doubt; a draw is not below
    one.
    """
    theirs = [float(n) for n in range(1, 31)]
    ratio, below = paired_ratio([n / 2 for n in theirs], theirs)
    assert (ratio.value, ratio.low, ratio.high, below) == (0.5, 0.5, 0.5, True)
    mixed = [n * (1.5 if i % 2 else 0.6) for i, n in enumerate(theirs)]
    ratio, below = paired_ratio(mixed, theirs)
    assert ratio.low is not None and ratio.high is not None
    assert ratio.low < 1 < ratio.high
    assert not below


def test_a_quantized_source_is_copied_and_not_offered_its_grid(embedded: Path) -> None:
    """The embedded model is Q4_1 with an embedding in Q8_0: each tensor may keep its type, and no
    layer goes from Q4_1 to Q5_1.
    """
    model = read_model(embedded)
    kept_names = {t.name for t in roster(quantizer_facts(model.meta), model.tensors).kept}
    choices = TypeChoices([t for t in model.tensors if t.name not in kept_names])
    offered = {
        t.name: {"Q8_0": 0.0, "Q5_1": 0.0, "Q4_1": 0.0, "Q4_0": 0.01} for t in choices.tensors
    }
    kept = choices.offered(offered)
    assert set(kept["token_embd.weight"]) == {"Q8_0", "Q5_1", "Q4_1", "Q4_0"}
    assert set(kept["blk.0.ffn_up.weight"]) == {"Q8_0", "Q4_1", "Q4_0"}
    bare = choices.offered(offered, copies=False)
    assert set(bare["token_embd.weight"]) == {"Q5_1", "Q4_1", "Q4_0"}
    assert set(bare["blk.0.ffn_up.weight"]) == {"Q8_0", "Q4_0"}
    seems_free = {name: {"Q8_0": 1e-5, "Q5_1": 0.0, "Q4_1": 0.0} for name in offered}
    assert choices.hidden(seems_free) == (), "the file says so itself"


UNSEEN = "blk.0.attn_q.weight"


def test_a_grid_that_the_file_does_not_tell_is_found() -> None:
    """A type coarser than Q8_0 with less error than it in most tensors; one tensor of which a few
    weights decide is no proof.
    """
    usual = {"Q8_0": 7e-6, "Q5_1": 1e-4, "Q4_1": 4e-4, "Q4_0": 1e-3}
    hidden = {"Q8_0": 7e-6, "Q5_1": 0.0, "Q4_1": 1e-6, "Q4_0": 1e-3}
    assert hidden_grids({"a": usual, "b": usual, "c": hidden}) == ()
    assert hidden_grids({"a": usual, "b": hidden, "c": hidden}) == ("Q4_1", "Q5_1")
    assert hidden_grids({"a": {"Q4_1": 0.0}}) == ()


@pytest.fixture(autouse=True)
def numbers_for_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows are numbers: a tiny model has no texts of its own."""
    windows = [Window(domain="own", tokens=tuple(range(i + 2, i + 34)), first=4) for i in range(9)]
    monkeypatch.setattr("hakaru.evaluation.losses.gather_windows", lambda *_, **__: windows)
    monkeypatch.setattr("hakaru.quantization.study.study.windows_of", lambda *_, **__: windows)


class NoWriter(Lab):
    """An engine that must not quantize for a file."""

    def write_tensors(self, jobs: Sequence[TensorJob], **options: Any) -> None:
        assert not [job for job in jobs if job.type_id != job.wanted_id]
        super().write_tensors(jobs, **options)


@pytest.fixture
def tiny_f16(tmp_path: Path) -> Path:
    """Four layers whose rows divide by 256."""
    return write_tiny_llama(tmp_path / "tiny.gguf", tiny_shape(n_layer=4))


@pytest.mark.engine
@pytest.mark.parametrize("importance", [True, False], ids=["importance", "none"])
def test_what_the_race_quantized_is_written_and_not_made_again(
    tiny_f16: Path, tmp_path: Path, importance: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The winner's file is copied from what the probes kept, and is byte for byte the one that is
    quantized anew.
    """
    monkeypatch.setattr("hakaru.quantization.study.type_errors.TYPES", FEW)
    monkeypatch.setitem(SAMPLINGS, "quick", LITTLE)
    model = read_model(tiny_f16)
    session = Session(
        machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite"), lab=NoWriter()
    )
    study = Study(session, model, "quick")
    imatrix = collected_importance(study) if importance else None
    target = Target(file_bytes=budget_bytes(model.n_params, "5"))
    made = make(study, plan_recipe(study, target, imatrix=imatrix), tmp_path / "copied.gguf")
    anew = write_recipe(
        Lab(),
        model,
        made.types,
        tmp_path / "anew.gguf",
        imatrix=imatrix.vectors(study.tensors) if imatrix else None,
        file_type=FTYPES[made.preset] if made.preset else None,
        added=study.how_made(made.types, imatrix),
    )
    assert made.path.read_bytes() == anew.path.read_bytes()


@pytest.mark.engine
def test_what_a_probe_cannot_see_is_measured_in_a_file(tiny_f16: Path, tmp_path: Path) -> None:
    """Recipes with an unseen tensor are written and compared, with the same result; the others are
    probed; nothing is left.
    """

    class HalfBlind(Lab):
        def probe(
            self, path: Path, probes: Sequence[Mapping[str, str]], *rest: Any, **options: Any
        ) -> Probed:
            found = super().probe(path, probes, *rest, **options)
            hidden = [
                [{**row, "kld": -1.0} for row in rows] if UNSEEN in types else rows
                for types, rows in zip(probes, found.probes, strict=True)
            ]
            return Probed(probes=hidden, missing=found.missing | {UNSEEN})

    recipes = [{UNSEEN: "Q4_0", "blk.1.ffn_up.weight": "Q4_0"}, {"blk.1.ffn_up.weight": "Q4_0"}]
    sums = []
    for lab in (Lab(), HalfBlind()):
        study = Study(
            Session(machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite"), lab=lab),
            read_model(tiny_f16),
            "quick",
        )
        sums.append(
            [
                [row["kld"] for row in rows]
                for rows in probed(study, recipes, study.test, None, "race")
            ]
        )
    assert sums[1][0] == pytest.approx(sums[0][0], rel=0.02)
    assert sums[1][1] == pytest.approx(sums[0][1])
    assert not list(data_dir("models").glob("trial-*"))


@pytest.mark.engine
def test_importance_is_collected_once(tiny_f16: Path, tmp_path: Path) -> None:
    """Another study of the same model and texts reads the same data without the engine."""

    class Without(Lab):
        def importance(self, *_: object, **__: object) -> Imatrix:
            raise AssertionError("the data is there already")

    ledger, model = Ledger(tmp_path / "ledger.sqlite"), read_model(tiny_f16)
    first, again = (
        collected_importance(
            Study(Session(machine=probe_machine(), ledger=ledger, lab=lab), model, "quick")
        )
        for lab in (Lab(), Without())
    )
    assert imatrix_digest(first) == imatrix_digest(again)
    assert first.entries


@pytest.mark.engine
def test_the_thorough_effort_probes_single_tensors_until_it_knows(
    tiny_f16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tensor once, in rounds, no more than the effort allows; where nothing is in doubt,
    none.
    """
    asked: list[list[str]] = []

    class Counting(Lab):
        def probe(
            self, path: Path, probes: Sequence[Mapping[str, str]], *rest: Any, **options: Any
        ) -> Probed:
            asked.append([name for types in probes for name in types])
            return super().probe(path, probes, *rest, **options)

    session = Session(
        machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite"), lab=Counting()
    )
    study = Study(session, read_model(tiny_f16), "thorough")
    little = replace(study.sampling, n_singles=20, n_windows=2)
    monkeypatch.setitem(SAMPLINGS, "thorough", little)
    errors = type_errors(study, None)
    monkeypatch.setattr("hakaru.quantization.study.linking.SURE", 1e9)
    sensitivities(study, errors, None)
    (groups,) = asked
    assert set(groups) == errors.keys()
    asked.clear()
    monkeypatch.setattr("hakaru.quantization.study.linking.SURE", 0.0)
    sensitivities(study, errors, None)
    assert [len(names) for names in asked] == [16, 4]
    assert len({name for names in asked for name in names}) == 20


@pytest.mark.engine
def test_a_tensor_that_no_type_divides_is_left_alone(tmp_path: Path) -> None:
    """Mamba's steps have rows of 16: they are no question, and the rest is planned as ever."""
    model = read_model(write_tiny(tmp_path / "mamba.gguf", tiny_hyperparameters("mamba")))
    study = Study(
        Session(machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite")),
        model,
        "quick",
        glance=True,
    )
    errors = type_errors(study, None)
    narrow = [t.name for t in study.tensors if t.shape[0] % 32]
    assert narrow and not set(narrow) & errors.keys()
    target = Target(file_bytes=model.file_bytes * 5 // 8)
    plan = plan_recipe(study, target, imatrix=None, link=measured_link(study, errors, None))
    assert set(plan.types) == errors.keys()
    assert plan.file_bytes <= model.file_bytes * 5 // 8
