"""Texts for measuring divergence: nothing is downloaded and nothing leaves the machine.

**Text at hand**: English prose (CPython's language reference and NumPy's documentation of its
functions), the standard library's source, and files that the person names. **Prompts** in English
and Japanese, to which the reference answers: loss matters most on text that the model itself
writes. Documents are split by a hash of their name into calibration, validation and test, prompts
by their place. Figures that a person sees come from the test part.
"""

import hashlib
import importlib.util
import inspect
import json
import pydoc_data.topics
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
from msgspec import Struct

from hakaru.errors import Misuse
from hakaru.language import say
from hakaru.text_files import decoded

Part = Literal["calibration", "validation", "test"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
PROMPT_SEED: Final = 20261122

PROMPTS: Final = {
    "answers-en": (
        "Explain to a child why the sky is blue.",
        "Write a Python function that returns the n-th Fibonacci number, and explain it.",
        (
            "Extract the name, the date and the amount from: 'On 3 May 2024 Maria Silva paid "
            "129.50 euros for a chair.'"
        ),
        "Give me three ideas for a simple dinner with rice and eggs.",
        "Summarize the advantages and disadvantages of working from home.",
        (
            "A train leaves at 9:40 and arrives at 11:25. How long does the journey take? Show the "
            "steps."
        ),
        "Write a short, polite e-mail that moves a meeting from Tuesday to Thursday.",
        "What is the difference between a list and a tuple in Python?",
        (
            "My neighbour plays loud music at night. What could I say to her without starting a "
            "quarrel?"
        ),
        (
            "Write a SQL query that finds the five customers with the highest total of orders, and "
            "explain each line."
        ),
        (
            "From this note, list who does what and by when: 'Ana sends the draft on Monday, Ben "
            "checks the figures until Wednesday.'"
        ),
        (
            "Anna is older than Ben, and Ben is older than Carl. Is Carl younger than Anna? "
            "Explain why."
        ),
        (
            "Turn these keywords into a product description: bottle, steel, half a litre, keeps "
            "tea hot for eight hours."
        ),
        (
            "A shirt costs 40 euros. It is reduced by a quarter, and then by another ten percent. "
            "What does it cost now?"
        ),
        (
            "Write a shell command that finds all files larger than 100 MB below the current "
            "folder, and say what each part does."
        ),
        "Describe a walk through a forest in autumn in about five sentences.",
        "What should a first-aid kit for a day in the mountains contain, and why?",
        "Rewrite this more politely: 'You are late again. Send me the file now.'",
        "Write a regular expression for dates such as 2024-05-03, and explain its parts.",
        (
            "List the countries, the years and the numbers in: 'Norway had 5.4 million people in "
            "2021, Chile 19.5 million in 2020.'"
        ),
        (
            "A tank holds 240 litres and loses 5 litres an hour. After how many hours is it a "
            "third full? Show your work."
        ),
        "Explain what a deadlock is, with an example from everyday life.",
        (
            "Write a JSON object for a book with a title, two authors, a year and a price, then "
            "describe each field."
        ),
        "Tell a very short story about an old clock that begins to run backwards.",
    ),
    "answers-ja": (
        "日本で一番高い山について、三つの文で説明してください。",
        "次の文から日付と場所を抜き出してください：「会議は6月12日に大阪で開かれます。」",
        "敬語を使って、納期の延長をお願いするメールを書いてください。",
        "リンゴが12個あります。4人で等しく分けると、一人何個ですか。考え方も書いてください。",
        "プログラミングを始める人に、最初に学ぶべきことを三つ教えてください。",
        "雨の日に家でできる楽しいことを五つ挙げてください。",
        "機械学習の「過学習」とは何か、例を使って説明してください。",
        "京都で一日過ごすなら、どのような計画がよいですか。",
        "会議の議事録を短くまとめるときに気をつけることを説明してください。",
        "Python で文字列のリストを長さの順に並べる関数を書き、説明してください。",
        "次の文から人名、金額、期日を表にしてください：「佐藤さんは3万円を8月末までに支払います。」",
        "AはBより重く、CはAより重いです。一番軽いのはどれですか。理由も書いてください。",
        "1500円の本が2割引きです。税10パーセントを加えると、いくらになりますか。",
        "隣の席の同僚が元気がないようです。どのように声をかければよいでしょうか。",
        "「猫」「雨」「手紙」という三つの言葉を使って、短い物語を書いてください。",
        "表計算で二つの列の合計を条件つきで求める方法を説明してください。",
        "地震に備えて家に置いておくべきものを、理由とともに挙げてください。",
        "次の文を丁寧に書き直してください：「また遅刻ですね。早く資料を送って。」",
        "HTTP の GET と POST の違いを、例を挙げて説明してください。",
        (
            "次の文から品名と個数を JSON で書き出してください："
            "「鉛筆を5本と消しゴムを2個、ノートを3冊買いました。」"
        ),
        "時速60キロの車が、150キロ先の町まで行くのに何時間何分かかりますか。途中の計算も書いてください。",
        "「一石二鳥」という言葉の意味と使い方を説明してください。",
        "新しく入社した人に、電話の受け方を教える文章を書いてください。",
        "夏の夕方の川辺の様子を、五つほどの文で描写してください。",
    ),
}
"""Prompts for the reference's own answers, by domain; written for hakaru. The place of a prompt
decides its part: new prompts come last.
"""
LEAST_PROSE: Final = 3000
"""Characters that NumPy's documentation of a function has at least."""
LEAST_TEXT: Final = 1500
"""Characters that any other document has at least."""


def part_of(name: str) -> Part:
    """Calibration for two of ten names, validation for two, test for six."""
    bucket = hashlib.sha256(name.encode()).digest()[0] % 10
    return "calibration" if bucket < 2 else "validation" if bucket < 4 else "test"


class Document(Struct, frozen=True, kw_only=True):
    """One text."""

    name: str  # decides the part, such as `stdlib/ast`
    domain: str  # the kind of text
    text: str

    @property
    def part(self) -> Part:
        """The part of the texts. It follows from the name alone, so a document never moves."""
        return part_of(self.name)


def kind_of_text(domain: str) -> str:
    """The name of a domain for people; JSON keeps the domain."""
    names = {
        "prose-en": say("English prose"), "code": say("code"),
        "answers-en": say("answers in English"), "answers-ja": say("answers in Japanese"),
        "own": say("your texts"), "answers-own": say("answers to your prompts"),
    }  # fmt: skip
    return names.get(domain, domain)


def texts_at_hand(parts: Collection[Part] | None = None) -> list[Document]:
    """English prose and Python source that every machine with hakaru has, in a fixed order: those
    of `parts`, or all.
    """
    return [d for d in _all_at_hand() if parts is None or d.part in parts]


def prompts_at_hand(parts: Collection[Part] | None = None) -> dict[str, list[str]]:
    """Our prompts by domain: those of `parts`, or all. Of five prompts in a row one is for
    calibration and one for validation.
    """
    turn: tuple[Part, ...] = ("calibration", "validation", "test", "test", "test")
    return {
        domain: [
            prompt
            for i, prompt in enumerate(prompts)
            if parts is None or turn[i % len(turn)] in parts
        ]
        for domain, prompts in PROMPTS.items()
    }


def named_texts(paths: Sequence[Path]) -> list[Document]:
    """The person's own files. Raises Misuse for one that is missing, empty or no UTF-8 text."""
    return [Document(name=f"file/{path}", domain="own", text=read_text(path)) for path in paths]


def named_prompts(path: Path | None) -> list[str]:
    """The person's prompts, one per line. Only a line feed ends a line: a form feed or U+2028
    belongs to the prompt. Raises Misuse for a file that is missing, empty or no UTF-8 text.
    """
    return [line.strip() for line in read_text(path).split("\n") if line.strip()] if path else []


@cache
def _all_at_hand() -> tuple[Document, ...]:
    topics = pydoc_data.topics.topics
    prose = [
        Document(name=f"topic/{name}", domain="prose-en", text=text)
        for name, text in sorted(topics.items())
    ]
    return tuple(
        d for d in [*prose, *_numpy_reference(), *_standard_library()] if len(d.text) >= LEAST_TEXT
    )


def texts_digest(documents: Iterable[Document]) -> str:
    """The SHA-256 of the names and texts of documents, by which the ledger knows them."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(json.dumps([document.name, document.text]).encode())
    return digest.hexdigest()


def _numpy_reference() -> Iterator[Document]:
    """The documentation of NumPy's functions.

    It is taken from the function inside (`_implementation`), because SciPy, once imported, adds to
    the documentation of the function outside.
    """
    for name in sorted(np.__all__):
        function = getattr(np, name)
        text = inspect.getdoc(getattr(function, "_implementation", function)) or ""
        if (
            len(text) >= LEAST_PROSE
            and getattr(function, "__name__", "") == name
            and not isinstance(function, type)
        ):
            yield Document(name=f"numpy/{name}", domain="prose-en", text=text)


def _standard_library() -> Iterator[Document]:
    for name in sorted(sys.stdlib_module_names):
        spec = None if name.startswith("_") else importlib.util.find_spec(name)
        if spec and spec.origin and spec.origin.endswith(".py"):
            source = Path(spec.origin)
            if source.is_file():
                yield Document(
                    name=f"stdlib/{name}", domain="code", text=source.read_text(encoding="utf-8")
                )


def read_text(path: Path) -> str:
    """The text in a file, as of `decoded`. Raises Misuse for an empty one, too."""
    text = decoded(path)
    if not text.strip():
        raise Misuse(
            "{path}: the text is empty; name a text with at least a few hundred words.", path=path
        )
    return text
