"""Public models, one or more of every architecture with a record, for tests that compare with
llama.cpp.
"""

from typing import Any

from hakaru.models.architectures import architecture
from hakaru.models.catalogue import KnownModel, known_models


def model(
    id_: str,
    architecture: str,
    n_params: int,
    n_vocab: int,
    *,
    tied: bool = False,
    **hyperparameters: Any,
) -> KnownModel:
    """A public model that the catalogue lacks (some for want of its window, which no weight depends
    on: it is made up here).

    `__` stands for the dot in a key.
    """
    keys = {key.replace("__", "."): value for key, value in hyperparameters.items()}
    return KnownModel(
        id=id_, name=id_, architecture=architecture,
        hyperparameters={"context_length": 4096, **keys}, n_params=n_params, n_vocab=n_vocab,
        tied=tied, license=None, hf_repo="",
    )  # fmt: skip


OTHERS = [
    model(
        "mixtral-8x7b", "llama", 46_702_792_704, 32000, block_count=32, embedding_length=4096,
        feed_forward_length=14336, attention__head_count=32, attention__head_count_kv=8,
        expert_count=8, expert_used_count=2,
    ),
    model(
        "qwen1.5-moe-a2.7b", "qwen2moe", 14_315_784_192, 151936, block_count=24,
        embedding_length=2048, feed_forward_length=5632, attention__head_count=16,
        attention__head_count_kv=16, expert_count=60, expert_used_count=4,
        expert_feed_forward_length=1408, expert_shared_feed_forward_length=5632,
    ),
    model(
        "gemma-2b", "gemma", 2_506_172_416, 256000, tied=True, block_count=18,
        embedding_length=2048, feed_forward_length=16384, attention__head_count=8,
        attention__head_count_kv=1, attention__key_length=256, attention__value_length=256,
    ),
    model(
        "embeddinggemma-300m", "gemma-embedding", 302_863_104, 262144, tied=True, block_count=24,
        embedding_length=768, feed_forward_length=1152, attention__head_count=3,
        attention__head_count_kv=1, attention__key_length=256, attention__value_length=256,
        attention__sliding_window=512,
    ),
    model(
        "command-r-plus", "command-r", 103_810_674_688, 256000, tied=True, block_count=64,
        embedding_length=12288, feed_forward_length=33792, attention__head_count=96,
        attention__head_count_kv=8,
    ),
    model(
        "mamba-130m", "mamba", 129_135_360, 50280, tied=True, block_count=24, embedding_length=768,
        ssm__conv_kernel=4, ssm__inner_size=1536, ssm__state_size=16, ssm__time_step_rank=48,
    ),
    model(
        "mamba2-130m", "mamba2", 128_989_632, 50288, tied=True, block_count=24,
        embedding_length=768, ssm__conv_kernel=4, ssm__inner_size=1536, ssm__state_size=128,
        ssm__time_step_rank=24, ssm__group_count=1,
    ),
    model(
        "trinity-mini", "afmoe", 26_123_974_400, 200192, block_count=32, embedding_length=2048,
        feed_forward_length=6144, attention__head_count=32, attention__head_count_kv=4,
        attention__key_length=128, attention__value_length=128, expert_count=128,
        expert_used_count=8, expert_feed_forward_length=1024, expert_shared_count=1,
        leading_dense_block_count=2, attention__sliding_window=2048,
    ),
    model(
        "north-mini-code", "cohere2moe", 30_484_303_872, 262144, tied=True, block_count=49,
        embedding_length=2048, feed_forward_length=3072, attention__head_count=32,
        attention__head_count_kv=4, attention__key_length=128, attention__value_length=128,
        expert_count=128, expert_used_count=8, expert_feed_forward_length=768,
        leading_dense_block_count=1, attention__sliding_window=4096,
    ),
    model(
        "a small arcee", "arcee", 0, 128004, block_count=4, embedding_length=2560,
        feed_forward_length=18432, attention__head_count=20, attention__head_count_kv=4,
        attention__key_length=128, attention__value_length=128,
    ),
    model(
        "a small granitemoe", "granitemoe", 0, 49152, tied=True, block_count=4,
        embedding_length=1024, feed_forward_length=512, attention__head_count=16,
        attention__head_count_kv=8, expert_count=32, expert_used_count=8,
        expert_shared_feed_forward_length=1024,
    ),
    model(
        "a deci of every layer kind", "deci", 0, 32000, block_count=4, embedding_length=1024,
        attention__key_length=128, attention__value_length=128, attention__head_count=[8, 0, 8, 8],
        attention__head_count_kv=[2, 0, 0, 4], feed_forward_length=[2816, 1408, 0, 2816],
    ),
]  # fmt: skip


def one_of_each() -> list[KnownModel]:
    """The most downloaded model of every architecture, those without a catalogue entry, and a
    second form where the table branches: MLA without a query rank, shared keys that files keep, a
    dense hybrid, an MoE under Granite's name.
    """
    first: dict[str, KnownModel] = {}
    for known in known_models():
        first.setdefault(known.architecture, known)
    branches = {
        "deepseek-v2-lite",
        "gemma-4-e2b-it",
        "granite-4.0-h-1b",
        "glm-4.7",
        "phi-4-mini-instruct",
        "qwen3.5-0.8b",
    }
    return [
        *first.values(),
        *OTHERS,
        *(m for m in known_models() if m.id in branches and m is not first[m.architecture]),
    ]


def one_per_graph() -> list[KnownModel]:
    """The first of them for every architecture whose compute buffers are computed."""
    first: dict[str, KnownModel] = {}
    for known in one_of_each():
        if architecture(known.architecture).graph:
            first.setdefault(known.architecture, known)
    return list(first.values())
