"""A race between real models to its end: SmolLM2, and the same with noise in its weights, on short
tasks of which the first solves nearly all.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_racing import answers_kept

from loopback import Loopback
from race_track import MODEL, short_tasks, with_real_models

RACE = """
import sys
from hakaru.evaluation import speed
speed.RETRIES = 0  # on a busy machine it is measured as it is
speed.N_PROMPT, speed.N_PREDICT = 16, 8  # in few tokens: every model is fast enough
from hakaru.cli import run
sys.exit(run(["choose", "--memory", "260MiB", "--context", "1024", "--json", *sys.argv[1:]]))
"""


@pytest.fixture
def place(hub: Loopback, tmp_path: Path, embedded: Path) -> Loopback:
    return with_real_models(hub, tmp_path, embedded)


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
def test_the_model_that_solves_tasks_wins_and_the_noisy_one_is_stopped(
    place: Loopback, tmp_path: Path
) -> None:
    """It ends by one winner, fetches and asks nothing the second time, and is shown later."""
    short = "--prompt-tokens", "32"  # so that a busy machine, too, is fast enough
    race = *short, "--race", "--yes", "--tasks", str(short_tasks(tmp_path / "tasks.jsonl"))
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
