"""What one model's probes teach the next: the priors in the ledger.

A model of the same tensors as one that was probed before begins with what that one taught, any
other one with the profile of all models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hakaru.formats.gguf import Tensor
from hakaru.ledger import Ledger
from hakaru.models.model import Model
from hakaru.quantization.prior import GENERIC, Prior, learned, prior_for_kin
from hakaru.quantization.sensitivity import Sensitivities


@dataclass(frozen=True, slots=True)
class Priors:
    """The priors of one model."""

    ledger: Ledger
    model: Model
    tensors: Sequence[Tensor]  # those that may be quantized

    def of(self, names: tuple[str, ...]) -> Prior:
        """What is thought of the tensors: from a model of the same tensors, else from all models so
        far.
        """
        kin = self.ledger.recall("sensitivities of kin", self._kin(names))
        seen = kin or self.ledger.recall("sensitivities", {"of": "all models"})
        return Prior.from_json(seen) if seen else GENERIC

    def before_probes(self, names: tuple[str, ...], *, keeps: bool = False) -> Prior:
        """The prior with which the probes of this very model are read, fixed (`keeps`) before the
        first one: what they teach becomes the prior of its kin, and would count twice, so that the
        same command would come to another mix.
        """
        inputs = {"model": self.ledger.model_sha256(self.model), **self._kin(names)}
        known = self.ledger.recall("prior before probes", inputs)
        if known is None and keeps:
            known = self.of(names).as_json()
            self.ledger.remember("prior before probes", inputs, known)
        return Prior.from_json(known) if known else self.of(names)

    def learn(self, known: Sensitivities) -> None:
        """Remember what the probes taught: for its kin in full, for all models as a profile."""
        ledger, names = self.ledger, known.names
        if ledger.recall("sensitivities of kin", self._kin(names)) is None:
            general = ledger.recall("sensitivities", {"of": "all models"})
            before = Prior.from_json(general) if general else GENERIC
            ledger.remember(
                "sensitivities",
                {"of": "all models"},
                learned(before, names, known.log_mean, known.log_cov).as_json(),
            )
        ledger.remember(
            "sensitivities of kin",
            self._kin(names),
            prior_for_kin(names, known.log_mean, known.log_cov).as_json(),
        )

    def _kin(self, names: tuple[str, ...]) -> dict[str, object]:
        shapes = {t.name: list(t.shape) for t in self.tensors}
        return {
            "architecture": self.model.shape.architecture,
            "tensors": [[name, shapes[name]] for name in names],
        }
