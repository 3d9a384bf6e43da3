"""The script that docs/clusters.md shows is the one that is written."""

import re
from pathlib import Path

import pytest

from hakaru.deploying.deploy import deploy

DOCS = Path(__file__).parent.parent.parent / "docs"
NODE = """
[[node]]
name = "{name}"
address = "{address}"
hardware = "RTX 3090"
"""


@pytest.mark.parametrize("page", ["clusters.md", "clusters.ja.md"])
def test_the_page_shows_what_is_written(page: str, tmp_path: Path) -> None:
    """Line by line, in both languages."""
    cluster = tmp_path / "two.toml"
    cluster.write_text(
        NODE.format(name="desk", address="192.168.1.20")
        + NODE.format(name="attic", address="192.168.1.21")
    )
    bundle = deploy(
        "qwen3-32b", cluster=cluster, target="rpc", type_name="Q8_0", n_ctx=8192,
        weights="/models/qwen3.gguf",
    )  # fmt: skip
    (shown,) = re.findall(
        r"<!-- deployed: desk\.sh.*?```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL
    )
    assert shown == next(file.text for file in bundle.files if file.name == "desk.sh")
