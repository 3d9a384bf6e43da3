"""What recurrent layers hold on one rank of vLLM: the widths of their matrices, and their states.
Pure.

Heads are divided. Mamba 2 shares B and C among the heads of a group; where there is one group, each
rank repeats it.

Source: vLLM, model_executor/layers/mamba (mamba_mixer2.py, mamba_utils.py, short_conv.py, gdn).
"""

from collections.abc import Iterator

from hakaru.language import say
from hakaru.models.architectures.record import InVllm
from hakaru.models.shape import Shape


def held_as(shape: Shape) -> InVllm:
    """What vLLM does otherwise for the architecture."""
    return shape.record.in_vllm or InVllm()


def groups_of_rank(shape: Shape, tp: int) -> int:
    """Groups of B and C in Mamba 2."""
    return max(1, shape.ssm_n_group // tp)


def convolved(shape: Shape, tp: int) -> int:
    """Values that the convolution of a recurrent layer sees on one rank."""
    match held_as(shape).recurrent:
        case "mamba 2":
            return shape.ssm_d_inner // tp + 2 * groups_of_rank(shape, tp) * shape.ssm_d_state
        case "gated delta":
            return (shape.ssm_d_inner + 2 * shape.ssm_n_group * shape.ssm_d_state) // tp
    return shape.n_embd // tp


def mamba_2_in(shape: Shape, tp: int) -> int:
    """Rows of the matrix into Mamba 2: gate, what is convolved, and a step for each head."""
    return shape.ssm_d_inner // tp + convolved(shape, tp) + shape.ssm_dt_rank // tp


def state_bytes(shape: Shape, tp: int, *, on_cards: bool) -> int:
    """The last inputs of the convolution, 16 bits each, and the state of each head."""
    record = held_as(shape)
    if record.recurrent == "short convolution":
        return 2 * (shape.n_shortconv_l_cache - 1) * convolved(shape, tp)
    width = 4 if record.states_in_f32 or not on_cards else 2
    last_inputs = 2 * (shape.ssm_d_conv - 1) * convolved(shape, tp)
    return last_inputs + width * shape.ssm_d_inner // tp * shape.ssm_d_state


def recurrent_parts(shape: Shape) -> Iterator[tuple[str, int]]:
    """What must divide by the ranks, with its name."""
    match held_as(shape).recurrent:
        case "mamba 2":
            yield say("heads of the recurrent layers"), shape.ssm_dt_rank
            if shape.ssm_n_group > 1:
                yield say("groups of the recurrent layers"), shape.ssm_n_group
        case "gated delta":
            yield say("heads of the recurrent layers"), shape.ssm_n_group
        case "short convolution":
            yield say("values of the convolution"), shape.n_embd
