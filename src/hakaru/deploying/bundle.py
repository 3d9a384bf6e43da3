"""The files of a deployment, and how they come into a folder: all of them, or none."""

import os
import tempfile
from pathlib import Path
from typing import Literal

from msgspec import Struct

from hakaru.deploying.node_process import Process
from hakaru.errors import Misuse
from hakaru.language import listed
from hakaru.places import disk_error
from hakaru.planning.answer import Fit
from hakaru.vllm.vllm_fit import VllmFit

Target = Literal["rpc", "systemd", "vllm", "compose", "ray", "kubernetes"]


class File(Struct, frozen=True, kw_only=True):
    """A file that a person would have to write."""

    name: str  # its path below the folder, such as "attic/hakaru-worker.service"
    text: str
    is_program: bool = False


class Bundle(Struct, frozen=True, kw_only=True):
    """All that runs a model on a cluster."""

    target: Target
    model: str  # its name, as a file may have it
    fit: Fit | VllmFit  # the plan that the files carry out
    topology: str  # as `fit` names it
    reason: str
    files: tuple[File, ...]
    processes: tuple[Process, ...]  # that the files start, in that order
    steps: tuple[str, ...]  # what to do with the files, in sentences

    def as_json(self, folder: Path | None) -> dict[str, object]:
        """The object of `hakaru deploy --json`; `folder` is where the files were written."""
        return {
            "schema": "hakaru.deploy/1",
            "target": self.target,
            "topology": self.topology,
            "reason": self.reason,
            "folder": folder and str(folder),
            "files": [
                {"name": file.name, "text": file.text, "is_program": file.is_program}
                for file in self.files
            ],
            "processes": [process.as_json() for process in self.processes],
            "steps": list(self.steps),
            "fit": self.fit.as_json(),
        }

    def write(self, folder: Path, *, overwrite: bool = False) -> None:
        """Write the files below `folder`, which is made; all of them, or none.

        Raises Misuse where one of them stands there already, unless they may be overwritten, and
        MachineError.
        """
        taken = [file.name for file in self.files if os.path.lexists(folder / file.name)]
        if taken and not overwrite:
            raise Misuse(
                "{folder}: holds {files} already; name another folder with `output`, or replace "
                "them with `overwrite`.",
                folder=folder,
                files=listed(taken),
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".hakaru-", dir=folder) as part:
                self._fill(Path(part))
                for file in self.files:
                    (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
                for file in self.files:
                    (Path(part) / file.name).replace(folder / file.name)
        except OSError as error:
            raise disk_error(error, folder) from error

    def _fill(self, folder: Path) -> None:
        for file in self.files:
            path = folder / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text, encoding="utf-8")
            path.chmod(0o755 if file.is_program else 0o644)
