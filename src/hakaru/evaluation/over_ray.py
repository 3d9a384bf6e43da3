"""Jobs over the machines of a Ray cluster: the one file that knows Ray (the extra `ray`).

This machine is part of the cluster, as Ray asks of whoever speaks to it. Every machine (Ray: node)
first says what it is; one with another hakaru or another build of the engine takes no part, since
its answers would be those of another program. Ray then places each job where the memory is free
that the plan asks for, on machines that have the model's file: the same path with the same SHA-256.
A file of at most LARGEST_SENT bytes travels to those that do not have it.

A job is a task of Ray's that sends back every answer as it comes (a streaming generator). Ray
itself runs no job twice: what a lost job had left is known here alone.
Source: Ray 2.60, docs: core/ray-generator, core/scheduling (labels, memory), fault tolerance.
"""

import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

import hakaru
from hakaru.engine.builds import server_build
from hakaru.errors import (
    DoesNotFit,
    HakaruError,
    MachineError,
    Misuse,
    ModelNotFound,
    system_reason,
)
from hakaru.evaluation.on_node import NodeFacts, Refusal, answers_here, facts, has_files
from hakaru.evaluation.spread import Answered, Ended, Failed, Job, Lost, News
from hakaru.language import listed, say
from hakaru.session import Session
from hakaru.units import format_bytes

LARGEST_SENT: Final = 512 * 2**20
"""Bytes of a model that travels through Ray's object store."""
ANSWERS_WITHIN_S: Final = 60.0
"""How long a machine has to say what it is. Its first Python process takes seconds."""
CONNECTS_WITHIN_S: Final = 5.0
HTTP2_SETTINGS: Final = b"\x04"
HTTP2_OPENING: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + HTTP2_SETTINGS + bytes(5)
"""How gRPC, which Ray speaks, begins: the preface and a frame of settings, which the other side
answers with its own (RFC 9113, 3.4; the type of a frame is its fourth byte).
"""
STOPS_WITHIN_S: Final = 10.0
"""How long a cancelled job has to end its engine in order, before its process is ended."""
LOOKS_S: Final = 1.0
"""The longest wait for news, after which it is looked whether the machines are still there."""


@contextmanager
def over_ray(address: str, session: Session) -> Iterator["RayCluster"]:
    """The machines of the Ray cluster at `address` (`auto`, or HOST:PORT), until the block ends.
    Then no job runs any more. Raises Misuse where Ray is not installed, and MachineError.
    """
    ray = _ray()
    before = signal.getsignal(signal.SIGTERM)
    try:
        _connect(ray, address)
        signal.signal(signal.SIGTERM, before)  # Ray has put its own in its place
        cluster = RayCluster(ray, _machines(ray, session))
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, before)


def check_ray(address: str) -> None:
    """Raises Misuse and MachineError for what can be known of `address` without connecting, before
    anything is fetched or measured.
    """
    _ray()
    _check_address(address)


def _ray() -> Any:
    """Ray, which reads these variables when it is imported. Raises Misuse where there is none."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # it prints on stdout, which is ours
    try:
        import ray
    except ImportError as error:
        raise Misuse(
            "`ray` needs the package ray, which is not installed: pip install {package}",
            package="'hakaru[ray]'",
        ) from error
    return ray


def _check_address(address: str) -> None:
    """Raises Misuse for an address that is none, and MachineError where nobody listens, or another
    program: Ray itself would ask there for minutes.
    """
    if address.startswith("ray://"):
        raise Misuse(
            "`ray` is '{address}', an address of Ray's client, which cannot send answers as they "
            "come; join the cluster from this machine (ray start --num-cpus 0 --address HOST:PORT) "
            "and name auto.",
            address=address,
        )
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise Misuse(
            "`ray` is '{address}', expected auto or HOST:PORT, as ray start tells it.",
            address=address,
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECTS_WITHIN_S) as knock:
            knock.sendall(HTTP2_OPENING)
            if knock.recv(9)[3:4] != HTTP2_SETTINGS:
                raise _no_cluster(address, say("another program answers there"))
    except OSError as error:
        raise _no_cluster(address, system_reason(error)) from error


def _no_cluster(address: str, reason: str) -> MachineError:
    return MachineError(
        "there is no Ray cluster at {address} ({reason}); start one, or name another address.",
        address=address,
        reason=reason,
    )


def _connect(ray: Any, address: str) -> None:
    """Become a driver of the cluster. Raises Misuse and MachineError."""
    _check_address(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        raise _not_connected(address, error) from error


def _not_connected(address: str, error: Exception) -> HakaruError:
    told = " ".join(str(error).split())
    if "Version mismatch" in told:
        return MachineError(
            "the Ray cluster at {address} runs another version of Ray or Python: {reason} Install "
            "the same on both sides.",
            address=address,
            reason=told.partition("Version mismatch: ")[2],
        )
    if isinstance(error, ConnectionError):
        return _no_cluster(address, told.partition(". ")[0].rstrip("."))  # then Ray's own options
    return MachineError(
        "this machine is no part of the Ray cluster at {address}; let it join, without jobs of its "
        "own: ray start --num-cpus 0 --address HOST:PORT ({reason})",
        address=address,
        reason=told[:200],
    )


class RayMachine(Struct, frozen=True, kw_only=True):
    """A machine of the cluster that may run jobs."""

    id: str  # Ray's
    facts: NodeFacts
    n_cpus: float  # that Ray gives to jobs
    memory_bytes: float  # the same
    n_gpus: float  # the same

    def has_room(self, job: Job) -> bool:
        """Whether one job goes in, if nothing else runs there."""
        return (
            self.n_cpus >= 1
            and self.memory_bytes >= job.memory_bytes
            and self.n_gpus >= job.n_accelerators
        )

    def n_at_a_time(self, job: Job, n_cpus: int) -> int:
        """Jobs like this, of so many processors each, that go in side by side."""
        by_memory = self.memory_bytes // max(1, job.memory_bytes)
        by_gpus = self.n_gpus // job.n_accelerators if job.n_accelerators else by_memory
        return max(1, int(min(self.n_cpus // n_cpus, by_memory, by_gpus)))


def _alive(ray: Any) -> dict[str, dict[str, Any]]:
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _has_head(ray: Any) -> bool:
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECTS_WITHIN_S).close()
    except OSError:
        return False
    return True


def _at(*ids: str) -> dict[str, str]:
    """Ray's label selector for these machines."""
    return {"ray.io/node-id": f"in({','.join(ids)})"}


def _question(ray: Any, function: Callable[..., object], id_: str, *arguments: object) -> Any:
    """A reference to what the function returns on this machine, beside the jobs there."""
    once = ray.remote(function).options(num_cpus=0, max_retries=0, label_selector=_at(id_))
    return once.remote(*arguments)


def _machines(ray: Any, session: Session) -> list[RayMachine]:
    """Those that have this hakaru and this engine. Warns of each other one, and raises MachineError
    where none is left.
    """
    nodes = {id_: node for id_, node in _alive(ray).items() if node["Resources"].get("CPU", 0) >= 1}
    asked = {id_: _question(ray, facts, id_) for id_ in nodes}
    machines, why_not = [], list[str]()
    for id_, node in nodes.items():
        given = node["Resources"]
        try:
            told = _same_program(node["NodeManagerHostname"], _told(ray, asked[id_]))
        except MachineError as error:
            why_not.append(str(error))
            continue
        machines.append(
            RayMachine(
                id=id_,
                facts=told,
                n_cpus=given["CPU"],
                memory_bytes=given.get("memory", 0),
                n_gpus=given.get("GPU", 0),
            )
        )
    if not machines:
        raise MachineError(
            "no machine of the Ray cluster can answer: {reasons}",
            reasons=" ".join(why_not) or say("none gives a processor to jobs."),
        )
    for sentence in why_not:
        session.warn(sentence)
    return machines


def _told(ray: Any, ref: Any) -> NodeFacts | str:
    """What a machine says of itself, or why it says nothing."""
    try:
        told: NodeFacts = ray.get(ref, timeout=ANSWERS_WITHIN_S)
    except ray.exceptions.RayError as error:
        return " ".join(str(getattr(error, "cause", None) or error).split())[-200:]
    return told


def _same_program(host: str, told: NodeFacts | str) -> NodeFacts:
    """What the machine said. Raises MachineError where it runs another program than this one."""
    if isinstance(told, str):
        raise MachineError(
            "{host} takes no part: it has no hakaru {version} in Ray's environment ({reason}); "
            "install it there.",
            host=host,
            version=hakaru.__version__,
            reason=told,
        )
    for name, found, expected in (
        ("hakaru", told.hakaru, hakaru.__version__),
        (say("the engine"), told.engine, server_build()),
    ):
        if found != expected:
            raise MachineError(
                "{host} takes no part: {name} is {found} there and {expected} here, so its answers "
                "would be those of another program; install the same.",
                host=host,
                name=name,
                found=found,
                expected=expected,
            )
    return told


def _with_files(ray: Any, job: Job, machines: Sequence[RayMachine]) -> frozenset[str]:
    """The ids of the machines that have the job's files."""
    refs = {m.id: _question(ray, has_files, m.id, job.files) for m in machines}
    found = set[str]()
    for id_, ref in refs.items():
        try:
            found |= {id_} if ray.get(ref) else set()
        except ray.exceptions.RayError:
            continue  # it has gone
    return frozenset(found)


class RayCluster:
    """The machines of a cluster, and the jobs on them. `over_ray` makes one."""

    def __init__(self, ray: Any, machines: Sequence[RayMachine]) -> None:
        self._ray, self.machines = ray, machines
        self._run = ray.remote(_run)
        self._running: dict[Any, Job] = {}  # by Ray's generator of the job's answers
        self._cancelled = list[Any]()  # the same generators
        self._with_file: dict[str, frozenset[str]] = {}  # by the hash of a model: ids of machines
        self._sent: dict[str, list[Any]] = {}  # the same: references to the files' contents

    def admit(self, job: Job) -> int:
        """See `spread.Elsewhere`. Raises DoesNotFit and ModelNotFound."""
        roomy = [machine for machine in self.machines if machine.has_room(job)]
        if not roomy:
            raise DoesNotFit(
                "{path}: needs {needed} of RAM and {n} accelerators by the plan for this machine, "
                "and no machine of the Ray cluster offers both (the most: {most} of RAM).",
                path=job.files[0].path,
                needed=format_bytes(job.memory_bytes),
                n=job.n_accelerators,
                most=format_bytes(int(max(machine.memory_bytes for machine in self.machines))),
            )
        with_file = _with_files(self._ray, job, roomy)
        self._with_file[job.sha256] = with_file
        if len(with_file) < len(roomy) and job.total_bytes <= LARGEST_SENT:
            self._sent[job.sha256] = [
                self._ray.put(Path(file.path).read_bytes()) for file in job.files
            ]
        elif not with_file:
            raise ModelNotFound(
                "{path}: no machine of the Ray cluster has this file with the same SHA-256 at the "
                "same path, and with {size} it is too large to be sent (at most {most}); put it on "
                "a disk that all of them share, or fetch it on each.",
                path=job.files[0].path,
                size=format_bytes(job.total_bytes),
                most=format_bytes(LARGEST_SENT),
            )
        n_cpus = self._n_cpus(job)
        return sum(machine.n_at_a_time(job, n_cpus) for machine in self._able(job))

    def _able(self, job: Job) -> list[RayMachine]:
        """The machines on which the job may run."""
        is_sent, with_file = job.sha256 in self._sent, self._with_file[job.sha256]
        return [m for m in self.machines if m.has_room(job) and (is_sent or m.id in with_file)]

    def _n_cpus(self, job: Job) -> int:
        """Processors of one job: all of the smallest machine, so that one job fills that one and
        the threads of two jobs share no core.
        """
        return int(min(machine.n_cpus for machine in self._able(job)))

    def submit(self, job: Job) -> None:
        """See `spread.Elsewhere`."""
        n_cpus = self._n_cpus(job)
        answers = self._run.options(
            num_cpus=n_cpus,
            num_gpus=job.n_accelerators,
            memory=job.memory_bytes,
            num_returns="streaming",
            max_retries=0,
            scheduling_strategy="SPREAD",
            label_selector=_at(*(machine.id for machine in self._able(job))),
        ).remote(job, n_cpus, self._with_file[job.sha256], self._sent.get(job.sha256, []))
        self._running[answers] = job

    def drop(self, numbers: Sequence[int]) -> None:
        """See `spread.Elsewhere`."""
        self._cancel([run for run, job in self._running.items() if job.number in numbers])

    def stop(self) -> None:
        """End all jobs, with their engines."""
        self._cancel(list(self._running))

    def _cancel(self, runs: Sequence[Any]) -> None:
        """End the jobs: each closes its engine, and whoever does not is ended with it (a child of
        ours dies with its parent).
        """
        for run in runs:
            del self._running[run]
            self._ray.cancel(run)
        self._cancelled += runs  # Ray aborts this process if one is forgotten before it has ended
        ends = {run.completed(): run for run in runs}
        if ends:
            _, deaf = self._ray.wait(list(ends), num_returns=len(ends), timeout=STOPS_WITHIN_S)
            for end in deaf:
                self._ray.cancel(ends[end], force=True)

    def listen(self) -> Iterator[News]:
        """See `spread.Elsewhere`."""
        while self._running:
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=LOOKS_S)
            if ready:
                yield self._news(ready[0])
            else:
                yield from self._stranded()

    def _news(self, run: Any) -> News:
        """The next of a job that has something to tell."""
        job, errors = self._running[run], self._ray.exceptions
        try:
            told, id_ = self._ray.get(next(run))
        except StopIteration:
            del self._running[run]
            return Ended(number=job.number)
        except errors.RayError as error:
            del self._running[run]
            return Lost(number=job.number, reason=_reason(error))
        machine = next(machine for machine in self.machines if machine.id == id_)
        if not isinstance(told, Refusal):
            return Answered(number=job.number, answer=told, on=machine.facts.as_record())
        del self._running[run]
        if told.is_death:
            return Lost(number=job.number, reason=told.reason)
        refused = MachineError(
            "{host} could not answer: {reason}", host=machine.facts.host, reason=told.reason
        )
        return Failed(number=job.number, error=refused)

    def _stranded(self) -> Iterator[News]:
        """The jobs for which no machine is left. Raises MachineError where the head is gone, which
        Ray would wait for a minute for, and then end this process.
        """
        if not _has_head(self._ray):
            self._running.clear()  # nobody is left to cancel them; without a head they end
            raise MachineError(
                "the head of the Ray cluster is gone; what was answered is kept, and the same "
                "command goes on there."
            )
        alive = _alive(self._ray)
        for run, job in list(self._running.items()):
            able = self._able(job)
            if not any(machine.id in alive for machine in able):
                self._cancel([run])
                hosts = listed([machine.facts.host for machine in able])
                yield Failed(
                    number=job.number,
                    error=MachineError(
                        "no machine of the Ray cluster is left that can run {path} (there were "
                        "{hosts}); what was answered is kept, and the same command goes on there.",
                        path=job.files[0].path,
                        hosts=hosts,
                    ),
                )


def _run(
    job: Job, n_cpus: int, with_file: frozenset[str], sent: Sequence[Any]
) -> Iterator[tuple[Any, str]]:
    """What Ray runs on a machine: every answer with the id of that machine."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    contents = None if here in with_file else ray.get(list(sent))
    for told in answers_here(job, most_threads=n_cpus, sent=contents):
        yield told, here


def _reason(error: Exception) -> str:
    """What Ray says of a job that is gone, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
