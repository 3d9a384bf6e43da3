"""What each rank of vLLM holds: shapes that divide, weights, and the pool that is left."""

import pytest
from msgspec.structs import replace

from hakaru.errors import Misuse, ModelUnknown
from hakaru.hardware.machine import Device
from hakaru.hardware.named_machine import parse_hardware
from hakaru.models.model import Model, read_language_model
from hakaru.models.sources.find import find_model
from hakaru.testing import tiny_shape
from hakaru.vllm.kv_groups import kv_groups, kv_layers
from hakaru.vllm.parallel import Parallel, legal_tensor_parallel, padded_vocab, stages, why_not
from hakaru.vllm.proposal import devices_of
from hakaru.vllm.rank_weights import check_modelled, weights_by_stage
from hakaru.vllm.replica import GRAPH_BYTES, Load, Replica, graphs_bytes, replica_of
from hakaru.vllm.served_type import SERVED_TYPES, served_type

BF16 = SERVED_TYPES["bf16"]
GIB = 2**30


def known(name: str) -> Model:
    """A model of the catalogue."""
    return read_language_model(find_model(name).path)


def on(hardware: str, model: Model, n_ctx: int, n_seqs: int, tp: int = 1) -> Replica:
    """A replica within one machine."""
    device = devices_of(parse_hardware(hardware))[0]
    weights = weights_by_stage(model, BF16, Parallel(tp=tp))
    load = Load(n_ctx=n_ctx, n_seqs=n_seqs)
    return replica_of(model, BF16, Parallel(tp=tp), weights, (device,), load)


@pytest.mark.parametrize(
    ("n_layer", "pp", "counts"),
    [
        (32, 4, [8, 8, 8, 8]),
        (30, 4, [7, 8, 8, 7]),
        (61, 2, [31, 30]),
        (16, 3, [5, 6, 5]),
        (94, 4, [23, 24, 24, 23]),
    ],
)
def test_layers_are_divided_as_vllm_divides_them(n_layer: int, pp: int, counts: list[int]) -> None:
    """What is left over goes to the stages before the last one."""
    parts = stages(n_layer, pp)
    assert [len(part) for part in parts] == counts
    assert [i for part in parts for i in part] == list(range(n_layer))


def test_the_vocabulary_is_padded() -> None:
    """To a multiple of 64."""
    assert [padded_vocab(n) for n in (64, 65, 49152, 100278)] == [64, 128, 49152, 100288]


def test_what_does_not_divide_is_told() -> None:
    """SmolLM2 has 9 heads and 3 KV heads: so many ranks are a divisor or a multiple of 3."""
    shape = known("smollm2-135m-instruct").shape
    assert list(legal_tensor_parallel(shape, BF16, 16)) == [1, 3]
    assert (
        why_not(shape, BF16, Parallel(tp=2)) == "3 KV heads are neither divided nor repeated by 2"
    )
    assert why_not(shape, BF16, Parallel(pp=31)) == "30 layers are too few for 31 stages"


def test_scales_must_not_be_divided() -> None:
    """The 27,648 values of Qwen2.5 32B go to 8 ranks as 3,456, which is 27 groups of 128; for 16
    ranks a group would have to be cut.
    """
    shape = known("qwen2.5-32b-instruct").shape
    assert list(legal_tensor_parallel(shape, SERVED_TYPES["awq"], 8)) == [1, 2, 4, 8]
    assert 16 not in legal_tensor_parallel(shape, SERVED_TYPES["awq"], 16)


def test_kv_heads_are_divided_or_repeated() -> None:
    """Llama 3.3 70B has 8 KV heads of 128: 4,096 bytes a layer, and never less than those of one
    head.
    """
    shape = known("llama-3.3-70b-instruct").shape
    of_a_layer = [next(kv_layers(shape, tp, on_cards=True)).n_bytes for tp in (1, 2, 8, 16)]
    assert of_a_layer == [4096, 2048, 512, 512]


def test_the_weights_of_a_layer_worked_by_hand() -> None:
    """Llama 3.2 1B in two stages of 8 layers on 2 ranks each."""
    first, last = weights_by_stage(known("llama-3.2-1b-instruct"), BF16, Parallel(tp=2, pp=2))
    attention = 2048 * 2048 + 2 * 2048 * 512 + 2048 * 2048
    layer = 2 * (attention + 3 * 2048 * 8192) // 2 + 2 * 2 * 2048 + 16
    ends = 2 * 128_256 * 2048 // 2  # the embedding is also the output matrix
    rotations = 2 * 131_072 * 64
    assert first == 8 * layer + ends + rotations
    assert last == first + 2 * 2048  # the last norm


@pytest.mark.parametrize(("name", "bits"), [("fp8", 8.0), ("awq", 4.156), ("gptq", 4.156)])
def test_quantized_weights_have_their_scales(name: str, bits: float) -> None:
    """Bits per weight of a matrix of 4,096 by 4,096."""
    n_bytes = served_type(name).matrix_bytes(4096, 4096)
    assert 8 * n_bytes / 4096**2 == pytest.approx(bits, abs=0.01)


@pytest.mark.parametrize(
    ("hardware", "seen_gib"), [("RTX 4090", 23.52), ("RTX 3090", 23.58), ("H100 80GB", 79.19)]
)
def test_a_card_is_as_large_as_cuda_says(hardware: str, seen_gib: float) -> None:
    """As published logs of vLLM tell it (replica.DRIVER_BYTES)."""
    replica = on(hardware, known("qwen3-0.6b"), 4096, 1)
    (rank,) = replica.ranks
    assert rank.budget_bytes / replica.utilization / GIB == pytest.approx(seen_gib, rel=0.01)


def test_the_pool_of_a_published_run() -> None:
    """Llama 3 8B on an H100, 256 sequences, 90% of the memory: weights of 14.96 GiB, 1.26 GiB of
    activations (vLLM, pull request 10511).
    """
    (rank,) = on("H100 80GB", known("llama-3.1-8b-instruct"), 8192, 256).ranks
    assert rank.weights_bytes / GIB == pytest.approx(14.96, rel=0.005)
    assert rank.activation_bytes / GIB == pytest.approx(1.26, rel=0.01)


def test_a_pool_holds_as_many_tokens_as_vllm_says() -> None:
    """56.18 GiB are 7,191 blocks of 16 tokens for Llama 2 7B (gateway-api-inference-extension pull
    request 550).
    """
    shape = tiny_shape(n_layer=32, n_embd=4096, n_head=32, n_head_kv=(32,) * 32)
    block_bytes = kv_groups(shape, 1, on_cards=True).block_bytes(range(32))
    assert int(56.18 * GIB) // block_bytes == 7191


def test_captured_sizes_are_counted() -> None:
    """1, 2, 4, then every 8 below 256, then every 16 up to 512."""
    sizes = [graphs_bytes(n) // GRAPH_BYTES for n in (1, 2, 4, 256, 1024)]
    assert sizes == [2, 3, 4, 3 + 31 + 17, 3 + 31 + 17]


def test_the_poorest_rank_decides() -> None:
    """Every rank has as many blocks as that with the least room."""
    model = known("qwen3-8b")
    large, small = (devices_of(parse_hardware(text))[0] for text in ("RTX 4090", "L4"))
    parallel = Parallel(pp=2)
    weights = weights_by_stage(model, BF16, parallel)

    def blocks(*devices: Device) -> int:
        load = Load(n_ctx=8192, n_seqs=4)
        return replica_of(model, BF16, parallel, weights, devices, load).n_blocks

    assert blocks(large, small) == blocks(small, small) < blocks(large, large)


def test_other_programs_take_their_part() -> None:
    """A card that is half in use gets a smaller part for vLLM."""
    model = known("qwen3-0.6b")
    card = replace(devices_of(parse_hardware("RTX 4090"))[0], free_bytes=12 * GIB)
    weights = weights_by_stage(model, BF16, Parallel())
    load = Load(n_ctx=8192, n_seqs=1)
    assert replica_of(model, BF16, Parallel(), weights, (card,), load).utilization == 0.46


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gemma-4-31b-it", "windows of attention"),
        ("glm-5", "latent attention"),
        ("kimi-linear-48b-a3b-instruct", "latent attention"),
        ("plamo-2-1b", "recurrent layers"),
        ("phi-4", "its layers"),
    ],
)
def test_what_is_not_modelled_is_refused(name: str, why: str) -> None:
    """Plainly, with what is."""
    with pytest.raises(ModelUnknown, match=why):
        check_modelled(known(name))


def test_a_type_that_was_not_compared_is_refused() -> None:
    """Of a hybrid, only 16 bits were held against vLLM."""
    with pytest.raises(ModelUnknown, match="was not compared with vLLM in 'awq'; name one of bf16"):
        check_modelled(known("qwen3.5-9b"), SERVED_TYPES["awq"])


def test_types_of_gguf_files_are_refused() -> None:
    """vLLM reads none."""
    with pytest.raises(Misuse, match="not GGUF files"):
        served_type("Q4_K_M")
