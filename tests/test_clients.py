"""The examples of docs/clients.md, run as they stand by the clients themselves.

`openai` is among what `make test` installs. The others are many packages, so their tests skip where
they are not there; CLIENTS names an interpreter that has them:

    CLIENTS=/some/venv/bin/python python -m pytest tests/test_clients.py
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripted_server import MODEL, WORDS, Scripted

ROOT = Path(__file__).parent.parent
PYTHON = os.environ.get("CLIENTS", sys.executable)
"""The interpreter that has the clients."""


def blocks(page: str, client: str) -> list[str]:
    """The examples of `client`, in order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {client}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return re.findall(r"^```\w+\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def printed(
    server: Scripted, command: list[str], cwd: Path | None = None, **environment: str
) -> str:
    """What a client prints that talks to the scripted server."""
    there = subprocess.run([PYTHON, "-c", f"import {command[-1]}"], capture_output=True)
    if there.returncode:
        pytest.skip(f"{command[-1]} is not installed: pip install {command[-1]}, and set CLIENTS")
    done = subprocess.run(
        [PYTHON, *command[:-1]],
        capture_output=True, text=True, timeout=120, check=False, cwd=cwd,
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


def test_langchain_is_answered(server: Scripted) -> None:
    """Piece by piece."""
    (code,) = blocks("clients.md", "LangChain")
    answer = printed(server, ["-c", pointed(code, server), "langchain_openai"])
    assert answer.split()[:3] == ["one", "two", "three"] and len(answer.split()) == 20


def test_lm_eval_asks_every_question_of_a_task_of_ones_own(
    server: Scripted, tmp_path: Path
) -> None:
    """And prints the score: the server knows no colours, and one answer is its own."""
    task, questions, command = blocks("clients.md", "lm-eval")
    answer = "".join(f"{word} " for word in WORDS * 2)
    (tmp_path / "colours.yaml").write_text(task)
    (tmp_path / "colours.jsonl").write_text(questions.replace("Blue", answer))
    words = shlex.split(pointed(command, server).replace("MODEL", MODEL).replace("\\\n", ""))
    table = printed(
        server, ["-m", "lm_eval", *words[1:], "lm_eval"], cwd=tmp_path, HF_HUB_OFFLINE="1"
    )
    asked = [json.loads(body)["messages"][-1]["content"] for _, body in server.asked]
    assert asked == [json.loads(line)["question"] for line in questions.splitlines()]
    (row,) = [line.split("|") for line in table.splitlines() if "exact_match" in line]
    assert row[7].strip() == "0.5"


def test_mcp_tools_are_called(server: Scripted, tmp_path: Path) -> None:
    """The model is shown the tool, its call reaches the tool, and the result the model."""
    tools, code = blocks("clients.md", "MCP")
    (tmp_path / "weather.py").write_text(tools)
    said = printed(server, ["-c", pointed(code, server), "mcp"], cwd=tmp_path)
    assert said.startswith("weather: It rains in Tokyo.\none two three")
    shown, told = (json.loads(body) for path, body in server.asked if path.endswith("completions"))
    assert shown["tools"][0]["function"]["parameters"]["properties"]["city"]["enum"]
    assert told["messages"][-1]["content"] == "It rains in Tokyo."


def test_the_configuration_of_continue_is_one() -> None:
    """By Continue's own schema; CLIENTS_NODE names a folder in which its package is installed: npm
    install @continuedev/config-yaml.
    """
    folder = os.environ.get("CLIENTS_NODE")
    if folder is None:
        pytest.skip("@continuedev/config-yaml is not installed: see CLIENTS_NODE")
    (config,) = blocks("clients.md", "Continue")
    check = """
        import { configYamlSchema } from "@continuedev/config-yaml";
        import { parse } from "yaml";
        console.log(JSON.stringify(configYamlSchema.parse(parse(process.argv[1]))));
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-e", check, config],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    assert (model["provider"], model["apiBase"]) == ("openai", "http://127.0.0.1:8600/v1")


def test_the_configurations_of_agents_are_readable() -> None:
    """Each points at the served model, in both languages of the page."""
    codex, claude, opencode = blocks("clients.md", "Agents")
    assert tomllib.loads(codex)["model_providers"]["hakaru"]["wire_api"] == "responses"
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:8600 " in claude
    provider = json.loads(opencode)["provider"]["hakaru"]
    assert provider["options"]["baseURL"] == "http://127.0.0.1:8600/v1"
    assert blocks("clients.ja.md", "エージェント") == [codex, claude, opencode]


@pytest.mark.parametrize(
    "client", ["openai", "anthropic", "llm", "LangChain", "lm-eval", "Continue", "MCP"]
)
def test_both_languages_show_the_same_examples(client: str) -> None:
    """So the Japanese page is tested, too."""
    assert blocks("clients.md", client) == blocks("clients.ja.md", client)
