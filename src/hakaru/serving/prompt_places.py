"""Which backend a prompt goes to: the one that is least busy, or the one that has the beginning of
the prompt in its cache already.

A conversation is sent whole with every turn, and a server that has seen the turns before reads the
new one alone. So the beginnings of what was sent are remembered, as numbers: a chain of hashes,
one for every kilobyte and every message. A prompt that begins like an earlier one for at least half
of its length goes where that went, unless there it would find clearly more to do than elsewhere.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

BLOCK: Final = 1024
"""Bytes between two places at which two prompts may be told to begin alike."""
MOST_BLOCKS: Final = 4096
"""Of one prompt; what comes behind is not told apart."""
REMEMBERED: Final = 2**16
"""Beginnings that are remembered: some megabytes."""
LEAST: Final = 256
"""Bytes of a beginning for which it pays to go where it is known."""
PART: Final = 0.5
"""Of a prompt that must be known: what many begin with, such as a system prompt, soon lies
everywhere, and should not draw all of them to one backend.
"""
CLEARLY: Final = 0.5
"""By how much of its slots a backend must be busier to be left although it knows the beginning."""


_ABSENT: Final = Raw(b"null")


class _Prompt(Struct):
    """A request of any interface, as far as it is a prompt, in the order in which models read."""

    tools: Raw = _ABSENT
    system: Raw = _ABSENT
    instructions: Raw = _ABSENT
    messages: Raw = _ABSENT
    prompt: Raw = _ABSENT
    input: Raw = _ABSENT


class Beginning(Struct, frozen=True):
    """The head of a prompt."""

    hash: int
    n_bytes: int


class Load(Struct, frozen=True):
    """What a backend that may be asked has to do."""

    name: str
    n_in_flight: int
    n_slots: int
    n_asked: int  # since it was first seen

    @property
    def part(self) -> float:
        """Of its slots."""
        return self.n_in_flight / self.n_slots


def beginnings_of(model: str | None, body: bytes) -> list[Beginning]:
    """The beginnings of the prompt in `body`, the shortest first; none where there is no prompt."""
    try:
        prompt = _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return []
    found, number, n_bytes = list[Beginning](), hash(model), 0
    for part in _parts(prompt):
        for begin in range(0, len(part), BLOCK):
            block = part[begin : begin + BLOCK]
            number, n_bytes = hash((number, block)), n_bytes + len(block)
            found.append(Beginning(number, n_bytes))
            if len(found) == MOST_BLOCKS:
                return found
    return found


_DECODER: Final = msgspec.json.Decoder(_Prompt)


def _parts(prompt: _Prompt) -> Iterator[bytes]:
    """The parts as they stand in the request. A text that goes on has another last block."""
    for value in (
        prompt.tools, prompt.system, prompt.instructions,
        prompt.messages, prompt.prompt, prompt.input,
    ):  # fmt: skip
        if (text := bytes(value)).startswith(b"["):
            yield from map(bytes, msgspec.json.decode(text, type=list[Raw]))
        elif text != b"null":
            yield text


class PromptPlaces:
    """Where beginnings went last."""

    def __init__(self) -> None:
        self._places: OrderedDict[int, str] = OrderedDict()

    def known(self, beginnings: Sequence[Beginning]) -> str | None:
        """The backend that knows the longest beginning; None where that is too short to matter."""
        for beginning in reversed(beginnings):
            if beginning.n_bytes < max(LEAST, PART * beginnings[-1].n_bytes):
                return None
            if place := self._places.get(beginning.hash):
                return place
        return None

    def remember(self, beginnings: Sequence[Beginning], backend: str) -> None:
        """Keep that they go to `backend` now."""
        for beginning in beginnings:
            self._places[beginning.hash] = backend
            self._places.move_to_end(beginning.hash)
        while len(self._places) > REMEMBERED:
            self._places.popitem(last=False)


def chosen(loads: Sequence[Load], knows: str | None) -> str:
    """The backend to ask, of those that may be asked: the one that `knows`, unless it is clearly
    busier than the least busy one, which is taken else; of equals the one that was asked least.
    """
    least = min(loads, key=lambda load: (load.part, load.n_asked))
    for load in loads:
        if load.name == knows and load.part <= least.part + CLEARLY:
            return load.name
    return least.name
