"""How long a study still takes."""

from hakaru.engine.call import Progress
from hakaru.quantization.study.agenda import Agenda


def test_the_rest_of_a_study_follows_from_the_pace_of_the_present_step() -> None:
    """What may be left out is in the upper figure alone; steps that were passed count no more."""
    now, told, seen = [0.0], list[tuple[float, float]](), list[tuple[int, int]]()
    ahead = {"probes": 60, "single tensors": 100, "runs": 40, "race": 20}
    agenda = Agenda(ahead, clock=lambda: now[0])

    def watched(n_read: int) -> Progress:
        return agenda.progress(n_read, lambda *p: seen.append(p), lambda *s: told.append(s))

    agenda.begins("probes", 60)
    progress = watched(60)
    progress(0, 6)
    assert told == []
    now[0] = 15.0
    progress(1, 6)
    assert told == [(1.5 * (50 + 60), 1.5 * (50 + 160))]
    agenda.begins("runs", 30)
    assert agenda.ahead == {"probes": 0, "single tensors": 0, "runs": 10, "race": 20}
    assert seen == [(0, 6), (1, 6)]


def test_without_an_agenda_nothing_is_foreseen() -> None:
    """A study for a speed, or one that only looks."""
    told = list[tuple[float, float]]()
    agenda = Agenda()
    agenda.begins("probes", 60)
    agenda.progress(60, lambda *_: None, lambda *s: told.append(s))(1, 6)
    assert told == []
