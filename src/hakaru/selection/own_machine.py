"""This machine as a place for the models of the catalogue, with what was learned on it.

Only `choose` without a named machine imports this file: the session and the engine behind it take a
tenth of a second to load.
"""

from functools import cache, partial

from hakaru.hardware.machine import hardware_of
from hakaru.models.own_catalogue import all_models
from hakaru.models.sources.model_folders import hub_cache, lm_studio_folders
from hakaru.planning.here import limited
from hakaru.planning.learned import errors, kind_of, known_driver_bytes, learned_margin
from hakaru.planning.timed_here import power_here, timed_files
from hakaru.pulling.speed_seen import last_speed
from hakaru.quantization.how_long import seconds_for
from hakaru.selection.drafts_here import drafts_in
from hakaru.selection.judging import Where
from hakaru.selection.remembered import recall_on
from hakaru.selection.row_cost import PowerHere
from hakaru.selection.row_speeds import predicted_with
from hakaru.selection.solved import solved_here
from hakaru.selection.to_have import Paces
from hakaru.servers import beside_servers
from hakaru.session import Session


def own_machine(
    limit: int | None, session: Session | None, *, instead_of: int | None = None
) -> Where:
    """With the memory that is free now, of which at most `limit` bytes may be used. `instead_of`:
    the process of a server that is not counted, since it would be stopped.
    """
    session = session or Session.here(keeps=False)
    machine = limited(
        beside_servers(session.machine_now(), (), without=instead_of), limit, session.warn
    )
    hardware = hardware_of(machine, uses_gpu=machine.has_gpu)
    loads = errors(session.ledger.memory_rows())

    @cache  # many models are of one
    def margin(architecture: str) -> float:
        return learned_margin(loads, kind_of(machine, architecture, None)).fraction

    timed = timed_files(session.ledger, machine)
    names = (device.name for device in hardware.accelerators)
    return Where(
        hardware=hardware,
        predict=predicted_with(timed),
        is_timed=bool(timed),
        margin=margin,
        driver_bytes=known_driver_bytes(session.ledger, names),
        recall=recall_on(machine.fingerprint),
        power=PowerHere(
            on_gpu=power_here(session.ledger, machine, on_gpu=True),
            on_processor=power_here(session.ledger, machine, on_gpu=False),
        ),
        paces=Paces(
            bytes_per_s=last_speed(session.ledger),
            quantizing_s=lambda n: seconds_for(n, session.ledger, machine.fingerprint),
            ram_bytes=machine.memory.total_bytes,
        ),
        drafts=drafts_in(hub_cache(), all_models(), lm_studio=lm_studio_folders()),
        solved=partial(solved_here, session.ledger),
    )
