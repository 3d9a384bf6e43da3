"""Properties of the search, on machines and questions that are made up."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hakaru.hardware.machine import Device, Hardware, named_ram
from hakaru.models.catalogue import known_models
from hakaru.planning.placement import Task
from hakaru.planning.search import place
from hakaru.selection.boards import better_up, lead_for, ties
from hakaru.selection.catalogue_sizes import Sized, measured
from hakaru.selection.conditions import Asked, Conditions, conditions_of
from hakaru.selection.contender import Contender, Speeds
from hakaru.selection.frontier import beats, frontier
from hakaru.selection.judging import Where, best_contender, contenders_of
from hakaru.selection.remembered import RowSpeed
from hakaru.selection.row_speeds import speeds
from hakaru.selection.searching import Search, search
from hakaru.selection.why import why_recommended

MODELS = [
    model
    for model in known_models()
    if model.id
    in {
        "qwen3-0.6b", "qwen3-4b", "qwen3-8b", "qwen3-14b", "gemma-4-26b-a4b-it", "gemma-4-31b-it",
        "gemma-4-e4b-it", "gpt-oss-20b", "qwen3.5-35b-a3b", "llama-3.3-70b-instruct",
        "gemma-3-1b-it", "lfm2-350m", "smollm2-135m-instruct", "phi-4", "bge-m3",
        "mistral-small-3.1-24b-instruct-2503", "granite-4.0-h-tiny",
    }
]  # fmt: skip
assert len(MODELS) == 17


def card(gib: float, bandwidth: float | None) -> Device:
    return Device(
        name=f"card of {gib:g}", vendor="nvidia", total_bytes=int(gib * 2**30), free_bytes=None,
        bandwidth_gb_s=bandwidth,
    )  # fmt: skip


def machine(cards: list[Device], ram_gib: int) -> Hardware:
    """At least 8 GiB of RAM where there is no card."""
    ram_gib = ram_gib or (0 if cards else 8)
    return Hardware(accelerators=tuple(cards), ram=named_ram(ram_gib * 2**30) if ram_gib else None)


cards = st.builds(card, st.sampled_from([6, 12, 24, 48]), st.sampled_from([None, 360, 1000]))
machines = st.builds(machine, st.lists(cards, max_size=2), st.sampled_from([0, 8, 32, 64]))
questions = st.builds(
    lambda task, n_ctx, users, speed, license_: conditions_of(
        task, **Asked(n_ctx=n_ctx, users=users, min_speed=speed, license=license_)
    ),
    st.sampled_from(["chat", "code", "rag", "embedding"]),
    st.sampled_from([512, 4096, 16384, 65536]),
    st.sampled_from([1, 3]),
    st.sampled_from([None, 5.0, 40.0]),
    st.sampled_from(["any", "open"]),
)


def found(conditions: Conditions, hardware: Hardware) -> Search:
    return search(conditions, Where(hardware=hardware, predict=speeds), MODELS)


def names(result: Search) -> set[str]:
    return {contender.model.id for contender in result.contenders}


@settings(max_examples=20, deadline=None)
@given(questions, machines)
def test_every_row_fits(conditions: Conditions, hardware: Hardware) -> None:
    """By the whole arithmetic, from the tensors and not from the table."""
    for row in found(conditions, hardware).contenders:
        load = measured(row.model)[row.type].load
        assert place(replace(row.task, load=load), hardware).verdict == "fits"
        assert row.placement.verdict == "fits"
        assert all(share.headroom_bytes >= 0 for share in row.placement.devices)
        assert row.n_ctx >= conditions.n_ctx and row.longest() >= row.n_ctx


@settings(max_examples=20, deadline=None)
@given(questions, machines)
def test_every_model_has_a_row_or_a_reason(conditions: Conditions, hardware: Hardware) -> None:
    """One of both: nothing is lost."""
    result = found(conditions, hardware)
    assert len(result.contenders) + sum(result.left_out.values()) == len(MODELS)
    assert len(names(result)) == len(result.contenders)


@settings(max_examples=15, deadline=None)
@given(questions, machines, st.sampled_from(["speed", "context", "users", "license", "memory"]))
def test_a_relaxed_condition_loses_no_model(
    conditions: Conditions, hardware: Hardware, what: str
) -> None:
    """Whatever had a row has one when less is asked, or there is more memory."""
    traffic = conditions.traffic
    wider, relaxed = hardware, conditions
    match what:
        case "speed":
            relaxed = replace(conditions, min_speed=None)
        case "context":
            relaxed = replace(conditions, n_ctx=conditions.n_ctx // 2)
        case "users":
            relaxed = replace(conditions, traffic=replace(traffic, users=1))
        case "license":
            relaxed = replace(conditions, license="any")
        case _:
            ram = hardware.ram and named_ram(2 * hardware.ram.total_bytes)
            cards = tuple(replace(d, total_bytes=2 * d.total_bytes) for d in hardware.accelerators)
            wider = replace(hardware, ram=ram, accelerators=cards)
    assert names(found(conditions, hardware)) <= names(found(relaxed, wider))


@settings(max_examples=15, deadline=None)
@given(questions, machines)
def test_no_row_of_the_frontier_is_beaten(conditions: Conditions, hardware: Hardware) -> None:
    """And each row that is not of the frontier is beaten by one that is, or was not measured."""
    rows = found(conditions, hardware).contenders
    first = frontier(rows)
    assert not any(beats(a, b) for a in rows for b in first)
    for row in rows:
        if row.score and row not in first and not row.is_below_four_bits:
            assert any(beats(other, row) for other in first)


@settings(max_examples=20, deadline=None)
@given(questions, machines)
def test_the_recommended_row_ties_with_the_best_that_meets_everything(
    conditions: Conditions, hardware: Hardware
) -> None:
    """It has fewer than four bits only where every row does, and of the others with a score none
    misses fewer wishes. It is the fastest where all are slow.
    """
    result = found(conditions, hardware)
    first = result.recommended
    if first is None:
        assert not result.contenders
        return
    scored = [row for row in result.contenders if row.score and not row.is_below_four_bits]
    if scored:
        assert first in scored
        assert len(first.misses) == min(len(row.misses) for row in scored)
    alike = [row for row in scored if len(row.misses) == len(first.misses)]
    if all("decode_tokens_per_s" in row.misses for row in alike):
        assert all(first.speed >= row.speed for row in alike)
    else:
        for row in alike:
            assert first.score and row.score
            assert better_up(first.score) >= better_up(row.score) or ties(first.score, row.score)
    if any(not row.is_below_four_bits for row in result.contenders):
        assert not first.is_below_four_bits


def row_on(hardware: Hardware, model_id: str, conditions: Conditions) -> Contender:
    model = next(model for model in MODELS if model.id == model_id)
    where = Where(hardware=hardware, predict=speeds)
    row = best_contender(model, conditions, where, lead_for("chat", "en"))
    assert isinstance(row, Contender)
    return row


def test_the_largest_type_that_fits_on_the_card_comes_before_a_larger_one_in_ram() -> None:
    """Qwen3 14B on 12 GB: Q5_K_M on the card, although Q8_0 would fit with layers in RAM."""
    hardware = Hardware(accelerators=(card(12, 360),), ram=named_ram(32 * 2**30))
    row = row_on(hardware, "qwen3-14b", conditions_of("chat"))
    assert (row.type, row.cache, row.is_whole) == ("Q5_K_M", "f16", True)


def test_experts_go_to_ram_where_no_four_bits_fit_on_the_card() -> None:
    """A mixture of 25 billion on 12 GB keeps eight bits, and its pace."""
    hardware = Hardware(accelerators=(card(12, 360),), ram=named_ram(32 * 2**30))
    row = row_on(hardware, "gemma-4-26b-a4b-it", conditions_of("chat"))
    assert (row.type, row.placement.layout.n_cpu_moe > 0) == ("Q8_0", True)
    assert not row.misses


def test_below_four_bits_only_where_nothing_else_fits() -> None:
    """Gemma 4 31B in 16 GiB of RAM: Q2_K, and never recommended beside other rows."""
    hardware = Hardware(accelerators=(), ram=named_ram(16 * 2**30))
    row = row_on(hardware, "gemma-4-31b-it", conditions_of("chat"))
    assert row.is_below_four_bits
    result = found(conditions_of("chat"), hardware)
    assert result.recommended and not result.recommended.is_below_four_bits
    assert row.model.id not in {r.model.id for r in result.frontier}


def test_a_type_that_misses_one_wish_comes_before_a_larger_one_that_misses_two() -> None:
    """Qwen3 4B where RAM reads 25 GB/s: no type reads the prompt in time, and only the smaller ones
    keep the pace.
    """

    hardware = Hardware(accelerators=(), ram=named_ram(16 * 2**30))

    def predict(task: Task, sized: Sized, *_: object) -> Speeds:
        decode = 25e9 / sized.load.total_bytes
        return Speeds(decode=told(decode), prefill=told(20.0))

    model = next(model for model in MODELS if model.id == "qwen3-4b")
    where = Where(hardware=hardware, predict=predict)
    row = best_contender(model, conditions_of("chat"), where, lead_for("chat", "en"))
    assert isinstance(row, Contender)
    assert row.misses == ("first_token_s",)
    assert row.type == "Q5_K_M"


def test_what_boards_measured_comes_before_a_wish_of_ours() -> None:
    """Where only a model without a score meets every wish, one with a score is recommended, and of
    these the fastest if none is fast enough.
    """
    hardware = Hardware(accelerators=(), ram=named_ram(16 * 2**30))

    def predict(task: Task, sized: Sized, *_: object) -> Speeds:
        decode = 2e9 / sized.load.total_bytes
        return Speeds(decode=told(decode), prefill=told(1000.0))

    result = search(conditions_of("chat"), Where(hardware=hardware, predict=predict), MODELS)
    assert "smollm2-135m-instruct" in {r.model.id for r in result.contenders if not r.misses}
    first = result.recommended
    assert first and first.score and "decode_tokens_per_s" in first.misses
    assert first.speed == max(row.speed for row in result.contenders if row.score)
    assert "none of" in why_recommended(result)


def told(value: float) -> RowSpeed:
    return RowSpeed(value=value, low=value, high=value, source="made up")


def test_a_cache_of_eight_bits_comes_after_every_type_of_four() -> None:
    """A long context for Qwen3 14B on 12 GB fits with a smaller cache, not with smaller weights."""
    hardware = Hardware(accelerators=(card(12, 360),))
    short = row_on(hardware, "qwen3-14b", conditions_of("chat", n_ctx=8192))
    long = row_on(hardware, "qwen3-14b", conditions_of("chat", n_ctx=32768))
    assert short.cache == "f16" and long.cache == "q8_0"


def test_gpt_oss_is_looked_at_as_it_was_trained() -> None:
    """A larger type would write the same four bits longer."""
    model = next(model for model in MODELS if model.id == "gpt-oss-20b")
    where = Where(hardware=Hardware(accelerators=(card(48, 1000),)), predict=speeds)
    rows = contenders_of(model, conditions_of("chat"), where, None)
    assert {row.type for row in rows} == {"MXFP4_MOE"}
