"""This machine as a place for the models of the catalogue, with what was learned on it.

Only `choose` without a named machine imports this file: the session and the engine behind it take a
tenth of a second to load.
"""

from hakaru.planning.here import hardware_here, limited
from hakaru.planning.learned import errors, kind_of, known_driver_bytes, learned_margin
from hakaru.planning.timed_here import timed_files
from hakaru.selection.judging import Where
from hakaru.selection.remembered import recall_on
from hakaru.selection.row_speeds import predicted_with
from hakaru.servers import beside_servers
from hakaru.session import Session


def own_machine(limit: int | None, session: Session | None) -> Where:
    """With the memory that is free now, of which at most `limit` bytes may be used."""
    session = session or Session.here(keeps=False)
    machine = limited(beside_servers(session.machine_now(), ()), limit, session.warn)
    hardware = hardware_here(machine, uses_gpu=machine.has_gpu)
    loads = errors(session.ledger.memory_rows())

    def margin(architecture: str) -> float:
        return learned_margin(loads, kind_of(machine, architecture, None)).fraction

    names = (device.name for device in hardware.accelerators)
    return Where(
        hardware=hardware,
        predict=predicted_with(timed_files(session.ledger, machine)),
        margin=margin,
        driver_bytes=known_driver_bytes(session.ledger, names),
        recall=recall_on(machine.fingerprint),
    )
