"""A race between real models to its end: SmolLM2, and the same with noise in its weights, on short
tasks of which the first solves nearly all.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_racing import answers_kept

from hakaru.formats.gguf import read_header
from hakaru.models.catalogue import known_models
from hakaru.models.sources.catalogue_entry import add_model
from loopback import Loopback

RACE = """
import sys
from hakaru.evaluation import speed
speed.RETRIES = 0  # on a busy machine it is measured as it is
from hakaru.cli import run
sys.exit(run(["choose", "--memory", "260MiB", "--context", "1024", "--json", *sys.argv[1:]]))
"""
NOISE = 0.45  # of the scales of blocks, as a part of them: with it nothing is solved
MODEL = "smollm2-135m-instruct"
OPPOSITES = (
    "hot cold,big small,fast slow,happy sad,early late,young old,open closed,wet dry,loud quiet,"
    "hard soft"
)
CAPITALS = "Japan Tokyo,Egypt Cairo,Germany Berlin,Greece Athens,Russia Moscow,China Beijing"


def tasks(path: Path) -> Path:
    """Sixteen, all of which SmolLM2 solved in Q4_1 with the pinned engine."""
    asked = [
        *(
            (f"What is the opposite of '{a}'? Answer with one word.", b)
            for a, b in pairs(OPPOSITES)
        ),
        *((f"What is the capital of {a}?", b) for a, b in pairs(CAPITALS)),
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


def pairs(text: str) -> list[list[str]]:
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


@pytest.fixture
def place(hub: Loopback, tmp_path: Path, embedded: Path) -> Loopback:
    """A hub with the model of the catalogue, and the noisy one as an entry of the person's own."""
    (model,) = (model for model in known_models() if model.id == MODEL)
    hub.add_repository(model.gguf_repos[0], {f"{MODEL}-Q4_1.gguf": embedded}, hashes=True)
    noisy = with_noise(embedded, tmp_path / "noisy-Q4_1.gguf")
    hub.add_repository("org/noisy-GGUF", {noisy.name: noisy}, hashes=True)
    add_model("hf:org/noisy-GGUF", "2026-11-30")
    return hub


def ran(hub: Loopback, *options: str) -> dict[str, Any]:
    """What `hakaru choose --json` prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", RACE, *options],
        env=os.environ | {"HF_ENDPOINT": hub.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    return data


@pytest.mark.engine
@pytest.mark.alone  # for both processors
def test_the_model_that_solves_tasks_wins_and_the_noisy_one_is_stopped(
    place: Loopback, tmp_path: Path
) -> None:
    """It ends by one winner, fetches and asks nothing the second time, and is shown later."""
    short = "--prompt-tokens", "32"  # so that a busy machine, too, is fast enough
    race = *short, "--race", "--yes", "--tasks", str(tasks(tmp_path / "tasks.jsonl"))
    first = ran(place, *race)["race"]
    winner, noisy = first["racers"]
    assert (winner["model"], winner["type"], noisy["model"]) == (MODEL, "Q4_1", "noisy")
    assert winner["n"] == 16 and winner["right"] >= 12 and not winner["stopped"]
    assert noisy["stopped"] and noisy["n"] < 16 and noisy["right"] <= 1
    assert first["pairs"][0]["verdict"] == "worse"
    assert first["recommended"] == {"model": MODEL, "type": "Q4_1"}
    data = Path(os.environ["XDG_DATA_HOME"])
    kept, sent = answers_kept(data), place.sent_bytes
    assert kept == 16 + noisy["n"] and sent > 2 * 90 * 2**20
    again = ran(place, *race)["race"]
    assert [racer["right"] for racer in again["racers"]] == [winner["right"], noisy["right"]]
    assert answers_kept(data) == kept and place.sent_bytes - sent < 2**20
    later = {row["model"]: row["quality"] for row in ran(place)["rows"]}
    assert {"right": noisy["right"], "n": noisy["n"]}.items() <= later["noisy"][0].items()
