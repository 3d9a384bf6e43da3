"""The command line whose effort `quick` reads little text and few runs, with few types to choose
from: what commands promise does not depend on how much they read.
"""

from typing import Final

from hakaru.__main__ import main
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

if __name__ == "__main__":
    SAMPLINGS["quick"] = LITTLE
    vars(type_errors)["TYPES"] = FEW
    main()
