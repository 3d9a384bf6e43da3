"""Who is beaten in a race that is not over, where racers answer side by side. Pure.

One after the other, a racer is held against the leader of those before it (`finish.leader`), and
stops where it is surely worse (`evaluation/duel.py`). Side by side nobody knows yet who of those
before it will lead. So a racer is beaten here only if it is surely worse than each that may still
lead: whoever it will be, the racer would have stopped by now. What a race decides is then the same.
"""

from collections.abc import Sequence

from hakaru.evaluation.duel import is_surely_worse
from hakaru.evaluation.grading import Graded


def surely_beaten(
    graded: Sequence[Sequence[Graded]], pleases: Sequence[bool], *, n_tasks: int, error_rate: float
) -> set[int]:
    """The places of the racers that one after the other would have stopped by now.

    `graded`: the first answers of each racer, in the order in which they would have run. `pleases`:
    whether each misses no wish.
    """
    beaten, whole = set[int](), set[int]()  # `whole`: known to answer all, if it has not yet
    for place, own in enumerate(graded):
        rivals = [i for i in range(place) if i not in beaten and (pleases[i] or not pleases[place])]
        is_known = all(i in whole and len(graded[i]) == n_tasks for i in rivals)
        if is_known and rivals:
            rivals = [max(rivals, key=lambda i: sum(one.right is True for one in graded[i]))]
        if rivals and all(_loses(graded[i], own, error_rate) for i in rivals):
            beaten.add(place)
        elif not rivals or (is_known and len(own) == n_tasks):
            whole.add(place)
    return beaten


def _loses(first: Sequence[Graded], second: Sequence[Graded], error_rate: float) -> bool:
    """Whether any of the looks at the second racer, as far as both have answered, ends it."""
    return any(
        is_surely_worse(first, second[:n], error_rate=error_rate)
        for n in range(1, min(len(first), len(second)) + 1)
    )
