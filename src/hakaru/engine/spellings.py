"""What every server is started with, and how llama.cpp spells what a request says.

Read by both kinds of server: written as options (`server_flags.py`), and in the child that becomes
the wheel's server (`server_child.py`). Source: llama.cpp, common/common.h and common/arg.cpp.
"""

from typing import Final, NamedTuple

VERBOSITY: Final = 4  # the level at which the buffers are logged
SIMILARITY: Final = 0.5
"""The part of a prompt that a slot must hold already for that slot to be taken; otherwise the one
that was used longest ago is. With the engine's own 0.1 two agents with the same tools and system
prompt take one slot in turn, and each reads its whole conversation again (benchmarks/agent.py).
"""
TYPES: Final = {"draft": "draft-simple", "mtp": "draft-mtp", "ngram": "ngram-simple"}
"""The engine's names of what guesses tokens ahead (`speculation.Means`)."""
N_MATCH: Final = 4
"""Tokens that must have stood together before, for `ngram`. llama.cpp's own 12 finds little in the
length of a chat (docs/labbook.md).
"""


class Spelling(NamedTuple):
    """One setting as it is spelled elsewhere."""

    flag: str  # of llama-server
    parameter: str  # of llama.cpp's `common_params_sampling`
    bit: int  # of `user_sampling_config`: a person's value, which the model's does not replace
    told: str  # in what a server tells of itself (/props)


SPELLINGS: Final = {
    "temp": Spelling("--temp", "temp", 1 << 6, "temperature"),
    "top_k": Spelling("--top-k", "top_k", 1 << 1, "top_k"),
    "top_p": Spelling("--top-p", "top_p", 1 << 2, "top_p"),
    "min_p": Spelling("--min-p", "min_p", 1 << 3, "min_p"),
    "repeat_penalty": Spelling("--repeat-penalty", "penalty_repeat", 1 << 8, "repeat_penalty"),
    "seed": Spelling("--seed", "seed", 0, "seed"),
}
