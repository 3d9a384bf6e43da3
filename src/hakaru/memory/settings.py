"""The settings with which the engine runs a model, and their four spellings: in evidence, for the
lab, for the server, and as flags of llama-server.

All names of a setting stand in this file and nowhere else, so that no spelling can lack a setting.
Pure.
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.formats.quant_types import BY_NAME, CACHE_TYPES
from hakaru.language import listed

MAX_CONTEXT: Final = 2**24
MAX_UBATCH: Final = 2**16
MAX_PARALLEL: Final = 256
CELL_PADDING: Final = 256  # llama.cpp, src/llama-context.cpp: n_ctx_seq is padded to 256 cells
LEAST_CHECKPOINTS: Final = 1
"""Context checkpoints per conversation: the one near the end of the last prompt, from which the
next turn goes on. See docs/labbook.md.
"""

Cache = tuple[str, str]
"""The types of a KV cache: of its keys and of its values."""
F16_CACHE: Final[Cache] = ("f16", "f16")


class ContextSettings(Struct, frozen=True, kw_only=True):
    """The settings, by llama.cpp's names. Raises Misuse for values that the engine refuses."""

    n_ctx: int  # tokens of context, shared by all conversations, as in llama-server
    n_ubatch: int = 512  # tokens of a micro-batch
    type_k: str = "f16"  # type of the KV cache's keys
    type_v: str = "f16"  # type of the KV cache's values
    n_parallel: int = 1  # conversations at the same time
    n_outputs_max: int | None = None
    """Tokens of a micro-batch that get logits; None: one per conversation, as in serving."""
    kv_unified: bool = False  # the conversations share one pool of cells; False: equal parts
    n_checkpoints: int | None = None
    """Context checkpoints per conversation (memory/growth.py); None: LEAST_CHECKPOINTS."""
    cache_ram_mib: int | None = None
    """RAM for prompts that no slot holds any more (memory/growth.py), in MiB; None: 0."""
    keeps_prompts: bool = False
    """Whether a plan gives such prompts the RAM that has room, where `cache_ram_mib` is None: for a
    server of one model.
    """

    def __post_init__(self) -> None:
        for name, value, high in (
            ("`n_ctx`", self.n_ctx, MAX_CONTEXT),
            ("`n_ubatch`", self.n_ubatch, MAX_UBATCH),
            ("`n_parallel`", self.n_parallel, MAX_PARALLEL),
        ):
            if not 1 <= value <= high:
                raise Misuse(
                    "{name} is {found}, expected a whole number from 1 to {high}.",
                    name=name,
                    found=value,
                    high=high,
                )
        if (self.cache_ram_mib or 0) < 0:  # for the engine it means: without limit
            raise Misuse(
                "`cache_ram_mib` is {found}, expected a whole number, 0 or more.",
                found=self.cache_ram_mib,
            )
        for name, type_ in (("`type_k`", self.type_k), ("`type_v`", self.type_v)):
            if type_ not in CACHE_TYPES:
                raise Misuse(
                    "{name} is '{found}', expected one of {known}.",
                    name=name,
                    found=type_,
                    known=listed(CACHE_TYPES),
                )

    @property
    def cache(self) -> Cache:
        """The types of the KV cache."""
        return self.type_k, self.type_v

    def with_cache(self, cache: Cache) -> "ContextSettings":
        """The same settings with another KV cache."""
        return replace(self, type_k=cache[0], type_v=cache[1])

    def with_context(self, n_ctx: int) -> "ContextSettings":
        """The same settings at another context."""
        return replace(self, n_ctx=n_ctx)

    @property
    def tokens_each(self) -> int:
        """Tokens of context of one conversation: all of a shared pool, else an equal part."""
        return self.n_ctx if self.kv_unified else self.n_ctx // self.n_parallel

    @property
    def n_cells(self) -> int:
        """KV cells of one conversation, padded as llama.cpp pads them."""
        return _padded(max(1, self.tokens_each))

    def window_cells(self, window: int) -> int:
        """KV cells of a layer with a sliding window: the window and one micro-batch, padded."""
        shared = window * (self.n_parallel if self.kv_unified else 1)
        return _padded(min(self.n_cells, shared + self.n_tokens))

    @property
    def n_outputs(self) -> int:
        """Rows of logits that the output buffer and the graph hold."""
        return min(self.n_outputs_max or self.n_parallel, max(self.n_tokens, self.n_parallel))

    @property
    def n_tokens(self) -> int:
        """Tokens of the largest micro-batch: never more than the context (without padding)."""
        return min(self.n_ubatch, self.n_ctx)

    @property
    def checkpoints_kept(self) -> int:
        """Context checkpoints that the server keeps per conversation."""
        return LEAST_CHECKPOINTS if self.n_checkpoints is None else self.n_checkpoints

    @property
    def cache_ram_bytes(self) -> int:
        """RAM for prompts that no slot holds any more."""
        return (self.cache_ram_mib or 0) * 2**20

    def as_json(self) -> dict[str, object]:
        """The settings in the ledger and in evidence. A change of a single byte here changes the
        keys of the ledger.

        Left out: `n_checkpoints`, `cache_ram_mib` and `keeps_prompts`, on which no figure in the
        ledger depends.
        """
        return {
            "n_ctx": self.n_ctx, "n_ubatch": self.n_ubatch, "type_k": self.type_k,
            "type_v": self.type_v, "n_parallel": self.n_parallel, "n_outputs_max": self.n_outputs,
            "kv_unified": self.kv_unified,
        }  # fmt: skip

    def as_lab(self) -> dict[str, int | bool]:
        """The settings for the lab's child: fields of llama.cpp's `llama_context_params`."""
        return {
            "n_ctx": self.n_ctx, "n_ubatch": self.n_ubatch, "n_outputs_max": self.n_outputs,
            "n_seq_max": self.n_parallel, **self._cache_ids(), "kv_unified": self.kv_unified,
        }  # fmt: skip

    def as_server(self) -> dict[str, int | bool]:
        """The settings for the server's child: fields of llama.cpp's `common_params`."""
        return {
            "n_ctx": self.n_ctx, "n_ubatch": self.n_ubatch, "n_parallel": self.n_parallel,
            **self._cache_ids(), "kv_unified": self.kv_unified,
            "n_checkpoints": self.checkpoints_kept, "cache_ram_mib": self.cache_ram_mib or 0,
        }  # fmt: skip

    def as_flags(self) -> list[str]:
        """The settings as arguments of llama-server."""
        flags = ["-c", str(self.n_ctx), "-ub", str(self.n_ubatch), "-np", str(self.n_parallel)]
        flags += ["-ctk", self.type_k, "-ctv", self.type_v]
        if self.kv_unified:
            flags.append("--kv-unified")
        if self.n_checkpoints is not None:
            flags += ["--ctx-checkpoints", str(self.n_checkpoints)]
        # without it llama-server takes up to 8 GiB
        return [*flags, "--cache-ram", str(self.cache_ram_mib or 0)]

    def _cache_ids(self) -> dict[str, int]:
        return {
            "type_k": BY_NAME[self.type_k.upper()].id,
            "type_v": BY_NAME[self.type_v.upper()].id,
        }


def _padded(n_cells: int) -> int:
    return -(-n_cells // CELL_PADDING) * CELL_PADDING
