"""Text files that people bring: read as UTF-8, and what is wrong with one in hakaru's own words.

Python's reasons ("Expecting value") are English and speak of Python. An encoding is named where the
bytes leave little doubt: by a mark at the beginning, by zero bytes, or because nearly all that is
not ASCII becomes Japanese, kana among it. Other encodings are only said not to be UTF-8.
"""

import json
import re
import shlex
from pathlib import Path
from typing import Final

from hakaru.errors import Misuse, system_reason
from hakaru.language import say

_MARKS: Final = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
"""Byte order marks. UTF-32's come first, since one of them begins as UTF-16's."""
_JAPANESE: Final = ("EUC-JP", "CP932")
"""CP932 is Shift_JIS as Windows writes it."""
_SHARE: Final = 0.9
"""The part of a text's characters beyond ASCII that must be kana, kanji or Japanese signs."""
_KANA: Final = "[\u3041-\u3096\u30a1-\u30fa]"
_SPELLED_JAPANESE: Final = "[\u3000-\u30ff\u4e00-\u9fff\uff01-\uff60]"


def decoded(path: Path) -> str:
    """What a file holds, without a byte order mark, with `\\n` at the end of each line. Raises
    Misuse for a file that is missing or not UTF-8.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Misuse(
            "{path}: cannot be read ({reason}).", path=path, reason=system_reason(error)
        ) from error
    return text_of(path, raw)


def text_of(path: Path, raw: bytes) -> str:
    """The bytes `raw` of the file at `path` as text, as `decoded` returns it. Raises Misuse."""
    bad_at = None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad_at = error.start
    encoding = _encoding_of(raw, is_utf8=bad_at is None)
    if encoding is not None:
        target = path.with_name(f"{path.stem}-utf8{path.suffix}")
        raise Misuse(
            "{path}: not UTF-8; it seems to be {encoding}. Convert it, then name the new file: "
            "{command}",
            path=path,
            encoding=f"{encoding} (Shift_JIS)" if encoding == "CP932" else encoding,
            command=f"iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))}"
            f" > {shlex.quote(str(target))}",
        )
    if bad_at is not None or "\0" in text:
        at = raw.index(b"\0") if bad_at is None else bad_at
        raise Misuse(
            "{path}: not UTF-8 at byte {at}; save it as UTF-8 in an editor, or name a text.",
            path=path,
            at=at,
        )
    return text.replace("\r\n", "\n")


def _encoding_of(raw: bytes, *, is_utf8: bool) -> str | None:
    """The encoding that a text in another one than UTF-8 seems to have, as iconv names it."""
    if marked := next((name for mark, name in _MARKS if raw.startswith(mark)), None):
        return marked
    if is_utf8 and re.search(rb"\x1b\$[@B]", raw):
        return "ISO-2022-JP"
    if b"\0" in raw:
        return _wide(raw)
    if is_utf8:
        return None
    best = max(_JAPANESE, key=lambda name: _japanese_share(raw, name))
    return best if _japanese_share(raw, best) >= _SHARE else None


def _wide(raw: bytes) -> str | None:
    """UTF-16 without a mark, if the text has line ends or blanks in it; None for anything else."""
    for name, space in (("UTF-16LE", rb"[ \n]\0"), ("UTF-16BE", rb"\0[ \n]")):
        parity = 0
        if len(raw) % 2 == 0 and any(m.start() % 2 == parity for m in re.finditer(space, raw)):
            try:
                text = raw.decode(name)
            except UnicodeDecodeError:
                continue
            if all(character.isprintable() or character.isspace() for character in text):
                return name
    return None


def _japanese_share(raw: bytes, encoding: str) -> float:
    """How much of what is not ASCII becomes Japanese in `encoding`; 0 without kana, as for two
    letters of a German word, and if the bytes are wrong.
    """
    try:
        other = "".join(sign for sign in raw.decode(encoding) if not sign.isascii())
    except UnicodeDecodeError:
        return 0.0
    if not re.search(_KANA, other):
        return 0.0
    return len(re.findall(_SPELLED_JAPANESE, other)) / len(other)


def json_reason(error: Exception) -> str:
    """Why a text is no JSON; `error` is what `json.loads` raised."""
    if not isinstance(error, json.JSONDecodeError):
        return _not_parsed(error)
    reasons = _json_reasons().items()
    reason = next((own for begin, own in reasons if error.msg.startswith(begin)), error.msg)
    if "\n" not in error.doc.strip():
        return say("column {n}: {reason}", n=error.colno, reason=reason)
    return say("line {line}, column {n}: {reason}", line=error.lineno, n=error.colno, reason=reason)


def _not_parsed(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return say("it is nested too deeply")
    if isinstance(error, UnicodeError):
        return say("it is no text in UTF-8")
    if "digits" in str(error):
        return say("a number has too many digits")
    return str(error)


def _json_reasons() -> dict[str, str]:
    """By how Python's reason begins, our own. Source: CPython, Lib/json/decoder.py, scanner.py."""
    return {
        "Expecting property name": say("a name in double quotes is missing"),
        "Expecting value": say("a value is missing, or has no double quotes around it"),
        "Expecting ':'": say("a colon is missing"),
        "Expecting ','": say("a comma or a closing bracket is missing"),
        "Illegal trailing comma": say("nothing stands behind the comma"),
        "Extra data": say("something stands behind the end of the JSON"),
        "Unterminated string": say("the text that begins here has no double quote at its end"),
        "Invalid control": say("a line break or a tab stands inside a text; write \\n or \\t"),
        "Invalid \\": say("a backslash begins no escape of JSON; write two for one"),
    }
