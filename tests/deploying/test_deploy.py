"""What `hakaru deploy` writes: read back by those who will run it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from clusters_made import write_cluster
from hakaru.cli import run
from hakaru.deploying.bundle import Bundle, File
from hakaru.deploying.deploy import deploy
from hakaru.errors import DoesNotFit, Misuse
from hakaru.testing import write_tiny_llama

NAME = 'it\'s 100% $(touch pwned) "my"\nmodel.gguf'
"""As hard as a file's name can be."""


@pytest.fixture
def hard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model with that name beside a cluster's file, in the folder where the command is typed."""
    monkeypatch.chdir(tmp_path)
    write_cluster(tmp_path / "cluster.toml")
    return write_tiny_llama(tmp_path / NAME)


def bundle_of(model: Path, target: str, **options: object) -> Bundle:
    """What would be written for `model`, which is divided although a node holds it alone."""
    asked: Any = {"target": target, "n_ctx": 256, "topology": "layer_split"} | options
    return deploy(model, cluster=model.with_name("cluster.toml"), **asked)


def words_of(script: Path, folder: Path) -> list[list[str]]:
    """The command lines that a shell makes of the script: its programs are stand-ins here, which
    tell their words.
    """
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    log = folder / "log"
    log.unlink(missing_ok=True)
    for name in ("ssh", "llama-server", "ggml-rpc-server"):
        stand_in = programs / name
        stand_in.write_text(
            f'#!/bin/sh\n{{ printf "%s\\0" {name} "$@"; printf "\\n\\0"; }} >> "$LOG"\n'
        )
        stand_in.chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "LOG": str(log)}
    subprocess.run([script], check=True, env=environment, cwd=folder)
    lines: list[list[str]] = [[]]
    for word in log.read_text().split("\0"):
        if word == "\n":
            lines.append([])
        elif word:
            lines[-1].append(word)
    return lines[:-1]


def test_a_shell_reads_the_words_of_the_plan(hard: Path, tmp_path: Path) -> None:
    """Word by word what the processes are, whatever the model is called; a tunnel goes behind."""
    bundle = bundle_of(hard, "rpc")
    bundle.write(tmp_path / "out")
    assert [file.name for file in bundle.files] == ["attic.sh", "cellar.sh", "desk.sh"]
    for file in bundle.files:
        node = file.name.removesuffix(".sh")
        started = words_of(tmp_path / "out" / file.name, tmp_path)
        expected = [p for p in bundle.processes if p.node.name == node]
        assert len(started) == len(expected)
        for words, process in zip(started, expected, strict=True):
            if process.role == "tunnel":
                assert words[1:4] == ["-f", "-M", "-S"] and words[4].endswith(("/1", "/2"))
                words[1:5] = []
            assert tuple(words) == process.command
    assert not (tmp_path / "pwned").exists()
    assert not list(tmp_path.glob("**/pwned"))


def test_systemd_finds_nothing_wrong_with_the_units(hard: Path, tmp_path: Path) -> None:
    """By its own checker, with programs that exist."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not installed")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("llama-server", "ggml-rpc-server"):
        (programs / name).symlink_to("/bin/true")
    bundle = bundle_of(hard, "systemd", programs=str(programs))
    bundle.write(tmp_path / "out")
    for node in ("attic", "cellar", "desk"):
        units = sorted((tmp_path / "out" / node).glob("*.service"))
        done = subprocess.run(
            [analyze, "verify", "--user", "--man=no", *units],
            capture_output=True,
            text=True,
            env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        )
        assert (done.returncode, done.stderr) == (0, ""), node


def test_a_server_waits_for_its_tunnels(hard: Path) -> None:
    """And comes back after them: a tunnel that ends is opened again."""
    files = {file.name: file.text for file in bundle_of(hard, "systemd").files}
    assert list(files) == [
        "attic/hakaru-worker.service",
        "cellar/hakaru-worker.service",
        "desk/hakaru-tunnel-attic.service",
        "desk/hakaru-tunnel-cellar.service",
        "desk/hakaru-server.service",
    ]
    tunnels = "hakaru-tunnel-attic.service hakaru-tunnel-cellar.service"
    assert f"\nAfter={tunnels}\n" in files["desk/hakaru-server.service"]
    assert "\nType=forking\n" in files["desk/hakaru-tunnel-attic.service"]
    assert all("\nRestart=always\n" in text for text in files.values())
    assert "100%% $$(touch pwned)" in files["desk/hakaru-server.service"]


def test_each_user_has_the_context(hard: Path) -> None:
    """So the server's is that times the users."""
    bundle = bundle_of(hard, "rpc", users=3)
    command = bundle.processes[-1].command
    assert command[command.index("-c") + 1] == "768"
    assert command[command.index("-np") + 1] == "3"


def test_a_model_that_one_node_holds_runs_there(tiny: Path) -> None:
    """No worker, and a tunnel of the head's to the server: as the plan has it."""
    write_cluster(tiny.with_name("cluster.toml"))
    bundle = bundle_of(tiny, "rpc", topology=None)
    assert bundle.topology == "single" and "cellar holds it alone" in bundle.reason
    assert [(p.node.name, p.name) for p in bundle.processes] == [
        ("cellar", "server"),
        ("desk", "tunnel-cellar"),
    ]
    server, tunnel = bundle.processes
    assert "--rpc" not in server.command and "-ngl" in server.command
    assert tunnel.command[-3] == "127.0.0.1:8601:127.0.0.1:8601"
    assert bundle.steps[-1].endswith("hakaru serve --backend http://127.0.0.1:8601")
    asked = bundle_of(tiny, "rpc").reason
    assert "cellar holds it alone" in asked and asked.endswith("You asked for layer_split.")


@pytest.mark.parametrize("target", ["rpc", "systemd"])
def test_replicas_are_a_server_on_each_node(target: str, tmp_path: Path) -> None:
    """Each as its own hardware has it, with one gateway in front."""
    cluster = tmp_path / "cluster.toml"
    table = 'name = "n[0-1]"\naddress = "10.0.0.[1-2]"\ncount = 2\nhardware = "RTX 3090"\n'
    other = '[[node]]\nname = "n2"\naddress = "10.0.0.3"\nhardware = "2x L4"\n'
    cluster.write_text(f"[[node]]\n{table}{other}")
    asked: Any = {"cluster": cluster, "target": target, "weights": "/m.gguf", "type_name": "Q4_K_M"}
    bundle = deploy("qwen3-8b", **asked)
    assert bundle.topology == "replicas"
    servers = [p for p in bundle.processes if p.role == "server"]
    assert [p.node.name for p in servers] == ["n0", "n1", "n2"]
    assert not any("--rpc" in p.command for p in servers)
    urls = "--backend http://127.0.0.1:8601 --backend http://127.0.0.1:8602"
    assert bundle.steps[-1].endswith(f"hakaru serve {urls} --backend http://127.0.0.1:8603")
    files = {file.name: file.text for file in bundle.files}
    if target == "rpc":
        assert list(files) == ["n0.sh", "n1.sh", "n2.sh"]
        assert files["n0.sh"].count("ssh -f") == 2 and "\nexec llama-server" in files["n1.sh"]
    else:
        assert "After=" not in files["n0/hakaru-server.service"]


@pytest.mark.parametrize("topology", ["single", "replicas"])
def test_what_no_node_holds_does_not_run_on_one(topology: str, tmp_path: Path) -> None:
    """It is said, and not divided unasked."""
    cluster = tmp_path / "cluster.toml"
    table = 'name = "n[0-1]"\naddress = "10.0.0.[1-2]"\ncount = 2\nhardware = "RTX 3090"\n'
    cluster.write_text(f"[[node]]\n{table}")
    asked: Any = {"cluster": cluster, "target": "rpc", "topology": topology, "type_name": "Q8_0"}
    with pytest.raises(DoesNotFit, match=f"cannot run as {topology} .* 0 of its nodes hold it"):
        deploy("qwen3-32b", **asked)


def test_nothing_is_overwritten_unasked(tmp_path: Path, tiny: Path) -> None:
    """Not even one of several files, and what else is there stays."""
    write_cluster(tiny.with_name("cluster.toml"))
    bundle = bundle_of(tiny, "rpc")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "cellar.sh").write_text("mine")
    (folder / "notes").write_text("mine, too")
    with pytest.raises(Misuse, match=r"holds cellar\.sh already"):
        bundle.write(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["cellar.sh", "notes"]
    bundle.write(folder, overwrite=True)
    assert "ggml-rpc-server" in (folder / "cellar.sh").read_text()
    assert (folder / "notes").read_text() == "mine, too"
    assert len(list(folder.iterdir())) == 4


def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path, tiny: Path) -> None:
    """A file that cannot be written keeps the others away."""
    write_cluster(tiny.with_name("cluster.toml"))
    bundle = bundle_of(tiny, "rpc")
    broken = replace(bundle, files=(*bundle.files, File(name="x" * 300, text="")))
    with pytest.raises(Exception, match="cannot be written"):
        broken.write(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_paths_on_other_machines_are_whole(tiny: Path) -> None:
    """Where a relative one would begin, nobody knows."""
    write_cluster(tiny.with_name("cluster.toml"))
    with pytest.raises(Misuse, match=r"`weights` m\.gguf: expected a whole path"):
        bundle_of(tiny, "rpc", weights="m.gguf")


@pytest.mark.parametrize(
    ("target", "words", "told"),
    [
        ("rpc", ["--image", "x"], "--image"),
        ("vllm", ["--image", "x"], "--image"),
        ("systemd", ["--tensor-parallel", "2"], "--tensor-parallel, --pipeline-parallel"),
        ("compose", ["--programs", "/opt"], "--programs"),
        ("vllm", ["--topology", "single"], "--topology"),
    ],
)
def test_what_a_target_has_no_use_for_is_refused(
    target: str, words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not left unsaid."""
    cluster = str(write_cluster(tmp_path / "cluster.toml"))
    assert run(["deploy", "qwen3-8b", "--cluster", cluster, "--target", target, *words]) == 2
    assert f"{told}: not for the target {target}; leave it out." in capsys.readouterr().err


def test_weights_that_are_elsewhere_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name of the catalogue has a header here, which no server can load."""
    cluster = str(write_cluster(tmp_path / "cluster.toml"))
    command = ["deploy", "qwen3-8b", "--cluster", cluster, "--target", "rpc", "--dry-run"]
    assert run(command) == 4
    assert "say with --weights where they lie on the head" in capsys.readouterr().err
    assert run([*command, "--weights", "/models/qwen.gguf"]) == 0
    assert "--model /models/qwen.gguf" in capsys.readouterr().out


def test_what_does_not_fit_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit code is that of `fit`."""
    monkeypatch.chdir(tmp_path)
    write_cluster(tmp_path / "cluster.toml")
    command = ["deploy", "llama-3.1-70b-instruct", "--type", "Q8_0", "--target", "rpc"]
    assert run([*command, "--cluster", "cluster.toml", "--weights", "/m.gguf"]) == 3
    assert "does not fit" in capsys.readouterr().err
    assert list(tmp_path.glob("*-rpc")) == []


def test_json_has_the_files_and_the_processes(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of what was written, and of what was not."""
    cluster = str(write_cluster(tmp_path / "cluster.toml"))
    command = ["deploy", str(tiny), "--cluster", cluster, "--target", "rpc", "-c", "256", "--json"]
    command += ["--topology", "layer_split"]
    assert run([*command, "--dry-run"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["target"], told["folder"]) == ("hakaru.deploy/1", "rpc", None)
    assert told["processes"][0]["command"][0] == "ggml-rpc-server"
    out = tmp_path / "out"
    assert run([*command, "-o", str(out)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(out)
    for file in told["files"]:
        assert (out / file["name"]).read_text() == file["text"]
        assert bool((out / file["name"]).stat().st_mode & 0o100) == file["is_program"]
