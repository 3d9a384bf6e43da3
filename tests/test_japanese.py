"""The Japanese of the catalogue and of the documents: one term for one thing, one rule of spacing.

The terms are those of docs/glossary.md.
"""

import ast
import re
from pathlib import Path

import pytest

from hakaru.language import japanese, say, together, use_language

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "hakaru"
PAGES = [ROOT / "README.ja.md", ROOT / "docs" / "glossary.md", *sorted(ROOT.glob("docs/*.ja.md"))]
NOT_OURS = {
    "文脈": "コンテキスト",
    "区画": "ウィンドウ",
    "課題": "タスク",
    "試し配置": "ドライラン",
    "遠くの": "リモートの",
    "機械": "マシン",
    "第一候補": "top-1 一致率",
    "トークン中最悪": "KLD の 99 パーセンタイル",
    "利用者": "ユーザー",
    "プロセッサ": "CPU",
    "入力処理": "プロンプト処理",
    "計測": "測定",
    "原本": "オリジナル",
    "元ファイル": "元のモデル",
    "元のファイル": "元のモデル",
    "主メモリ": "ホストメモリ",
    "次は:": "次の手順:",
    "損失": "劣化",
    "端末": "ターミナル",
    "品質区分": "品質段階",
    "同梱のモデル": "付属のモデル",
    "他の": "ほかの",
    "版": "バージョン",
    "ネイティブビルド": "専用ビルド",
    "チャットテンプレート": "会話テンプレート",
    "入力/秒": "プロンプト/秒",
    "一行に": "1 行に",
    "何も失": "劣化しない",
    "報告の": "レポートの",
    "報告も": "レポートも",
    "報告には": "レポートには",
    "一層": "1 層",
}
"""Words that have been used for the term beside them."""
ALLOWED = ("機械学習", "コプロセッサ", "その他の", "派生版", "英語版", "配布元の")
"""Other words that hold one of these."""


JAPANESE = "[\u3005\u3041-\u3096\u30a1-\u30fa\u30fc\u4e00-\u9fff]"
STYLE = {
    "a space between Japanese and Latin": rf"{JAPANESE}[A-Za-z0-9`]|[A-Za-z0-9%`]{JAPANESE}",
    "no space beside full-width signs": r"(?<=\S) [、。（）「」]|[、。（「](?! {1,2}\[) ",
    "full-width brackets around Japanese": rf"\([^()]*{JAPANESE}[^()]*\)",
    "a half-width colon": "：",
    "です・ます": r"(?:る|った|(?<![まで])した|だ|ない|しい|きい)(?:（[^）]*）)?(?:。|$)",
}
"""What a Japanese sentence has, and a pattern of those that have it not."""


def found_in(text: str) -> dict[str, str]:
    """The words of `NOT_OURS` in a text, with the terms that belong there."""
    for word in ALLOWED:
        text = text.replace(word, "")
    return {word: term for word, term in NOT_OURS.items() if word in text}


def test_the_catalogue_has_one_term_for_one_thing() -> None:
    """No sentence has a word of which the glossary has another."""
    assert {text: found_in(text) for text in japanese().values() if found_in(text)} == {}


@pytest.mark.parametrize("rule", STYLE)
def test_the_catalogue_has_one_style(rule: str) -> None:
    """Where a field begins or ends, the space is set when the sentence is said. A text without a
    full stop may be a heading, which ends as it likes.
    """
    texts = [re.sub(r"\{\w[^{}]*\}", "\0", text) for text in japanese().values()]
    if rule == "です・ます":
        texts = [text for text in texts if "。" in text]
    assert [text for text in texts if re.search(STYLE[rule], text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_page_has_one_term_for_one_thing(page: Path) -> None:
    """The documents say what the outputs say."""
    assert found_in(page.read_text(encoding="utf-8")) == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_page_has_a_space_between_japanese_and_latin(page: Path) -> None:
    """Code is left out, and so are the addresses of links."""
    text = re.sub(r"(?ms)^```.*?^```|^    .*?$", "", page.read_text(encoding="utf-8"))
    text = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`\n]*`", "`x`", text))
    pattern = STYLE["a space between Japanese and Latin"]
    assert [line for line in text.splitlines() if re.search(pattern, line)] == []


@pytest.mark.parametrize(
    ("figure", "sentence"),
    [
        ("平均 KLD", "平均 KLD が品質段階 balanced の限度 0.03 を満たしません"),
        ("top-1 一致率", "top-1 一致率が品質段階 balanced の限度 0.03 を満たしません"),
    ],
)
def test_a_space_stands_between_japanese_and_latin(figure: str, sentence: str) -> None:
    """Also where a field begins or ends, whatever its value is."""
    use_language("ja")
    template = "{figure} breaks the bound of {bound:g} of the tier {tier}"
    assert say(template, figure=figure, bound=0.03, tier="balanced") == sentence


def test_no_space_stands_beside_a_full_width_sign() -> None:
    """Neither where sentences follow each other nor where a field ends with such a sign; in English
    a blank parts sentences.
    """
    sentences = ["One.", "Two."]
    assert together(sentences) == "One. Two."
    assert together([]) == ""
    use_language("ja")
    assert (
        together(["一つです。", "二つです。", "`three`", "four"])
        == "一つです。二つです。`three` four"
    )
    told = say("{reason} See: {command} --help", reason="短すぎます。", command="hakaru fit")
    assert told == "短すぎます。使い方: hakaru fit --help"
    speed = say("Predicted: writes {decode} tokens/s.", decode="47（3〜4）")
    assert speed == "予測: 生成は 47（3〜4）トークン/秒です。"


def test_sentences_are_joined_by_one_function() -> None:
    """Nobody else puts a blank before a sentence: in Japanese there is none."""
    said = re.compile(r"\bsay\(|sentences|\btold\b|\bhints\b")
    joined = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = (
                ast.unparse(node) if isinstance(node, ast.Call | ast.BinOp | ast.AugAssign) else ""
            )
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "' '.join":
                joined += [text] if said.search(ast.unparse(node.args[0])) else []
            elif not isinstance(node, ast.Call) and "' ' + say(" in text:
                joined.append(text)
    assert joined == []
