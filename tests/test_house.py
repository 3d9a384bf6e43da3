"""The rules of the house, read from the source itself."""

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "hakaru"
FLOORS = (
    {"errors", "language", "units", "places", "pool", "signals", "text_files", "trust"},
    {"formats"},
    {"models", "hardware"},
    {"memory", "clusters"},
    {"ledger"},
    {"engine"},
    {"session", "servers"},
    {"planning", "vllm"},
    {"evaluation"},
    {"quantization", "serving", "conformance", "deploying"},
    {"pulling"},
    {"choosing"},
    {"selection"},
    {"pictures"},
    {"cli", "web"},
)
NOT_PURE = {
    "planning/at_hand.py",
    "planning/checkup.py",
    "planning/fit.py",
    "planning/fit_at.py",
    "planning/dry_run.py",
    "planning/learned.py",
    "planning/extras.py",
    "planning/placed.py",
    "planning/predicted_here.py",
    "planning/timed_here.py",
    "vllm/vllm_fit.py",
}  # ledger, engine, a file
PURE = (
    "memory", "planning", "vllm", "evaluation/tiers.py", "evaluation/sequences.py",
    "evaluation/judgement.py", "quantization/hull.py", "quantization/file_bytes.py",
    "quantization/pins.py", "quantization/groups.py", "quantization/knapsack.py",
    "quantization/allocate.py", "quantization/prior.py", "quantization/probes.py",
    "quantization/sensitivity.py", "quantization/prediction.py",
)  # fmt: skip
IMPURE_MODULES = {
    "os",
    "sys",
    "time",
    "pathlib",
    "subprocess",
    "socket",
    "threading",
    "tempfile",
    "sqlite3",
    "httpx",
    "psutil",
}
PURE_BY_VALUE = {"choosing/candidate.py": {"pathlib"}}  # a Path is named there, never opened


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> set[str]:
    """Every module that the file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | (
                {f"hakaru.{alias.name}" for alias in node.names}
                if node.module == "hakaru"
                else set()
            )
    return found


FILES = sorted(
    p
    for p in SOURCE.rglob("*.py")
    if p.name not in {"testing.py", "__main__.py"} and p != SOURCE / "__init__.py"
)


def test_nobody_imports_upward_or_sideways_into_a_face() -> None:
    """Data flows down the page: a room imports itself and lower floors; rooms of one floor import
    each other only where noted.
    """
    floor = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
    for path in FILES:
        here = room_of(path)
        for module in imports(path):
            parts = module.split(".")
            if parts[0] == "hakaru" and len(parts) > 1 and parts[1] in floor and parts[1] != here:
                assert floor[parts[1]] <= floor[here], (
                    f"{path} imports {parts[1]}, which stands above it"
                )
                assert here not in {"cli", "web"} or parts[1] not in {"cli", "web"}, (
                    f"{path}: the faces do not know each other"
                )


def test_the_product_needs_nothing_of_the_tests() -> None:
    """`hakaru.testing` needs a package that only developers have."""
    assert [path for path in FILES if "hakaru.testing" in imports(path)] == []


def test_rooms_have_no_import_cycle() -> None:
    """Between rooms the imports form a directed acyclic graph."""
    graph: dict[str, set[str]] = {}
    for path in FILES:
        targets = {
            m.split(".")[1]
            for m in imports(path)
            if m.startswith("hakaru.") and len(m.split(".")) > 1
        }
        graph.setdefault(room_of(path), set()).update(targets - {room_of(path)})
    graph["errors"].discard("language")  # errors speak, and language reads no error

    def visit(room: str, trail: tuple[str, ...]) -> None:
        assert room not in trail, f"a cycle: {' -> '.join((*trail, room))}"
        for target in graph.get(room, ()):
            visit(target, (*trail, room))

    for room in graph:
        visit(room, ())


def is_pure(path: Path) -> bool:
    """By the list above, or by the word of the file's own docstring."""
    told = ast.get_docstring(tree_of(path)) or ""
    name = str(path.relative_to(SOURCE))
    return (name.startswith(PURE) and name not in NOT_PURE) or re.search(
        r"\bPure\b", told
    ) is not None


def test_pure_rooms_touch_no_world() -> None:
    """What calls itself pure takes values and returns values."""
    for path in filter(is_pure, FILES):
        allowed = PURE_BY_VALUE.get(str(path.relative_to(SOURCE)), set())
        touched = {m.split(".")[0] for m in imports(path)} & IMPURE_MODULES - allowed
        assert not touched, path


HALVES: Final = {
    "comparison": "of several models, and its text",
    "gemma": "tensors of a family, and the graphs that only it has",
    "presets": "llama.cpp's, and their mixtures",
    "probes": "which are made, and the child that makes them",
    "projector": "the estimate, and the engine's own figure",
    "recurrent": "the tensors of layers with a state, and their graph",
    "speed": "predicted from published figures, and measured through the server",
}
"""File names that stand twice because both files are parts of one thing, with these parts."""


def test_one_file_name_means_one_thing() -> None:
    """A file name stands once, but for the name of a command, which its function, its options and
    its text share, and for the halves of one thing.
    """
    times = Counter(path.stem for path in FILES if path.stem != "__init__")
    commands = {path.stem for path in FILES if path.parent.name == "commands"}
    assert {name for name, n in times.items() if n > 1} - commands == HALVES.keys()


def test_only_the_engine_knows_llama_cpp() -> None:
    """llama.cpp's bindings are imported in the engine room and nowhere else."""
    for path in FILES:
        named = {m.split(".")[0] for m in imports(path)} & {"xllamacpp"}
        assert not named or room_of(path) == "engine", path


HEAVY: Final = {
    "numpy", "scipy", "httpx", "huggingface_hub", "gguf", "xllamacpp", "starlette", "jinja2",
}  # fmt: skip
"""Libraries that take 30 ms or more to import."""


def loaded_by(arguments: list[str], libraries: set[str]) -> set[str]:
    """The `libraries` that `hakaru` imports when it runs with `arguments`, which must succeed."""
    code = (
        "import json, os, sys; from hakaru.cli import run; code = run(sys.argv[1:]); "
        "os.write(2, json.dumps([code, sorted(sys.modules)]).encode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    code_and_modules = done.stderr.splitlines()[-1]
    exit_code, modules = json.loads(code_and_modules)
    assert exit_code == 0, done.stderr
    return libraries & set(modules)


@pytest.mark.parametrize("arguments", [["--help"], ["formula", "--params", "70B", "--bits", "4"]])
def test_quick_commands_import_no_heavy_library(arguments: list[str]) -> None:
    """`--help` and `formula` start fast because they load nothing heavy."""
    assert loaded_by(arguments, HEAVY | {"rich", "tomllib"}) == set()


@pytest.mark.parametrize("verb", ["fit", "show"])
def test_questions_about_a_model_import_no_heavy_library(verb: str, tiny: Path) -> None:
    """`fit` and `show` answer fast, for a name of the catalogue as for a file: nothing but the
    tables' library is loaded. The dry run is a child, so that its libraries do not count.
    """
    source = ["--source", "computed"] if verb == "fit" else []
    for model in ("smollm2-135m-instruct", str(tiny)):
        assert loaded_by([verb, model, *source], HEAVY) == set()


def test_a_search_imports_no_heavy_library() -> None:
    """`choose` answers in well under a second, over the whole catalogue."""
    arguments = ["choose", "--hardware", "RTX 3060 12GB + 32GiB RAM"]
    assert loaded_by(arguments, HEAVY | {"rich", "tomllib"}) == set()


@pytest.mark.engine
def test_a_dry_run_imports_no_heavy_library(tiny: Path) -> None:
    """`fit` with the engine's own figures loads nothing heavier than `fit` without them."""
    assert loaded_by(["fit", str(tiny)], HEAVY) == set()


@pytest.mark.parametrize(
    "path", [p for p in FILES if room_of(p) == "cli"], ids=lambda p: str(p.relative_to(SOURCE))
)
def test_no_command_takes_a_bag_of_options(path: Path) -> None:
    """Options are one value with named fields, so that mypy sees a misspelt one."""
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef)]
    bags = [
        f.name
        for f in functions
        if (bag := f.args.kwarg) and bag.annotation and ast.unparse(bag.annotation) == "Any"
    ]
    assert bags == []


LONGEST: Final = {"function": 60, "class": 150}


def too_long() -> Iterator[str]:
    """The functions and classes with more lines than LONGEST allows, by their names."""
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                kind = "class" if isinstance(node, ast.ClassDef) else "function"
                if (node.end_lineno or 0) - node.lineno >= LONGEST[kind]:
                    yield f"{path.relative_to(SOURCE).with_suffix('')}:{node.name}"


def test_a_function_is_one_thought_and_a_class_one_idea() -> None:
    """No function has more than 60 lines, no class more than 150."""
    assert list(too_long()) == []


LEAST_TABLE: Final = 5


def is_table(node: ast.AST) -> bool:
    """Whether a display or a record of keyword fields inside has at least LEAST_TABLE entries."""
    sizes = (
        len(part.keys)
        if isinstance(part, ast.Dict)
        else len(part.elts)
        if isinstance(part, ast.List | ast.Tuple | ast.Set)
        else len(part.keywords)
        if isinstance(part, ast.Call)
        else 0
        for part in ast.walk(node)
    )
    return any(size >= LEAST_TABLE for size in sizes)


ROOT = SOURCE.parent.parent
PYTHON = sorted(
    p for part in ("src", "tests", "benchmarks", "scripts") for p in ROOT.glob(f"{part}/**/*.py")
)


def test_only_tables_keep_their_own_layout() -> None:
    """Everything else is laid out by the formatter."""
    for path in PYTHON:
        lines = path.read_text(encoding="utf-8").split("\n")
        kept = {n for n, line in enumerate(lines, start=1) if line.endswith("# fmt: skip")}
        ending = (
            node
            for node in (ast.walk(tree_of(path)) if kept else ())
            if isinstance(node, ast.stmt | ast.expr) and node.end_lineno in kept
        )
        assert kept == {node.end_lineno for node in ending if is_table(node)}, path


def test_the_repository_names_no_machine_of_ours() -> None:
    """No path of a developer's machine stands in source, tests or documents."""
    root = SOURCE.parent.parent
    pattern = re.compile(r"(^|[^\w.])/(work|root|farm)/")
    for path in [
        *root.glob("*.md"),
        *root.glob("docs/**/*.md"),
        *root.glob("src/**/*.py"),
        *root.glob("scripts/*"),
    ]:
        if path.is_file():
            assert not pattern.search(path.read_text(encoding="utf-8")), path
