"""The command line whose effort `quick` reads little text and few runs, with few types to choose
from: what commands promise does not depend on how much they read. Nor does what `test` promises.
"""

from typing import Any, Final

from hakaru.__main__ import main
from hakaru.evaluation import losses
from hakaru.evaluation.divergence import gather_windows
from hakaru.evaluation.windows import Window
from hakaru.quantization.choices import TYPES
from hakaru.quantization.study import type_errors
from hakaru.quantization.study.study import SAMPLINGS, Sampling

LITTLE: Final = Sampling(
    n_documents=1,
    n_prompts=1,
    n_windows=3,
    n_rows=4,
    n_weights=2**12,
    runs=("Q6_K", "Q4_0", "Q2_K"),
)
FEW: Final = tuple(type_ for type_ in TYPES if not type_.startswith("IQ2"))
"""ggml makes the grids of the others anew in every process, in seconds."""


def few_windows(
    *arguments: Any, n_documents: int | None = None, n_prompts: int | None = None, **named: Any
) -> list[Window]:
    """In the place of `gather_windows`: of all texts at hand, some of each domain."""
    return gather_windows(
        *arguments, n_documents=n_documents or 8, n_prompts=n_prompts or 4, **named
    )


if __name__ == "__main__":
    SAMPLINGS["quick"] = LITTLE
    vars(type_errors)["TYPES"] = FEW
    vars(losses)["gather_windows"] = few_windows
    main()
