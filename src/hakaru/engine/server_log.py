"""What a server process says: its last lines, and what it told of itself while it started."""

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO, Final

from hakaru.engine.log import (
    accelerator_bytes,
    backend_of_log,
    buffer_bytes,
    checkpoint_of,
    device_bytes,
    last_words,
)
from hakaru.engine.process import KEPT_LINES
from hakaru.engine.without_requests import without_requests
from hakaru.memory.footprint import Footprint

LOG_WITHIN_S: Final = 5.0
_TEMPLATE_ERRORS: Final = (
    re.compile(r"chat template parsing error: (.*)"),
    re.compile(r"common_chat_templates_init: error: (.*)"),  # while a program reads its options
)
_NO_GUESSES: Final = re.compile(
    r"(failed to initialize speculative decoding context: .*|speculative decoding not supported.*)"
)
_N_CTX: Final = re.compile(r"n_slots = (\d+), n_ctx_slot = (\d+)(?:, kv_unified = '(\w+)')?")
_CACHE: Final = re.compile(r"llama_kv_cache: size =.* K \((\w+)\):.* V \((\w+)\)")
_CACHE_RAM: Final = re.compile(r"prompt cache is enabled, size limit: (.+)")
_NO_CACHE_RAM: Final = "prompt cache is disabled"
_OFFLOADED: Final = re.compile(r"offloaded (\d+)/\d+ layers to GPU")


class ServerLog:
    """The log of one server process, collected by a thread of its own. `on_line` hears each line
    that is kept.
    """

    def __init__(self, on_line: Callable[[str], None] = lambda line: None) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._hears_requests = False
        self._on_line = on_line
        self._start: list[str] = []  # the lines until the server was ready
        self._news = threading.Event()
        self._checkpoints: dict[int, int] = {}  # bytes by slot, at most
        self._listener: threading.Thread | None = None

    def listen(self, stream: IO[str]) -> None:
        """Collect what the process writes to `stream`, until it ends."""
        self._listener = threading.Thread(target=self._collect, args=(stream,), daemon=True)
        self._listener.start()

    def wait_for_end(self, within_s: float) -> None:
        """Wait for the last words of a process that has ended."""
        if self._listener:
            self._listener.join(timeout=within_s)

    def wait_for_start(self) -> None:
        """Wait until everything is here that the process said while it started. From then on no
        line is kept that may quote a request.

        The log may come after the process's `ready`. Its last line of interest is that of the
        slots; for a build without this line the wait ends after LOG_WITHIN_S.
        """
        until = time.monotonic() + LOG_WITHIN_S
        while True:
            self._news.clear()
            self._start = list(self.lines)
            if self.context_per_slot() is not None or time.monotonic() > until:
                self._hears_requests = True
                return
            self._news.wait(until - time.monotonic())

    def last_words(self) -> str:
        """What the process said last."""
        return last_words(list(self.lines))

    def template_error(self) -> str | None:
        """Why the chat template cannot be used; None if nothing was said of it."""
        matches = (e.search(line) for e in _TEMPLATE_ERRORS for line in self.lines)
        return next((match[1] for match in matches if match), None)

    def why_no_guesses(self) -> str:
        """Why nothing is guessed ahead, in the engine's words."""
        matches = (_NO_GUESSES.search(line) for line in reversed(self.lines))
        return next((match[1] for match in matches if match), self.last_words())

    def footprint(self) -> Footprint:
        """The buffers that the process really allocated (to 0.01 MiB each)."""
        sizes = buffer_bytes(self._start)
        return Footprint(
            weights_bytes=sizes["model"],
            kv_cache_bytes=sizes["KV"],
            compute_bytes=sizes["compute"],
            output_bytes=sizes["output"],
            source="measured",
        )

    def accelerator_bytes(self) -> int:
        """How much of its buffers the process has on accelerators."""
        return accelerator_bytes(self._start)

    def backend(self) -> str:
        """What runs the model: `cpu`, or the engine's name for its accelerators, such as CUDA."""
        return backend_of_log(self._start)

    def context_per_slot(self) -> int | None:
        """Tokens that one conversation really has."""
        return next((int(m[2]) for line in self._start if (m := _N_CTX.search(line))), None)

    def n_slots(self) -> int | None:
        """Conversations at the same time."""
        return next((int(m[1]) for line in self._start if (m := _N_CTX.search(line))), None)

    def kv_unified(self) -> bool | None:
        """Whether the conversations share one pool of cells."""
        told = next((m[3] for line in self._start if (m := _N_CTX.search(line))), None)
        return told == "true" if told else None

    def cache_types(self) -> list[tuple[str, str]]:
        """The types of keys and values of every KV cache, a draft's among them."""
        return [(m[1], m[2]) for line in self._start if (m := _CACHE.search(line))]

    def cache_ram(self) -> str | None:
        """What prompts that no slot holds may take of the RAM, such as `64 MiB`."""
        if any(_NO_CACHE_RAM in line for line in self._start):
            return "0 MiB"
        return next((m[1] for line in self._start if (m := _CACHE_RAM.search(line))), None)

    def n_offloaded(self) -> list[int]:
        """Layers on accelerators, the output counted, of every model that was loaded; empty for a
        build without accelerators.
        """
        return [int(m[1]) for line in self._start if (m := _OFFLOADED.search(line))]

    def lying_bytes(self) -> dict[str, int]:
        """Weights and KV cache by accelerator, in the engine's order."""
        return device_bytes(self._start)

    def grown_bytes(self) -> int:
        """What the process has kept in context checkpoints so far, at most (to 0.001 MiB each)."""
        return sum(self._checkpoints.values())

    def _collect(self, stream: IO[str]) -> None:
        for line in stream:
            kept: str | None = line.rstrip("\n")
            if kept is not None and self._hears_requests:
                kept = without_requests(kept)
            if kept is not None:
                self.lines.append(kept)
                self._news.set()
                self._on_line(kept)
            if made := checkpoint_of(line):
                slot, n_bytes = made
                self._checkpoints[slot] = max(n_bytes, self._checkpoints.get(slot, 0))
