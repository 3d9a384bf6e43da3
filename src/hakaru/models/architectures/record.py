"""What hakaru knows of one architecture, in one value.

A record is data. The arithmetic reads the record: `tables` the tensors, `models/caches.py` the
caches, `memory/` the graph, `models/hf_config.py` the classes of Hugging Face. A part that hakaru
does not know is None, and the record says why beside it.
"""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct, field

from hakaru.formats.metadata import MetadataValue
from hakaru.models.architectures.parts.blueprint import Blueprint
from hakaru.models.architectures.parts.tensor_table import TensorTable
from hakaru.models.config_values import ConfigValues

Purpose: TypeAlias = Literal["text", "embedding", "encoder-decoder", "diffusion", "speech"]
Role: TypeAlias = Literal["mmproj", "control vector", "draft", "image model"]
End: TypeAlias = Literal["embedding", "output", "norm"]
Hyperparameters: TypeAlias = dict[str, Any]
"""GGUF keys without the architecture before them, as `hyperparameters.expand` takes them."""


class Window(NamedTuple):
    """Which layers see only the last tokens, where the file does not say it layer by layer.

    Example: `Window(period=6)` is Gemma 3: five layers with a window, then one that sees
    everything.
    """

    period: int | None  # every period-th layer sees everything; None: layers with KV heads do not
    dense_first: bool = False  # the first layer of a period sees everything, not the last one
    default: int | None = None  # tokens, where the file states no window
    forced: int | None = None  # tokens, whatever the file states
    of_n_layer: int | None = None  # only models of so many layers have windows; the others copy all


class Caches(NamedTuple):
    """What layers keep between tokens.

    `layers` says which layers keep what:

    - "attention": keys and values in every layer.
    - "nothing": an encoder, which reads every text at once.
    - "state": a recurrent state in every layer.
    - "state without KV heads": a state in layers without KV heads, keys and values in the others.
    - "state by interval": the file lists the layers with a state, or says how far those without are
      apart.
    - "attention and state": both in every layer.
    - "one part": a layer is attention, a state or a feed-forward block, never two of them.
    """

    layers: Literal[
        "attention",
        "nothing",
        "state",
        "state without KV heads",
        "state by interval",
        "attention and state",
        "one part",
    ] = "attention"
    window: Window | None = None  # None: no layer has one, whatever the file states
    n_own: int | None = None  # layers from this one on read an earlier layer's cache
    shares: bool = False  # the file states how many of the last layers read an earlier layer's
    grouped: bool = True  # the state counts groups (ssm.group_count)
    indexed: Literal["all", "stated"] | None = None
    """Which layers keep a second cache, of the keys by which an indexer chooses cells: all, or
    those that the file states.
    """

    @property
    def has_states(self) -> bool:
        """True if some layers may be recurrent."""
        return self.layers not in {"attention", "nothing"}


class HuggingFace(NamedTuple):
    """How a checkpoint of this architecture becomes a GGUF file. Source: llama.cpp,
    conversion/*.py.
    """

    classes: tuple[str, ...]  # names in config.json's `architectures`
    fields: Callable[[ConfigValues, Hyperparameters, Collection[str]], None] | None = None
    """Changes the common hyperparameters by the config's own fields; the last argument has the
    names of the tensors.
    """
    bodies: tuple[str, ...] = ()  # classes without a head that the converter takes, too
    absent: Mapping[str, Any] = MappingProxyType({})  # what a config leaves to its class
    windows: bool = False  # `sliding_window` and `layer_types` are converted
    tied: Literal["by tensors", "by config", "always"] = "by tensors"
    dropped: str | None = None  # pattern of tensors that are not converted; {n}: number of layers
    having: Callable[[ConfigValues, Hyperparameters, Collection[str]], set[str]] | None = None
    """Optional tensors beyond the common ones, see `sizes.Sizes`."""
    becomes: Callable[[Hyperparameters], str | None] | None = None
    """Another architecture that the converter writes for some configs, or None."""


class Quantizer(NamedTuple):
    """What llama.cpp's quantizer does differently for this architecture. Source:
    src/llama-quant.cpp and src/models.
    """

    n_layer_of_70b: int | None = None  # so many layers are a "70B", which has a rule of its own
    of_70b_shares_heads: bool = False  # and only with shared KV heads and not of eight experts
    at_least_q8: tuple[str, ...] = ()  # parts of names
    kept: tuple[str, ...] = ()  # parts of names of tensors that are not quantized
    loops: bool = False  # the number of layers is multiplied by `num_loops`
    n_layer_more: int = 0  # layers beyond the file's number
    falcon: bool = False  # Falcon's own mixtures
    stacks_are_experts: bool = True  # every stack of matrices is one of experts


IN_16_BITS: Final = ("bf16", "f16")


class InVllm(NamedTuple):
    """How vLLM holds this architecture, beside what all of its classes do; those of every record
    that has one were compared with vLLM's own (tests/vllm). Source: vLLM, model_executor/models.
    """

    by_transformers: bool = False  # by classes of the library transformers, which compute rotations
    routers_in_f32: bool = False
    on_every_stage: frozenset[End] = frozenset()
    """What is allocated on every stage, and not only on the first or the last one."""
    on_every_stage_of_mixtures: bool = False  # all three, if the model has experts
    rotations: Literal["16 bits", "32 bits", "by window", "none"] = "16 bits"
    """The table of rotations: one a rank, one for layers with a window and one for those without,
    or none.
    """
    scales_embedding: bool = False  # each rank has the factor of the embeddings, in 16 bits
    recurrent: Literal["mamba 2", "gated delta", "short convolution"] | None = None
    scales_mixers: bool = False  # a recurrent layer has a factor for each row of what goes into it
    states_in_f32: bool = False  # those of the recurrent layers, on cards; on processors all are
    window_more: int = 0  # tokens that a window sees beyond those that the file states
    sees: bool = False  # some checkpoints have a tower for pictures, which is left out
    types: tuple[str, ...] = (*IN_16_BITS, "fp8", "awq", "gptq")
    """Those that it may be served in; the first is that of the published checkpoint."""


ENDS: Final = frozenset[End]({"embedding", "output", "norm"})
_AS_USUAL: Final = Quantizer()
UNWRITTEN: Final = "not written down yet; the engine's dry run answers"
UNCONVERTED: Final = "not written down yet; convert it with llama.cpp and name the GGUF file"


class Architecture(Struct, frozen=True, eq=False):
    """One architecture. A part that hakaru does not know is None; the field behind it says why."""

    name: str  # llama.cpp's
    tensors: TensorTable | None = None  # names and shapes of all tensors
    why_no_tensors: str | None = None
    caches: Caches | None = None  # what layers keep between tokens
    why_no_caches: str | None = None
    graph: Blueprint | None = None  # what a graph is made of, for the compute buffers
    why_no_graph: str | None = None
    hugging_face: HuggingFace | None = None  # how checkpoints are converted
    why_no_hugging_face: str | None = None

    plain: Mapping[str, MetadataValue] = field(default_factory=dict)
    """Keys that the loader asks for and no memory depends on, for headers that hakaru writes."""
    reads: tuple[str, ...] = ()  # keys that the loader of only some architectures reads
    purpose: Purpose = "text"  # what models of it are for, unless their file says otherwise
    role: Role | None = None  # what its files are beside a model
    trained_as: tuple[str, ...] = ()
    """The presets in which the weights were trained: a larger type would write the same values with
    more bits.
    """
    is_llama_like: bool = False  # attention and a dense feed-forward part, and nothing else
    output_first: bool = False  # the loader asks for the output matrix before the embedding
    goes_back: bool = False
    """The engine keeps a copy of the states per drafted token. llama.cpp,
    llm_arch_supports_rs_rollback.
    """
    guesses: bool = False
    """The engine runs its layers for multi-token prediction. llama.cpp, LLM_GRAPH_TYPE_DECODER_MTP
    in src/models.
    """
    graph_nodes_per_token: int = 0
    """Nodes per token of a micro-batch that the engine keeps records for. llama.cpp,
    graph_max_nodes.
    """
    quantizer: Quantizer = _AS_USUAL
    in_vllm: InVllm | None = None  # None: not compared with vLLM yet

    @property
    def has_states(self) -> bool:
        """True if some layers may be recurrent."""
        return self.caches is not None and self.caches.has_states


ENCODER: Final[Mapping[str, MetadataValue]] = {"attention.causal": False, "pooling_type": 1}
"""`plain` of encoders whose vector of a text is the mean of the vectors of its tokens."""
SIGMOID: Final[Mapping[str, MetadataValue]] = {"expert_gating_func": 2}
"""`plain` of mixtures whose router has sigmoids."""
