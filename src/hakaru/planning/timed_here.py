"""What was timed on this kind of machine with the engine that serves: rows of the ledger."""

from hakaru.engine.builds import server_build
from hakaru.errors import EngineMissing
from hakaru.hardware.machine import Machine
from hakaru.ledger import Ledger
from hakaru.models.model import Model
from hakaru.planning.timed_file import TimedFile
from hakaru.units import Figure


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


def remember_pace(ledger: Ledger, machine: Machine, model: Model, file: TimedFile) -> None:
    """Keep how fast a file was: at an empty context, and behind each depth, the last time counts.
    Raises EngineMissing.
    """
    inputs = {**timed_here(machine), "model": ledger.model_sha256(model)}
    if file.depth:
        inputs["depth"] = file.depth
    ledger.remember("pace", inputs, file.as_json())


def remember_power(
    ledger: Ledger, machine: Machine, model: Model, watts: float, *, on_gpu: bool
) -> None:
    """Keep what the machine drew while it answered with this file."""
    inputs = {"machine": machine.fingerprint, "model": ledger.model_sha256(model), "on_gpu": on_gpu}
    ledger.remember("power", inputs, {"watts": watts})


def power_here(ledger: Ledger, machine: Machine, *, on_gpu: bool) -> Figure | None:
    """What the machine draws while it answers from its accelerators, or from RAM alone: the median
    over the files that were timed, and their range. None where its counters told nothing.
    """
    here = {"machine": machine.fingerprint, "on_gpu": on_gpu}.items()
    watts = [r["watts"] for inputs, r in ledger.recall_all("power") if here <= inputs.items()]
    if not watts:
        return None
    from statistics import median  # slow to import, and many machines timed nothing

    return Figure(value=median(watts), low=min(watts), high=max(watts), unit="W", source="measured")
