"""No object that hakaru writes is one that a Kubernetes API server refuses by more than its schema:
whatever models and nodes are called, and however many there are.
"""

from collections.abc import Callable
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakaru.deploying.deploy import deploy
from hakaru.deploying.kubernetes_objects import kubernetes_objects
from hakaru.deploying.kubernetes_pods import PodSite, weights_objects
from hakaru.deploying.manifest import kubernetes_name
from hakaru.deploying.ray_serve import application, ray_service
from hakaru.deploying.replica_groups import Group
from hakaru.vllm.parallel import Parallel
from kubernetes_rules import Thing, faults

yaml: Any = import_module("yaml")
NAMES = [
    "qwen3-32b", "7B_x", "日本語", "a" * 300, "1" * 300, "a.b.c-", "-", "$(NAME)",
    "it's 100%: {x}\n- y",
]  # fmt: skip
SHAPES = [(1, 1, 0), (1, 1, 8), (64, 1, 1), (1, 2, 2), (16, 64, 8)]
"""Replicas, nodes of each, cards of each node."""


def site_of(name: str) -> PodSite:
    return PodSite(
        name=kubernetes_name(name), image="docker.io/a/b:c", vendor="nvidia", weights_bytes=1
    )


def written(name: str, shape: tuple[int, int, int], hosts: tuple[str, ...]) -> list[Thing]:
    """All objects of both targets."""
    n_replicas, n_nodes, n_devices = shape
    group = Group(
        n_replicas=n_replicas, n_nodes=n_nodes, n_devices=n_devices, vendor="nvidia", hosts=hosts,
        arguments=("--max-model-len", "8192"),
    )  # fmt: skip
    site = site_of(name)
    app = application(group, model=f"/models/{name}", name=name, has_cards=bool(n_devices))
    texts = (
        kubernetes_objects((group, group), site, model=name, name=name, about=""),
        ray_service(app, group, site, ""),
    )
    objects = [one for text in texts for one in yaml.load_all(text, yaml.CSafeLoader)]
    return [*objects, *weights_objects(site, name)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_object_is_refused(name: str, shape: tuple[int, int, int]) -> None:
    """And each is taken by Kubernetes' strict schemas, where it has one."""
    schemas: Any = pytest.importorskip("kubernetes_validate", reason="pip install it")
    for thing in written(name, shape, ("desk", "rack01.example.org", "A" * 63)):
        assert faults(thing) == []
        if thing["kind"] not in {"LeaderWorkerSet", "RayService"}:
            schemas.validate(thing, schemas.latest_version(), strict=True)


@given(st.text(max_size=80) | st.text("aB1_. ", min_size=60, max_size=80))
def test_any_text_becomes_a_name(text: str) -> None:
    """At most 40 characters of it, so that what is added behind still fits."""
    assert len(kubernetes_name(text)) <= 40
    for thing in weights_objects(site_of(text), text):
        assert faults(thing) == []


def test_every_node_of_a_cluster_can_be_chosen(tmp_path: Path) -> None:
    """A node's name is a value of a label: of a range of them, too."""
    file = tmp_path / "cluster.toml"
    file.write_text(
        '[[node]]\nname = "Rack_[08-11].lan"\ncount = 4\naddress = "10.0.0.[8-11]"\n'
        'hardware = "1x L4"\n[network]\ngbit_per_s = 10\nping_ms = 0.2\n'
    )
    bundle = deploy(
        "qwen3-8b", cluster=file, target="kubernetes", n_ctx=8192, users=20, parallel=Parallel()
    )
    objects = [one for file in bundle.files for one in yaml.safe_load_all(file.text)]
    assert [fault for one in objects for fault in faults(one)] == []
    assert "Rack_08.lan" in str(objects)


def broken(kind: str, change: Callable[[Thing], None]) -> list[str]:
    thing = next(one for one in written("x", (1, 2, 2), ("desk",)) if one["kind"] == kind)
    change(changed := deepcopy(thing))
    return faults(changed)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Service", lambda thing: thing["metadata"].update(name="7b")),
        ("RayService", lambda thing: thing["metadata"].update(name="a" * 48)),
        ("RayService", lambda thing: thing["spec"].update(replicas=2)),
        ("LeaderWorkerSet", lambda thing: thing["spec"].update(replicas="2")),
        ("LeaderWorkerSet", lambda thing: thing["spec"]["leaderWorkerTemplate"].update(size=0)),
        ("LeaderWorkerSet", lambda thing: thing["spec"].update(startUpPolicy="LeaderReady")),
        ("Service", lambda thing: thing["metadata"]["labels"].update({"a b": "c"})),
        ("Service", lambda thing: thing["metadata"]["labels"].update(a="c-")),
        (
            "PersistentVolumeClaim",
            lambda thing: thing["spec"]["resources"]["requests"].update(storage="0Gi"),
        ),
        ("Service", lambda thing: thing["spec"]["ports"][0].update(name="a-very-long-port")),
    ],
)
def test_what_would_be_refused_is_found(kind: str, change: Callable[[Thing], None]) -> None:
    """Otherwise the tests above would hold for anything."""
    assert len(broken(kind, change)) == 1
