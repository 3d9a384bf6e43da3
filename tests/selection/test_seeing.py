"""What `choose` counts for the projector of a model that sees."""

from msgspec.structs import replace

from hakaru.models.catalogue import known_models
from hakaru.models.towers import TOWERS
from hakaru.selection.seeing import ASSUMED_COMPUTE_BYTES, ASSUMED_WEIGHTS_BYTES, Seeing, seeing

MODELS = {model.id: model for model in known_models()}
GIB = 2**30


def test_a_known_tower_is_counted_by_its_shape() -> None:
    """Qwen3-VL-8B: 1,105.3 MiB of weights, as its log tells; what it computes with is estimated."""
    eyes = seeing(MODELS["qwen3-vl-8b-instruct"])
    assert (eyes.weights_source, round(eyes.weights_bytes / 2**20, 1)) == ("computed", 1105.3)
    assert eyes.host_bytes == 12 * 4096 * 32**2
    assert eyes.bytes == eyes.device_bytes + eyes.host_bytes
    assert eyes.assumed_bytes == eyes.compute_bytes + eyes.growth_bytes + eyes.host_bytes


def test_without_a_tower_the_published_number_speaks() -> None:
    """Two bytes each; what it computes with is more than any known tower takes."""
    eyes = seeing(MODELS["gemma-4-e4b-it"])
    assert (eyes.weights_source, eyes.weights_bytes) == ("counted", 2 * 533_143_072)
    assert eyes.assumed_bytes == eyes.bytes
    known = [seeing(model) for model in MODELS.values() if model.tower in TOWERS]
    most = max(eyes.compute_bytes + eyes.growth_bytes for eyes in known)
    assert most < ASSUMED_COMPUTE_BYTES == eyes.compute_bytes < 1.1 * most


def test_of_a_model_of_which_nothing_is_known_all_is_assumed() -> None:
    """An entry of a person's own."""
    own = replace(MODELS["gemma-4-e4b-it"], n_params_tower=None)
    assert seeing(own) == Seeing(
        weights_bytes=ASSUMED_WEIGHTS_BYTES, weights_source="assumed",
        compute_bytes=ASSUMED_COMPUTE_BYTES, growth_bytes=0, host_bytes=0,
    )  # fmt: skip
