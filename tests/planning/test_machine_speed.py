"""A machine's own rates, from files that were timed on it."""

import math

import pytest
from msgspec.structs import replace

from hakaru.planning.machine_speed import (
    MachineSpeed,
    errors_left_out,
    machine_speed,
    narrowed,
    weighed,
)
from hakaru.planning.speed_figures import Basis, PredictedSpeed, Sample, SpeedPrediction
from hakaru.planning.timed_file import TimedFile, timed_file
from hakaru.planning.token_work import Attention, TokenWork

RATES = {"Q4_K": 1e-10, "Q8_0": 8e-11}
LAYER_S = 2e-4


def timed(read: dict[str, float], n_layer: int) -> TimedFile:
    seconds = sum(RATES[type_] * n for type_, n in read.items()) + LAYER_S * n_layer
    return TimedFile(
        read=read, seconds=seconds, n_layer=n_layer, products=1e9, prefill_seconds=0.01
    )


FILES = [
    timed({"Q4_K": 1e9}, 24),
    timed({"Q8_0": 1e9}, 24),
    timed({"Q4_K": 5e7, "Q8_0": 2e7}, 30),
    timed({"Q4_K": 3e8}, 8),
]


def machine() -> MachineSpeed:
    found = machine_speed(FILES)
    assert found
    return found


def test_rates_are_found_again() -> None:
    """Bytes of two types and layers made the times; the times give them back."""
    for type_, rate in RATES.items():
        assert machine().rates[type_] == pytest.approx(rate, rel=0.1)
    assert machine().layer_s == pytest.approx(LAYER_S, rel=0.15)


def test_a_larger_model_is_predicted() -> None:
    """Five times larger than what was timed: within a tenth, and inside the interval."""
    work = TokenWork(read={"Q4_K": 5e9}, n_layer=32)
    figure = machine().decode(work, 0)
    assert figure
    truth = 1 / (5e9 * RATES["Q4_K"] + 32 * LAYER_S)
    assert figure.value == pytest.approx(truth, rel=0.1)
    assert figure.low < truth < figure.high


def test_several_users_cost_the_compute_of_a_prompt_each() -> None:
    """A step for four: the bytes once, and three tokens more at the rate of prompts."""
    work = TokenWork(read={"Q4_K": 5e9}, stored={"Q4_K": 5e9}, products=1e9, n_layer=32)
    found = machine()
    one, four = found.decode(work, 0), found.decode(work, 0, users=4)
    prompt = found.prefill(work, 0, 512)
    assert one and four and prompt
    assert 1 / four.value == pytest.approx(1 / one.value + 3 / prompt.value)
    assert one.value / 4 < four.value < one.value
    assert four.basis.users == 4


def test_a_type_that_no_file_held_is_read_at_the_usual_rate() -> None:
    """And so are keys and values."""
    work = TokenWork(read={"Q6_K": 1e9}, attention=(Attention(cell_bytes=1000, products=10),))
    assert machine().seconds(work, 1000) == pytest.approx(machine().usual * (1e9 + 1e6))


def test_prompts_cost_products_and_layers() -> None:
    """A billion products in ten milliseconds, or less where fewer layers ask for less."""
    files = [
        TimedFile(
            read={"Q8_0": 1e9},
            seconds=0.1,
            n_layer=n_layer,
            products=products,
            prefill_seconds=products * 1e-11 + n_layer * 1e-4,
        )
        for n_layer, products in ((30, 1e8), (6, 4e8), (16, 1e9), (24, 3e9))
    ]
    found = machine_speed(files)
    assert found
    figure = found.prefill(TokenWork(read={"Q8_0": 1e9}, products=7e9, n_layer=32), 0, 512)
    assert figure
    assert figure.value == pytest.approx(1 / (0.07 + 32e-4), rel=0.1)
    assert found.prompts
    assert found.prompts.layer_s == pytest.approx(1e-4, rel=0.15)


def test_prompts_have_a_rate_for_each_type() -> None:
    """One type computes twice as fast as the other, whatever a byte of it costs to read; a file of
    both takes the time between, and a type that no file held the usual one.
    """
    per_product = {"Q4_1": 2e-11, "Q6_K": 1e-11}
    files = [
        TimedFile(
            read={type_: 1e9}, seconds=0.1, n_layer=1, products=n, prefill_seconds=n * product_s
        )
        for type_, product_s in per_product.items()
        for n in (1e9, 2e9)
    ]
    found = machine_speed(files)
    assert found and found.prompts
    for type_, product_s in per_product.items():
        assert found.prompts.rates[type_] == pytest.approx(product_s, rel=0.05)
    half = TokenWork(read={"Q4_1": 5.0, "Q6_K": 6.5625}, products=1e9)  # bits of a weight
    assert found.prompts.seconds(half, 0) == pytest.approx(0.015, rel=0.05)
    other = TokenWork(read={"F16": 1e9}, products=1e9)
    assert found.prompts.seconds(other, 0) == pytest.approx(found.prompts.usual * 1e9)


def test_every_file_narrows() -> None:
    """More files of the same machine, a smaller spread."""
    few, many = machine_speed(FILES[:1]), machine()
    assert few
    assert many.spread < few.spread


def test_each_file_is_held_against_the_others() -> None:
    """Of exact times the errors are small; one file alone has nothing to be held against."""
    assert errors_left_out(FILES[:1]) == []
    slow = TimedFile(read={"Q4_K": 1e9}, seconds=0.2, n_layer=24)
    errors = errors_left_out([*FILES, FILES[0], slow])
    assert len(errors) == 6
    assert errors[-1] == pytest.approx(-0.47, abs=0.05)


def test_without_files_there_is_nothing() -> None:
    """No machine, no rates; rows of older ledgers lack layers and prompts."""
    assert machine_speed([]) is None
    old = TimedFile.from_json({"read": {"Q4_K": 1e8}, "seconds": 0.01})
    found = machine_speed([old])
    assert found
    assert found.prompts is None
    assert TimedFile.from_json(FILES[0].as_json()) == FILES[0]


def test_two_figures_are_weighed_by_their_spreads() -> None:
    """The narrower one counts more, and both together are narrower than either."""
    wide = PredictedSpeed(value=50, low=25, high=100, basis=Basis(n_speeds=7, n_devices=2))
    narrow = PredictedSpeed(value=80, low=72, high=80**2 / 72, basis=Basis(n_timed=3))
    both = weighed((wide, narrow))
    assert both
    assert 75 < both.value < 80
    assert both.high / both.low < narrow.high / narrow.low
    assert both.basis == Basis(n_speeds=7, n_devices=2, n_timed=3)
    assert weighed((None, narrow)) is narrow
    assert weighed((None, None)) is None


def test_a_processor_is_known_by_what_was_timed() -> None:
    """Where nothing is published, the machine's own figure stands alone."""
    unknown = SpeedPrediction(depth=0, why_no_decode="unknown", why_no_prefill="unknown")
    answer = narrowed(
        unknown, machine(), TokenWork(read={"Q4_K": 1e9}, n_layer=24), sample=Sample()
    )
    assert answer.decode
    assert answer.decode.value == pytest.approx(1 / FILES[0].seconds, rel=0.05)
    assert answer.why_no_decode == ""
    assert math.isclose(answer.decode.basis.n_timed, 4)


def test_a_long_prompt_tells_what_attention_takes() -> None:
    """On a processor keys and values cost multiplications, not bytes: two models timed at the same
    two depths, and a third is predicted behind twice as many tokens.
    """
    works = [
        TokenWork(
            read={"Q4_K": n_bytes},
            products=n_bytes,
            n_layer=n_layer,
            attention=(Attention(cell_bytes=2048, products=4096),) * n_layer,
        )
        for n_bytes, n_layer in ((1e8, 4), (3e8, 12), (6e8, 24))
    ]

    def seconds(work: TokenWork, depth: float) -> float:
        return 1e-10 * work.read_bytes + 5e-10 * work.attention_products(depth)

    files = [
        timed_file(
            work,
            work.read,
            decode_tokens_per_s=1 / seconds(work, n_prompt + 24),
            prefill_tokens_per_s=100,
            n_prompt=n_prompt,
            n_predict=48,
            depth=n_prompt if n_prompt > 128 else 0,
        )
        for work in works[:2]
        for n_prompt in (128, 1024)
    ]
    found = machine_speed(files)
    assert found
    assert found.seconds(works[2], 2048) == pytest.approx(seconds(works[2], 2048), rel=0.07)
    assert found.n_files == 2


def test_a_type_that_no_file_held_widens_the_interval() -> None:
    """By as much of the work as has that type."""

    def width(work: TokenWork) -> float:
        figure = machine().decode(work, 0)
        assert figure
        return figure.high / figure.low

    known, half, unknown = (
        TokenWork(read={"Q4_K": 1e9 * part, "Q6_K": 1e9 * (1 - part)}, n_layer=24)
        for part in (1, 0.5, 0)
    )
    assert width(known) < width(half) < width(unknown)


def test_a_short_prompt_waits_for_the_weights() -> None:
    """A micro-batch fetches them once, whatever it holds: on a GPU 128 tokens are read more slowly
    than 512.
    """
    step, product = 0.01, 1e-12
    files = [
        timed_file(
            work := TokenWork(read={"Q8_0": n * 1.06}, products=n, n_layer=1),
            work.read,
            decode_tokens_per_s=1 / step / (n / 1e9),
            prefill_tokens_per_s=1 / (n * product + step * (n / 1e9) / min(n_prompt, 512)),
            n_prompt=n_prompt,
            n_predict=48,
            depth=n_prompt if n_prompt > 128 else 0,
        )
        for n in (1e9, 3e9)
        for n_prompt in (128, 1024)
    ]
    found = machine_speed(files)
    assert found
    work = TokenWork(read={"Q8_0": 2.12e9}, products=2e9, n_layer=1)
    for n_prompt in (128, 512):
        figure = found.prefill(work, 0, n_prompt)
        assert figure
        truth = 1 / (2e9 * product + 2 * step / n_prompt)
        assert figure.value == pytest.approx(truth, rel=0.12)


def test_a_type_is_not_judged_by_others() -> None:
    """A file of a type that no other file holds says nothing of how true predictions are."""
    only = TimedFile(read={"Q6_K": 1e9}, seconds=0.1, n_layer=24)
    assert len(errors_left_out([*FILES, only])) == len(errors_left_out(FILES)) == 4
    told = [replace(file, calibrates=True) for file in FILES[1:]]
    assert len(errors_left_out([FILES[0], *told])) == 1
    assert errors_left_out([FILES[0], only]) == []
