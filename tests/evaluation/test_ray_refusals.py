"""What stands against a Ray cluster, each in one sentence. No cluster runs: a stand-in for Ray says
what Ray would.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

import hakaru
from hakaru.cli import run
from hakaru.engine.builds import server_build
from hakaru.engine.mode import Mode
from hakaru.errors import DoesNotFit, MachineError, Misuse, ModelNotFound
from hakaru.evaluation import over_ray
from hakaru.evaluation.on_node import NodeFacts, Refusal, answers_here, facts, has_files
from hakaru.evaluation.over_ray import RayCluster, check_ray
from hakaru.evaluation.spread import Job, JobFile
from hakaru.memory.settings import ContextSettings
from hakaru.session import Session

Sessions = Callable[..., Session]
GIB = 2**30
NATIVE = "xllamacpp 2026.10.11549 native-cpu+1f0c9a3e"


class RayError(Exception):
    """The base of all errors of Ray's."""


class Ray:
    """Says of each node what it has, and runs a function on none: its result is given."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, results: dict[str, object], **resources: float) -> None:
        self.results = results  # of a question, by the id of the node
        self.given = {"CPU": 4.0, "memory": 8.0 * GIB} | resources

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": id_, "Alive": True, "NodeManagerHostname": id_, "Resources": self.given}
            for id_ in self.results
        ]

    def remote(self, function: object) -> Any:
        return SimpleNamespace(options=lambda **named: self._on(named["label_selector"]))

    def _on(self, selector: dict[str, str]) -> Any:
        (where,) = selector.values()
        return SimpleNamespace(remote=lambda *_: self.results[where[3:-1]])

    def get(self, result: object, timeout: float | None = None) -> object:
        if isinstance(result, Exception):
            raise result
        return result

    def put(self, content: bytes) -> bytes:
        return content


HERE = facts()


def machines(session: Session, results: dict[str, object]) -> list[over_ray.RayMachine]:
    return over_ray._machines(Ray(results), session)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    return Job(
        who=0, sha256="x", files=(JobFile(path=str(file), bytes=4, sha256="x"),),
        settings=ContextSettings(n_ctx=256), mode=Mode(), thinks=True, items=(), places=(),
        memory_bytes=6 * GIB, n_accelerators=0, engine="x", language="en",
    )  # fmt: skip


def test_another_program_takes_no_part(session_with: Sessions) -> None:
    """Another hakaru, another engine, none at all: told with what was found and expected, and the
    others answer.
    """
    told = list[str]()
    found = machines(
        session_with(told=told),
        {
            "same": HERE,
            "old": replace(HERE, hakaru="0.0.9"),
            "native": replace(HERE, engine=NATIVE),
            "bare": RayError("No module named 'hakaru'"),
        },
    )
    assert [machine.id for machine in found] == ["same"] and len(told) == 3
    assert f"old takes no part: hakaru is 0.0.9 there and {hakaru.__version__} here" in told[0]
    assert (
        f"the engine is xllamacpp 2026.10.11549 native-cpu+1f0c9a3e there and {server_build()}"
        in (told[1])
    )
    assert f"bare takes no part: it has no hakaru {hakaru.__version__}" in told[2]


def test_where_nobody_takes_part_the_reasons_are_told(session_with: Sessions) -> None:
    """In one error; a head that gives no processor to jobs counts as nobody."""
    with pytest.raises(MachineError, match=r"can answer: old takes no part: hakaru is 0\.0\.9"):
        machines(session_with(), {"old": replace(HERE, hakaru="0.0.9")})
    with pytest.raises(MachineError, match="none gives a processor to jobs"):
        over_ray._machines(Ray({"head": HERE}, CPU=0.0), session_with())


def cluster(has_file: dict[str, bool], session: Session, **resources: float) -> RayCluster:
    found = over_ray._machines(Ray(dict.fromkeys(has_file, HERE), **resources), session)
    return RayCluster(Ray(dict(has_file)), found)


def test_a_job_runs_where_its_memory_and_its_file_are(job: Job, session_with: Sessions) -> None:
    """As many at a time as the memory allows, each with the processors of the smallest machine. A
    small file travels to whoever has it not, a large one does not.
    """
    both = cluster({"a": True, "b": False}, session_with())
    assert both.admit(job) == 2 and {m.id for m in both._able(job)} == {"a", "b"}
    assert cluster({"a": True}, session_with(), memory=64.0 * GIB).admit(job) == 1  # 4 processors
    large = replace(job, files=(replace(job.files[0], bytes=GIB),))
    one = cluster({"a": True, "b": False}, session_with())
    assert one.admit(large) == 1 and {m.id for m in one._able(large)} == {"a"}
    with pytest.raises(ModelNotFound, match=r"no machine .* same SHA-256 .* with 1\.0"):
        cluster({"a": False}, session_with()).admit(large)


def test_what_fits_no_machine_is_told_with_both_figures(job: Job, session_with: Sessions) -> None:
    """Of memory and of accelerators; Ray would wait for such a machine without end."""
    with pytest.raises(DoesNotFit, match=r"needs 6\.00? GiB .* \(the most: 4\.00? GiB of RAM\)"):
        cluster({"a": True}, session_with(), memory=4.0 * GIB).admit(job)
    with pytest.raises(DoesNotFit, match="1 accelerators by the plan"):
        cluster({"a": True}, session_with()).admit(replace(job, n_accelerators=1))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.50.0\n"),
            r"another version of Ray or Python: The cluster was started with: Ray: 2\.50\.0",
        ),
        (
            ConnectionError("Could not find any running Ray instance. Please specify the one to"),
            r"no Ray cluster at auto \(Could not find any running Ray instance\); start one",
        ),
        (ValueError("no node_ip_address.json"), "this machine is no part of the Ray cluster"),
    ],
)
def test_what_ray_says_becomes_a_sentence(error: Exception, said: str) -> None:
    """With what to do."""
    with pytest.raises(MachineError, match=said):
        raise over_ray._not_connected("auto", error)


def test_without_ray_its_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path
) -> None:
    """In one sentence, before anything is measured; and what it is for is told where it is out of
    place.
    """
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Misuse, match=r"pip install 'hakaru\[ray\]'"):
        check_ray("auto")
    assert run(["test", str(tiny), "--tasks", "ours", "--no-speed", "--ray", "auto"]) == 2
    assert "--ray needs the package ray, which is not installed" in capsys.readouterr().err
    assert run(["test", str(tiny), "--ray", "auto"]) == 2
    assert "--ray says where --tasks are answered" in capsys.readouterr().err
    assert run(["choose", "--ray", "auto"]) == 2
    assert "--ray says where --race asks its tasks" in capsys.readouterr().err


def test_a_file_counts_by_its_bytes(tmp_path: Path) -> None:
    """Another file under the same name is another file, and one that is gone is none."""
    file = tmp_path / "a"
    file.write_bytes(b"12")
    sha256 = "6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918"
    same = JobFile(path=str(file), bytes=2, sha256=sha256)
    assert has_files([same])
    assert not has_files([replace(same, sha256="0" * 64)])
    assert not has_files([replace(same, path=str(tmp_path / "b"))])


def test_what_a_node_cannot_do_comes_back_as_a_value(job: Job) -> None:
    """Errors of a node do not travel as exceptions, which another process may not read."""
    (told,) = answers_here(job, most_threads=1)
    assert isinstance(told, Refusal) and "model.gguf" in told.reason and not told.is_death


def test_a_node_says_what_the_ledger_keeps() -> None:
    """Its name, its processor with the instruction sets that llama.cpp uses, and the programs."""
    assert isinstance(HERE, NodeFacts) and HERE.engine == server_build()
    assert set(HERE.as_record()) == {"host", "processor", "instruction_sets", "hakaru", "engine"}
