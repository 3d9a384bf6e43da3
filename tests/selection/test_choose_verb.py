"""The verb: from a text to rows."""

from pathlib import Path

import pytest
from test_remembered import keep, level

import hakaru
from hakaru.errors import Misuse, ModelNotFound
from hakaru.models.model import as_preset, read_model
from hakaru.models.sources.find import find_model
from hakaru.planning.extras import mtp_extra
from hakaru.planning.fit import fit
from hakaru.selection.choose import choose
from hakaru.selection.speculative_row import guessing, guessing_lines

ROW = {
    "model", "type", "cache", "n_ctx", "max_n_ctx", "devices", "memory_bytes", "download_bytes",
    "decode_tokens_per_s", "prefill_tokens_per_s", "quality", "licence", "why",
}  # fmt: skip


def test_the_json_has_what_it_promises() -> None:
    """The fields of `hakaru.choice/1`; the recommended row is the first."""
    data = choose("chat", hardware="RTX 3060 12GB + 32GiB RAM", top=6).as_json()
    assert data["schema"] == "hakaru.choice/1"
    rows, recommended = data["rows"], data["recommended"]
    assert isinstance(rows, list) and isinstance(recommended, dict)
    assert len(rows) == 6 and rows[0] == recommended
    for row in rows:
        assert row.keys() >= ROW
        for speed in (row["decode_tokens_per_s"], row["prefill_tokens_per_s"]):
            assert speed is None or speed.keys() == {"value", "low", "high", "source"}
        for score in row["quality"]:
            assert score.keys() >= {"metric", "value", "source", "date"}
    assert {"machine", "constraints", "left_out", "relax"} <= data.keys()


@pytest.mark.parametrize("machine", ["M2 16GB", "16GB RAM", "RTX 3060 12GB + 32GiB RAM"])
def test_a_row_takes_what_fit_says_and_is_started_as_fit_says(machine: str) -> None:
    """With the context checkpoints that have room; rows are compared without them."""
    rows = choose("chat", hardware=machine, top=4).rows
    for row in rows:
        asked = row.task.settings
        fitted = fit(
            row.model.id, hardware=machine, preset=row.type, source="computed",
            n_ctx=asked.n_ctx, type_k=asked.type_k, type_v=asked.type_v,
        ).as_json()  # fmt: skip
        assert row.memory_bytes == fitted["total_bytes"]
        assert row.flags == fitted["flags"]
    if "+" not in machine:  # one memory, into which the checkpoints go
        assert any(row.memory_bytes > 1.2 * row.least_bytes for row in rows)


def test_every_model_is_a_row_or_is_counted() -> None:
    """Rows and reasons add up to the catalogue."""
    chosen = choose("chat", hardware="RTX 4090", top=7)
    from hakaru.models.catalogue import known_models

    assert len(chosen.rows) + sum(chosen.left_out.values()) == len(known_models())
    assert len(chosen.rows) == 7


def test_the_types_of_one_model() -> None:
    """The largest that meets everything is recommended, smaller ones stand below it."""
    chosen = choose("chat", hardware="RTX 3060 12GB", model="qwen3-14b")
    assert {row.model.id for row in chosen.rows} == {"qwen3-14b"}
    first = chosen.recommended
    assert first and (first.type, first.cache) == ("Q5_K_M", "f16")
    assert first.longest() >= 8192 and first.most_users() >= 1


def test_a_row_tells_what_its_own_layers_for_guessing_take() -> None:
    """The bytes of `fit --mtp` at the same settings; a model without has none, and no gain is told
    that nobody measured.
    """
    row = choose("chat", hardware="RTX 4090", model="qwen3.6-27b").rows[0]
    data = choose("chat", hardware="RTX 4090", model="qwen3.6-27b").as_json()["recommended"]
    model = as_preset(read_model(find_model("qwen3.6-27b").path), row.type)
    extra = mtp_extra(model, row.task.settings)
    assert isinstance(data, dict)
    assert data["speculative"] == {
        "means": "mtp", "draft": None, "memory_bytes": extra.bytes, "gain": None, "taken": None,
    }  # fmt: skip
    (line,) = guessing_lines([row, row])
    assert line.startswith("Layers of their own (MTP)") and line.count("qwen3.6-27b") == 1
    without = choose("chat", hardware="RTX 4090", model="qwen3-14b")
    assert guessing(without.rows[0]) is None and guessing_lines(without.rows) == []


def test_a_model_that_does_not_fit_has_its_reason() -> None:
    """And the memory that would be enough."""
    chosen = choose("chat", hardware="RTX 3060 12GB", model="llama-3.3-70b-instruct")
    assert chosen.rows == () and chosen.recommended is None and chosen.left_out == {"memory": 1}
    memory = next(way for way in chosen.relaxations if way.field == "memory")
    assert isinstance(memory.enough, int) and memory.enough > 24 * 2**30


def test_most_users_fit_and_one_more_does_not() -> None:
    """Each with the whole context of the row."""
    row = choose("chat", hardware="RTX 3060 12GB", model="qwen3-8b", users=2).recommended
    assert row
    most = row.most_users()
    assert most >= 2
    fits = choose("chat", hardware="RTX 3060 12GB", model="qwen3-8b", users=most)
    types = {(one.type, one.cache) for one in fits.rows}
    assert (row.type, row.cache) in types
    more = choose("chat", hardware="RTX 3060 12GB", model="qwen3-8b", users=most + 1, top=99)
    assert (row.type, row.cache) not in {(one.type, one.cache) for one in more.rows}


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"hardware": "RTX 4099"}, Misuse, "no accelerator 'RTX 4099'.*the nearest names are"),
        ({"model": "qwen3-8"}, ModelNotFound, "did you mean qwen3-8b"),
        ({"top": 0}, Misuse, "`top` is 0"),
    ],
)
def test_bad_input_is_one_sentence(
    asked: dict[str, object], error: type[Exception], words: str
) -> None:
    """With the nearest names."""
    with pytest.raises(error, match=words):
        choose("chat", **asked)  # type: ignore[arg-type]


def test_a_broken_tier_is_not_recommended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A type that was measured here and lost too much is shown, and said so."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    keep("a", [level("Q8_0", "fail"), level("Q6_K", "pass")])
    chosen = choose("chat", hardware="4GiB RAM", model="smollm2-135m-instruct", n_ctx=4096)
    first = chosen.recommended
    assert first and first.type == "Q6_K" and first.measured
    by_type = {row.type: row for row in chosen.rows if row.cache == "f16"}
    assert by_type["Q8_0"].misses == ("tier",)
    row = chosen.as_json()["recommended"]
    assert isinstance(row, dict) and row["quality"][0]["source"] == "measured here"


def test_the_door_has_it() -> None:
    """`hakaru.choose`."""
    assert hakaru.choose is choose
