"""`hakaru formula`: numbers as people write them, and lines whose parts sum to what there is."""

import json
import re

import pytest

from hakaru.cli import run
from hakaru.units import parse_bytes


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    code = run(["formula", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("params", "n", "model"),
    [
        ("30B-A3B", 30_000_000_000, "qwen3-30b-a3b"),
        ("235B-A22B", 235_000_000_000, "qwen3-235b-a22b-instruct-2507"),
        ("8x7B", 46_702_792_704, "mixtral-8x7b-instruct-v0.1"),
        ("8x22b", 140_630_071_296, "mixtral-8x22b-instruct-v0.1"),
        ("0.6", 600_000_000, "qwen3-0.6b"),
        ("70", 70_000_000_000, "llama-3.3-70b-instruct"),
    ],
)
def test_parameters_as_models_are_named(
    capsys: pytest.CaptureFixture[str], params: str, n: int, model: str
) -> None:
    """All parameters count; of a mixture of a known name its real number."""
    _, out, _ = answer(capsys, "--params", params, "--bits", "4", "--hardware", "8x H200", "--json")
    data = json.loads(out)
    assert (data["params"], data["exact"]["model"]) == (n, model)


@pytest.mark.parametrize(
    ("bits", "low", "high"),
    [("4.5", 4.3, 4.7), ("4.25", 4.1, 4.4), ("8.5", 8.3, 8.7), ("2.6", 2.4, 3.1)],
)
def test_bits_between_types_take_the_nearest(
    capsys: pytest.CaptureFixture[str], bits: str, low: float, high: float
) -> None:
    """By the bits that the type really has over the model."""
    _, out, _ = answer(capsys, "--params", "8B", "--bits", bits, "--hardware", "H200", "--json")
    assert low <= json.loads(out)["exact"]["bpw"] <= high


def test_bits_that_no_type_has_are_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    """It is the bits that are unknown, not the size."""
    code, out, _ = answer(capsys, "--params", "70B", "--bits", "12", "--hardware", "2x L4")
    assert code == 0
    assert "No type has about 12 bits per weight" in out
    assert "No known model" not in out


def test_a_product_of_experts_is_an_upper_bound(capsys: pytest.CaptureFixture[str]) -> None:
    """Said where no such model is known, and corrected where one is."""
    _, out, _ = answer(capsys, "--params", "16x2B", "--bits", "4")
    assert out.startswith("16x2B is taken as the product; such a model has fewer parameters")
    _, out, _ = answer(capsys, "--params", "8x7B", "--bits", "4")
    assert out.startswith("8x7B is no count of parameters: Mixtral-8x7B-Instruct-v0.1 has 46.7B")


@pytest.mark.parametrize(
    "hardware", ["L4 + 64GB", "2x L4", "DGX Spark", "M4 Max 64GB", "64GB RAM", "RTX 3060 + 12GB"]
)
def test_the_parts_of_a_row_leave_what_is_free(
    capsys: pytest.CaptureFixture[str], hardware: str
) -> None:
    """What fits takes no more than may be used; an L4 has 22.5 GiB here as in `hakaru fit`."""
    _, out, _ = answer(capsys, "--params", "8B", "--bits", "4", "--hardware", hardware)
    lines = [line for line in out.splitlines() if "|" in line and "█ weights" not in line]
    assert lines
    for line in lines:
        sizes = [
            parse_bytes(size) if size[0] != "0" else 0
            for size in re.findall(r"[\d.,]+ (?:B|KiB|MiB|GiB)", line)
        ]
        *parts, free = sizes
        assert len(parts) == 5 and sum(parts) < free, line
        assert "L4" not in line or " 22.49 GiB " in line


def test_a_device_that_is_too_small_says_what_is_needed_of_what(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Never a negative size; the bar goes on behind the end of the memory."""
    code, out, _ = answer(capsys, "--params", "8x7B", "--bits", "4", "--hardware", "RTX 3060")
    assert code == 3
    assert re.search(r"of the 12\.00 GiB that may be used: it does not fit\.\n", out)
    assert "█|█" in out


def test_ram_alone_has_a_label_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Not `0 GB by their labels`."""
    _, out, _ = answer(capsys, "--params", "8B", "--bits", "4", "--hardware", "64GB RAM")
    assert "on RAM (64 GB by their labels): it fits." in out
