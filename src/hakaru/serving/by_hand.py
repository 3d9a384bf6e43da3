"""What a person sets of the engine by hand, where hakaru would choose: threads, layers on
accelerators, a draft model, a projector, and how tokens are chosen.

All of it goes through the plan: a draft and a projector take memory, and layers that have no room
on the accelerators are refused as everything that does not fit.
"""

from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.engine.mode import Mode
from hakaru.engine.sampling import AS_THE_MODEL_SAYS, Sampling
from hakaru.engine.speculation import Speculation
from hakaru.errors import Misuse
from hakaru.models.model import Model
from hakaru.models.sources.find import Reference, whole_model
from hakaru.planning.extras import N_DRAFT, refuse_other_vocabulary

MOST_THREADS: Final = 512  # ggml.h, GGML_MAX_N_THREADS
MOST_LAYERS: Final = 10_000  # "all", as people write 99 or 999


class ByHand(Struct, frozen=True, kw_only=True):
    """The settings; None: as hakaru chooses. Raises Misuse for numbers that mean nothing."""

    n_threads: int | None = None  # that compute
    n_gpu_layers: int | None = None
    """Layers on accelerators, counted from the last with the output, as llama.cpp's `-ngl`."""
    draft: Reference | None = None  # a smaller model, which guesses tokens ahead
    mmproj: Path | None = None  # a projector, with which the model sees or hears
    sampling: Sampling = AS_THE_MODEL_SAYS

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("`n_threads`", self.n_threads, 1, MOST_THREADS),
            ("`n_gpu_layers`", self.n_gpu_layers, 0, MOST_LAYERS),
        ):
            if value is not None and not least <= value <= most:
                raise Misuse(
                    "{name} is {found}, expected a whole number from {low} to {high}.",
                    name=name,
                    found=value,
                    low=least,
                    high=most,
                )

    def applied(self, mode: Mode, model: Model) -> Mode:
        """`mode` with these settings, for `model`. Raises Misuse for what only a model that writes
        text can have, or a draft of another vocabulary, and what `whole_model` raises.
        """
        if mode.gives != "text":
            self._refuse_text_options(model)
        mode = replace(
            mode,
            n_threads=self.n_threads,
            named_gpu_layers=self.n_gpu_layers,
            projector=self.mmproj.absolute() if self.mmproj else None,
            sampling=self.sampling,
        )
        if self.draft is None:
            return mode
        draft = whole_model(self.draft)
        refuse_other_vocabulary(model, draft)
        way = Speculation(means="draft", n_max=N_DRAFT, draft=draft.path)
        return replace(mode, speculation=way, must_guess=True)

    def _refuse_text_options(self, model: Model) -> None:
        names = ["draft"] * (self.draft is not None) + ["mmproj"] * (self.mmproj is not None)
        for name in (*names, *self.sampling.as_json()):
            raise Misuse(
                "{name} is for models that write text, which {path} does not; leave it out.",
                name=f"`{name}`",
                path=model.path,
            )


AS_HAKARU_CHOOSES: Final = ByHand()
"""Nothing is set."""
