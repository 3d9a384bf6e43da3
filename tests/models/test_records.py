"""What hakaru knows of an architecture stands in its record and nowhere else."""

import ast
from pathlib import Path

import pytest

from hakaru.models.architectures import ARCHITECTURES, Architecture, architecture
from hakaru.models.hf_classes import CLASSES

SOURCE = Path(__file__).parents[2] / "src" / "hakaru"
OTHER_MEANINGS = {
    "engine/first_token.py": "a tiny model",
    "engine/mode.py": "names of chat templates",
    "memory/projector.py": "names of projectors",
    "models/stored_quantization.py": "names of quantization methods",
    "models/towers.py": "names of projectors",
    "models/vocabulary.py": "names of tokenizers",
    "serving/limits.py": "names of tokenizers",
    "testing.py": "tiny models for tests",
}
PARTS = ("tensors", "caches", "graph", "hugging_face")


def files() -> list[Path]:
    """Every source file that is not a record's."""
    return sorted(
        path
        for path in SOURCE.rglob("*.py")
        if "models/architectures/" not in path.as_posix()
        and not path.relative_to(SOURCE).as_posix().startswith(tuple(OTHER_MEANINGS))
    )


def named_in(source: str) -> list[str]:
    """Strings of the source that are an architecture's name, and comparisons of one with a
    string.
    """
    tree = ast.parse(source)
    names = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value in ARCHITECTURES
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and ast.unparse(node.left).endswith("architecture"):
            names += [
                constant.value
                for other in node.comparators
                for constant in ast.walk(other)
                if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
            ]
    return names


def test_no_architecture_is_named_outside_the_records() -> None:
    """No list of names and no `if architecture == "..."`: everything else asks the record."""
    for path in files():
        assert named_in(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize(
    "source",
    [
        'LAYER_NORM = frozenset({"bert", "cohere2"})',
        'if shape.architecture == "gemma3n": pass',
        'x = 1 if m.architecture in {"not yet known", "mamba"} else 2',
    ],
)
def test_the_rule_sees_a_name(source: str) -> None:
    """The test above can fail."""
    assert named_in(source)


@pytest.mark.parametrize("record", ARCHITECTURES.values(), ids=lambda record: record.name)
def test_a_missing_part_has_its_reason(record: Architecture) -> None:
    """A part is there, or the record says why not; never both and never neither."""
    for part in PARTS:
        assert (getattr(record, part) is None) == bool(getattr(record, f"why_no_{part}")), part


def test_names_and_classes_are_used_once() -> None:
    """No record hides another one, and no class of Hugging Face means two architectures."""
    classes = [c for a in ARCHITECTURES.values() if a.hugging_face for c in a.hugging_face.classes]
    assert len(classes) == len(set(classes)) == len(CLASSES)
    assert all(name == record.name for name, record in ARCHITECTURES.items())


def test_an_architecture_that_nobody_wrote_down_has_no_parts() -> None:
    """And says so; its flags are off."""
    record = architecture("nosuch")
    assert (record.tensors, record.caches, record.hugging_face) == (None, None, None)
    assert record.why_no_tensors == "not written down yet; the engine's dry run answers"
    assert not record.has_states
