"""How long a study still takes, told while it goes on.

Nearly all of its time it reads windows with recipes. How many, each of its steps knows in advance;
how long one takes, shows while it reads. Left out: the errors of types and the writing of the file,
which take seconds where reading takes minutes; and speeds, so that a goal of speed has no agenda.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

from msgspec import Struct, field

from hakaru.engine.call import Progress
from hakaru.session import Foresee

PERHAPS: Final = ("single tensors", "tier")
"""Steps that end as soon as enough is known."""


class Agenda(Struct):
    """The steps to come, in their order, and how many windows each reads at most, counted for each
    recipe that reads them.
    """

    ahead: dict[str, int] = field(default_factory=dict)
    clock: Callable[[], float] = monotonic

    def begins(self, step: str, n_read: int) -> None:
        """A step begins to read so many; those before it are done."""
        if step in self.ahead:
            for before in self.ahead:
                if before == step:
                    break
                self.ahead[before] = 0
            self.ahead[step] = max(0, self.ahead[step] - n_read)

    def progress(self, n_read: int, progress: Progress, foresee: Foresee) -> Progress:
        """`progress` of a step that reads so many; `foresee` hears what is left of the whole."""
        began = self.clock()
        sure = sum(n for step, n in self.ahead.items() if step not in PERHAPS)

        def both(done: int, total: int) -> None:
            if done and self.ahead:
                pace = (self.clock() - began) * total / done / n_read
                left = n_read * (1 - done / total)
                foresee(pace * (left + sure), pace * (left + sum(self.ahead.values())))
            progress(done, total)

        return both
