"""The recorder: what a person sees at the end on a terminal of 80 columns becomes a picture whose
text stays text; and the pictures in the documents are such.
"""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SVG = "{http://www.w3.org/2000/svg}"
SHOWN = r"""
import os, sys, time
print("columns   ", os.get_terminal_size().columns, flush=True)
for n in range(3):
    print(f"\rworking {n}", end="", flush=True)
print("\r\x1b[2K\x1b[32m✓ done\x1b[0m  \x1b[1m重み\x1b[0m 3 <4> \x1b[2mfaint\x1b[0m", flush=True)
print("Ctrl-C stops it", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def record(svg: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """What the recorder does with SHOWN."""
    script = [sys.executable, str(ROOT / "scripts" / "record.py"), str(svg), *options]
    return subprocess.run(
        [*script, "--", sys.executable, "-c", SHOWN],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def texts(svg: Path) -> list[ET.Element]:
    return list(ET.fromstring(svg.read_text(encoding="utf-8")).iter(f"{SVG}text"))


def test_the_picture_is_the_last_screen(tmp_path: Path) -> None:
    """Progress is gone, colours are kept, and a wide character takes two columns whatever the
    font.
    """
    svg = tmp_path / "a.svg"
    done = record(svg, "--until", "Ctrl-C", "--shown", "hakaru up")
    assert done.returncode == 0, done.stderr
    shown = {element.text: element for element in texts(svg)}
    assert list(shown) == ["$ hakaru up", "columns", "80", "✓ done", "重み", "3 <4>", "faint",
                           "Ctrl-C stops it"]  # fmt: skip
    assert shown["✓ done"].get("style") != shown["faint"].get("style") is not None
    assert shown["重み"].get("class") == "b"
    column = float(shown["重み"].get("textLength", "")) / 4
    x = {text: float(element.get("x", "")) for text, element in shown.items()}
    assert x["重み"] == pytest.approx(x["✓ done"] + 8 * column)
    assert x["3 <4>"] == pytest.approx(x["重み"] + 5 * column)


def test_a_screen_that_never_came_is_no_picture(tmp_path: Path) -> None:
    """The command is told, with what it showed."""
    svg = tmp_path / "a.svg"
    script = [sys.executable, str(ROOT / "scripts" / "record.py"), str(svg), "--until", "answers"]
    done = subprocess.run(
        [*script, "--", "echo", "it failed"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "it failed" in done.stderr
    assert "'answers' never stood on its screen" in done.stderr
    assert not svg.exists()


@pytest.mark.parametrize("svg", sorted(ROOT.glob("docs/first-run*.svg")), ids=lambda p: p.name)
def test_a_picture_in_the_documents_needs_nothing_else(svg: Path) -> None:
    """It is small, its text is text, and it asks nothing of the network."""
    text = svg.read_text(encoding="utf-8")
    assert len(text.encode()) < 200_000
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http://127.0.", "")
    assert not {"url(", "<script", "<image", "@import", "href"} & {
        word for word in ("url(", "<script", "<image", "@import", "href") if word in text
    }
    assert len(texts(svg)) > 20
