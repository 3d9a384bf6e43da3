"""What crosses the wire, against what a proxy counted, and what that takes."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from hakaru.clusters.cluster import Cluster, Link
from hakaru.clusters.cluster_file import read_cluster
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.planning.fit import fit
from hakaru.planning.network_time import NetworkTime, network_time
from hakaru.planning.shares import Layout
from hakaru.planning.speed import USUAL

LINK = Link(gbit_per_s=1, ping_ms=0.5)


def cluster_of(folder: Path, *machines: str, link: Link | None = LINK) -> Cluster:
    """A cluster of such machines, all with one link."""
    path = folder / "cluster.toml"
    nodes = (
        f'[[node]]\nname = "n{i}"\naddress = "10.0.0.{i}"\nhardware = "{machine}"\n'
        for i, machine in enumerate(machines)
    )
    path.write_text("".join(nodes), encoding="utf-8")
    return replace(read_cluster(path), network=link)


@pytest.fixture
def smollm(embedded: Path, tmp_path: Path) -> NetworkTime:
    """SmolLM2-135M over two workers, 20 layers on the first: 256 cells."""
    cluster = cluster_of(tmp_path, "16GiB RAM", "8GiB RAM", "8GiB RAM")
    network = network_time(
        cluster,
        read_model(embedded).shape,
        ContextSettings(n_ctx=2048),
        Layout(counts=(20, 11)),
        depth=0,
        sample=replace(USUAL, n_prompt=300),
    )
    assert network
    return network


def test_a_token_crosses_as_it_was_counted(smollm: NetworkTime) -> None:
    """To the byte, up and down, of both workers; one round trip for each. The second one sends the
    logits of 49,152 tokens.
    """
    counted = [(1, 10_306, 2_312), (1, 5_066, 196_616)]
    found = [(one.round_trips, one.up_bytes, one.down_bytes) for one in smollm.token]
    assert found == counted


def test_a_prompt_crosses_as_it_was_counted(smollm: NetworkTime) -> None:
    """300 tokens in one micro-batch, within 2%: the graph's size is an average of its layers."""
    counted = [(5, 2_661_714, 691_272 + 4 * 8), (5, 1_150_402, 196_680)]
    for one, (trips, up, down) in zip(smollm.prompt, counted, strict=True):
        assert one.round_trips == trips
        assert one.up_bytes == pytest.approx(up, rel=0.02)
        assert one.down_bytes == pytest.approx(down, rel=0.01)


def test_time_is_round_trips_and_bytes(smollm: NetworkTime) -> None:
    """Two of 0.5 ms, and 214,300 bytes at a gigabit."""
    assert smollm.token_s == pytest.approx(2 * 0.5e-3 + 8 * 214_300 / 1e9)
    assert not smollm.is_too_slow
    assert smollm.sentence() == (
        "The network takes 2.71 ms of each token (round trips: 2; data: 214.3 kB), at 1 Gbit/s, "
        "0.5 ms (as the file says); so at most 368 tokens/s, whatever computes."
    )


def test_a_link_that_is_too_slow_is_said_with_its_arithmetic(tiny: Path, tmp_path: Path) -> None:
    """Slower than reading: 0.24 s of round trips."""
    cluster_of(tmp_path, "16GiB RAM", "8GiB RAM", "8GiB RAM")
    file = tmp_path / "cluster.toml"
    file.write_text(f"{file.read_text()}[network]\ngbit_per_s = 0.1\nping_ms = 120\n")
    plan = fit(tiny, cluster=file, source="computed", n_ctx=256)
    assert plan.joined and plan.joined.network and plan.joined.network.is_too_slow
    assert "round trips: 2;" in plan.joined.network.sentence()
    assert plan.joined.network.sentence().endswith("this link is too slow for a split.")


def test_nothing_is_said_of_a_link_that_nobody_knows(tiny: Path, tmp_path: Path) -> None:
    """No figure is made up."""
    cluster_of(tmp_path, "16GiB RAM", "8GiB RAM")
    plan = fit(tiny, cluster=tmp_path / "cluster.toml", source="computed", n_ctx=256)
    assert plan.joined and plan.joined.network is None and plan.speed is None


def test_the_speed_of_cards_has_the_network_in_it(tmp_path: Path) -> None:
    """A model that two cards hold together; the head's own card gives the logits."""
    cluster_of(tmp_path, "RTX 3090 + 64GiB RAM", "RTX 3090 + 64GiB RAM")
    file = tmp_path / "cluster.toml"
    link = "[network]\ngbit_per_s = 1\nping_ms = {}\n"
    file.write_text(file.read_text() + link.format(0.3))
    near = fit("qwen3-32b", preset="Q8_0", cluster=file, source="computed", n_ctx=4096)
    file.write_text(file.read_text().replace("ping_ms = 0.3", "ping_ms = 30"))
    far = fit("qwen3-32b", preset="Q8_0", cluster=file, source="computed", n_ctx=4096)
    assert near.speed and near.speed.decode and far.speed and far.speed.decode
    seconds = 1 / far.speed.decode.value - 1 / near.speed.decode.value
    assert seconds == pytest.approx(0.0297)
    assert "ms of network for each token" in near.speed.decode.basis.source
    assert near.joined and near.joined.network
    (only,) = near.joined.network.token
    assert only.down_bytes == 4 * near.model.shape.n_embd + 8
