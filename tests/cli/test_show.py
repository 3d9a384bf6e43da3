"""`hakaru show`, and references in every command."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.models.model import read_model
from hakaru.testing import tiny_shape, write_tiny_llama
from loopback import Loopback

SAID = """\
tiny-f16
origin           {path}
file             tiny-f16.gguf, 2.8 MiB
architecture     llama
parameters       1.44M (1,443,072)
class            small
weights          2.8 MiB
types            F16 2.8 MiB, F32 5.0 KiB
bits per weight  16.01
trained context  2,048
layers           2
heads            4, of them 2 for keys and values
vocabulary       512
tokenizer        gpt2 smollm {digest}
chat template    yes
"""


def test_show_in_full(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    """The whole output for a local file."""
    assert run(["show", str(tiny)]) == 0
    digest = (read_model(tiny).tokenizer_digest or "")[:12]
    out = (
        "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip())
        + "\n"
    )
    assert out == SAID.format(path=tiny, digest=digest)


def test_show_as_json(capsys: pytest.CaptureFixture[str], hub: Loopback, tmp_path: Path) -> None:
    """A model at the Hub with experts unknown, a projector, and the way to its weights."""
    model = write_tiny_llama(tmp_path / "x-F16.gguf", tiny_shape(n_head_kv=(2, 4)))
    hub.add_repository("org/repo", {"x-F16.gguf": model, "mmproj.gguf": b"1234"})
    assert run(["show", "hf:org/repo", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["schema"], data["origin"], data["complete"]) == (
        "hakaru.show/1",
        "hf:org/repo:x-F16.gguf",
        False,
    )
    assert (data["file_bytes"], data["n_head_kv"], data["n_expert_used"]) == (
        model.stat().st_size,
        [2, 4],
        None,
    )
    assert data["companions"] == [
        {"role": "mmproj", "name": "mmproj.gguf", "bytes": 4, "path": None}
    ]
    assert data["fetch"] == "hakaru pull hf:org/repo:x-F16.gguf"
    assert (data["tokenizer"]["pre"], data["chat_template"]) == ("smollm", True)
    assert 0 < data["fetched_bytes"] <= model.stat().st_size


def test_show_says_that_the_weights_are_elsewhere(
    capsys: pytest.CaptureFixture[str], web: Loopback, tiny: Path
) -> None:
    """And how to get them."""
    web.files["/m.gguf"] = tiny
    assert run(["show", f"{web.url}/m.gguf"]) == 0
    out = capsys.readouterr().out
    assert "Only the header is on this machine; the weights are not." in out
    assert f"Fetch them with: hakaru pull {web.url}/m.gguf" in out


@pytest.mark.parametrize(
    "command", [["quantize", "--type", "Q8_0"], ["test"], ["tune"], ["serve"], ["chat"]]
)
def test_what_needs_weights_refuses_a_header(
    capsys: pytest.CaptureFixture[str], hub: Loopback, tiny: Path, command: list[str]
) -> None:
    """One sentence, exit code 4, and the command that brings the weights."""
    hub.add_repository("org/repo", {"x.gguf": tiny})
    assert run([*command, "hf:org/repo"]) == 4
    said = capsys.readouterr()
    assert said.err == (
        "hakaru: hf:org/repo:x.gguf: its weights are not on this machine, only its header; fetch "
        "them with: "
        "hakaru pull hf:org/repo:x.gguf\n"
    )
    assert said.out == ""


def test_the_environment_chooses_hub_token_and_offline_mode(hub: Loopback, tiny: Path) -> None:
    """HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE, as huggingface_hub reads them, in a process of its
    own.
    """
    hub.add_repository("org/repo", {"x.gguf": tiny})
    command = [sys.executable, "-m", "hakaru", "show", "hf:org/repo", "--json"]
    token = {**os.environ, "HF_TOKEN": "hf_mine"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=token)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(headers["authorization"] == "Bearer hf_mine" for _, headers in hub.asked)
    hub.asked.clear()
    offline = {**token, "HF_HUB_OFFLINE": "1"}
    assert (
        subprocess.run(command, capture_output=True, text=True, check=False, env=offline).returncode
        == 0
    )
    command[4] = "hf:org/other"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=offline)
    assert (done.returncode, done.stdout, hub.asked) == (5, "", [])
    assert re.fullmatch(
        r"hakaru: the network is needed, but HF_HUB_OFFLINE is set; .*\n", done.stderr
    )


@pytest.mark.engine
def test_fit_answers_before_the_download(
    capsys: pytest.CaptureFixture[str], hub: Loopback, tiny: Path
) -> None:
    """The same parts for a stand-in as for the file itself, computed and dry-run."""
    hub.add_repository("org/repo", {"tiny-f16.gguf": tiny})
    answers = []
    for model in ("hf:org/repo", str(tiny)):
        assert run(["fit", model, "--context", "1024", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0]["parts"] == answers[1]["parts"]
    assert answers[0]["dry_run"] == answers[1]["dry_run"]
    assert answers[0]["model"]["origin"] == "hf:org/repo:tiny-f16.gguf"


@pytest.mark.engine
def test_fit_and_quantize_take_split_models(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Any part means the whole: the same memory, and one quantized file."""
    whole = write_tiny_llama(tmp_path / "whole.gguf")
    write_tiny_llama(tmp_path / "s.gguf", part_tensors=8)
    answers = []
    for model in (whole, tmp_path / "s-00002-of-00003.gguf"):
        assert run(["fit", str(model), "--context", "1024", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0]["parts"] == answers[1]["parts"]
    assert answers[0]["dry_run"] == answers[1]["dry_run"]
    out = tmp_path / "out.gguf"
    assert (
        run(["quantize", str(tmp_path / "s-00002-of-00003.gguf"), "--type", "Q8_0", "-o", str(out)])
        == 0
    ), capsys.readouterr().err
    assert read_model(out).type_name == "Q8_0"
