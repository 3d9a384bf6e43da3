"""Cluster files for tests."""

from pathlib import Path

NODES = """
[[node]]
name = "desk"
address = "192.168.1.20"
hardware = "16GiB RAM"

[[node]]
name = "attic"
address = "192.168.1.21"
hardware = "8GiB RAM"

[[node]]
name = "cellar"
address = "cellar.lan"
hardware = "RTX 3060 12GB"
"""
"""A head and two workers, at home."""
PAIR = """
[[node]]
name = "one"
address = "127.0.0.1"
hardware = "3GiB RAM"

[[node]]
name = "two"
address = "{address}"
hardware = "3GiB RAM"
"""
"""A head, which is this machine, and another one like it."""


def write_cluster(path: Path) -> Path:
    """Write the file at `path`, which is returned."""
    path.write_text(NODES, encoding="utf-8")
    return path


def write_nodes(path: Path, *nodes: tuple[str, str, str]) -> Path:
    """Write a file of nodes, each with a name, an address and hardware, at `path`."""
    tables = (
        f'[[node]]\nname = "{name}"\naddress = "{address}"\nhardware = "{hardware}"\n'
        for name, address, hardware in nodes
    )
    path.write_text("\n".join(tables), encoding="utf-8")
    return path
