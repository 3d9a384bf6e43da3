"""What a machine of a cluster does for a job: look whether it can, load the model, and answer.

It writes no ledger and no file that stays: what it found goes back as values.
"""

import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct
from msgspec.structs import replace

import hakaru
from hakaru.engine.builds import server_build
from hakaru.errors import EngineDied, HakaruError
from hakaru.evaluation.answers import Answer, asking
from hakaru.evaluation.served import served
from hakaru.evaluation.spread import Job, JobFile
from hakaru.hardware.probe import probe_machine
from hakaru.hardware.processor import cpu
from hakaru.hardware.threads import n_threads
from hakaru.language import use_language
from hakaru.ledger import Ledger, sha256_of
from hakaru.models.sources.find import whole_model
from hakaru.places import passing_dir
from hakaru.session import Session


class NodeFacts(Struct, frozen=True, kw_only=True):
    """What a machine says of itself."""

    host: str
    processor: str
    instruction_sets: tuple[str, ...]  # those for which llama.cpp has kernels
    hakaru: str  # its version
    engine: str  # the build that serves, or why there is none

    def as_record(self) -> dict[str, object]:
        """What the ledger keeps beside an answer."""
        return {
            "host": self.host, "processor": self.processor,
            "instruction_sets": list(self.instruction_sets), "hakaru": self.hakaru,
            "engine": self.engine,
        }  # fmt: skip


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a job was not done."""

    reason: str  # a sentence in the language of the job
    is_death: bool  # the engine's process ended: another try may do


def facts() -> NodeFacts:
    """Of the machine on which this runs."""
    here = cpu()
    try:
        engine = server_build()
    except HakaruError as error:
        engine = str(error)
    return NodeFacts(
        host=platform.node(),
        processor=here.model,
        instruction_sets=here.instruction_sets,
        hakaru=hakaru.__version__,
        engine=engine,
    )


def has_files(files: Sequence[JobFile]) -> bool:
    """Whether every file is here under its path with the same bytes, by its SHA-256."""
    with suppress(OSError):
        return all(
            Path(file.path).stat().st_size == file.bytes
            and sha256_of(Path(file.path)) == file.sha256
            for file in files
        )
    return False


def answers_here(
    job: Job, *, most_threads: int, sent: Sequence[bytes] | None = None
) -> Iterator[Answer | Refusal]:
    """The answers to the tasks of a job as they come, or what stands against them. `sent`: the
    contents of the files, where they are not on this machine.
    """
    use_language(job.language)
    try:
        with TemporaryDirectory(prefix="hakaru-", dir=passing_dir()) as folder:
            yield from _answers(job, Path(folder), most_threads, sent)
    except HakaruError as error:
        yield Refusal(reason=str(error), is_death=isinstance(error, EngineDied))


def _answers(
    job: Job, folder: Path, most_threads: int, sent: Sequence[bytes] | None
) -> Iterator[Answer]:
    paths = [Path(file.path) for file in job.files]
    if sent is not None:
        paths = [folder / path.name for path in paths]
        for path, content in zip(paths, sent, strict=True):
            path.write_bytes(content)
    model = whole_model(paths[0])
    session = Session(machine=probe_machine(), ledger=Ledger(folder / "ledger.sqlite"))
    mode = replace(job.mode, n_threads=job.mode.n_threads or min(n_threads(), most_threads))
    with (
        served(session, model, job.settings, mode) as server,
        asking(server, thinks=job.thinks) as ask,
    ):
        for item in job.items:
            yield ask(item)
