"""Before a model is loaded: the verdict of `hakaru fit`, in the same words. What does not fit is not loaded."""

import sys
from contextlib import redirect_stdout, suppress
from dataclasses import replace

from hakaru.cli.fit import print_fit
from hakaru.cli.verdict import verdict_sentence
from hakaru.engine.lab import Lab
from hakaru.errors import MachineError
from hakaru.hardware.machine import Machine
from hakaru.hardware.probe import probe_machine
from hakaru.memory.footprint import ContextSettings
from hakaru.models.model import Model
from hakaru.serving.deployment import beside_servers
from hakaru.tuning.fit import Fit, Fitter
from hakaru.tuning.ledger import Ledger
from hakaru.units import parse_bytes


def fit_before_load(model: Model, settings: ContextSettings, *, memory: str | None = None) -> Fit:
    """The verdict, printed on stderr where it is not simply `fits`: the whole text of `hakaru fit` for what does not fit, with
    the ways out, and one line for what is tight. `memory` is what may be used of what is free.
    """
    ledger = None
    with suppress(MachineError):  # a ledger that cannot be written keeps nobody from loading
        ledger = Ledger()
    machine = beside_servers(within(probe_machine(), memory), model.parts)
    fit = Fitter(machine=machine, ledger=ledger, engine=Lab()).fit(model, settings)
    with redirect_stdout(sys.stderr):
        if fit.verdict == "does_not_fit":
            print_fit(fit, [])
        elif fit.verdict == "tight":
            print(verdict_sentence(fit.placement, fit.margin.fraction))
    return fit


def within(machine: Machine, memory: str | None) -> Machine:
    """The machine, of which no more than `memory` may be used."""
    if memory is None:
        return machine
    limit = parse_bytes(memory)
    devices = tuple(replace(d, free_bytes=min(d.usable_bytes, limit)) for d in machine.devices)
    ram = replace(machine.memory, available_bytes=min(machine.memory.available_bytes, limit))
    return replace(machine, memory=ram, devices=devices)
