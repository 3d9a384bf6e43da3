"""How a server chooses tokens where a request does not say: llama.cpp's sampling defaults.

What is named here goes before what the model's own file recommends (`general.sampling.*`), and a
request goes before both. Source: llama.cpp, common/common.h (common_params_sampling) and
common/arg.cpp.
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

from hakaru.errors import Misuse

HIGHEST: Final = {"top_k": 2**31 - 1, "top_p": 1.0, "min_p": 1.0, "seed": 2**32 - 1}
"""The largest values; that of all others is 100, the least is 0."""


class Sampling(Struct, frozen=True, kw_only=True):
    """The settings by llama.cpp's names; None: what the model's file says, else llama.cpp's own.
    Raises Misuse for values that mean nothing.
    """

    temp: float | None = None  # 0: always the likeliest token
    top_k: int | None = None  # of so many likeliest tokens; 0: of all
    top_p: float | None = None  # of the likeliest tokens that together have this probability
    min_p: float | None = None  # of those at least so likely, as a part of the likeliest's
    repeat_penalty: float | None = None  # 1: none
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, value in self.as_json().items():
            highest = HIGHEST.get(name, 100.0)
            if not 0 <= value <= highest:
                raise Misuse(
                    "{name} is {found:g}, expected a number from 0 to {high:g}.",
                    name=f"`{name}`",
                    found=value,
                    high=highest,
                )

    def as_json(self) -> dict[str, float]:
        """What is named, for the server's child and a server's record."""
        return {name: value for name, value in asdict(self).items() if value is not None}


AS_THE_MODEL_SAYS: Final = Sampling()
"""Nothing is named."""
