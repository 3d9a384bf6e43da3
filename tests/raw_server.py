"""A server that says byte by byte what a test wants, over TLS or without, and a certificate for it
by an authority of its own.
"""

import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Say = Callable[[str, bytes], bytes]
"""What is answered to a head and a body."""


class RawServer:
    """The server; `heads` are those that it was asked with."""

    def __init__(self, say: Say, host: str, tls: ssl.SSLContext | None) -> None:
        self.heads: list[str] = []
        heads = self.heads

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        if not (line := self.rfile.readline()):
                            return
                        head += line
                    text = head.decode()
                    length = int(text.lower().partition("content-length: ")[2].partition("\r")[0])
                    heads.append(text)
                    self.wfile.write(say(text, self.rfile.read(length)))

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads = True, True
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def get_request(self) -> tuple[socket.socket, object]:
                connection, address = super().get_request()
                if tls:
                    connection = tls.wrap_socket(connection, server_side=True)
                return connection, address

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that does not like the certificate is none of its faults."""

        self.server = Server((host, 0), Handler)
        self.port: int = self.server.server_address[1]


@contextmanager
def raw_server(
    say: Say, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[RawServer]:
    """A server that answers until the block ends."""
    made = RawServer(say, host, tls)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join(5)


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for an IP address or host, which is its own authority, and what serves it."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    kind = "IP" if name[0].isdigit() else "DNS"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += [
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
        "-addext",
        f"subjectAltName={kind}:{name}",
    ]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context
