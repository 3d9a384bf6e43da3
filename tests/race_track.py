"""What a race needs in tests: a hub with tiny models, and racers whose skill is made up; or with a
real model and the same one with noise in its weights, and tasks of which it solves none.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from hakaru.errors import EngineDied
from hakaru.evaluation.grading import Graded
from hakaru.evaluation.speed import Speed
from hakaru.evaluation.tasks import Item
from hakaru.evaluation.timing import Timing
from hakaru.evaluation.trial import Trial
from hakaru.formats.gguf import read_header
from hakaru.memory.footprint import Footprint
from hakaru.models.catalogue import known_models
from hakaru.models.model import Model
from hakaru.models.sources.catalogue_entry import add_model
from hakaru.selection import racing
from hakaru.selection.chosen import Chosen
from hakaru.selection.finish import Race
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama
from hakaru.units import Figure, size_in_bytes
from loopback import Loopback

NAMES = ("tiny-a", "tiny-b", "tiny-c")
ONLY_TINY = "160MiB"
"""So little memory that no model that comes with hakaru fits."""
NOISE = 0.45  # of the scales of blocks, as a part of them: with it nothing is solved
MODEL = "smollm2-135m-instruct"
OPPOSITES = (
    "hot cold,big small,fast slow,happy sad,early late,young old,open closed,wet dry,loud quiet,"
    "hard soft"
)
CAPITALS = "Japan Tokyo,Egypt Cairo,Germany Berlin,Greece Athens,Russia Moscow,China Beijing"


def with_tiny_models(hub: Loopback, folder: Path) -> Loopback:
    """A hub with three whole models, which are entries of the person's own."""
    for seed, name in enumerate(NAMES):
        file = write_tiny_llama(
            folder / f"{name}-Q8_0.gguf", tiny_shape(n_ctx_train=8192), seed=seed
        )
        hub.add_repository(f"org/{name}-GGUF", {file.name: file}, hashes=True)
        add_model(f"hf:org/{name}-GGUF", "2026-11-30")
    return hub


def short_tasks(path: Path) -> Path:
    """Sixteen, all of which SmolLM2 solved in Q4_1 with the pinned engine."""
    asked = [
        *(
            (f"What is the opposite of '{a}'? Answer with one word.", b)
            for a, b in _pairs(OPPOSITES)
        ),
        *((f"What is the capital of {a}?", b) for a, b in _pairs(CAPITALS)),
    ]
    lines = (
        {
            "id": str(i),
            "prompt": prompt,
            "max_tokens": 16,
            "check": {"type": "contains", "answer": answer},
        }
        for i, (prompt, answer) in enumerate(asked)
    )
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def _pairs(text: str) -> list[list[str]]:
    return [pair.split() for pair in text.split(",")]


def with_noise(source: Path, out: Path) -> Path:
    """A copy of a model in Q4_1 whose blocks have other scales and offsets."""
    shutil.copyfile(source, out)
    header, random = read_header(source), np.random.default_rng(1)
    weights = np.memmap(out, mode="r+")
    for tensor in header.tensors:
        if tensor.type.name == "Q4_1" and tensor.name.startswith("blk."):
            start = header.data_offset + tensor.offset
            blocks = weights[start : start + tensor.n_bytes].reshape(-1, 20)
            scales = blocks[:, :4].copy().view(np.float16)
            scales *= (1 + NOISE * random.standard_normal((len(scales), 1))).astype(np.float16)
            blocks[:, :4] = scales.view(np.uint8).reshape(-1, 4)
    weights.flush()
    return out


def with_real_models(hub: Loopback, folder: Path, embedded: Path) -> Loopback:
    """A hub with the model of the catalogue, and the noisy one as an entry of the person's own."""
    (model,) = (model for model in known_models() if model.id == MODEL)
    hub.add_repository(model.gguf_repos[0], {f"{MODEL}-Q4_1.gguf": embedded}, hashes=True)
    noisy = with_noise(embedded, folder / "noisy-Q4_1.gguf")
    hub.add_repository("org/noisy-GGUF", {noisy.name: noisy}, hashes=True)
    add_model("hf:org/noisy-GGUF", "2026-11-30")
    return hub


def raced(chosen: Chosen, session: Session, **named: Any) -> Race:
    """A race in ONLY_TINY of memory, which takes place."""
    race = racing.race(chosen, memory=size_in_bytes(ONLY_TINY), session=session, **named)
    assert race
    return race


class Engine:
    """In the place of the engine: racers that solve the first so many tasks, at so many tokens/s.
    One that is not named dies.
    """

    def __init__(self, **racers: tuple[int, float]) -> None:
        self.racers, self.asked = racers, list[str]()

    def trial(self, model: Model, settings: object, **_: object) -> Trial:
        name = self._racer(model)
        decode = Figure(value=self.racers[name][1], unit="tokens/s", source="measured")
        memory = Footprint(
            weights_bytes=1, kv_cache_bytes=1, compute_bytes=1, output_bytes=1, source="measured"
        )
        speed = Speed(
            decode_tokens_per_s=decode, prefill_tokens_per_s=replace(decode, value=1000.0),
            first_token_ms=decode, n_prompt=1, n_predict=1, repeats=1,
        )  # fmt: skip
        return Trial(speed=speed, memory=memory, peak_rss_bytes=None)

    def each_answer(
        self, session: Session, model: Model, items: Sequence[Item], *_: object, **named: object
    ) -> Iterator[Graded]:
        assert named["thinks"] is False
        name = self._racer(model)
        for i, item in enumerate(items):
            self.asked.append(name)
            yield Graded(item=item, answer="x", right=i < self.racers[name][0])

    def _racer(self, model: Model) -> str:
        name = model.path.name.rpartition("-")[0].replace("-", "_")
        if name not in self.racers:
            raise EngineDied("{path}: the engine died.", log=[], path=model.path)
        return name


def engine_of(monkeypatch: pytest.MonkeyPatch, **racers: tuple[int, float]) -> Engine:
    """Such an engine, which races have from now on."""
    engine = Engine(**racers)
    monkeypatch.setattr(Timing, "trial", lambda self, *args, **named: engine.trial(*args))
    monkeypatch.setattr(Timing, "deep", lambda self, *args: None)
    monkeypatch.setattr(racing, "each_answer", engine.each_answer)
    return engine
