"""Amounts of money as people write them: `31 JPY`, `0.6 USD`, `$0.6`, `30万円`, and prices of
something, such as `31 JPY/kWh`. Pure.

Babel knows the currencies, and how each language writes an amount. Nothing is converted: what is
compared must be in one currency, since a rate of exchange would be a guess.
"""

import re
import unicodedata
from typing import Final

from msgspec import Struct

from hakaru.errors import Misuse
from hakaru.language import current_language

_SIGNS: Final = {"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "円": "JPY", "₩": "KRW"}
"""Signs that mean one currency. The sign of the yen is also the yuan's, so it is not among them."""
_AMOUNT: Final = re.compile(
    r"(?P<before>[^\d\s.,/]*)\s*(?P<number>\d[\d,]*(?:\.\d+)?)(?P<man>万?)\s*(?P<after>[^\d/]*)"
)


class Money(Struct, frozen=True):
    """An amount in one currency."""

    amount: float
    currency: str  # by ISO 4217, such as JPY

    def __str__(self) -> str:
        """The amount as the language in use writes it; small amounts with two digits that count."""
        from babel.numbers import format_currency, get_currency_precision

        usual = get_currency_precision(self.currency)
        digits = max(usual, _digits_for_two(self.amount))
        pattern = "¤#,##0" + (f".{'0' * digits}" if digits else "")
        language = "ja_JP" if current_language() == "ja" else "en_US"
        return str(
            format_currency(
                self.amount, self.currency, pattern, locale=language, currency_digits=False
            )
        )


def _digits_for_two(amount: float) -> int:
    """Digits behind the point that show the first two digits of `amount` that are not 0, at most
    six.
    """
    digits = 0
    while 0 < amount * 10**digits < 10 and digits < 6:
        digits += 1
    return digits


def parse_money(text: str, *, name: str, example: str, per: tuple[str, ...] = ()) -> Money:
    """The amount that `text` means. `name` is the field that holds it, for the error's sentence.

    `per`: what the price is of, in lower case; it may be named behind a slash. Raises Misuse.
    """
    amount, slash, unit = unicodedata.normalize("NFKC", text).strip().partition("/")
    match = _AMOUNT.fullmatch(amount.strip())
    if match and (not slash or unit.strip().lower() in per):
        written = match["before"].strip() or match["after"].strip()
        currency = _SIGNS.get(written.upper(), written.upper())
        if not (match["before"].strip() and match["after"].strip()) and _is_currency(currency):
            number = float(match["number"].replace(",", ""))
            return Money(number * (10**4 if match["man"] else 1), currency)
    raise Misuse(
        "{name} is '{found}'; expected a number and a currency, such as '{example}'.",
        name=name,
        found=text,
        example=example,
    )


def _is_currency(code: str) -> bool:
    from babel.numbers import is_currency

    return is_currency(code)
