"""`cluster.toml`: what it may say, and what is told of one that is wrong."""

import json
from pathlib import Path

import jsonschema
import pytest

from hakaru.clusters.cluster_file import file_schema, line_of, read_cluster
from hakaru.clusters.name_ranges import n_names, names_in
from hakaru.errors import Misuse
from hakaru.hardware.probe import probe_machine

DESK = '[[node]]\nname = "desk"\naddress = "10.0.0.1"\nhardware = "RTX 3090 + 64GiB RAM"\n'
ATTIC = '[[node]]\nname = "attic"\naddress = "10.0.0.2"\nhardware = "32GiB RAM"\n'
RACK = (
    '[[node]]\nname = "rack[01-16]"\naddress = "10.0.0.[101-116]"\nhardware = "2x L4"\ncount = 16\n'
)
MANY = '[[node]]\nname = "n[1-1000]"\naddress = "h[1-1000]"\nhardware = "2x L4"\ncount = 1000\n'
GIB = 2**30


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_first_node_is_the_head_and_workers_offer_their_devices(tmp_path: Path) -> None:
    """llama.cpp's order: the workers' devices, then the head's own; RAM where there is no other."""
    cluster = read_cluster(written(tmp_path, DESK + ATTIC))
    assert [node.name for node in cluster.nodes] == ["desk", "attic"]
    seen = cluster.seen_by_llama_cpp()
    assert [(d.name, d.is_host) for d in seen.accelerators] == [
        ("attic: RAM", True),
        ("desk: NVIDIA GeForce RTX 3090", False),
    ]
    assert seen.ram and (seen.ram.name, seen.ram.total_bytes) == ("desk: RAM", 64 * GIB)
    assert cluster.rpc_flags() == ["--rpc", "10.0.0.2:50052"]


def test_one_node_is_a_machine(tmp_path: Path) -> None:
    """Nothing is joined."""
    cluster = read_cluster(written(tmp_path, DESK))
    assert cluster.rpc_flags() == []
    assert [d.name for d in cluster.seen_by_llama_cpp().accelerators] == [
        "desk: NVIDIA GeForce RTX 3090"
    ]


def test_a_link_comes_before_the_network(tmp_path: Path) -> None:
    """In either direction; what nobody told is not known."""
    links = '[[link]]\nbetween = ["attic", "desk"]\ngbit_per_s = 10\nping_ms = 0.1\n'
    third = ATTIC.replace("attic", "cellar").replace("0.2", "0.3")
    network = "[network]\ngbit_per_s = 1\nping_ms = 0.5\n"
    cluster = read_cluster(written(tmp_path, DESK + ATTIC + third + network + links))
    desk, attic, cellar = cluster.nodes
    for one, other in ((desk, attic), (attic, desk)):
        assert (link := cluster.between(one, other)) and link.gbit_per_s == 10
    assert (link := cluster.between(desk, cellar)) and link.ping_ms == 0.5
    alone = read_cluster(written(tmp_path, DESK + ATTIC))
    assert alone.between(*alone.nodes) is None


def test_a_node_is_what_hakaru_hardware_printed_there(tmp_path: Path) -> None:
    """The file lies beside the cluster's."""
    machine = probe_machine()
    told = {"schema": "hakaru.hardware/1", **machine.as_json()}
    (tmp_path / "here.json").write_text(json.dumps(told), encoding="utf-8")
    node = '[[node]]\nname = "here"\naddress = "::1"\nhardware_file = "here.json"\n'
    (found,) = read_cluster(written(tmp_path, node)).nodes
    assert found.hardware.ram
    assert found.hardware.ram.usable_bytes == machine.memory.available_bytes
    assert len(found.hardware.accelerators) == (len(machine.accelerators) if machine.has_gpu else 0)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("[[node]\n", None, "no TOML"),
        ("", 1, "'node' is missing, expected one or more tables [[node]]"),
        ("nodes = 3\n" + DESK, 1, "'nodes' is not known here, expected one of node, network, link"),
        (DESK + 'colour = "red"\n', 5, "'colour' is not known here, expected one of name, address"),
        (DESK + ATTIC + 'hardware_file = "a.json"\n', 5, "one of 'hardware' and 'hardware_file'"),
        (DESK + ATTIC.replace("attic", "desk"), 6, "two nodes have the name 'desk'"),
        (DESK + ATTIC.replace("0.2", "0.1"), 7, "two nodes have the address '10.0.0.1'"),
        (DESK + ATTIC.replace("32GiB RAM", "RTX 9999"), 8, "RTX 9999"),
        (DESK + ATTIC.replace('"10.0.0.2"', "3"), 7, "'address' is 3, expected a host name"),
        (DESK + ATTIC.replace("attic", "at tic"), 6, "'name' is "),
        (DESK + ATTIC.replace("attic", "attic-"), 6, "'name' is "),
        (
            DESK + "[network]\ngbit_per_s = 0\nping_ms = 1\n",
            6,
            "'gbit_per_s' is 0, expected a number above 0",
        ),
        (DESK + "[network]\ngbit_per_s = 1\n", 5, "'ping_ms' is missing, expected a number"),
        (
            DESK + '[[link]]\nbetween = ["desk", "tower"]\ngbit_per_s = 1\nping_ms = 1\n',
            6,
            "no node is called 'tower'",
        ),
        (
            DESK + '[[link]]\nbetween = ["desk", "desk"]\ngbit_per_s = 1\nping_ms = 1\n',
            6,
            "expected two nodes",
        ),
        (DESK.replace("hardware = ", "hardware_file = "), 4, "cannot be read"),
        (
            DESK + RACK.replace("116", "115"),
            7,
            "'10.0.0.[101-115]' names 15 nodes, but 'count' is 16",
        ),
        (DESK + RACK.replace("count = 16\n", ""), 6, "names 16 nodes, but 'count' is 1;"),
        (DESK + RACK.replace("[01-16]", ""), 6, "'rack' names 1 nodes, but 'count' is 16"),
        (DESK + RACK.replace("01-16", "16-01"), 6, "names 0 nodes"),
        (DESK + RACK.replace("01-16", "a-b"), 6, "'name' is "),
        (DESK + RACK + 'ssh = "me@rack"\n', 10, "'me@rack' names 1 nodes, but 'count' is 16"),
        (DESK + RACK + ATTIC.replace("attic", "rack07"), 11, "two nodes have the name 'rack07'"),
        (DESK + MANY, 5, "expected at most 1000 nodes, got 1001"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, text: str, line: int | None, reason: str
) -> None:
    """One sentence each."""
    with pytest.raises(Misuse) as told:
        read_cluster(written(tmp_path, text))
    assert reason in str(told.value)
    assert line is None or f"cluster.toml, line {line}: " in str(told.value)


def test_every_key_tells_what_it_expects(tmp_path: Path) -> None:
    """A truth value, which belongs nowhere, is refused with its key in each place."""
    schema = file_schema()
    for table, definition in (("node", "_Node"), ("network", "Link"), ("link", "_LinkBetween")):
        header = f"[{table}]\n" if table == "network" else f"[[{table}]]\n"
        for key in schema["$defs"][definition]["properties"]:
            text = f"{DESK if table != 'node' else ''}{header}{key} = true\n"
            with pytest.raises(Misuse, match=f"'{key}' is true, expected "):
                read_cluster(written(tmp_path, text))
    for key in schema["$defs"]["_File"]["properties"]:
        with pytest.raises(Misuse, match=f"line 1: '{key}' is true, expected "):
            read_cluster(written(tmp_path, f"{key} = true\n{DESK if key != 'node' else ''}"))


def test_equal_machines_are_one_table(tmp_path: Path) -> None:
    """Each has a name and an address of its own; a link may name one of them."""
    link = '[[link]]\nbetween = ["desk", "rack16"]\ngbit_per_s = 10\nping_ms = 0.1\n'
    cluster = read_cluster(written(tmp_path, DESK + RACK + 'ssh = "me@rack[01-16]"\n' + link))
    assert len(cluster.nodes) == 17
    first, *_, last = cluster.workers
    assert (first.name, first.address, first.ssh) == ("rack01", "10.0.0.101", "me@rack01")
    assert (last.name, last.address, last.ssh) == ("rack16", "10.0.0.116", "me@rack16")
    assert first.hardware == last.hardware
    assert (found := cluster.between(cluster.head, last)) and found.gbit_per_s == 10


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("attic", ["attic"]),
        ("n[9-11].lan", ["n9.lan", "n10.lan", "n11.lan"]),
        ("n[09-10]", ["n09", "n10"]),
        ("10.0.[0-1].[1-2]", ["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.0.1.2"]),
        ("n[2-1]", []),
    ],
)
def test_a_range_is_all_its_names(text: str, names: list[str]) -> None:
    """As Slurm reads it: zeros are kept, and the last range runs fastest."""
    assert names_in(text) == names
    assert n_names(text) == len(names)


def test_a_file_of_another_kind_is_no_machine(tmp_path: Path) -> None:
    """`hakaru hardware --json` has a schema of its own."""
    (tmp_path / "a.json").write_text('{"schema": "hakaru.fit/1"}', encoding="utf-8")
    node = '[[node]]\nname = "here"\naddress = "::1"\nhardware_file = "a.json"\n'
    with pytest.raises(Misuse, match="line 4: expected what hakaru hardware --json prints"):
        read_cluster(written(tmp_path, node))


@pytest.mark.parametrize(
    ("where", "line"),
    [
        (("node", 0, "name"), 3),
        (("node", 1, "name"), 7),
        (("node", 1, "missing"), 6),
        (("node", 7), 1),
        (("network", "ping_ms"), 10),
        (("title",), 1),
        ((), 1),
    ],
)
def test_lines_are_found(where: tuple[str | int, ...], line: int) -> None:
    """Of keys, else of their tables, else the first."""
    text = (
        'title = "x"\n[[node]]\nname = "a"\n\n# name = "no"\n[[node]]\nname = "b"\n'
        "[network]\ngbit_per_s = 1\nping_ms = 2\n"
    )
    assert line_of(text, where) == line


def test_the_schema_describes_the_file() -> None:
    """A validator takes what the reader takes."""
    jsonschema.Draft202012Validator.check_schema(file_schema())
    node = {"name": "a", "address": "b", "hardware": "24GiB"}
    jsonschema.validate({"node": [node]}, file_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"node": [node | {"colour": "red"}]}, file_schema())
