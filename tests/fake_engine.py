"""A program that stands for the engine's server: it answers on its socket by what it is asked, in
no time, and holds no model. `python fake_engine.py '{"socket": …, "n_ctx": …, "dies": …}'`.

A prompt `slow 3` is answered after three seconds; a stream of it gives a token at once.
"""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """What every engine answers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send({"data": [], "chat_template_caps": {}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = str(body.get("prompt", ""))
        wait = float(prompt.removeprefix("slow ")) if prompt.startswith("slow ") else 0.0
        if body.get("stream"):
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in (_event(body), b"data: [DONE]\n\n"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
                time.sleep(wait)
            self.wfile.write(b"0\r\n\r\n")
            return
        time.sleep(wait)
        self._send({"model": ASKED["alias"], "choices": [{"text": prompt}]})

    def _send(self, answer: Any) -> None:
        raw = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _event(body: Any) -> bytes:
    """The only event of a stream: in a chat the model says who it is."""
    delta = {"role": "assistant", "content": f"I am {ASKED['alias']}."}
    told = {"choices": [{"index": 0, "delta": delta}]} if "messages" in body else {}
    return f"data: {json.dumps(told)}\n\n".encode()


class Server(ThreadingMixIn, UnixStreamServer):
    """One thread for each request."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A client that left."""


ASKED = json.loads(sys.argv[1])

if __name__ == "__main__":
    if os.path.exists(ASKED["dies"]):
        with open(ASKED["dies"], encoding="utf-8") as file:
            if file.read() == "once":
                os.unlink(ASKED["dies"])
        print("ggml_backend_cpu: failed to allocate buffer", file=sys.stderr)
        sys.exit(1)
    n, each = ASKED["n_parallel"], ASKED["n_ctx_slot"]
    print(
        f"srv load_model: initializing slots, n_slots = {n}, n_ctx_slot = {each}", file=sys.stderr
    )
    with Server(ASKED["socket"], Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        time.sleep(ASKED["loads_s"])
        print("ready", flush=True)
        sys.stdin.read()
