"""The steps of the loop, and the types of their answers. Pure values.

A `Field` waits for one of these steps; a `Worker` does the step and answers. The comment behind the
key of a step, `# -> Reading`, names the type of the answer.
"""

from collections.abc import Mapping

from msgspec import Struct

from hakaru.choosing.candidate import Candidate, Key
from hakaru.evaluation.grading import Pairs
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.speed import Point, Speed
from hakaru.evaluation.tiers import Quality
from hakaru.units import Figure


class Settle(Struct, frozen=True):
    """Read the source with its KV cache, until the verdict of the tier is certain."""

    key: Key  # -> Reading


class Predict(Struct, frozen=True):
    """Predict what these candidates will lose, from the levels that were read so far."""

    keys: tuple[Key, ...]  # -> Predictions


class Group(Struct, frozen=True):
    """Put these candidates in groups that are read together, beside one run of the source.

    A group has one KV cache, and its files fit into the memory and onto the disk.
    """

    keys: tuple[Key, ...]  # -> Groups


class Read(Struct, frozen=True):
    """Read these candidates, all of one KV cache, on the first `n_windows` windows."""

    keys: tuple[Key, ...]  # -> Readings, or the reason as text where the disk is too small
    n_windows: int


class Mix(Struct, frozen=True):
    """Say which mix of types takes part."""

    # -> Level; None where no mix does


class Time(Struct, frozen=True):
    """Time these candidates through the server."""

    keys: tuple[Key, ...]  # -> Speeds


class TimeDeep(Struct, frozen=True):
    """Time both candidates behind `depth` tokens of context."""

    keys: tuple[Key, Key]  # -> Points, in the same order; or the reason why not, as text
    speeds: tuple[Speed, Speed]  # of both, at an empty context
    depth: int  # tokens of context


class Prove(Struct, frozen=True):
    """Read this candidate on texts that no step has read, until the verdict is certain."""

    key: Key  # -> Reading


class Examine(Struct, frozen=True):
    """Let the source and this candidate answer the tasks."""

    key: Key  # -> Pairs


class Done(Struct, frozen=True):
    """The end of the loop: nothing is left to do."""

    choice: Candidate | None  # None where no candidate meets every constraint


Step = Settle | Predict | Group | Read | Mix | Time | TimeDeep | Prove | Examine | Done


class Reading(Struct, frozen=True, kw_only=True):
    """What reading windows told of one candidate."""

    quality: Quality
    judgement: Judgement  # what the windows of `quality` prove of the tier


class Level(Struct, frozen=True, kw_only=True):
    """What a recipe would make of the source."""

    type: str  # the name of the preset or of the mix
    weights_bytes: int
    bpw: float
    is_copy: bool = False  # every tensor stays as it is: the file would be the source itself
    predicted: Figure | None = None  # mean KLD in nats per token


Predictions = Mapping[Key, Figure | None]  # mean KLD, nats per token; None: nothing can be said
Groups = tuple[tuple[Key, ...], ...]
Readings = Mapping[Key, Reading]
Speeds = Mapping[Key, Speed | str]  # a text: why that candidate could not be timed
Points = tuple[Point | None, Point | None]  # None where so many tokens take too long to read
Answer = Reading | Predictions | Groups | Readings | str | Level | None | Speeds | Points | Pairs
