"""What the child that writes weights is asked for, one job per tensor. Parent and child share this module; it imports no
engine.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorJob:
    """Read `n_elements` weights of the type `type_id` from byte `at` of the file `source`, make them `wanted_id`, write them
    from byte `to` of the file `target`. Both files are numbers in the request's lists.

    `unit` weights stay together: a row where blocks of the target may look at its other blocks. Every `per_vector` weights
    share one vector of `unit` importances; the vectors lie one after another from byte `importance_at` of the file of
    importances (None: the tensor has none).
    """

    name: str
    type_id: int
    wanted_id: int
    n_elements: int
    unit: int
    source: int
    at: int
    target: int
    to: int
    importance_at: int | None = None
    per_vector: int = 0
