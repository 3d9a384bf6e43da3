"""What was timed on this kind of machine with the engine that serves: rows of the ledger."""

from hakaru.engine.builds import server_build
from hakaru.errors import EngineMissing
from hakaru.hardware.machine import Machine
from hakaru.ledger import Ledger
from hakaru.models.model import Model
from hakaru.planning.machine_speed import TimedFile


def timed_here(machine: Machine) -> dict[str, object]:
    """What a timing is remembered by, beside the model and the settings. Raises EngineMissing."""
    return {"machine": machine.fingerprint, "engine": server_build()}


def is_timed(ledger: Ledger, machine: Machine, model: Model) -> bool:
    """Whether this very file was timed here, at any settings: then nothing needs a prediction. No
    file is read: what was never hashed was never timed.
    """
    sha256 = ledger.known_model_sha256(model)
    if sha256 is None:
        return False
    try:
        return ledger.recall("pace", {**timed_here(machine), "model": sha256}) is not None
    except EngineMissing:
        return False


def timed_files(ledger: Ledger, machine: Machine) -> list[TimedFile]:
    """The files that were timed here, at any settings; none where no engine is installed."""
    try:
        here = timed_here(machine).items()
    except EngineMissing:
        return []
    return [
        TimedFile.from_json(result)
        for inputs, result in ledger.recall_all("pace")
        if here <= inputs.items()
    ]
