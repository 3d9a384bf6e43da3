"""Whatever numbers stand beside a verdict imply it: sums and limits are of the same devices, and
rounding never contradicts.
"""

import json
import re
from functools import partial
from itertools import product
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hakaru.cli import run
from hakaru.planning.sentences import verdict_word
from hakaru.planning.shares import judge
from hakaru.units import BYTE_SCALES, compared

SIZE: Final = r"([\d.,]+) (B|KiB|MiB|GiB|TiB)"
SENTENCE: Final = re.compile(
    rf"(?:Needs|with) {SIZE} of the {SIZE} that may be used: (.*)\.$", re.MULTILINE
)


def implied(sentence: re.Match[str], margin: float) -> str:
    """The verdict in words that the printed numbers have."""
    needed, free = (
        float(sentence[i].replace(",", "")) * BYTE_SCALES[sentence[i + 1]] for i in (1, 3)
    )
    return verdict_word(judge(needed, free, margin))


@settings(max_examples=500)
@given(st.integers(1, 2**45), st.integers(1, 2**45), st.sampled_from([0.0, 0.001, 0.03, 0.2]))
@example(6 * 2**30 + 1, 6 * 2**30, 0.03)
@example(6 * 2**30, 6 * 2**30, 0.0)
@example(int(5.82 * 2**30) + 1, 6 * 2**30, 0.03)
def test_rounding_never_contradicts_a_verdict(needed: int, free: int, margin: float) -> None:
    """As many decimals as it takes; one byte too many is said in bytes."""
    sentence = SENTENCE.search(
        "Needs {} of the {} that may be used: x.".format(
            *compared(needed, free, partial(judge, margin=margin))
        )
    )
    assert sentence
    assert implied(sentence, margin) == verdict_word(judge(needed, free, margin))


@pytest.mark.parametrize("near", [1.0, 0.97])
@given(st.integers(2**20, 2**42), st.integers(-2000, 2000))
def test_rounding_never_contradicts_a_verdict_near_a_bound(
    near: float, free: int, off: int
) -> None:
    """Within two kilobytes of where the verdict changes."""
    needed = max(1, int(free * near) + off)
    sentence = SENTENCE.search(
        "Needs {} of the {} that may be used: x.".format(
            *compared(needed, free, partial(judge, margin=0.03))
        )
    )
    assert sentence
    assert implied(sentence, 0.03) == verdict_word(judge(needed, free, 0.03))


MODELS: Final = (
    "gemma-3-270m-it",
    "gemma-3n-e4b-it",
    "qwen3-8b",
    "qwen3-30b-a3b",
    "llama-3.1-70b-instruct",
    "qwen3.5-9b",
)
MACHINES: Final = (
    "6GiB",
    "RTX 4080",
    "2x L4",
    "RTX 4090 + 8GiB",
    "8GiB + 24GiB",
    "M4 16GB",
    "12GiB RAM",
    "3x 4GiB + 64GiB RAM",
)


@pytest.mark.parametrize(("model", "machine"), list(product(MODELS, MACHINES)))
@pytest.mark.parametrize("context", ["2048", "32768"])
def test_the_numbers_of_a_printed_verdict_imply_it(
    capsys: pytest.CaptureFixture[str], model: str, machine: str, context: str
) -> None:
    """Also where large embeddings stay in RAM of which nothing is known. What does not fit has no
    flags to run it with.
    """
    asked = [
        "fit",
        model,
        "--type",
        "Q5_K_M",
        "--hardware",
        machine,
        "--context",
        context,
        "--source",
        "computed",
    ]
    code = run([*asked, "--json"])
    data = json.loads(capsys.readouterr().out)
    assert run(asked) == code == (3 if data["verdict"] == "does_not_fit" else 0)
    out = capsys.readouterr().out
    sentences = list(SENTENCE.finditer(out))
    assert len(sentences) == 1, out
    assert (
        sentences[0][5]
        == implied(sentences[0], data["margin"]["fraction"])
        == verdict_word(data["verdict"])
    )
    judged = {device["name"]: device for device in data["devices"]}
    assert ("llama-server flags" in out) == bool(data["flags"]) == (code == 0)
    for line in out.splitlines():
        if way := re.match(rf"  (--.*) frees {SIZE} \((.*)\)$", line):
            told = next(a for a in data["alternatives"] if a["flag"] == way[1])
            assert (way[4] == "not enough alone") == (not told["fits"])
    assert judged


@pytest.mark.parametrize(
    "machine", ["2x L4", "64GiB RAM", "RTX 4090 + 64GiB", "12GiB", "M4 16GB", "3x 24GiB"]
)
@pytest.mark.parametrize("params", ["7B", "13B", "20B", "40B", "80.01B", "80B", "106.7B", "671B"])
def test_the_formula_s_numbers_imply_its_verdict(
    capsys: pytest.CaptureFixture[str], params: str, machine: str
) -> None:
    """What the formula gives beside what the labels say; and a longest context that belongs to the
    exact verdict.
    """
    for bits in ("4", "4.5", "8"):
        run(["formula", "--params", params, "--bits", bits, "--hardware", machine])
        out = capsys.readouterr().out
        needed = re.search(r" = ([\d.]+) GB \(", out)
        told = re.search(r"\(([\d.]+) GB by their labels\): (.*)\.$", out, re.MULTILINE)
        assert needed and told
        assert (float(needed[1]) <= float(told[1])) == (told[2] == "it fits"), out
        longest = re.search(r"up to ([\d,]+) tokens", out)
        exactly = re.search(
            r"Exactly, .* at ([\d,]+) tokens of context: (.*)\.$", out, re.MULTILINE
        )
        assert exactly or "no exact answer" in out
        if exactly and exactly[2] == "it fits":
            assert longest and int(longest[1].replace(",", "")) >= int(exactly[1].replace(",", ""))
        assert "No known model" not in out


@pytest.mark.parametrize("context", ["3000", "9000", "20000", "32768"])
@pytest.mark.parametrize("machine", ["6GiB", "8GiB", "2x 4GiB", "12GiB RAM", "4GiB + 8GiB RAM"])
def test_the_longest_context_belongs_to_the_verdict(
    capsys: pytest.CaptureFixture[str], machine: str, context: str
) -> None:
    """What fits is no longer than the longest context that fits, to the 256 tokens of its steps;
    what does not, no shorter.
    """
    for model in ("qwen3-4b", "gemma-3-4b-it"):
        asked = [
            "fit",
            model,
            "--type",
            "Q8_0",
            "--hardware",
            machine,
            "--context",
            context,
            "--source",
            "computed",
            "--max-context",
        ]
        run([*asked, "--json"])
        data = json.loads(capsys.readouterr().out)
        if data["verdict"] == "fits":
            assert data["max_context"] > int(context) - 256
        else:
            assert data["max_context"] < int(context)
