"""Which type llama.cpp's quantizer gives every tensor for a preset, without asking it.

A preset's base type goes to every matrix unless a table below says otherwise. A table belongs to a
role (attn_v, ffn_down, …) and has for each preset its exceptions as steps: "where in the model ->
type". The first step that applies counts; if none does, the base type stays. A row that the type's
blocks do not divide falls back to a type of smaller blocks, and at last to F16.

Tests compare every tensor of many architectures at every preset with the quantizer itself. Left
out: types that a person sets by hand, and models that the quantizer refuses for another reason than
a layer out of range. With importance data (`has_imatrix`) a few tensors differ. Source: llama.cpp,
src/llama-quant.cpp (llama_tensor_get_type_impl, tensor_type_fallback).
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from hakaru.errors import ModelUnknown
from hakaru.formats.quant_types import BY_NAME
from hakaru.models.presets import BASE_TYPES
from hakaru.models.roster import FFN, Facts, Group, Role, Roster

Where = Callable[[int, int], bool]
"""True if a step applies to the i-th of n tensors, or layers, from 0 (`_positions`)."""
Steps = tuple[tuple[Where, str], ...]
Table = dict[str, Steps]


def preset_types(model: Roster, preset: str, *, has_imatrix: bool = False) -> dict[str, str]:
    """The type of every tensor after quantizing to `preset` (a key of BASE_TYPES), by name; kept
    tensors with their own.

    Raises ModelUnknown where the quantizer would refuse: a tensor of a mixture of experts whose
    name tells no layer.
    """
    types = {tensor.name: tensor.type.name for tensor in model.kept}
    for group, chosen in _choices(model, preset, has_imatrix):
        types.update(zip(group.names, chosen, strict=True))
    return types


def everywhere(i: int, n: int) -> bool:
    return True


def first_two(i: int, n: int) -> bool:
    return i < 2


def first_four(i: int, n: int) -> bool:
    return i < 4


def first_eighth(i: int, n: int) -> bool:
    return i < n // 8


def first_sixteenth(i: int, n: int) -> bool:
    return i < n // 16


def middle(i: int, n: int) -> bool:
    return n // 8 <= i < 7 * n // 8


def more_bits(i: int, n: int) -> bool:
    """The first and the last eighth, and every third between them."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def _all(type_: str, *presets: str) -> Table:
    return dict.fromkeys(presets, ((everywhere, type_),))


def _at(where: Where, type_: str, *presets: str) -> Table:
    return dict.fromkeys(presets, ((where, type_),))


_IQ1: Final = ("IQ1_S", "IQ1_M")
_SMALL: Final = ("IQ2_XXS", "IQ2_XS", *_IQ1)
_SMALL_S: Final = ("IQ2_S", "IQ2_M")
_LOW: Final = frozenset({*_SMALL, *_SMALL_S})
"""Presets of about two bits and less, to which the rules for 70B and for eight experts do not
apply.
"""
_NOT_LOW: Final = tuple(preset for preset in BASE_TYPES if preset not in _LOW)

_TOKEN_EMBD: Final = _all("Q2_K", *_SMALL) | _all("IQ3_S", *_SMALL_S, "IQ3_XXS")

_ATTN_V: Final = (
    _all("Q2_K", *_SMALL)
    | _all("IQ3_S", *_SMALL_S, "IQ3_XXS")
    | _all("Q3_K", "Q2_K")
    | _all("Q4_K", "IQ3_M")
    | _all("Q5_K", "Q3_K_L")
    | {"Q3_K_M": ((first_two, "Q5_K"), (everywhere, "Q4_K"))}
    | _at(first_four, "Q5_K", "Q4_K_S")
    | _at(more_bits, "Q6_K", "Q4_K_M", "Q5_K_M")
)
_ATTN_V_WITH_IMATRIX: Final[Table] = {"IQ3_XXS": ()}
_ATTN_V_OF_FOUR_EXPERTS: Final = _all("Q4_K", *_LOW)
_ATTN_V_OF_GROUPS: Final = _all(
    "Q4_K", *_LOW, "Q2_K", "Q2_K_S", "IQ3_XXS", "IQ3_XS", "IQ3_S"
) | _all("Q5_K", "IQ4_NL", "IQ4_XS")
_ATTN_V_OF_EIGHT_EXPERTS: Final = _all("Q8_0", *_NOT_LOW)

_ATTN_Q: Final = _all("IQ3_XXS", "IQ3_XS") | _all("IQ2_S", "IQ3_XXS")
_ATTN_K_OF_EIGHT_EXPERTS: Final = _all("Q4_K", *_LOW) | _all("Q8_0", *_NOT_LOW)

_ATTN_OUTPUT_LOW: Final = _all("IQ2_XXS", *_IQ1) | _all("IQ3_S", *_SMALL_S)
_ATTN_OUTPUT: Final = (
    _ATTN_OUTPUT_LOW
    | _all("Q3_K", "Q2_K")
    | _all("IQ3_S", "IQ3_XXS")
    | _all("Q4_K", "Q3_K_M", "IQ3_M")
    | _all("Q5_K", "Q3_K_L")
)
_ATTN_OUTPUT_OF_FALCON: Final = _ATTN_OUTPUT_LOW | _all("Q4_K", "Q3_K_L")
_ATTN_OUTPUT_OF_EIGHT_EXPERTS: Final = _all(
    "Q5_K",
    *_LOW,
    "Q2_K",
    "IQ3_XS",
    "IQ3_XXS",
    "Q3_K_S",
    "Q3_K_M",
    "IQ4_NL",
    "Q4_K_S",
    "Q4_K_M",
    "IQ3_S",
    "IQ3_M",
    "IQ4_XS",
)

_FFN_UP: Final = _at(middle, "IQ3_XXS", "IQ3_XS")

_FFN_DOWN: Final = (
    _at(first_eighth, "Q2_K", *_SMALL)
    | _at(first_eighth, "IQ3_S", *_SMALL_S)
    | _all("Q3_K", "Q2_K")
    | _all("Q5_K", "Q3_K_L")
    | {"Q3_K_M": ((first_sixteenth, "Q5_K"), (everywhere, "Q4_K"))}
    | _at(first_eighth, "Q4_K", "Q2_K_S", "IQ3_M")
    | _at(first_eighth, "Q5_K", "Q4_K_S")
    | _at(more_bits, "Q6_K", "Q4_K_M", "Q5_K_M")
)
_FFN_DOWN_WITH_IMATRIX: Final = _at(first_eighth, "Q4_1", "Q4_0") | _at(
    first_eighth, "Q5_1", "Q5_0"
)
_FFN_DOWN_WITHOUT_IMATRIX: Final = _at(first_eighth, "Q5_K", "IQ4_NL", "IQ4_XS") | {
    "IQ3_XXS": ((first_eighth, "Q4_K"), (everywhere, "Q3_K"))
}
_FFN_DOWN_OF_FALCON: Final = _all("Q4_K", "Q3_K_L") | {
    "Q3_K_M": ((first_sixteenth, "Q5_K"), (more_bits, "Q4_K")),
    "Q4_K_M": ((first_sixteenth, "Q6_K"), (more_bits, "Q5_K")),
    "Q4_K_S": (),
}
_FFN_DOWN_OF_EIGHT_EXPERTS: Final = _at(more_bits, "Q4_K", "IQ3_M")

_FALLBACKS: Final = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"),
        "IQ4_NL"),
    "Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
}  # fmt: skip
"""The type of smaller blocks that stands in where a row is no multiple of 256 weights."""


def _choices(model: Roster, preset: str, has_imatrix: bool) -> Iterator[tuple[Group, list[str]]]:
    """Every group of tensors that is quantized, with the type of each member."""
    base = BASE_TYPES[preset]
    for group in model.groups:
        one = _type_of_all(group, model, preset, base)
        rest = _fitting(one or base, group.row)
        types = [rest] * len(group.names)
        if one is None:
            positions, n = _positions(group, model, preset)  # raises where the quantizer refuses
            if steps := _steps(group.role, preset, model.facts, has_imatrix):
                fitting = tuple((where, _fitting(type_, group.row)) for where, type_ in steps)
                types = [_first(fitting, i, n) or rest for i in positions]
        yield group, types


def _type_of_all(group: Group, model: Roster, preset: str, base: str) -> str | None:
    """The type of the whole group where no steps count, before any fallback; else None."""
    if not BY_NAME[base].is_quantized:
        return base
    if group.role is Role.AT_LEAST_Q8:
        return "Q8_0"
    if group.role is Role.OUTPUT or (group.role is Role.TOKEN_EMBD and model.is_tied):
        return _output_type(group.row, model.facts, preset, base)
    return _mxfp4_type(group, model.facts) if preset == "MXFP4_MOE" else None


def _output_type(row: int, facts: Facts, preset: str, base: str) -> str:
    """The output matrix, and the embedding where it serves as one, get at least five bits."""
    if preset == "MXFP4_MOE" or base == "Q8_0" or facts.rules.falcon or row % BY_NAME[base].block:
        return "Q8_0"
    return "Q5_K" if preset in _LOW or preset == "IQ3_XXS" else "Q6_K"


def _mxfp4_type(group: Group, facts: Facts) -> str:
    """Experts, which are stacks of matrices, get MXFP4; bailingmoe3 has other stacks too."""
    is_expert = group.is_stack and (facts.rules.stacks_are_experts or group.role in FFN)
    return "MXFP4" if is_expert else "Q8_0"


def _positions(group: Group, model: Roster, preset: str) -> tuple[tuple[int, ...], int]:
    """The i of every tensor of the group, and n, for the steps. FFN tensors of a mixture of experts
    are counted by their layer, all others by their order in the role.
    """
    if group.role not in FFN:
        return group.indices, model.n_attn_v
    n_layer = model.facts.n_layer
    if model.facts.n_expert <= 1 or preset in _LOW:
        return group.indices, n_layer
    for name, layer in zip(group.names, group.layers, strict=True):
        if not 0 <= layer < n_layer:
            raise ModelUnknown(
                "the tensor {name} belongs to none of the model's {n} layers, so llama.cpp does "
                "not quantize it; choose another model.",
                name=name,
                n=n_layer,
            )
    return group.layers, n_layer


def _first(steps: Steps, i: int, n: int) -> str | None:
    """The type of the first step that applies."""
    for where, type_ in steps:
        if where(i, n):
            return type_
    return None


def _steps(role: Role, preset: str, facts: Facts, has_imatrix: bool) -> Steps:
    """The exceptions of a preset for a role; empty where the base type goes to all."""
    steps = _table(role, facts, has_imatrix).get(preset, ())
    if role is Role.ATTN_V and facts.is_70b and preset not in _LOW and facts.n_expert != 8:
        return tuple(
            (where, _lifted(type_)) for where, type_ in (*steps, (everywhere, BASE_TYPES[preset]))
        )
    return steps


def _lifted(type_: str) -> str:
    """The type of attn_v in a 70B, where attn_v is an eighth of attn_q: five bits cost little."""
    return "Q5_K" if type_ in {"Q3_K", "Q4_K"} else type_


def _table(role: Role, facts: Facts, has_imatrix: bool) -> Table:
    """The table of a role in a model like this."""
    match role:
        case Role.TOKEN_EMBD:
            return _TOKEN_EMBD
        case Role.ATTN_V:
            return _attn_v_table(facts, has_imatrix)
        case Role.ATTN_K if facts.n_expert == 8:
            return _ATTN_K_OF_EIGHT_EXPERTS
        case Role.ATTN_Q | Role.ATTN_K:
            return _ATTN_Q
        case Role.ATTN_OUTPUT if facts.rules.falcon:
            return _ATTN_OUTPUT_OF_FALCON
        case Role.ATTN_OUTPUT:
            return _ATTN_OUTPUT_OF_EIGHT_EXPERTS if facts.n_expert == 8 else _ATTN_OUTPUT
        case Role.FFN_UP | Role.FFN_GATE:
            return _FFN_UP
        case Role.FFN_DOWN:
            return _ffn_down_table(facts, has_imatrix)
    return {}


def _attn_v_table(facts: Facts, has_imatrix: bool) -> Table:
    return {
        **_ATTN_V,
        **(_ATTN_V_WITH_IMATRIX if has_imatrix else {}),
        **(_ATTN_V_OF_FOUR_EXPERTS if facts.n_expert >= 4 else {}),
        **(_ATTN_V_OF_GROUPS if facts.n_gqa >= 4 else {}),
        **(_ATTN_V_OF_EIGHT_EXPERTS if facts.n_expert == 8 else {}),
    }


def _ffn_down_table(facts: Facts, has_imatrix: bool) -> Table:
    return {
        **_FFN_DOWN,
        **(_FFN_DOWN_WITH_IMATRIX if has_imatrix else _FFN_DOWN_WITHOUT_IMATRIX),
        **(_FFN_DOWN_OF_EIGHT_EXPERTS if facts.n_expert == 8 else {}),
        **(_FFN_DOWN_OF_FALCON if facts.rules.falcon else {}),
    }


@cache
def _fitting(type_: str, row: int) -> str:
    """`type_`, or the type that stands in where its blocks do not divide a row."""
    if row % BY_NAME[type_].block == 0:
        return type_
    smaller = _FALLBACKS.get(type_, type_)
    return "F16" if row % BY_NAME[smaller].block else smaller
