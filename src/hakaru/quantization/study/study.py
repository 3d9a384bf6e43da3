"""One model that is studied before it is quantized, and how much an effort reads.

Importance and probes read the calibration windows, the link the validation windows; the test
windows are left to whoever judges. All figures are remembered in the ledger, and quantized tensors
are kept, so that a second question about the model costs little.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from msgspec import Struct, field

from hakaru.evaluation.losses import windows_of
from hakaru.evaluation.texts import Part
from hakaru.evaluation.windows import Window
from hakaru.formats.gguf import Tensor
from hakaru.formats.imatrix import Imatrix
from hakaru.hardware.busy import Others
from hakaru.models.model import Model
from hakaru.models.roster import Roster, quantizer_facts, roster
from hakaru.quantization.blobs import Blobs
from hakaru.quantization.choices import TypeChoices
from hakaru.quantization.layout import how_made, planned_bytes
from hakaru.quantization.priors import Priors
from hakaru.quantization.probes import Effort
from hakaru.quantization.study.agenda import Agenda
from hakaru.session import Session


class Sampling(Struct, frozen=True, kw_only=True):
    """How much text and how many weights an effort reads."""

    n_documents: int  # per domain of text, in each part
    n_prompts: int  # per language, in each part
    n_windows: int  # that each probe reads
    n_rows: int  # of every tensor, drawn to measure the errors of types, at least
    n_weights: int  # of every tensor, drawn to measure the errors of types, at least
    n_singles: int = 0  # probes of single tensors, at most
    runs: tuple[str, ...] = ("Q6_K", "Q5_K", "Q4_K", "Q4_0", "IQ4_XS", "Q3_K", "Q2_K")
    """The types of the runs to which the link is fitted: one type everywhere, where rows allow."""


SAMPLINGS: Final[dict[Effort, Sampling]] = {
    "quick": Sampling(
        n_documents=5, n_prompts=3, n_windows=6, n_rows=16, n_weights=2**14,
        runs=("Q6_K", "Q4_K", "Q4_0", "Q3_K", "Q2_K"),
    ),
    "standard": Sampling(n_documents=7, n_prompts=5, n_windows=6, n_rows=64, n_weights=2**16),
    "thorough": Sampling(
        n_documents=14, n_prompts=5, n_windows=12, n_rows=64, n_weights=2**16, n_singles=96
    ),
}  # fmt: skip


class Study(Struct, eq=False, dict=True):
    """One model in one session, measured with one effort."""

    session: Session
    model: Model
    effort: Effort
    glance: bool = False  # nothing is measured for longer than seconds; priors stand in
    agenda: Agenda = field(default_factory=Agenda)  # empty where nothing can be foreseen
    others: Others = field(default_factory=Others)
    """What other programs kept busy while speeds were measured, at worst."""

    @property
    def sampling(self) -> Sampling:
        """How much this effort reads."""
        return SAMPLINGS[self.effort]

    @cached_property
    def roster(self) -> Roster:
        """The tensors by the part that each plays for llama.cpp's quantizer."""
        return roster(quantizer_facts(self.model.meta), self.model.tensors)

    @cached_property
    def tensors(self) -> list[Tensor]:
        """The tensors that may have another type."""
        kept = {t.name for t in self.roster.kept}
        return [t for t in self.model.tensors if t.name not in kept]

    @cached_property
    def choices(self) -> TypeChoices:
        """Which types the tensors may become."""
        return TypeChoices(self.tensors)

    @cached_property
    def calibration(self) -> list[Window]:
        """The windows from which importance and probes learn."""
        return self._windows_of("calibration")

    @cached_property
    def validation(self) -> list[Window]:
        """The windows to which the link is fitted."""
        return self._windows_of("validation")

    @cached_property
    def test(self) -> list[Window]:
        """The windows that no step reads before the race."""
        return self._windows_of("test")

    @cached_property
    def blobs(self) -> Blobs:
        """Where quantized tensors are kept; a glance needs none."""
        return Blobs()

    @cached_property
    def priors(self) -> Priors:
        """The sensitivities to expect before any probe."""
        return Priors(self.session.ledger, self.model, self.tensors)

    @property
    def sha256(self) -> str:
        """The model's hash."""
        return self.session.ledger.model_sha256(self.model)

    def how_made(self, types: Mapping[str, str], imatrix: Imatrix | None) -> dict[str, Any]:
        """The keys that tell how the file was made; of one length whatever the recipe."""
        return how_made(
            self.model,
            types,
            source_sha256=self.sha256,
            importance_sha256=imatrix_digest(imatrix),
            texts={
                "calibration": tokens_digest(self.calibration),
                "validation": tokens_digest(self.validation),
            },
        )

    def file_bytes(self, types: Mapping[str, str], imatrix: Imatrix | None) -> int:
        """The exact bytes of the file that a recipe makes."""
        return planned_bytes(self.model, types, added=self.how_made(types, imatrix))

    def progress(self, step: str) -> Callable[[int, int], None]:
        """Tells the session's watch how far a step is."""
        return lambda done, total: self.session.watch(step, done, total)

    def reading(self, step: str, n_read: int) -> Callable[[int, int], None]:
        """The same for a step of the agenda that reads so many windows, counted for each recipe."""
        return self.agenda.progress(n_read, self.progress(step), self.session.foresee)

    def _windows_of(self, part: Part) -> list[Window]:
        return windows_of(
            self.session,
            self.model,
            parts=(part,),
            n_documents=self.sampling.n_documents,
            n_prompts=self.sampling.n_prompts,
            ask=not self.glance,
        )


def imatrix_digest(imatrix: Imatrix | None) -> str | None:
    """The SHA-256 of importance data; None for none."""
    if imatrix is None:
        return None
    digest = hashlib.sha256()
    for name in sorted(imatrix.entries):
        entry = imatrix.entries[name]
        digest.update(name.encode() + entry.sums.tobytes() + entry.counts.tobytes())
    return digest.hexdigest()


def tokens_digest(windows: Sequence[Window]) -> str:
    """The SHA-256 of the windows' tokens."""
    return hashlib.sha256(json.dumps([list(w.tokens) for w in windows]).encode()).hexdigest()
