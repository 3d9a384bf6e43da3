"""The command line of `serve` in a container: what it may do there, and what checkers say of it."""

import configparser
import json
import os
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from hakaru.cli import run
from hakaru.cli.ways_to_serve import container as written
from hakaru.testing import write_tiny_llama

pytestmark = pytest.mark.usefixtures("no_engine")
yaml: Any = import_module("yaml")  # it has no types
NAME = "my 100% $model.gguf"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose name is as hard as names are, in the folder where the command is typed."""
    monkeypatch.chdir(tmp_path)
    return write_tiny_llama(tmp_path / NAME)


def printed(capsys: pytest.CaptureFixture[str], kind: str, *options: str) -> str:
    """What `--generate` prints for the model."""
    assert run(["serve", NAME, "-c", "512", *options, "--generate", kind]) == 0
    return capsys.readouterr().out


def test_compose_locks_the_server_in(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Read-only, without capabilities, as nobody's root, with the plan's memory, on a network
    without a way out; the door alone is published, at this machine; nothing is interpolated. What
    hakaru keeps outlives the container, and each of both tells whether it is well.
    """
    Path("t.jinja").write_text("{{ messages }}")
    text = printed(capsys, "compose", "--chat-template", "t.jinja", "--drain", "30s")
    file: dict[str, Any] = yaml.safe_load(text)
    server, door = file["services"]["hakaru"], file["services"]["door"]
    for service in (server, door):
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service["user"].startswith("0")
        assert service["healthcheck"]["test"][:3] == ["CMD", "python", "-c"]
    assert file["networks"]["inside"] == {"internal": True}
    assert server["networks"] == ["inside"] and "ports" not in server
    assert door["ports"] == ["127.0.0.1:8600:8600"]
    assert door["command"] == ["TCP-LISTEN:8600,fork,reuseaddr", "TCP:hakaru:8600"]
    inside = [word.replace("$$", "$") for word in server["command"]]
    assert inside[:2] == ["serve", str(model)] and str(Path("t.jinja").absolute()) in inside
    assert inside[-8:] == [
        "--host", "0.0.0.0", "--insecure", "--port", "8600", "--api-key-file",
        "/run/secrets/hakaru-keys", "--no-private",
    ]  # fmt: skip
    mounts = {m["target"].replace("$$", "$"): m for m in server["volumes"]}
    kept = mounts.pop("/home/hakaru")
    assert kept["type"] == "volume" and kept["source"] in file["volumes"]
    assert set(mounts) == {str(model), str(Path("t.jinja").absolute())}
    assert all(mount["read_only"] for mount in mounts.values())
    assert 2**29 < server["mem_limit"] < 2**30 and server["stop_grace_period"] == "50s"
    values = [line for line in text.splitlines() if not line.startswith("#")]
    assert "$" not in "".join(values).replace("$$", "")
    assert server["build"]["dockerfile_inline"].startswith("FROM ")


def test_what_the_container_runs_is_a_command_line(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of this very hakaru: with the keys at their place it would be served."""
    command = yaml.safe_load(printed(capsys, "compose"))["services"]["hakaru"]["command"]
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-a-person-73\n")
    words = [w.replace("$$", "$").replace("/run/secrets/hakaru-keys", str(keys)) for w in command]
    assert run([*words, "--dry-run"]) == 0


def test_quadlet_is_a_unit_that_podman_reads(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An INI file with the locks, quoted as systemd reads; by Podman's own generator where it is
    installed.
    """
    text = printed(capsys, "quadlet", "--port", "9000")
    unit = configparser.RawConfigParser(strict=False)
    unit.read_string(text)
    container = unit["Container"]
    assert container["Exec"].startswith(f'serve "{tmp_path}/my 100%% $$model.gguf" --context 512')
    assert container["PublishPort"] == "127.0.0.1:9000:8600"
    assert [container[lock] for lock in ("ReadOnly", "NoNewPrivileges")] == ["true", "true"]
    assert container["DropCapability"] == "all" and container["Volume"].endswith(":/home/hakaru")
    mounted = '"type=bind,source={0},destination={0},readonly=true"'
    assert container["Mount"] == mounted.format(f"{tmp_path}/my 100%% $$model.gguf")
    assert all(f"PodmanArgs=--{word}=" in text for word in ("memory", "security-opt"))
    check = json.loads(container["HealthCmd"])
    assert check[:2] == ["python", "-c"] and "/health" in check[2] and "'" in check[2]
    assert "--no-private" not in container["Exec"]
    generator = shutil.which("quadlet", path="/usr/libexec/podman:/usr/lib/podman")
    if generator is None:
        pytest.skip("Podman's generator is not installed: Podman 4.4 or later")
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "hakaru.container").write_text(text)
    done = subprocess.run(
        [generator, "-dryrun", "-user"], capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"QUADLET_UNIT_DIRS": str(tmp_path / "units")},
    )  # fmt: skip
    assert done.returncode == 0 and "podman run" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("a b", "source={}/a b.gguf"),
        ("a,b", '\\"source={}/a,b.gguf\\"'),
        ("100%", "source={}/100%%.gguf"),
    ],
)
def test_a_mount_is_one_word_of_csv(tmp_path: Path, name: str, field: str) -> None:
    """Podman's generator takes it apart at blanks, and Podman at commas."""
    line = written._mount(tmp_path / f"{name}.gguf")
    assert f",{field.format(tmp_path)}," in line and line.startswith("Mount=")
    assert line[6] == line[-1] == '"'


def test_podman_waits_as_long_as_answers_may_go_on(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By itself it kills after ten seconds, whatever the unit says; and systemd waits longer."""
    text = printed(capsys, "quadlet", "--drain", "60s")
    assert "PodmanArgs=--stop-timeout=80\n" in text and "TimeoutStopSec=90\n" in text
    assert "SuccessExitStatus=130\n" in text


def test_a_container_of_root_s_has_another_user(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Podman keeps the person's own number only where no root started it."""
    for user, inside, is_kept in ((0, 10001, False), (1000, 1000, True)):
        monkeypatch.setattr("os.getuid", lambda user=user: user)
        monkeypatch.setattr("os.getgid", lambda user=user: user)
        text = printed(capsys, "quadlet")
        assert f"\nUser={inside}\nGroup={inside}\n" in text
        assert ("\nUserNS=keep-id\n" in text) is is_kept


def test_isolation_inside_is_podman_s_alone(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Docker forbids what bubblewrap does, so that `--private` would never start there."""
    assert "--private" in printed(capsys, "quadlet", "--private")
    assert run(["serve", NAME, "--private", "--generate", "compose"]) == 2
    assert "Docker" in capsys.readouterr().err


def test_compose_s_own_reader_takes_it(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where Docker's plugin is installed."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], check=False).returncode:
        pytest.skip("docker compose is not installed")
    (tmp_path / "compose.yaml").write_text(printed(capsys, "compose"))
    check = [docker, "compose", "-f", str(tmp_path / "compose.yaml"), "config", "-q"]
    done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_image_is_built_from_what_is_installed(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the folder of this checkout here; from the address it came from; else from the index."""
    here = printed(capsys, "containerfile")
    assert "COPY src /src/src" in here and here.rstrip().endswith('ENTRYPOINT ["hakaru"]')
    for origin, line in (
        ("git+https://x.example/h@abc", "hakaru @ git+https://x.example/h@abc"),
        ("", "hakaru=="),
    ):
        monkeypatch.setattr(written, "_origin", lambda origin=origin: origin)
        assert line in printed(capsys, "containerfile")


def test_what_would_not_start_makes_no_container(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that would stand in the file for all to read, and a model that is not there."""
    key = ["--api-key", "secret-1234567890"]
    assert run(["serve", NAME, *key, "--generate", "compose"]) == 2
    assert run(["serve", "none.gguf", "--generate", "quadlet"]) == 4
    said = capsys.readouterr()
    assert said.out == "" and "secret" not in said.err


def test_who_builds_an_image_plans_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The file that builds it is the same for every model."""
    assert run(["serve", "none.gguf", "--generate", "containerfile"]) == 0
    assert capsys.readouterr().out.startswith("FROM ")


def test_root_s_keys_are_given_to_the_container(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of root's that nobody else may read is none that the container's user reads."""
    for user, is_told in ((0, True), (1000, False)):
        monkeypatch.setattr("os.getuid", lambda user=user: user)
        monkeypatch.setattr("os.getgid", lambda user=user: user)
        assert run(["serve", NAME, "-c", "512", "--generate", "compose"]) == 0
        assert ("chown 10001:10001 " in capsys.readouterr().err) is is_told
