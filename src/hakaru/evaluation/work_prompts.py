"""What people ask a model for, by kind: where a draft guesses well depends on the kind of text.

A chat answers freely. Code repeats names and forms. A summary, a correction or a translation stays
close to a text that stands in the prompt. Written for hakaru, three of each kind in each language.
"""

import hashlib
import json
from typing import Final, Literal, NamedTuple

from hakaru.language import say

Work = Literal["chat", "code", "summary"]


class WorkPrompt(NamedTuple):
    """One request."""

    work: Work
    text: str


_FUNCTION: Final = """\
def read_prices(path):
    prices = {}
    for line in open(path):
        name, price = line.split(",")
        prices[name] = float(price)
    return prices
"""
_REPORT: Final = (
    "The library closed its old building on the river in March. Until the new one opens in "
    "autumn, books can be borrowed at the school in Mill Street, from Tuesday to Saturday. About "
    "9,000 of the 40,000 books were moved there; the others are stored in a warehouse and can be "
    "ordered by e-mail, which takes three days. Children's books were all moved. The reading room "
    "with its 30 places has no substitute, so the town hall offers its canteen in the afternoons. "
    "Fees are not collected until the new building opens, and cards that run out are extended."
)
_REPORT_JA: Final = (
    "市の図書館は3月に川沿いの古い建物を閉めました。新しい建物が秋に開くまで、本は水車通りの小学校で"
    "火曜日から土曜日まで借りられます。4万冊のうち約9千冊がそこへ移され、残りは倉庫にあり、メールで"
    "注文すると3日で届きます。児童書はすべて移されました。30席あった閲覧室に代わる場所はないので、"
    "市役所が午後に食堂を開放します。新しい建物が開くまで延滞料は取らず、期限の切れるカードは延長されます。"
)
WORK_PROMPTS: Final[dict[str, tuple[WorkPrompt, ...]]] = {
    "en": (
        WorkPrompt("chat", "What should I think about before I adopt a dog? I live in a flat."),
        WorkPrompt("code", f"Add error handling to this function and type it:\n\n{_FUNCTION}"),
        WorkPrompt("summary", f"Summarize this text in three sentences:\n\n{_REPORT}"),
        WorkPrompt("chat", "Explain how a heat pump warms a house although it is cold outside."),
        WorkPrompt(
            "code",
            "Write a Python class for a bank account with deposit, withdraw and transfer, and a "
            "test for each method.",
        ),
        WorkPrompt("summary", f"List every figure in this text with what it counts:\n\n{_REPORT}"),
        WorkPrompt("chat", "Plan a weekend in the mountains for two adults and a child of six."),
        WorkPrompt(
            "code",
            "Write an SQL schema for a shop with customers, orders and items, and a query for the "
            "revenue of each month.",
        ),
        WorkPrompt(
            "summary", f"Rewrite this text as a letter to the readers, in full:\n\n{_REPORT}"
        ),
    ),
    "ja": (
        WorkPrompt("chat", "マンションで犬を飼う前に、考えておくべきことは何ですか。"),
        WorkPrompt("code", f"次の関数に例外処理と型注釈を加えてください。\n\n{_FUNCTION}"),
        WorkPrompt("summary", f"次の文章を三つの文に要約してください。\n\n{_REPORT_JA}"),
        WorkPrompt("chat", "外が寒いのに、ヒートポンプで家が暖まるのはなぜですか。"),
        WorkPrompt(
            "code",
            "預け入れ・引き出し・振り込みができる銀行口座の Python のクラスと、各メソッドのテストを"
            "書いてください。",
        ),
        WorkPrompt(
            "summary", f"次の文章にある数を、何の数かとともにすべて挙げてください。\n\n{_REPORT_JA}"
        ),
        WorkPrompt("chat", "大人二人と6歳の子供一人で山へ行く、週末の計画を立ててください。"),
        WorkPrompt(
            "code",
            "顧客・注文・商品をもつ店の SQL スキーマと、月別の売上を求めるクエリを書いてください。",
        ),
        WorkPrompt(
            "summary", f"次の文章を、利用者への手紙として全文書き直してください。\n\n{_REPORT_JA}"
        ),
    ),
}


def prompts_digest(language: str) -> str:
    """What identifies the prompts in the ledger."""
    return hashlib.sha256(json.dumps(WORK_PROMPTS[language]).encode()).hexdigest()


def work_name(work: Work) -> str:
    """The name of a kind of work for people; JSON keeps the word."""
    return {"chat": say("chat"), "code": say("code"), "summary": say("summaries")}[work]
