"""What of a growing prompt an agent's server reads again: tool-calling loops of 20 turns.

    python benchmarks/agent.py [MODEL] [--turns 20] [--context 8192] [--letters 1000]
                               [--cases NAME …] [--serve="--parallel 2 --cache-ram 0" …]

An agent has a system prompt and five tools, calls one in every turn, and appends the call and its
result (about a thousand letters) to the conversation. Each case runs through `hakaru serve`: one
agent; two agents with the same tools in turn; one whose tool calls another agent of five turns in
the middle; and one that asks for a title between its turns, every third turn, as Claude Code and
OpenCode do (a short prompt without tools). Per turn stand the tokens of the prompt, those that the
server found in its cache (`usage.prompt_tokens_details.cached_tokens`), and the time to the first
piece of the answer. Each case runs with each `--serve`, options of `hakaru serve`: one and two
slots, without and with prompts in RAM, if none are named. At the end all stand side by side, with
the resident memory of the engine, how much it may grow by the plan, and the first token's time
beside that of the first `--serve`.

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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, Final

import httpx

import hakaru
from hakaru.engine.builds import server_build
from hakaru.hardware.probe import probe_machine
from hakaru.models.embedded import embedded_model
from hakaru.servers import Deployment
from hakaru.testing import tiny_hyperparameters, write_tiny

TURNS_OF_SUB: Final = 5
TURNS_PER_TITLE: Final = 3
SERVED: Final = tuple(f"--parallel {n} --cache-ram {mib}" for n in (1, 2) for mib in (0, 2048))
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
    letters: ClassVar[int] = RESULT_LETTERS

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        system = "You are a careful engineer. Use the tools, one at a time, until the task is done."
        self.messages = [
            {"role": "system", "content": system},
            {"role": "user", "content": self.task},
        ]

    def turn(self, client: httpx.Client) -> "Turn":
        """Ask for the next call, and append one and what the tool gave."""
        turn = asked(client, self.messages, TOOLS)
        name = f"call_{len(self.messages)}"
        arguments = json.dumps({"path": f"src/{self.random.choice(WORDS)}.py"})
        call = {
            "id": name,
            "type": "function",
            "function": {"name": "read_file", "arguments": arguments},
        }
        result = " ".join(self.random.choices(WORDS, k=self.letters // 5))
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


def asked(
    client: httpx.Client, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None
) -> Turn:
    """The beginning of an answer."""
    body = {
        "messages": messages, "max_tokens": MOST_TOKENS, "ignore_eos": True, "stream": True,
        "stream_options": {"include_usage": True},
    } | ({"tools": tools} if tools else {})  # fmt: skip
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


def side(client: httpx.Client, turns: int) -> Case:
    """An agent that asks for a title between its turns."""
    agent = Agent("Find out why the parser drops the last line, and mend it.", 1)
    for i in range(turns):
        yield "a", agent.turn(client)
        if i % TURNS_PER_TITLE == 0:
            text = f"Write a title of five words for this, part {i}: {agent.task}"
            yield f"t{i}", asked(client, [{"role": "user", "content": text}])


CASES: Final = {"one": one, "two": two, "sub": sub, "side": side}


@dataclass(frozen=True, slots=True)
class Run:
    """One case with one server."""

    case: str
    serve: str
    turns: tuple[tuple[str, Turn], ...]
    resident_bytes: int  # of the engine, at the end
    grows_bytes: int  # by the plan, at most

    @property
    def later(self) -> list[Turn]:
        """The turns without the first of each agent, which nothing saves."""
        seen, later = set[str](), list[Turn]()
        for name, turn in self.turns:
            if name in seen:
                later.append(turn)
            seen.add(name)
        return later

    @property
    def first_s(self) -> float:
        """Seconds to the first token, in the median of the later turns."""
        return median(turn.first_s for turn in self.later)


def main() -> None:
    """Run every case with every server, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="embedded")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--context", type=int, default=8192, help="tokens of each conversation")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--serve", action="append", help="options of hakaru serve")
    parser.add_argument("--letters", type=int, default=RESULT_LETTERS, help="of a tool's result")
    options = parser.parse_args()
    Agent.letters = options.letters
    machine = probe_machine()
    print(
        f"{machine.cpu.model}, {machine.cpu.usable_cores} cores, {machine.system}, "
        f"hakaru {hakaru.__version__}, {server_build()}, load {os.getloadavg()[0]:.1f}"
    )
    runs = list[Run]()
    with tempfile.TemporaryDirectory() as scratch:
        model = model_named(options.model, Path(scratch))
        template = Path(scratch, "tools.jinja")
        template.write_text(TEMPLATE)
        for name in options.cases:
            for serve in options.serve or SERVED:
                with served(model, template, options.context, serve) as (client, record):
                    print(f"\n{model.stem}, {name}: {serve}", flush=True)
                    turns = tuple(CASES[name](client, options.turns))
                    resident = sum(one.memory_info().rss for one in record.engines())
                    runs.append(Run(name, serve, turns, resident, record.grows_bytes))
                    tell(turns)
    side_by_side(runs)


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
def served(
    model: Path, template: Path, n_ctx: int, options: str
) -> Iterator[tuple[httpx.Client, Deployment]]:
    """A client of a server with as much context for each conversation, and its record."""
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
                (record,) = Path(folder).rglob("serve-*.json")
                yield client, Deployment(**json.loads(record.read_text()))
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


def tell(turns: Iterable[tuple[str, Turn]]) -> None:
    """Print every turn."""
    print("agent  prompt  cached    read  first token, ms")
    for name, turn in turns:
        print(
            f"{name:5} {turn.n_prompt:7,} {turn.n_cached:7,} {turn.n_read:7,} "
            f"{1000 * turn.first_s:10,.0f}",
            flush=True,
        )


def side_by_side(runs: list[Run]) -> None:
    """Print the sums of the later turns, as a table of Markdown."""
    print(
        "\n| case | hakaru serve | cached | most read | first token | times | engine | may grow |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for run in runs:
        first = next(other for other in runs if other.case == run.case)
        n_prompt = sum(turn.n_prompt for turn in run.later)
        n_cached = sum(turn.n_cached for turn in run.later)
        print(
            f"| {run.case} | {run.serve} | {n_cached / n_prompt:.1%} of {n_prompt:,} "
            f"| {max(turn.n_read for turn in run.later):,} | {1000 * run.first_s:,.0f} ms "
            f"| {run.first_s / first.first_s:.2f} | {run.resident_bytes / 2**20:,.0f} MiB "
            f"| {run.grows_bytes / 2**20:,.0f} MiB |"
        )


if __name__ == "__main__":
    main()
