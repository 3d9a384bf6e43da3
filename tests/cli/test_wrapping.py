"""Where a line of a sentence ends."""

import pytest

from hakaru.cli.wrapping import cells_of, unmarked, whole, wrap_help, wrapped

ENGLISH = (
    "Read for it: 12,000 tokens, 92.1 MiB of weights and 4.53 bits; p = 0.3, 60.2 [52.1…61.2] "
    "tokens/s, a loss ≤ 0.03, 61% [58…64] less. Ask for less: --quality compact, or a smaller "
    "model."
)
JAPANESE = (
    "区間が品質段階 balanced の限度をまたぎ、証明できません。そのために読んだのは "
    "3,255 トークンで、30 ウィンドウです。最速の候補と区間が重なるほど速く、"
    "より小さいもの（0.9 [0.8…0.95]）です"
    "（対象は Q5_K_M、Q4_K_M、Q4_K_S、IQ4_XS）。105.6 MiB 必要です。"
)


@pytest.mark.parametrize("text", [ENGLISH, JAPANESE], ids=["en", "ja"])
@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    """At every width, without a blank at an end; put together again they are the sentence."""
    lines = wrapped(text, width)
    assert max(map(cells_of, lines)) <= width
    assert [line.strip() for line in lines] == lines
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("width", range(30, 100))
def test_a_number_stays_with_its_unit_and_an_option_with_its_value(width: int) -> None:
    """`92.1` at the end of a line is a number of nothing."""
    lines = "\n".join(wrapped(ENGLISH, width) + wrapped(JAPANESE, width))
    for together in (
        "12,000 tokens", "92.1 MiB", "4.53 bits", "p = 0.3", "60.2 [52.1…61.2] tokens/s", "≤ 0.03",
        "--quality compact", "61% [58…64] less", "3,255 トークン", "30 ウィンドウ",
        "105.6 MiB", "0.9 [0.8…0.95]",
    ):  # fmt: skip
        assert together in lines


@pytest.mark.parametrize("width", range(12, 100))
def test_no_line_begins_with_a_closing_sign_or_ends_with_an_opening_one(width: int) -> None:
    """Kinsoku, at any width, also where a phrase is wider than the line."""
    for line in wrapped(JAPANESE, width):
        assert line[0] not in "、。）ー"
        assert line[-1] not in "（「"


def test_japanese_ends_between_phrases() -> None:
    """And not within the word that reaches the edge."""
    assert wrapped("すべての条件を満たします。区間が限度をまたぎ、証明できません。", 30) == [
        "すべての条件を満たします。",
        "区間が限度をまたぎ、",
        "証明できません。",
    ]


@pytest.mark.parametrize("width", range(30, 100))
def test_words_that_budoux_would_part_stay_whole(width: int) -> None:
    """`92 か` at the end of a line is no number of places."""
    text = (
        "最も確率の高い語が、100 か所のうち 92 か所以上で同じで、名前だけのマシンには"
        "当てはまりません。台帳にある top-1 一致率は、元のままなら 100% で、限度をまたぐ"
        "ことも、同時利用時に変わることもありません。"
    )
    lines = "\n".join(wrapped(text, width))
    for word in (
        "100 か所", "92 か所", "当てはまりません", "台帳", "一致率", "元のまま", "またぐ", "同時",
    ):  # fmt: skip
        assert word in lines


def test_what_is_pasted_stays_whole() -> None:
    """On its own line if it must, with a Japanese name, and no mark is printed."""
    command = "hakaru up '日本語の モデル.gguf' --context 8192 --quality compact"
    sentence = f"Try it with a smaller one: {whole(command)} or with a shorter context."
    for width in (30, 60, 80):
        assert any(command in line for line in wrapped(sentence, width))
    assert wrapped(f"次は {whole(command)} です。", 30)[1] == command
    assert unmarked(sentence) == "".join(c for c in sentence if c not in "\ufdd0\ufdd1")


@pytest.mark.parametrize("width", range(48, 80))
def test_a_command_is_known_without_a_mark(width: int) -> None:
    """Many sentences name one; broken in two, it would start two commands."""
    for sentence in (
        "Nothing was kept; the same command goes on: hakaru up 'my model.gguf' --context 8192 now.",
        "このファイルは大きすぎます。hakaru fit hf:ORG/REPO:Q4_K_M で確かめてください。",
        "No speed is predicted: nothing was timed on this machine yet; `hakaru test` does it.",
    ):
        lines = "\n".join(wrapped(sentence, width))
        commands = ("up 'my model.gguf' --context 8192", "fit hf:ORG/REPO:Q4_K_M", "test`")
        assert any(f"hakaru {command}" in lines for command in commands)


def test_the_indent_goes_on() -> None:
    """A list item's lines begin below each other."""
    assert wrapped("  Q6_K: its interval crosses a bound", 22, indent="  ") == [
        "  Q6_K: its interval",
        "    crosses a bound",
    ]


def test_help_pages_are_wrapped_by_cells() -> None:
    """Where click counts letters, a Japanese line would be twice as wide. A label that a sentence
    merely seems to begin with is none.
    """
    told = wrap_help(
        f"既定値は二つ。  [既定値: 4096]\n{JAPANESE}\n\n\b\na\n  b", 60, "  ", "  ", True
    )
    *lines, _, kept, last = told.split("\n")
    assert max(map(cells_of, lines)) <= 60
    assert {line[:2] for line in lines} == {"  "} and not any(line[2] == " " for line in lines)
    assert (kept, last) == ("  a", "    b")


def test_what_stands_behind_a_label_goes_on_below_itself() -> None:
    """As in what `hakaru hardware` tells."""
    assert wrapped("RAM     22.0 GiB available of 23.5 GiB", 28) == [
        "RAM     22.0 GiB available",
        "        of 23.5 GiB",
    ]
