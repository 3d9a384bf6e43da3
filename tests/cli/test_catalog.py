"""`hakaru catalog`: its age, whose figures stand in it, an update, a model of one's own."""

import json
import shlex
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.models import own_catalogue
from hakaru.models.architectures import ARCHITECTURES
from hakaru.models.catalogue import catalogue_date, known_models
from hakaru.models.own_catalogue import all_models
from hakaru.testing import write_tiny_llama
from loopback import Loopback

SHIPPED = date.fromisoformat(catalogue_date())


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on stdout is a terminal of 80 columns."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")


def on(monkeypatch: pytest.MonkeyPatch, day: date) -> None:
    monkeypatch.setattr(own_catalogue, "today", lambda: day)


def test_the_catalogue_tells_its_age_and_its_sources(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text and as JSON: every board with its licence and its maker, as CC-BY asks."""
    on(monkeypatch, SHIPPED + timedelta(days=3))
    assert run(["catalog"]) == 0
    out = capsys.readouterr().out
    assert f"The catalogue is of {SHIPPED}." in out
    assert "CC-BY-4.0   Swallow team (Institute of Science Tokyo, AIST)" in out
    assert run(["catalog", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == "hakaru.catalogue-state/1"
    assert (data["days_old"], data["updated"], data["models"]) == (3, None, len(known_models()))
    assert sum(data["licences"].values()) == len(known_models())
    assert len(data["boards"]) == 8
    assert all(board["licence"] and board["by"] and board["url"] for board in data["boards"])


@pytest.mark.parametrize("command", [["catalog"], ["ls", "--catalog", "elyza"]])
@pytest.mark.parametrize(("days", "is_old"), [(90, False), (91, True), (-1, False)])
def test_an_old_catalogue_says_what_brings_it_up_to_date(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    days: int,
    is_old: bool,
) -> None:
    """After 90 days; a clock that goes slow makes nothing old."""
    on(monkeypatch, SHIPPED + timedelta(days=days))
    assert run(command) == 0
    out = capsys.readouterr().out
    assert ("91 days old; newer models are missing" in out) == is_old
    assert ("hakaru catalog update" in out) == is_old


def test_a_broken_entry_is_named_on_stderr(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """By `catalog` and by `ls --catalog`, and both go on."""
    write_tiny_llama(tmp_path / "x.gguf")
    assert run(["catalog", "add", str(tmp_path / "x.gguf"), "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["path"])
    path.write_text("{", encoding="utf-8")
    for command in (["catalog"], ["ls", "--catalog", "elyza"]):
        assert run(command) == 0
        assert f"hakaru: {path}: the entry is skipped" in capsys.readouterr().err


def test_a_model_is_added_and_the_next_step_judges_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The last line works when pasted."""
    on_terminal(monkeypatch)
    write_tiny_llama(tmp_path / "Mein Modell.gguf")
    assert run(["catalog", "add", str(tmp_path / "Mein Modell.gguf")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mein-modell is in your catalogue: llama, 1.44M parameters")
    step = shlex.split(out.splitlines()[-1])
    assert step[-4:] == ["fit", "mein-modell", "--type", "Q4_K_M"]
    assert run([*step[-4:], "--source", "computed"]) == 0
    capsys.readouterr()
    assert run(["ls", "--catalog", "mein"]) == 0
    assert "1 of 234 models" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["catalog", "add", "qwen3-8b"], 2, "'qwen3-8b': expected a GGUF file, a folder, hf:"),
        (["catalog", "add", "none.gguf"], 4, "there is no such file"),
        (["catalog", "--json", "update"], 2, "--json stands behind the command"),
        (["catalog", "update"], 5, "cannot be reached"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    """With its exit code; the endpoint of these tests answers nobody."""
    assert run(arguments) == code
    assert words in capsys.readouterr().err


def test_a_name_is_told_as_its_option(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Whoever typed options hears of options."""
    write_tiny_llama(tmp_path / "x.gguf")
    assert run(["catalog", "add", str(tmp_path / "x.gguf"), "--name", "A B"]) == 2
    assert "--name is 'A B', expected small letters" in capsys.readouterr().err


def test_an_entry_of_ones_own_is_taken_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Also one that cannot be read; the model's file stays."""
    file = write_tiny_llama(tmp_path / "mine.gguf")
    for content in (None, "{"):
        assert run(["catalog", "add", str(file), "--json"]) == 0
        path = Path(json.loads(capsys.readouterr().out)["path"])
        if content:
            path.write_text(content, encoding="utf-8")
        assert run(["catalog", "rm", "mine"]) == 0
        assert capsys.readouterr().out == "mine is no longer in your catalogue.\n"
        assert not path.exists() and file.exists()
        assert len(all_models()) == len(known_models())


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("qwen3-8b", 2, "'qwen3-8b': comes with hakaru and stays in the catalogue"),
        ("mein", 4, "your catalogue has no such entry; yours are: mine."),
        ("../mine", 4, "your catalogue has no such entry"),
    ],
)
def test_what_cannot_be_taken_out_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, code: int, words: str
) -> None:
    """With the names that could; nothing is deleted."""
    write_tiny_llama(tmp_path / "mine.gguf")
    assert run(["catalog", "add", str(tmp_path / "mine.gguf")]) == 0
    assert run(["catalog", "rm", name, "--json"]) == code
    assert words in capsys.readouterr().err
    assert len(all_models()) == len(known_models()) + 1


@pytest.fixture
def two_models(hub: Loopback, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    """A Hub, and a catalogue of two models."""
    few = tuple(m for m in known_models() if m.id in {"qwen3-8b", "gemma-3-1b-it"})
    monkeypatch.setattr(own_catalogue, "known_models", lambda: few)
    monkeypatch.setattr(own_catalogue, "_read", own_catalogue._read.__wrapped__)
    classes = {"architectures": ["Qwen3ForCausalLM"]}
    rows = [
        {"id": "Qwen/Qwen3-8B", "gated": "manual", "cardData": {"license": "mit"}},
        {"id": "Qwen/Qwen9-8B", "createdAt": "2026-11-29T00:00:00.000Z", "config": classes},
    ]
    hub.listings["author=Qwen"] = json.dumps(rows).encode()
    hub.listings["filter=base_model:quantized:Qwen/Qwen3-8B"] = b'[{"id": "a/b-GGUF"}]'
    return hub


def test_an_update_tells_what_changed_and_what_is_new(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, two_models: Loopback
) -> None:
    """In words, and in the end the command that adds the newest."""
    on_terminal(monkeypatch)
    assert run(["catalog", "update"]) == 0
    out = capsys.readouterr().out
    assert "qwen3-8b: licence MIT (was Apache-2.0)" in out
    assert "qwen3-8b: its makers ask for consent before a download" in out
    assert "Not shown to you, because they moved, or are private: gemma-3-1b-it." in out
    assert out.splitlines()[-1].endswith("hakaru catalog add hf:Qwen/Qwen9-8B")
    assert next(m for m in all_models() if m.id == "qwen3-8b").gguf_repos == ("a/b-GGUF",)


def test_an_update_as_json_has_everything(
    capsys: pytest.CaptureFixture[str], two_models: Loopback
) -> None:
    """Every change with before and after."""
    assert run(["catalog", "update", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == "hakaru.catalogue-update/1"
    assert {"id": "qwen3-8b", "field": "license", "before": "Apache-2.0", "after": "MIT"} in (
        data["changes"]
    )
    assert (data["models"], data["missing"]) == (1, ["gemma-3-1b-it"])
    assert (data["new"], data["skipped"]) == (["Qwen/Qwen9-8B"], {})


def test_a_repository_is_added_by_its_header_alone(
    capsys: pytest.CaptureFixture[str], hub: Loopback, tmp_path: Path
) -> None:
    """Under its name without `-GGUF`, with the repository to fetch it from."""
    write_tiny_llama(tmp_path / "model-Q8_0.gguf")
    hub.add_repository("me/Mine-1B-GGUF", {"model-Q8_0.gguf": tmp_path / "model-Q8_0.gguf"})
    assert run(["catalog", "add", "hf:me/Mine-1B-GGUF"]) == 0
    capsys.readouterr()
    entry = next(m for m in all_models() if m.id == "mine-1b")
    assert (entry.hf_repo, entry.gguf_repos) == ("me/Mine-1B-GGUF", ("me/Mine-1B-GGUF",))


@pytest.mark.engine
def test_an_architecture_that_only_the_engine_knows_is_answered_as_its_file_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """XVERSE has Llama's tensors, and no record here."""
    llama = next(m for m in known_models() if m.id == "llama-3-elyza-jp-8b")
    keys = without_vocabulary(llama.metadata(), llama.n_vocab)
    keys = {key.replace("llama.", "xverse."): value for key, value in keys.items()}
    keys |= {"general.architecture": "xverse", "general.name": "mine"}
    assert "xverse" not in ARCHITECTURES
    path = write_header_only(tmp_path / "mine.gguf", keys, llama.tensors())
    assert run(["fit", str(path), "--json"]) == 0
    by_file = json.loads(capsys.readouterr().out)
    assert run(["catalog", "add", str(path)]) == 0
    capsys.readouterr()
    assert run(["fit", "mine", "--json"]) == 0
    by_name = json.loads(capsys.readouterr().out)
    assert by_file["parts_source"] == by_name["parts_source"] == "dry_run"
    assert by_file["parts"] == by_name["parts"]
