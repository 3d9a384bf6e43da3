"""Text files that people bring: what is wrong with one is told in hakaru's own words."""

import errno
import json
import re
import subprocess
from pathlib import Path

import pytest

from hakaru.errors import Misuse, ModelDamaged, system_reason
from hakaru.language import japanese, use_language
from hakaru.text_files import decoded, json_reason

LINE = '{"prompt": "ポルトガルの首都は？", "check": {"type": "contains", "answer": "リスボン"}}\n'


@pytest.mark.parametrize(
    ("encoding", "seems", "iconv"),
    [
        ("cp932", "CP932 (Shift_JIS)", "CP932"),
        ("euc-jp", "EUC-JP", "EUC-JP"),
        ("iso2022-jp", "ISO-2022-JP", "ISO-2022-JP"),
        ("utf-16", "UTF-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE", "UTF-16BE"),
        ("utf-32", "UTF-32", "UTF-32"),
    ],
)
def test_a_japanese_text_in_another_encoding_is_told_with_what_converts_it(
    tmp_path: Path, encoding: str, seems: str, iconv: str
) -> None:
    """The command is iconv's, and works as it stands, also for a name with blanks."""
    file = tmp_path / "my tasks.jsonl"
    file.write_bytes(LINE.encode(encoding))
    with pytest.raises(Misuse, match=re.escape(f"not UTF-8; it seems to be {seems}. ")) as refused:
        decoded(file)
    command = str(refused.value.fields["command"])
    assert command.startswith(f"iconv -f {iconv} -t UTF-8 ")
    subprocess.run(command, shell=True, check=True)
    assert decoded(tmp_path / "my tasks-utf8.jsonl") == LINE


@pytest.mark.parametrize(
    "raw",
    [
        "größe".encode("latin-1"),
        "l'été à la plage".encode("cp1252"),
        b"ab\0cd",
        b"GGUF\3\0\0\0\xff",
    ],
)
def test_no_encoding_is_guessed_where_there_is_doubt(tmp_path: Path, raw: bytes) -> None:
    """Two letters of a German word are a kanji in EUC-JP."""
    file = tmp_path / "other.txt"
    file.write_bytes(raw)
    with pytest.raises(Misuse, match=r"not UTF-8 at byte [0-9]+; save it as UTF-8"):
        decoded(file)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "column 1: a value is missing, or has no double quotes around it"),
        ("{'a': 1}", "column 2: a name in double quotes is missing"),
        ('{"a" 1}', "column 6: a colon is missing"),
        ('{"a": 1 "b": 2}', "column 9: a comma or a closing bracket is missing"),
        ('{"a": 1}}', "column 9: something stands behind the end of the JSON"),
        ('{"a": "b}', "column 7: the text that begins here has no double quote at its end"),
        ('{"a": "\t"}', "column 8: a line break or a tab stands inside a text; write \\n or \\t"),
        (r'{"a": "C:\path"}', "column 10: a backslash begins no escape of JSON; write two for one"),
        ('{\n"a": 1,\n"b": yes}', "line 3, column 6: a value is missing, or has no"),
        ("[" * 200_000, "it is nested too deeply"),
        ("9" * 5000, "a number has too many digits"),
    ],
)
def test_what_is_no_json_is_told_in_both_languages(text: str, reason: str) -> None:
    """In words for whoever wrote the file, not in those of Python's decoder."""
    with pytest.raises((ValueError, RecursionError)) as refused:
        json.loads(text)
    assert json_reason(refused.value).startswith(reason)
    use_language("ja")
    told = json_reason(refused.value)
    assert re.search("[ぁ-ん]", told) and not re.search("[a-z]{4}", told)


def test_why_the_system_refuses_is_told_in_both_languages(tmp_path: Path) -> None:
    """The usual reasons; a rare one keeps the system's words."""
    with pytest.raises(Misuse, match=r"none: cannot be read \(there is no such file or folder\)"):
        decoded(tmp_path / "none")
    with pytest.raises(Misuse, match="it is a folder"):
        decoded(tmp_path)
    assert system_reason(OSError(errno.EXDEV, "Invalid cross-device link")) == (
        "Invalid cross-device link"
    )
    use_language("ja")
    with pytest.raises(Misuse, match=japanese()["it is a folder"]):
        decoded(tmp_path)


@pytest.mark.parametrize(
    ("value", "told"),
    [(b"root", "'root'"), ("日本".encode()[:4], "'日'"), (b"\x1f\x8b\x08\0", "1F 8B 08 00"),
     (b"\xff{}\n", "FF 7B 7D 0A"), (True, "true")],
)  # fmt: skip
def test_a_value_in_a_sentence_is_what_a_person_reads(value: object, told: str) -> None:
    """Bytes and truth are no Python."""
    assert str(ModelDamaged("{path}: begins with {found}", path="x", found=value)) == (
        f"x: begins with {told}"
    )
