"""Everything that can go wrong, by who can act on it.

    HakaruError
    ├── Misuse                     2    an option, or an argument of a function
    ├── DoesNotFit                 3    the model needs more memory than the machine has
    ├── ModelError                 4    the file
    │   ├── ModelNotFound
    │   ├── ModelDamaged
    │   └── ModelUnknown                 an architecture or a type that hakaru does not know
    ├── Offline                    5    the network is needed, and is off or does not answer
    │   └── TooManyRequests              the server asks to wait
    ├── EngineError                6    llama.cpp
    │   ├── EngineMissing                not installed or not the pinned build
    │   ├── EngineRefused                it answered with an error
    │   └── EngineDied                   its process ended; the last log lines are kept
    │       ├── EngineOutOfMemory        since there was no memory left
    │       └── WorkerLost               since a worker of a cluster, or the way to it, ended
    └── MachineError               1    disk full, read-only, port in use
        └── NodeError                    another machine of a cluster
            ├── NodeUnreachable          it does not answer, or lets nobody in
            └── NodeUnready              without hakaru there, or with another version

The number is the exit code. The sentence is a template with its fields: it says where, what was
found, what was expected and the next step. English stands in the code; `language.translate` finds
the Japanese by the template.
"""

import errno
from typing import ClassVar, Self

from hakaru.language import say, translate, without_controls


class HakaruError(Exception):
    """Base of all errors that a person can read: one sentence, an exit code, no traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, template: str, **fields: object) -> None:
        super().__init__(template)
        self.template = template
        self.fields = fields

    def __copy__(self) -> Self:
        """The same error again. Python's own copy would make one of the template alone, which kinds
        with other arguments do not take.
        """
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __str__(self) -> str:
        """The sentence in the language in use. Text in it that comes from a stranger's file or
        server cannot move a terminal's cursor.
        """
        return translate(
            self.template, **{name: _harmless(value) for name, value in self.fields.items()}
        )


def _harmless(value: object) -> object:
    """`value` as a person reads it: bytes as `readable` has them, truth as JSON writes it, a text
    without control characters.
    """
    if isinstance(value, bytes):
        return readable(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    clean = without_controls(text)
    return value if clean == text else clean


def readable(raw: bytes) -> str:
    """The bytes as a person would read them: `'root'` if they are a text, else `1F 8B 08 00`."""
    text = raw.decode("utf-8", errors="ignore")  # the last letter may be cut off
    is_text = raw.startswith(text.encode()) and len(text.encode()) > len(raw) - 4
    return f"'{text}'" if text and is_text and text.isprintable() else raw.hex(" ").upper()


class Misuse(HakaruError):
    """An option or an argument asks for something that has no meaning."""

    exit_code = 2


class DoesNotFit(HakaruError):
    """The model needs more memory than there is."""

    exit_code = 3


class ModelError(HakaruError):
    """The model file is the reason."""

    exit_code = 4


class ModelNotFound(ModelError):
    """There is no such file or model."""


class ModelDamaged(ModelError):
    """The file is not a GGUF file, or not a whole one."""


class ModelUnknown(ModelError):
    """The file is well-formed, but hakaru does not know its architecture or its types."""


class Offline(HakaruError):
    """The network is needed, but it is switched off, not reachable or does not answer in order."""

    exit_code = 5


class TooManyRequests(Offline):
    """The server answers 429: not now."""

    @property
    def wait_s(self) -> int | None:
        """For how long the server asks to wait. None: it does not say."""
        return int(str(self.fields["n"])) if "n" in self.fields else None


class EngineError(HakaruError):
    """llama.cpp is the reason."""

    exit_code = 6


class EngineMissing(EngineError):
    """The engine package is not installed."""


class EngineRefused(EngineError):
    """The engine answered with an error."""


class EngineDied(EngineError):
    """The engine's process ended before it answered. `log` holds its last lines."""

    def __init__(self, template: str, *, log: list[str], **fields: object) -> None:
        super().__init__(template, **fields)
        self.log = log


class EngineOutOfMemory(EngineDied):
    """The engine's process ended because memory ran out."""


class WorkerLost(EngineDied):
    """A worker of a cluster, or the way to it, ended while the engine used it."""


class MachineError(HakaruError):
    """The machine refuses: a full or read-only disk, a port in use."""


class NodeError(MachineError):
    """Another machine of a cluster is the reason."""


class NodeUnreachable(NodeError):
    """It does not answer, or lets nobody in."""

    exit_code = Offline.exit_code


class NodeUnready(NodeError):
    """There is no hakaru there, or another version of it or of its engine."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during long work. The sentence says what of the work is kept, and how to continue
    it.
    """


class Terminated(KeyboardInterrupt):
    """SIGTERM. It ends the whole command. (In `chat` Ctrl-C ends one answer.)"""


class HungUp(Terminated):
    """The terminal was closed."""


def check_name(name: str) -> None:
    """Raises Misuse for a name with bytes that are not UTF-8. Linux allows them in a file's name;
    JSON, the ledger and an answer of a server have no way to write it.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise Misuse(
            "{name}: is no text in UTF-8; rename the file, and type its new name.", name=name
        ) from error


def system_reason(error: OSError) -> str:
    """Why the system refused, in the language in use; a rare reason in the system's own words."""
    reasons = {
        errno.ENOENT: say("there is no such file or folder"),
        errno.EACCES: say("permission denied"),
        errno.EPERM: say("permission denied"),
        errno.EISDIR: say("it is a folder"),
        errno.ENOTDIR: say("a file stands where a folder is named"),
        errno.ENAMETOOLONG: say("the name is too long"),
        errno.ELOOP: say("its links lead in a circle"),
        errno.EROFS: say("the disk is read-only"),
        errno.ENOSPC: say("the disk is full"),
        errno.EDQUOT: say("the disk is full"),
        errno.EIO: say("the disk reports an error"),
        errno.EMFILE: say("too many files are open"),
        errno.ENOEXEC: say("it is no program for this machine"),
        errno.EADDRINUSE: say("it is in use"),
    }
    return reasons.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
