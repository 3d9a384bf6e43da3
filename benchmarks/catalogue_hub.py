"""Our catalogue as a Hugging Face Hub on the loopback interface, for peers that only ask a Hub.

It answers `/api/models` with the models and their GGUF repositories, with the facts that peers
read: numbers of parameters, files of the types that we have and their bytes, downloads in our
order. It serves no file. Run alone it does nothing.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from hakaru.models.catalogue import KnownModel, known_models
from hakaru.selection.catalogue_sizes import sized, types_of

LISTED = "/api/models"


def rows() -> list[dict[str, Any]]:
    """What the Hub says of each model and of its first GGUF repository."""
    return [row for i, model in enumerate(known_models()) for row in _rows_of(model, i)]


def _rows_of(model: KnownModel, place: int) -> Iterator[dict[str, Any]]:
    common = {
        "downloads": 10**6 - 1000 * place, "likes": 1000 - place, "pipeline_tag": "text-generation",
        "createdAt": f"{model.released or '2025-01'}-01T00:00:00.000Z", "gated": bool(model.gated),
        "lastModified": "2026-11-01T00:00:00.000Z",
    }  # fmt: skip
    card = {"license": (model.license or "other").lower()}
    yield common | {
        "id": model.hf_repo, "tags": ["text-generation"], "cardData": card,
        "safetensors": {"total": model.n_params, "parameters": {"BF16": model.n_params}},
        "config": {"model_type": model.architecture},
        "siblings": [{"rfilename": "model.safetensors"}],
    }  # fmt: skip
    n_ctx = model.hyperparameters.get("context_length", 4096)
    for repo in model.gguf_repos[:1]:
        yield common | {
            "id": repo, "tags": ["gguf", "text-generation", f"base_model:{model.hf_repo}"],
            "cardData": card | {"base_model": model.hf_repo},
            "gguf": {"total": model.n_params, "architecture": model.architecture,
                "context_length": n_ctx},
            "siblings": [
                {"rfilename": f"{model.name}-{type_}.gguf", "size": sized(model, type_).file_bytes}
                for type_ in types_of(model)
            ],
        }  # fmt: skip


@contextmanager
def catalogue_hub() -> Iterator[str]:
    """The address of the Hub, until the block ends."""
    listed = rows()
    by_id = {row["id"]: row for row in listed}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class names it so
            """Quiet."""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            answer: Any = by_id.get(unquote(url.path.removeprefix(f"{LISTED}/")))
            if url.path == LISTED:
                query = dict(parse_qsl(url.query))
                is_text = query.get("pipeline_tag", "text-generation") == "text-generation"
                tag = query.get("filter", "text-generation")
                answer = [row for row in listed if is_text and tag in row["tags"]]
                answer = answer[: int(query.get("limit", 100))]
            body = json.dumps(answer).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
