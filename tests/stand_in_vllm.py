"""`vllm` for tests: a program that starts, says and leaves what vLLM does, and gives tokens.

What it does is told by files in the folder HAKARU_TEST_VLLM: `kv_tokens` is its pool; with `hangs`
it never gives a token. Each start writes `rank-N-PID`. A helper in the same session outlives it.
"""

import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(os.environ["HAKARU_TEST_VLLM"])


class Answers(BaseHTTPRequestHandler):
    """The little of the API that is asked for."""

    def do_GET(self) -> None:
        """Its models."""
        entry = {"id": value("--served-model-name"), "owned_by": "vllm", "max_model_len": 1024}
        self._send({"object": "list", "data": [entry]})

    def do_POST(self) -> None:
        """A token."""
        self.rfile.read(int(self.headers["Content-Length"]))
        if (FOLDER / "hangs").exists():
            time.sleep(60)
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choice = {"index": 0, "text": " Paris", "finish_reason": "length"}
        self._send({"model": "m", "object": "text_completion", "choices": [choice], "usage": usage})

    def _send(self, told: object) -> None:
        raw = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *words: object) -> None:
        """Nothing."""


def value(option: str, otherwise: str = "0") -> str:
    """The word behind an option."""
    return sys.argv[sys.argv.index(option) + 1] if option in sys.argv else otherwise


def n_starts(rank: int) -> int:
    """How often that rank was started so far."""
    return len(list(FOLDER.glob(f"rank-{rank}-*")))


def main() -> None:
    """Serve, or wait as a rank without a server does."""
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    shared = Path(f"/dev/shm/psm_{os.getpid()}")
    shared.touch()
    (FOLDER / f"rank-{value('--node-rank')}-{os.getpid()}").write_text(f"{left.pid} {shared}")
    if "--headless" in sys.argv:
        time.sleep(600)
    while "--nnodes" in sys.argv and n_starts(1) < n_starts(0):
        time.sleep(0.05)
    pool = (FOLDER / "kv_tokens").read_text()
    print(f"INFO [kv_cache_utils.py:1] GPU KV cache size: {pool} tokens", flush=True)
    ThreadingHTTPServer(("127.0.0.1", int(value("--port"))), Answers).serve_forever()


main()
