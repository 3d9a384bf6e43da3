"""The types that a tensor may have, and which of them are worth considering.

A `Choice` is one type for one tensor: its bytes in the file, the damage it is predicted to do, and
the seconds per token that reading it takes. Most of a dozen types are useless for a given tensor:
another type is no larger, no slower and does less damage. `undominated` drops the useless types,
and no best allocation is lost.

Source: Kellerer, Pferschy, Pisinger, Knapsack Problems (2004), chapter 11 (multiple-choice
knapsack).
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from hakaru.formats.gguf import Tensor
from hakaru.formats.quant_types import BY_NAME
from hakaru.quantization.file_bytes import padded_bytes


class Choice(Struct, frozen=True, kw_only=True):
    """One type for one tensor."""

    type: str
    n_bytes: int  # with the padding behind the tensor
    damage: float  # sensitivity times error, the tensor's term of S
    seconds: float = 0.0  # per token


class Item(Struct, frozen=True, kw_only=True):
    """One tensor and the types that it may have, at least one."""

    name: str
    choices: tuple[Choice, ...]


def items_of(
    tensors: Iterable[Tensor],
    errors: Mapping[str, Mapping[str, float]],
    sensitivities: Mapping[str, float],
    seconds: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Item]:
    """One item for each tensor in `errors`, with a choice for each type whose blocks divide the
    tensor's rows. `errors` and `seconds` are by tensor, then by type.
    """
    items = []
    for tensor in tensors:
        rates = (seconds or {}).get(tensor.name, {})
        choices = tuple(
            Choice(
                type=type_,
                n_bytes=padded_bytes(tensor, type_),
                damage=sensitivities[tensor.name] * error,
                seconds=rates.get(type_, 0.0),
            )
            for type_, error in errors.get(tensor.name, {}).items()
            if tensor.shape[0] % BY_NAME[type_].block == 0
        )
        if choices:
            items.append(Item(name=tensor.name, choices=choices))
    return items


def undominated(choices: Iterable[Choice]) -> tuple[Choice, ...]:
    """The choices that no other one beats in bytes, damage and seconds at once, the smallest first.
    Of equals one stays.
    """
    kept: list[Choice] = []
    for choice in sorted(choices, key=lambda c: (c.n_bytes, c.damage, c.seconds, c.type)):
        if not any(k.damage <= choice.damage and k.seconds <= choice.seconds for k in kept):
            kept.append(choice)
    return tuple(kept)
