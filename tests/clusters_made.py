"""A cluster file for tests: a head and two workers, at home."""

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


def write_cluster(path: Path) -> Path:
    """Write the file at `path`, which is returned."""
    path.write_text(NODES, encoding="utf-8")
    return path
