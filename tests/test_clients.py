"""The examples of docs/clients.md, run as they stand by the clients themselves.

`openai` is among what `make test` installs. The others are many packages, so their tests skip where
they are not there; CLIENTS names an interpreter that has them:

    CLIENTS=/some/venv/bin/python python -m pytest tests/test_clients.py
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scripted_server import MODEL, Scripted

ROOT = Path(__file__).parent.parent
PYTHON = os.environ.get("CLIENTS", sys.executable)
"""The interpreter that has the clients."""


def blocks(page: str, client: str) -> list[str]:
    """The examples of `client`, in order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {client}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return re.findall(r"^```\w+\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def printed(server: Scripted, command: list[str], **environment: str) -> str:
    """What a client prints that talks to the scripted server."""
    there = subprocess.run([PYTHON, "-c", f"import {command[-1]}"], capture_output=True)
    if there.returncode:
        pytest.skip(f"{command[-1]} is not installed: pip install {command[-1]}, and set CLIENTS")
    done = subprocess.run(
        [PYTHON, *command[:-1]],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": "", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def pointed(text: str, server: Scripted) -> str:
    """An example that asks the scripted server in the place of one of ours."""
    return text.replace("http://127.0.0.1:8600", server.url.removesuffix("/v1"))


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_a_python_client_is_answered(client: str, server: Scripted) -> None:
    """It prints the answer that the server gave, all of it."""
    (code,) = blocks("clients.md", client)
    answer = printed(server, ["-c", pointed(code, server), client])
    assert answer.split()[:3] == ["one", "two", "three"] and len(answer.split()) == 20


def test_llm_is_answered(server: Scripted, tmp_path: Path) -> None:
    """By the model that its file of models names."""
    models, command = blocks("clients.md", "llm")
    file = tmp_path / "extra-openai-models.yaml"
    file.write_text(pointed(models, server).replace("MODEL", MODEL))
    words = shlex.split(command)
    answer = printed(
        server, ["-m", *words, "llm"], LLM_USER_PATH=str(tmp_path), OPENAI_API_KEY="none"
    )
    assert answer.split()[:3] == ["one", "two", "three"] and len(answer.split()) == 20


@pytest.mark.parametrize("client", ["openai", "anthropic", "llm"])
def test_both_languages_show_the_same_examples(client: str) -> None:
    """So the Japanese page is tested, too."""
    assert blocks("clients.md", client) == blocks("clients.ja.md", client)
