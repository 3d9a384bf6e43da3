"""Before a model is loaded: the verdict of `hakaru fit`, in the same words, and what the model is
for. What does not fit is not loaded.
"""

import sys
from contextlib import redirect_stdout
from dataclasses import replace

from hakaru.cli.output import warn_idle_gpu
from hakaru.cli.tell.fit import print_fit
from hakaru.cli.tell.verdict import verdict_sentence
from hakaru.cli.terminal import terminal_session
from hakaru.hardware.machine import Machine
from hakaru.hardware.probe import probe_machine
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.fit import Fit, fit
from hakaru.planning.here import leaves_gpu_idle
from hakaru.servers import beside_servers
from hakaru.session import Session
from hakaru.units import parse_bytes


def fit_before_load(
    model: Model,
    settings: ContextSettings,
    session: Session | None = None,
    *,
    memory: str | None = None,
    tells_idle_gpu: bool = False,
) -> Fit:
    """The verdict, printed on stderr where it is not simply `fits`: the whole text of `hakaru fit`
    for what does not fit, with the ways out, and one line for what is tight. `memory` is the part
    of the free memory that may be used. With `tells_idle_gpu` a GPU that the engine cannot use is
    told, too.

    The machine is looked at again, also where `session` has one: what counts is the memory that is
    free now.
    """
    here = probe_machine()
    session = session or terminal_session(
        here, keeps=False
    )  # a ledger that cannot be written keeps nobody from loading
    machine = beside_servers(within(here, memory), model.parts)
    answer = fit(model, settings, machine=machine, ledger=session.ledger, engine=session.lab)
    with redirect_stdout(sys.stderr):
        if tells_idle_gpu and answer.dry_run and leaves_gpu_idle(machine, answer.dry_run):
            warn_idle_gpu(machine)
        if answer.verdict == "does_not_fit":
            print_fit(answer, [])
        elif answer.verdict == "tight":
            print(verdict_sentence(answer.placement, answer.margin.fraction))
    return answer


def within(machine: Machine, memory: str | None) -> Machine:
    """The machine, of which no more than `memory` may be used."""
    if memory is None:
        return machine
    limit = parse_bytes(memory)
    devices = tuple(replace(d, free_bytes=min(d.usable_bytes, limit)) for d in machine.devices)
    ram = replace(machine.memory, available_bytes=min(machine.memory.available_bytes, limit))
    return replace(machine, memory=ram, devices=devices)
