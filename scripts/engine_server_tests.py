"""llama.cpp's own tests of its server, run against the bare engine and against hakaru's gateway.

    python scripts/engine_server_tests.py [--python INTERPRETER] [FILE …]

The tests lie in the source of the pinned engine, which comes through pip into a folder that goes
again. They start `llama-server` themselves, each with its own options and a model from the
internet. So the program that they start is this file: it puts the embedded model, or a tiny one of
random weights that gives vectors, in the place of theirs, and starts a native build of the engine
or `hakaru serve`. What fails with both is about the model or the options. What differs is printed.

It needs a native build (`hakaru engine build`), and an INTERPRETER with what the tests import: pip
install aiohttp filelock openai prometheus-client pytest pytest-timeout requests wget.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from hakaru.engine.builds import PACKAGE
from hakaru.engine.capi import PINNED
from hakaru.engine.native import build_native
from hakaru.engine.sdist import fetch_source
from hakaru.models.embedded import embedded_model
from hakaru.testing import tiny_hyperparameters, write_tiny

BEHIND: Final = "HAKARU_TESTED"
"""The variable that says what answers: `gateway`, or the path of a `llama-server`."""
VECTORS: Final = "HAKARU_VECTORS"
"""The variable that names the model that gives vectors."""
ASKED: Final = (
    "basic", "chat_completion", "compat_anthropic", "compat_oai_responses", "completion",
    "ctx_shift", "embedding", "ignore_eos", "infill", "metrics", "security", "slot_save",
    "stream", "template", "tokenize", "tool_call",
)  # fmt: skip
"""The files of tests. The others are about other programs (router, MCP, built-in tools, a proxy) or
need models and adapters for which nothing here can stand."""
WITHIN_S: Final = 60  # one test
PLUGIN: Final = """\
from utils import ServerPreset

ServerPreset.load_all = staticmethod(lambda: None)  # it would fetch every model
"""
SPELLED: Final = {
    "--ctx-size": "-c", "-ctk": "--cache-type-k", "-ctv": "--cache-type-v",
    "--ubatch-size": "--ubatch", "--chat-template-file": "--chat-template",
} | {
    name: name
    for name in ("--port", "--host", "--alias", "--api-key", "--temp", "--seed", "--threads",
                 "--parallel", "--chat-template")
}  # fmt: skip
"""Options of llama-server that `hakaru serve` has, and how it spells them."""
SHORT: Final = re.compile(r'(["\'])(/(?:chat/completions|models|responses|rerank)["\'])')
"""Endpoints that llama.cpp's server has without `/v1`, too, and the gateway has not."""
OF_MODELS: Final = ("--model", "--model-url", "--hf-repo", "--hf-file")


def main() -> None:
    """Run the tests against both, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("file", nargs="*", default=ASKED)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tests = fetch_source(PACKAGE, PINNED, folder) / "tools" / "server" / "tests"
        (tests / "no_fetching.py").write_text(PLUGIN)
        for file in (tests / "unit").glob("test_*.py"):
            file.write_text(SHORT.sub(r"\1/v1\2", file.read_text()))
        program = folder / "llama-server"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} "$@"\n')
        program.chmod(0o755)
        vectors = write_tiny(
            folder / "bert.gguf",
            tiny_hyperparameters("bert", context_length=512)
            | {"tokenizer.ggml.token_type_count": 2},
            vocabulary=True,
        )
        native = build_native("cpu", lambda step, done, total: None).server
        environment = {"LLAMA_SERVER_BIN_PATH": str(program), VECTORS: str(vectors)}
        for name in options.file:
            both = [
                outcomes(tests, name, options.python, environment | {BEHIND: behind})
                for behind in (str(native), "gateway")
            ]
            tell(name, *both)


def outcomes(
    tests: Path, name: str, python: str, environment: dict[str, str]
) -> dict[str, tuple[str, str]]:
    """What came of each test of a file: a verdict, and the first line of its reason."""
    report = tests / "report.xml"
    report.unlink(missing_ok=True)
    subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no_fetching", f"--timeout={WITHIN_S}",
         f"--junit-xml={report}", f"unit/test_{name}.py"],
        cwd=tests, env={**os.environ, "PYTHONPATH": str(tests), **environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    verdicts = {}
    for case in ElementTree.parse(report).iter("testcase"):
        bad = next((child for child in case if child.tag in {"failure", "error", "skipped"}), None)
        verdict = "passed" if bad is None else bad.tag
        reason = "" if bad is None else bad.get("message", "").partition("\n")[0]
        verdicts[case.get("name", "")] = verdict, reason
    return verdicts


def tell(
    name: str, engine: dict[str, tuple[str, str]], gateway: dict[str, tuple[str, str]]
) -> None:
    """Print how often both passed and failed, and each test in which they differ."""
    pairs = {test: (engine[test][0], gateway[test][0]) for test in engine}
    print(f"{name}: {dict(Counter(' / '.join(pair) for pair in pairs.values()))}", flush=True)
    for test, pair in pairs.items():
        if pair[0] != pair[1]:
            print(f"  {test}: {' -> '.join(pair)}: {gateway[test][1]}", flush=True)


def serve(arguments: list[str], behind: str) -> None:
    """Become the server that the tests ask for."""
    gives_vectors = {"--embedding", "--reranking"} & set(arguments)
    model = os.environ[VECTORS] if gives_vectors else str(embedded_model())
    pairs = list(zip(arguments, [*arguments[1:], ""], strict=True))
    if behind == "gateway":
        kept = [text for a, b in pairs if a in SPELLED for text in (SPELLED[a], b)]
        command = [sys.executable, "-m", "hakaru", "serve", model, "--insecure", *kept]
    else:
        dropped = {i + step for i, (a, _) in enumerate(pairs) if a in OF_MODELS for step in (0, 1)}
        kept = [a for i, a in enumerate(arguments) if i not in dropped and a != "--offline"]
        command = [behind, "--model", model, *kept]
    os.execv(command[0], command)


if __name__ == "__main__":
    if BEHIND in os.environ:
        serve(sys.argv[1:], os.environ[BEHIND])
    main()
