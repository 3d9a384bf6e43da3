"""One row: a model at a type, with a cache and a context, placed on a machine. Pure."""

from functools import cached_property
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.hardware.machine import Hardware
from hakaru.memory.settings import MAX_CONTEXT, MAX_PARALLEL, ContextSettings
from hakaru.models.catalogue import KnownModel
from hakaru.models.scores import Score
from hakaru.planning.checkpoints import with_checkpoints
from hakaru.planning.placement import Task, placement
from hakaru.planning.search import largest
from hakaru.planning.shares import Placement
from hakaru.selection.catalogue_sizes import BELOW_FOUR_BITS, Sized
from hakaru.selection.remembered import Remembered, RowSpeed
from hakaru.selection.seeing import Seeing, seeing

CELLS: Final = 256  # contexts are multiples of this


class Speeds(Struct, frozen=True, kw_only=True):
    """What is predicted of a row; None: not known, since nobody knows how fast a memory is."""

    decode: RowSpeed | None = None  # of each user, behind the depth that the task has
    prefill: RowSpeed | None = None
    why_no_prefill: str = ""  # why the speed of prompts, and so of the first word, is not known
    relative: float = 0.0  # orders rows of one machine where no speed is known; more is faster
    most: float | None = None  # decoded tokens per second that no PC's RAM exceeds: assumed
    most_prefill: float | None = None  # read tokens per second that nothing exceeds: assumed

    def of_all(self, users: int) -> RowSpeed | None:
        """The decoding of `users` who ask at the same time, together."""
        one = self.decode
        return one and replace(
            one, value=users * one.value, low=users * one.low, high=users * one.high
        )


class Contender(Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """A row; rows are told apart by identity. Has no slots, so that what its memory grows to is
    worked out once.
    """

    model: KnownModel
    type: str
    sized: Sized
    task: Task  # what was placed
    hardware: Hardware  # where
    placed: Placement  # with as few context checkpoints as there may be
    speeds: Speeds
    score: Score | None  # in the column that leads for the task
    first_token_s: float | None  # seconds until the first word, by the predicted speed
    writes: bool = True  # False for a task that gives vectors
    measured: Remembered | None = None  # what was measured of this type before
    misses: tuple[str, ...] = ()  # wishes that it does not meet: fields of `Traffic`

    @property
    def is_below_four_bits(self) -> bool:
        """Whether most weights have fewer than four bits."""
        return self.type in BELOW_FOUR_BITS

    @property
    def published(self) -> Score | None:
        """The score that speaks for this file: none below four bits, where a file is another model
        than the one that was measured.
        """
        return None if self.is_below_four_bits else self.score

    @property
    def cache(self) -> str:
        """The type of the KV cache."""
        return self.task.settings.type_k

    @property
    def n_ctx(self) -> int:
        """Tokens of context of one user."""
        return self.task.settings.tokens_each

    @property
    def users(self) -> int:
        """How many ask at the same time."""
        return self.task.settings.n_parallel

    @cached_property
    def _grown(self) -> tuple[Placement, ContextSettings]:
        return with_checkpoints(self.placed, self.task)

    @property
    def placement(self) -> Placement:
        """Where it lies, with the context checkpoints that have room, as `fit` says it."""
        return self._grown[0]

    @property
    def flags(self) -> list[str]:
        """The arguments of a llama-server that keeps to this."""
        return self.placed.layout.server_flags(self._grown[1])

    @property
    def memory_bytes(self) -> int:
        """What it takes when it has grown with use, on all devices and in RAM."""
        return self.placement.total_bytes

    @property
    def least_bytes(self) -> int:
        """What it takes where there is little room: what it grows to depends on the room, so rows
        are compared by this.
        """
        return self.placed.total_bytes

    @property
    def eyes(self) -> Seeing | None:
        """The projector that was placed with it; None: the task needs none."""
        return seeing(self.model) if self.task.extras_bytes else None

    @property
    def pace(self) -> RowSpeed | None:
        """The speed that counts: of decoding, or of reading where nothing is written."""
        return self.speeds.decode if self.writes else self.speeds.prefill

    @property
    def speed(self) -> float:
        """What orders rows of one machine by speed: tokens per second where known."""
        return self.pace.value if self.pace else self.speeds.relative

    @property
    def is_whole(self) -> bool:
        """Whether all layers lie on accelerators, or there are none."""
        layout = self.placed.layout
        return not layout.counts or (
            layout.n_gpu_layers == self.placed.n_items and not layout.n_cpu_moe
        )

    def longest(self) -> int:
        """The longest context of one user that fits without moving a layer. Units: tokens."""
        n, trained = self.task.settings.n_parallel, self.task.shape.n_ctx_train or 2**20

        def at(cells: int) -> Placement:
            return self._with(self.task.settings.with_context(CELLS * cells * n))

        most = at(-(-trained // CELLS))
        if most.verdict == "fits":
            return trained
        cells = largest(
            self.n_ctx // CELLS,
            trained // CELLS,
            lambda cells: at(cells).verdict == "fits",
            guess=int(self.n_ctx + self._part_that_fits(most) * (trained - self.n_ctx)) // CELLS,
        )
        return max(self.n_ctx, CELLS * cells)

    def _part_that_fits(self, most: Placement) -> float:
        """How far from this placement to `most` every device has room, if needs grow evenly."""
        margin = self.task.margin
        return min(
            (share.device.usable_bytes * (1 - margin) - share.needed_bytes)
            / (larger.needed_bytes - share.needed_bytes)
            for share, larger in zip(self.placed.devices, most.devices, strict=True)
            if larger.verdict(margin) != "fits"
        )

    def most_users(self) -> int:
        """How many users at the same time fit, each with the row's context, without moving a
        layer.
        """
        n_ctx = self.n_ctx

        def fits(users: int) -> bool:
            settings = replace(self.task.settings, n_ctx=n_ctx * users, n_parallel=users)
            return self._with(settings).verdict == "fits"

        most = min(MAX_PARALLEL, MAX_CONTEXT // n_ctx)
        return largest(self.task.settings.n_parallel, most, fits)

    def _with(self, settings: ContextSettings) -> Placement:
        """The same layout at other settings."""
        task = replace(self.task, settings=settings)
        return placement(task, self.hardware, self.placed.layout)
