"""What one model's probes teach the next: the priors in the ledger.

A model begins with what its kin taught: a probed model with the same tensors, such as the base of a
fine-tune. Without kin it begins with the profile of all models that were probed.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from hakaru.formats.gguf import Tensor
from hakaru.ledger import Ledger
from hakaru.models.model import Model
from hakaru.quantization.prior import GENERIC, Prior, learned, prior_for_kin
from hakaru.quantization.sensitivity import Sensitivities

ALL_MODELS: Final = {"of": "all models"}


class Priors(Struct, frozen=True):
    """The priors of one model."""

    ledger: Ledger
    model: Model
    tensors: Sequence[Tensor]  # those that may be quantized

    def of(self, names: tuple[str, ...]) -> Prior:
        """The prior from the model's kin, else from all models so far."""
        kin = self.ledger.recall("sensitivities of kin", self._kin(names))
        return Prior.from_json(kin) if kin else self._general()

    def before_probes(self, names: tuple[str, ...], *, keeps: bool = False) -> Prior:
        """The prior with which the probes of this very model are read; with `keeps` it is fixed
        before the first probe. Else what the probes teach, as the prior of the model's kin, would
        count twice, and the same command would come to another mix.
        """
        inputs = {"model": self.ledger.model_sha256(self.model), **self._kin(names)}
        return Prior.from_json(
            self.ledger.remembered(
                "prior before probes",
                inputs,
                lambda: self.of(names).as_json(),
                keeps=lambda _: keeps,
            )
        )

    def learn(self, taught: Sensitivities) -> None:
        """Remember what the probes taught: for the model's kin in full, for all models as a
        profile, which one model of every kin moves.
        """
        ledger, names, kin = self.ledger, taught.names, self._kin(taught.names)
        if ledger.recall("sensitivities of kin", kin) is None:
            profile = learned(self._general(), names, taught.log_mean, taught.log_cov)
            ledger.remember("sensitivities", ALL_MODELS, profile.as_json())
        own = prior_for_kin(names, taught.log_mean, taught.log_cov)
        ledger.remember("sensitivities of kin", kin, own.as_json())

    def _general(self) -> Prior:
        """What all probed models taught."""
        profile = self.ledger.recall("sensitivities", ALL_MODELS)
        return Prior.from_json(profile) if profile else GENERIC

    def _kin(self, names: tuple[str, ...]) -> dict[str, object]:
        shapes = {t.name: list(t.shape) for t in self.tensors}
        return {
            "architecture": self.model.shape.architecture,
            "tensors": [[name, shapes[name]] for name in names],
        }
