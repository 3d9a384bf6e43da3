"""How fast a model will be on this machine, before anything is loaded: for those who do not ask
`fit`.
"""

from hakaru.errors import HakaruError
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.fit_at import fit_at
from hakaru.planning.speed_figures import SpeedPrediction
from hakaru.planning.speed_of import speed_of
from hakaru.planning.timed_here import timed_files
from hakaru.session import Session


def predicted_here(
    session: Session, model: Model, settings: ContextSettings, depth: int = 0
) -> SpeedPrediction | None:
    """The speed of `model` on the session's machine by our arithmetic alone; None where that does
    not know the model.
    """
    try:
        answer = fit_at(
            model,
            settings,
            machine=session.machine,
            ledger=None,
            engine=session.lab,
            source="computed",
        )
    except HakaruError:
        return None
    return speed_of(answer, depth, timed_files(session.ledger, session.machine))
