"""What of a growing prompt an agent's server reads again: tool-calling loops of 20 turns.

    python benchmarks/agent.py [MODEL] [--turns 20] [--context 8192] [--cases NAME …]
                               [--serve="--parallel 2" …]

An agent has a system prompt and five tools, calls one in every turn, and appends the call and its
result (about a thousand letters) to the conversation. Each case runs through `hakaru serve`: one
agent; two agents with the same tools in turn; and one whose tool calls another agent of five turns
in the middle. Per turn stand the tokens of the prompt, those that the server found in its cache
(`usage.prompt_tokens_details.cached_tokens`), and the time to the first piece of the answer. Each
case runs with each `--serve`, options of `hakaru serve`.

The calls are scripted, since what is measured is the prompt: the model writes eight tokens, and the
next turn holds a call in their place, as it holds an answer that a template renders otherwise than
it was written. The embedded model is taken without MODEL; `dense`, `hybrid` and `windows` are tiny
models of random weights, a byte a token; the caches of the last two cannot go back.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx

from hakaru.models.embedded import embedded_model
from hakaru.testing import tiny_hyperparameters, write_tiny

TURNS_OF_SUB: Final = 5
RESULT_LETTERS: Final = 1000
MOST_TOKENS: Final = 8  # of an answer
WORDS: Final = (
    "def", "return", "self", "value", "index", "path", "line", "error", "import", "test", "assert",
    "None", "True", "for", "in", "if", "else", "count", "result", "name", "config", "parse", "read",
)  # fmt: skip
TEMPLATE: Final = """\
{%- if tools %}<|im_start|>system
You may call these tools: {% for tool in tools %}{{ tool | tojson }}
{% endfor %}Answer a call as <tool_call>{"name": …, "arguments": …}</tool_call>.<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}
{%- for call in message.tool_calls or [] %}<tool_call>
{{ {"name": call.function.name, "arguments": call.function.arguments} | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""ChatML with tools as Qwen's and Hermes' templates show them."""


def _tool(name: str, what: str, **properties: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {k: {"type": "string", "description": v} for k, v in properties.items()},
        "required": list(properties),
    }
    function = {"name": name, "description": what, "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS: Final = [
    _tool("read_file", "Read a file of the project.", path="The file, from the project's root."),
    _tool("list_files", "List the files of a folder.", folder="The folder, from the root."),
    _tool("search", "Find a text in all files.", text="What to find.", folder="Where to look."),
    _tool("edit_file", "Replace a text in a file.", path="The file.", old="The text.", new="New."),
    _tool("run_tests", "Run the tests and show what failed.", pattern="Names of tests to run."),
]


@dataclass
class Agent:
    """A conversation that grows by a call and its result in every turn."""

    task: str
    seed: int
    messages: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        system = "You are a careful engineer. Use the tools, one at a time, until the task is done."
        self.messages = [
            {"role": "system", "content": system},
            {"role": "user", "content": self.task},
        ]

    def turn(self, client: httpx.Client) -> "Turn":
        """Ask for the next call, and append one and what the tool gave."""
        turn = asked(client, self.messages)
        name = f"call_{len(self.messages)}"
        arguments = json.dumps({"path": f"src/{self.random.choice(WORDS)}.py"})
        call = {
            "id": name,
            "type": "function",
            "function": {"name": "read_file", "arguments": arguments},
        }
        result = " ".join(self.random.choices(WORDS, k=RESULT_LETTERS // 5))
        self.messages += [
            {"role": "assistant", "content": "I look.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": name, "content": result},
        ]
        return turn


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn took."""

    n_prompt: int
    n_cached: int
    first_s: float

    @property
    def n_read(self) -> int:
        """Tokens of the prompt that were computed."""
        return self.n_prompt - self.n_cached


def asked(client: httpx.Client, messages: list[dict[str, Any]]) -> Turn:
    """The beginning of an answer."""
    body = {
        "messages": messages, "tools": TOOLS, "max_tokens": MOST_TOKENS, "ignore_eos": True,
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    began, first_s, usage = time.perf_counter(), 0.0, dict[str, Any]()
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        if answer.status_code != 200:
            raise SystemExit(answer.read().decode())
        for line in answer.iter_lines():
            chunk = json.loads(line.removeprefix("data: ")) if line.startswith("data: {") else {}
            usage = chunk.get("usage") or usage
            said = [c["delta"].get("content") for c in chunk.get("choices", ())]
            first_s = first_s or (time.perf_counter() - began if any(said) else 0.0)
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return Turn(usage["prompt_tokens"], cached, first_s)


Case = Iterator[tuple[str, Turn]]


def one(client: httpx.Client, turns: int) -> Case:
    """One agent."""
    agent = Agent("Find out why the parser drops the last line, and mend it.", 1)
    for _ in range(turns):
        yield "a", agent.turn(client)


def two(client: httpx.Client, turns: int) -> Case:
    """Two agents in turn."""
    agents = {
        "a": Agent("Find out why the parser drops the last line, and mend it.", 1),
        "b": Agent("Write tests for the module that reads configurations.", 2),
    }
    for _ in range(turns):
        yield from ((name, agent.turn(client)) for name, agent in agents.items())


def sub(client: httpx.Client, turns: int) -> Case:
    """An agent whose tool calls another one, half-way."""
    agent = Agent("Find out why the parser drops the last line, and mend it.", 1)
    for i in range(turns):
        if i == turns // 2:
            other = Agent("Summarise how lines are split, for the agent that asked.", 3)
            yield from (("sub", other.turn(client)) for _ in range(TURNS_OF_SUB))
        yield "a", agent.turn(client)


CASES: Final = {"one": one, "two": two, "sub": sub}


def main() -> None:
    """Run every case with every server, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="embedded")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--context", type=int, default=8192, help="tokens of each conversation")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--serve", action="append", help="options of hakaru serve")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = model_named(options.model, Path(scratch))
        template = Path(scratch, "tools.jinja")
        template.write_text(TEMPLATE)
        for serve in options.serve or ["--parallel 1", "--parallel 2"]:
            for name in options.cases:
                with served(model, template, options.context, serve) as client:
                    print(f"\n{model.stem}, {name}: {serve}", flush=True)
                    tell(list(CASES[name](client, options.turns)))


def model_named(name: str, folder: Path) -> Path:
    """The model's file; a tiny one is written into `folder`."""
    architectures = {"dense": "llama", "hybrid": "qwen35", "windows": "gemma3"}
    if name == "embedded":
        return embedded_model()
    if name not in architectures:
        return Path(name)
    metadata = tiny_hyperparameters(architectures[name], context_length=65536)
    return write_tiny(folder / f"{name}.gguf", metadata, vocabulary=True)


@contextmanager
def served(model: Path, template: Path, n_ctx: int, options: str) -> Iterator[httpx.Client]:
    """A client of a server with as much context for each conversation."""
    words, port = options.split(), free_port()
    slots = int(words[words.index("--parallel") + 1]) if "--parallel" in words else 1
    command = [
        sys.executable, "-m", "hakaru", "serve", str(model), "--port", str(port),
        "--context", str(n_ctx * slots), "--chat-template", str(template), *words,
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="b") as folder:
        environment = os.environ | {"XDG_RUNTIME_DIR": folder}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
                while not is_ready(client):
                    if process.poll() is not None:
                        raise SystemExit("the server ended")
                    time.sleep(0.05)
                yield client
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def is_ready(client: httpx.Client) -> bool:
    """Whether the server has given a token."""
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def tell(turns: list[tuple[str, Turn]]) -> None:
    """Print every turn, and the sums without the first turn of each agent, which nothing saves."""
    print("agent  prompt  cached    read  first token, ms")
    later, seen = list[Turn](), set[str]()
    for name, turn in turns:
        print(
            f"{name:5} {turn.n_prompt:7,} {turn.n_cached:7,} {turn.n_read:7,} "
            f"{1000 * turn.first_s:10,.0f}"
        )
        if name in seen:
            later.append(turn)
        seen.add(name)
    prompts, cached = sum(t.n_prompt for t in later), sum(t.n_cached for t in later)
    print(
        f"later turns: {cached / prompts:.1%} of {prompts:,} tokens were cached; read in the "
        f"median {median(t.n_read for t in later):,.0f}, at most {max(t.n_read for t in later):,}; "
        f"first token in the median {1000 * median(t.first_s for t in later):,.0f} ms",
        flush=True,
    )


if __name__ == "__main__":
    main()
