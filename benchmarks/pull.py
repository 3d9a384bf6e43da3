"""How fast `hakaru pull` brings a file, beside curl, from a server on the loopback interface.

    python benchmarks/pull.py [--size 1.5GiB] [--rounds 5]

Both write the same file onto the same disk, in turn, and the order changes from round to round.
The server is `os.sendfile` in a process of its own, so that neither waits for Python. The check of
the SHA-256 is not in the figures: curl checks nothing.
"""

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from hakaru.models.sources.web import web_client
from hakaru.pulling.transfer import Remote, transfer
from hakaru.units import parse_bytes

SERVER = "from pull import serve; import sys; serve(sys.argv[1])"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="1.5GiB")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    size = parse_bytes(options.size)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        source = folder / "source"
        _write(source, size)
        command = [sys.executable, "-c", SERVER, str(source)]
        with subprocess.Popen(
            command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/x"
            try:
                _report(size, _measured(url, folder / "target", options.rounds))
            finally:
                server.kill()


def _write(path: Path, size: int) -> None:
    piece = os.urandom(2**20)
    with path.open("wb") as file:
        for _ in range(size // 2**20):
            file.write(piece)
        file.truncate(size)


def _measured(url: str, target: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, by program."""
    seconds: dict[str, list[float]] = {"curl": [], "hakaru": []}
    for i in range(rounds):
        for program in ("curl", "hakaru") if i % 2 else ("hakaru", "curl"):
            target.unlink(missing_ok=True)
            os.sync()
            begun = time.perf_counter()
            if program == "curl":
                subprocess.run(["curl", "-s", "-o", str(target), url], check=True)
            else:
                _pull(url, target)
            seconds[program].append(time.perf_counter() - begun)
    return seconds


def _pull(url: str, target: Path) -> None:
    with web_client() as client:
        remote = Remote(url=url, bytes=None, is_fixed=True, headers={})
        transfer(client, remote, target, hear=lambda at: None, tell=print)


def _report(size: int, seconds: dict[str, list[float]]) -> None:
    for program, times in seconds.items():
        speeds = [size / s / 1e6 for s in times]
        print(f"{program:8} median {median(speeds):6.0f} MB/s  best {max(speeds):6.0f} MB/s")
    pairs = zip(seconds["curl"], seconds["hakaru"], strict=True)
    print(f"hakaru / curl, median of the rounds: {median(c / h for c, h in pairs):.2f}")
    print(f"hakaru / curl, best of each: {min(seconds['curl']) / min(seconds['hakaru']):.2f}")


def serve(name: str) -> None:
    """Serve one file at a free port, which is printed, until the process is killed."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_answer, args=(connection, Path(name)), daemon=True).start()


def _answer(connection: socket.socket, path: Path) -> None:
    with connection, path.open("rb") as file:
        asked = connection.recv(2**16)
        size = path.stat().st_size
        span = re.search(rb"[Rr]ange: bytes=(\d+)-", asked)
        start = int(span[1]) if span else 0
        head = f"HTTP/1.1 {206 if span else 200} OK\r\nContent-Length: {size - start}\r\n"
        head += f"Content-Range: bytes {start}-{size - 1}/{size}\r\n" if span else ""
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        while start < size:
            sent = os.sendfile(connection.fileno(), file.fileno(), start, size - start)
            if not sent:
                return
            start += sent


if __name__ == "__main__":
    if shutil.which("curl") is None:
        raise SystemExit("curl is needed, to measure beside it.")
    main()
