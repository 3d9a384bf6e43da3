"""What to buy: the least that runs the model."""

import pytest

from hakaru.errors import ModelNotFound
from hakaru.selection.buying import Shopping, shopping
from hakaru.selection.conditions import conditions_of


@pytest.fixture(scope="module")
def bought() -> Shopping:
    """For a model of 27 billion at 12 tokens/s."""
    return shopping("gemma-3-27b-it", min_speed=12)


def test_the_least_memory_comes_first(bought: Shopping) -> None:
    """And everything that is told fits and is fast enough."""
    sizes = [purchase.memory_bytes for purchase in bought.purchases]
    assert len(sizes) > 10 and sizes == sorted(sizes)
    for purchase in bought.purchases:
        contender = purchase.contender
        assert contender.placement.verdict == "fits" and contender.is_whole
        assert contender.speeds.decode and contender.speeds.decode.value >= 12
        assert not contender.is_below_four_bits and purchase.spare_bytes > 0


def test_two_cards_where_one_is_too_small(bought: Shopping) -> None:
    """A model of 27 billion takes two cards of 12 GB, and one of 24 GB."""
    counts = {purchase.name: purchase.count for purchase in bought.purchases}
    assert counts["NVIDIA GeForce RTX 3060 12 GB"] == 2
    assert counts["NVIDIA GeForce RTX 4090"] == 1
    assert "NVIDIA GeForce GTX 1060 3 GB" not in counts


def test_no_laptop_is_bought_for_its_card(bought: Shopping) -> None:
    """Nor a card that somebody rebuilt."""
    assert not [p for p in bought.purchases if "Laptop" in p.name or "rebuilt" in p.name]


def test_a_mac_is_bought_with_one_of_its_memories(bought: Shopping) -> None:
    """The least of those that it is sold with."""
    macs = [p.name for p in bought.purchases if p.name.startswith("Apple M4 Max")]
    assert macs[:1] == ["Apple M4 Max 36GB"]


def test_a_class_of_sizes_means_its_best_model() -> None:
    """The best score for the task among the models of the class."""
    assert shopping("large").model.id == "gemma-4-31b-it"
    assert shopping("small", "embedding").model.id.startswith("mxbai")
    with pytest.raises(ModelNotFound, match="no model of the class small"):
        shopping("small", "vision", license="open", n_ctx=10**6)


def test_a_task_means_its_best_model() -> None:
    """In the place of a name, or where none is named."""
    assert shopping("embedding").conditions.task == "embedding"
    assert shopping("embedding").model.id == "qwen3-embedding-8b"
    assert shopping(None, "code").model.id == "gemma-4-31b-it"


def test_several_users_need_more() -> None:
    """Sixteen conversations do not fit where one does."""
    one, many = shopping("qwen3-8b", min_speed=20), shopping("qwen3-8b", min_speed=20, users=16)
    assert len(many.purchases) and many.purchases[0].memory_bytes > one.purchases[0].memory_bytes


def test_the_json_names_everything(bought: Shopping) -> None:
    """Top rows, and how many are left out."""
    data = bought.as_json(3)
    assert data["schema"] == "hakaru.purchase/1" and data["model"] == "gemma-3-27b-it"
    accelerators = data["accelerators"]
    assert isinstance(accelerators, list) and len(accelerators) == 3
    assert {"name", "count", "watts", "spare_bytes"} <= accelerators[0].keys()
    assert conditions_of("chat", min_speed=12).as_json() == data["constraints"]
