"""What it costs to have tasks answered on a Ray cluster: `python benchmarks/over_ray.py`.

Two nodes of one processor each on this machine. Timed are a whole `hakaru test` of one task, here
and over Ray in turns; and jobs that answer nothing, as Ray starts them. Needs `hakaru[ray]`.
"""

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hakaru.models.embedded import embedded_model

PAIRS = 3
JOBS = 200


@contextmanager
def cluster(folder: str) -> Iterator[str]:
    """The address of two nodes, which end with the block."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    ray, nodes = Path(sys.executable).with_name("ray"), list[subprocess.Popen[bytes]]()
    head = ["--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false"]
    try:
        for which in (head, [f"--address=127.0.0.1:{port}"]):
            node = subprocess.Popen(
                [
                    ray,
                    "start",
                    *which,
                    "--num-cpus=1",
                    "--object-store-memory=100000000",
                    "--block",
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            nodes.append(node)
            assert node.stdout and any(b"Ray runtime started" in line for line in node.stdout)
        yield f"127.0.0.1:{port}"
    finally:
        for node in nodes:
            os.killpg(node.pid, signal.SIGKILL)
            node.wait()


def whole_s(tasks: Path, *more: str) -> float:
    """Seconds of a whole command, with a ledger of its own."""
    with tempfile.TemporaryDirectory() as data:
        began = time.perf_counter()
        command = ["test", str(embedded_model()), "--tasks", str(tasks), "--no-speed", "--json"]
        subprocess.run(
            [sys.executable, "-m", "hakaru", *command, *more],
            check=True,
            capture_output=True,
            env=os.environ | {"XDG_DATA_HOME": data},
        )
        return time.perf_counter() - began


def jobs_per_s(address: str) -> float:
    """Streaming tasks of Ray's, each of which yields once, from the first to the last."""
    import ray

    def once() -> Iterator[int]:
        yield 1

    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    run = ray.remote(once).options(num_cpus=1, num_returns="streaming", max_retries=0)
    for _ in range(2):  # the first time Ray starts its processes
        began = time.perf_counter()
        for answers in [run.remote() for _ in range(JOBS)]:
            ray.get(next(answers))
        seconds = time.perf_counter() - began
    ray.shutdown()
    return JOBS / seconds


def main() -> None:
    """Measure and print."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    tasks = folder / "tasks.jsonl"
    check = {"type": "contains", "answer": "a"}
    tasks.write_text(json.dumps({"prompt": "Say a.", "max_tokens": 1, "check": check}))
    try:
        with cluster(str(folder / "r")) as address:
            pairs = [(whole_s(tasks), whole_s(tasks, "--ray", address)) for _ in range(PAIRS)]
            for here, there in pairs:
                print(
                    f"one task: {here:.1f} s here, {there:.1f} s over Ray ({there - here:+.1f} s)"
                )
            more = statistics.median(there - here for here, there in pairs)
            print(f"the median of the differences: {more:+.1f} s")
            print(f"empty jobs: {jobs_per_s(address):.0f} per second on two nodes")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
