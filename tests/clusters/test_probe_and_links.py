"""`hakaru cluster probe | check`: the file of a cluster, over ssh."""

import json
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.clusters.cluster import Link
from hakaru.clusters.cluster_file import read_cluster
from hakaru.clusters.links import CheckedLink, check_head, measured_link, write_links
from hakaru.clusters.nodes import probed, probed_node
from hakaru.errors import Misuse, NodeUnreachable, NodeUnready
from hakaru.hardware.probe import probe_machine
from ssh_stand_in import program, ssh_that_stays_here, sshd


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and an ssh that leads back to this machine."""
    ssh_that_stays_here(tmp_path / "bin", monkeypatch)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def test_what_machines_say_becomes_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    """This machine is the head, at the address from which it came; `fit` reads the file."""
    assert run(["cluster", "probe", "me@attic", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "me@attic" not in said and "attic" in said and "10.0.0.2" in said
    head, attic = read_cluster(Path("cluster.toml")).nodes
    assert (head.address, head.ssh) == ("10.0.0.1", None)
    assert (attic.name, attic.address, attic.ssh) == ("attic", "10.0.0.2", "me@attic")
    assert attic.hardware.ram and attic.hardware.ram.total_bytes > 2**30
    assert read_cluster(Path("cluster.toml")).between(head, attic) is None
    assert json.loads(Path("attic.json").read_text())["schema"] == "hakaru.hardware/1"


def test_nobody_is_asked_and_nothing_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal only `--yes` is a yes."""
    assert run(["cluster", "probe", "attic"]) == 2
    assert "to run it: hakaru cluster probe attic --yes" in capsys.readouterr().err
    assert not Path("cluster.toml").exists()


def test_a_file_that_is_there_stays(capsys: pytest.CaptureFixture[str]) -> None:
    """Unless a person says otherwise."""
    Path("cluster.toml").write_text("mine")
    assert run(["cluster", "probe", "attic", "--yes"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert Path("cluster.toml").read_text() == "mine"
    assert run(["cluster", "probe", "attic", "--yes", "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "hakaru.probe/1"


def test_a_machine_that_cannot_be_used_is_told_in_a_sentence(tmp_path: Path) -> None:
    """It is off, has no hakaru, has another one, or says something else."""
    with pytest.raises(NodeUnreachable, match=r"down: .*\(connect to host down port 22: No route"):
        probed_node("down", hakaru="hakaru")
    with pytest.raises(NodeUnready, match="empty: there is no hakaru there"):
        probed_node("me@empty", hakaru="hakaru")
    older = program(tmp_path / "bin", "older", "#!/bin/sh\necho hakaru 0.0.1\n")
    with pytest.raises(NodeUnready, match=r"attic: hakaru 0\.0\.1 is there, and .* here"):
        probed_node("attic", hakaru=str(older))
    with pytest.raises(Misuse, match="leave one out"):
        run_probe("attic", "me@attic")
    with pytest.raises(Misuse, match="'-oProxyCommand=x' is no machine"):
        run_probe("-oProxyCommand=x")


def run_probe(*hosts: str) -> None:
    probed(hosts, hakaru="hakaru", here=probe_machine())


CLUSTER = """# mine
[[node]]
name = "desk"
address = "127.0.0.1"
hardware = "16GiB RAM"

[[node]]
name = "attic"  # under the roof
address = "192.0.2.7"
hardware = "8GiB RAM"

[[node]]
name = "cellar"
address = "192.0.2.8"
ssh = "down"
hardware = "8GiB RAM"

[[link]]
between = ["cellar", "desk"]
gbit_per_s = 1
ping_ms = 0.3
"""


def test_links_are_measured_and_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured says so; all else stays, also the link that was not measured."""
    monkeypatch.setattr("hakaru.clusters.links.STREAM_S", 0.1)
    path = Path("cluster.toml")
    path.write_text(CLUSTER)
    assert run(["cluster", "check", "cluster.toml", "--write", "--json"]) == 5
    attic, cellar = json.loads(capsys.readouterr().out)["links"]
    assert attic["gbit_per_s"] > 0.1 and 0 < attic["ping_ms"] < 100
    assert "No route to host" in cellar["trouble"] and cellar["ping_ms"] is None
    assert path.read_text().startswith(CLUSTER)
    cluster = read_cluster(path)
    desk, *workers = cluster.nodes
    measured, told = (cluster.between(desk, worker) for worker in workers)
    assert measured and measured.gbit_per_s == attic["gbit_per_s"]
    assert measured.source and measured.source.startswith("measured through ssh, 20")
    assert told and told.source is None


def test_a_link_that_is_measured_again_is_written_once(tmp_path: Path) -> None:
    """In either order of its nodes."""
    path = tmp_path / "cluster.toml"
    path.write_text(CLUSTER)
    cluster = read_cluster(path)
    link = Link(gbit_per_s=2, ping_ms=5, source="measured")
    write_links(path, cluster, [CheckedLink(node=cluster.nodes[2], link=link)])
    again = read_cluster(path)
    measured = again.between(again.nodes[0], again.nodes[2])
    assert len(again.links) == 1 and measured
    assert (measured.gbit_per_s, measured.ping_ms, measured.source) == (2, 5, "measured")


def test_the_head_measures(tmp_path: Path) -> None:
    """From another machine the figures would be another link's."""
    path = tmp_path / "cluster.toml"
    path.write_text(CLUSTER.replace("127.0.0.1", "192.0.2.1"))
    with pytest.raises(Misuse, match=r"the head is desk, at 192\.0\.2\.1, which is not this"):
        check_head(read_cluster(path), path)


def test_the_real_ssh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own answers: a machine of ours, a link, and a door that stays closed."""
    monkeypatch.setattr("hakaru.clusters.links.STREAM_S", 0.1)
    with sshd(tmp_path, monkeypatch) as host:
        node = probed_node(host, hakaru="hakaru")
        assert (node.name, node.address, node.ssh) == ("far", "127.0.0.1", host)
        assert measured_link(host).gbit_per_s > 0.01
    with pytest.raises(NodeUnreachable, match="Connection refused"):
        probed_node(host, hakaru="hakaru")
