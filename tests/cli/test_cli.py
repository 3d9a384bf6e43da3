"""The command line as a contract: whole outputs, exit codes, JSON, pipes and Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.models.model import read_model
from hakaru.quantization.journal import unfinished
from hakaru.testing import (
    tiny_hyperparameters,
    tiny_shape,
    write_header,
    write_header_only,
    write_tiny_llama,
)
from little_effort import few_windows

HAKARU = [sys.executable, "-m", "hakaru"]


def answer(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    code = run([str(a) for a in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_article_s_formula_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole output, so that nobody changes it by accident."""
    code, out, err = answer(capsys, "formula", "--params", "70B", "--bits", "4")
    assert (code, err) == (0, "")
    assert out == (
        "70B parameters × 4/8 bytes × 1.2 = 42.0 GB (39.1 GiB), by the article's formula.\n"
        "The weights alone are 35.0 GB. The factor 1.2 is a rule of thumb for the rest: the KV "
        "cache, compute buffers and the driver. It is "
        "far too much for a short context on a large model and far too little for a long one on "
        "a small model.\n"
        "A “4-bit” type is not 4 bits: Q4_0 has 4.5 bits per weight, and Q4_K_M about 4.9 over a "
        "whole model.\n"
    )


@pytest.mark.parametrize(
    ("params", "bits", "hardware", "formula", "exact", "code"),
    [
        ("70B", 16, "2x A100 80GB", "does_not_fit", "fits", 0),
        ("70B", 16, "1x A100 80GB", "does_not_fit", "does_not_fit", 3),
        ("70B", 4, "2x L4", "fits", "fits", 0),
        ("8B", 16, "RTX 4090", "fits", "fits", 0),
    ],
)
def test_the_formula_s_verdict_stands_beside_the_exact_one(
    capsys: pytest.CaptureFixture[str],
    params: str,
    bits: int,
    hardware: str,
    formula: str,
    exact: str,
    code: int,
) -> None:
    """The article's own question has two answers, and the exact one decides the exit code."""
    found, out, _ = answer(
        capsys, "formula", "--params", params, "--bits", str(bits), "--hardware", hardware, "--json"
    )
    data = json.loads(out)
    assert data["schema"] == "hakaru.formula/1"
    assert (found, data["formula_verdict"], data["exact"]["verdict"]) == (code, formula, exact)


def test_hardware_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object, with its schema's name."""
    code, out, _ = answer(capsys, "hardware", "--json")
    data = json.loads(out)
    assert (code, data["schema"]) == (0, "hakaru.hardware/1")
    assert {"cpu", "memory", "devices", "size_class", "system"} <= set(data)


@pytest.mark.engine
def test_fit_as_json(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    """Computed and dry run side by side, and the engine's own flags."""
    code, out, err = answer(capsys, "fit", tiny, "--context", "1024", "--json")
    data = json.loads(out)
    assert (code, err, data["schema"], data["verdict"]) == (0, "", "hakaru.fit/1", "fits")
    assert (
        data["parts"]["weights_bytes"]
        == data["dry_run"]["weights_bytes"]
        == read_model(tiny).weights_bytes
    )
    assert data["parts"]["kv_cache_bytes"] == data["dry_run"]["kv_cache_bytes"]
    assert data["flags"][:2] == ["-c", "1024"]


@pytest.mark.engine
def test_fit_that_does_not_fit_shows_ways_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A 70B model in F16 on less than it needs: exit code 3, the way with its bytes, none that
    frees next to nothing, and no flags to run it with.
    """
    shape = tiny_shape(
        n_layer=80,
        n_embd=8192,
        n_ff=28672,
        n_head=64,
        n_head_kv=(8,) * 80,
        n_vocab=32000,
        n_ctx_train=8192,
    )
    path = write_header_only(tmp_path / "70b.gguf", shape)
    code, out, _ = answer(capsys, "fit", path, "--context", "8k", "--hardware", "64GiB RAM")
    assert code == 3
    assert "it does not fit" in out
    assert [line.split(" frees ")[0] for line in out.splitlines() if " frees " in line] == [
        "  --type Q6_K"
    ]
    assert "llama-server" not in out


@pytest.mark.engine
def test_an_architecture_that_only_the_engine_knows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No arithmetic of ours: the dry run answers and is marked as such."""
    path = write_header_only(tmp_path / "other.gguf", tiny_shape(architecture="llama-embed"))
    code, out, _ = answer(capsys, "fit", path, "--context", "512", "--json")
    data = json.loads(out)
    assert (code, data["parts_source"]) == (0, "dry_run")
    code, out, _ = answer(capsys, "fit", path, "--context", "512")
    assert "no arithmetic for the architecture 'llama-embed' yet" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["fit"], 2, "Missing argument 'MODEL'. See: hakaru fit --help"),
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["fit", "missing.gguf"], 4, "missing.gguf: there is no such file"),
        (["up", "missing.gguf"], 4, "missing.gguf: there is no such file"),
        (["serve", "missing.gguf"], 4, "missing.gguf: there is no such file"),
        (["chat", "missing.gguf"], 4, "missing.gguf: there is no such file"),
        (["test", "missing.gguf"], 4, "missing.gguf: there is no such file"),
        (["quantize", "missing.gguf", "--type", "Q8_0"], 4, "missing.gguf: there is no such file"),
        (
            ["formula", "--params", "seventy", "--bits", "4"],
            2,
            "'seventy' is no number of parameters",
        ),
        (["formula", "--params", "70B", "--bits", "-1"], 2, "'-1' is no number of bits"),
        (["up", "--quality", "best"], 2, "--quality is 'best'"),
        (["up", "--min-speed", "0"], 2, "Invalid value for '--min-speed': '0' is no speed"),
        (["hardware", "--lang", "fr"], 2, "--lang is 'fr', expected one of en, ja"),
    ],
)
def test_bad_input_is_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    """The right exit code, one line on stderr, nothing on stdout, no traceback."""
    found, out, err = answer(capsys, *arguments)
    assert found == code
    assert words in err
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize("value", ["20000000", "99999999999"])
def test_an_absurd_context_is_refused(
    capsys: pytest.CaptureFixture[str], tiny: Path, value: str
) -> None:
    """Before the engine is asked."""
    code, _, err = answer(capsys, "fit", tiny, "--context", value)
    assert (code, err) == (
        2,
        f"hakaru: --context is {value}, expected a whole number from 1 to 16777216.\n",
    )


def test_the_reader_may_leave() -> None:
    """`--json | head -1` ends quietly."""
    done = subprocess.run(
        f"{sys.executable} -m hakaru formula --params 70B --bits 4 --json | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("{\n", "", 0)


@pytest.mark.engine
def test_quantize_as_json_and_as_dry_run(
    capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    """A dry run writes nothing; the real one says what was written."""
    out_path = tmp_path / "q.gguf"
    code, out, _ = answer(
        capsys, "quantize", tiny, "--type", "q4_k_m", "-o", out_path, "--dry-run", "--json"
    )
    planned = json.loads(out)
    assert (code, planned["written"], out_path.exists()) == (0, False, False)
    code, out, err = answer(capsys, "quantize", tiny, "--type", "Q4_K_M", "-o", out_path, "--json")
    written = json.loads(out)
    assert (code, err, written["schema"]) == (0, "", "hakaru.recipe/1")
    assert written["bytes"] == planned["bytes"] == read_model(out_path).weights_bytes
    code, _, err = answer(capsys, "quantize", tiny, "--type", "Q4_K_M", "-o", out_path)
    assert (code, "exists already" in err) == (2, True)


@pytest.mark.engine
def test_code_beside_the_model_is_not_run(tiny: Path, tmp_path: Path) -> None:
    """A folder with a model may hold a json.py: the children do not import from where one
    stands.
    """
    (tmp_path / "json.py").write_text("open('ran', 'w'); raise SystemExit(9)")
    hakaru = [sys.executable, "-P", "-m", "hakaru"]
    done = subprocess.run(
        [*hakaru, "fit", str(tiny)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.engine
@pytest.mark.parametrize(
    "command",
    [("fit",), ("serve",), ("up", "--no-serve"), ("tune",), ("test",)],
    ids=lambda command: command[0],
)
def test_more_context_than_the_model_was_trained_for(
    capsys: pytest.CaptureFixture[str], tiny: Path, command: tuple[str, ...]
) -> None:
    """One answer from every command, before anything is loaded; twice the context is right for two
    conversations.
    """
    code, out, err = answer(capsys, command[0], tiny, *command[1:], "--context", "4096")
    assert (code, out) == (2, "")
    assert "gives 4096 tokens per conversation" in err
    assert (
        "was trained for 2048, and llama.cpp's server gives no more than that: ask for --context "
        "2048 or less" in err
    )
    code, _, err = answer(
        capsys, command[0], tiny, *command[1:], "--context", "4098", "--parallel", "2"
    )
    assert (code, "ask for --context 4096 or less" in err) == (2, True)


def test_rope_scaling_gives_no_more_context_than_the_header_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The server caps at `context_length`, whatever could be scaled; a header without that key
    refuses nothing.
    """
    scaled = tiny_hyperparameters(
        "llama",
        rope__scaling__type="yarn",
        rope__scaling__factor=4.0,
        rope__scaling__original_context_length=2048,
    )
    answers = []
    for name, metadata in (
        ("scaled", scaled),
        ("silent", {k: v for k, v in scaled.items() if k != "llama.context_length"}),
    ):
        path = write_header(tmp_path / f"{name}.gguf", metadata, n_vocab=512)
        answers.append(answer(capsys, "fit", path, "--context", "8192", "--source", "computed")[0])
    assert answers == [2, 0]


def test_with_a_shared_cache_one_conversation_may_have_it_all(
    capsys: pytest.CaptureFixture[str], tiny: Path
) -> None:
    """So its context is the whole one, not its share."""
    code, _, err = answer(
        capsys,
        "fit",
        tiny,
        "--context",
        "4096",
        "--parallel",
        "2",
        "--kv-unified",
        "--source",
        "computed",
    )
    assert (code, "gives 4096 tokens per conversation" in err) == (2, True)


@pytest.mark.engine
def test_fit_answers_where_nothing_can_be_remembered(
    capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question is about memory, not about the disk."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    code, out, err = answer(capsys, "fit", tiny, "--json")
    assert (code, json.loads(out)["verdict"]) == (0, "fits")
    assert err.startswith("hakaru: nothing is remembered: ")


@pytest.mark.engine
def test_a_model_with_a_short_memory_goes_all_the_way(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Trained for 64 tokens: the speed test asks for no more."""
    model = write_tiny_llama(tmp_path / "short.gguf", tiny_shape(n_ctx_train=64))
    code, out, err = answer(capsys, "test", model, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["speed"]["n_prompt"] + json.loads(out)["speed"]["n_predict"] < 64
    code, _, err = answer(capsys, "serve", model, "--context", "1")
    assert (code, "expected at least 64 to serve anything" in err) == (2, True)


def test_streams_that_are_closed_full_or_plain(tmp_path: Path) -> None:
    """Never a traceback because of where the output goes."""
    hardware = f"{sys.executable} -m hakaru hardware --lang ja"
    for line, code in (
        (f"{hardware} >&-", 0),
        (f"PYTHONIOENCODING=ascii {hardware}", 0),
        (f"{hardware} > /dev/full", 1),
    ):
        done = subprocess.run(
            line, shell=True, capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.engine
@pytest.mark.alone
def test_ctrl_c_while_quantizing_leaves_nothing(embedded: Path, tmp_path: Path) -> None:
    """SIGINT to the whole group, as a terminal sends it: exit code 130, one sentence, no file, no
    child.
    """
    process = subprocess.Popen(
        [*HAKARU, "quantize", str(embedded), "--type", "Q3_K_M", "-o", str(tmp_path / "q.gguf")],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".q.gguf*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert [p for p in tmp_path.iterdir() if p.is_file()] == []


@pytest.mark.engine
@pytest.mark.alone
def test_ctrl_c_in_long_quantizing_says_what_is_kept(embedded: Path, tmp_path: Path) -> None:
    """When tensors are done: still no file of the target's name, and one sentence with their number
    and their place.
    """
    process = subprocess.Popen(
        [*HAKARU, "quantize", str(embedded), "--type", "IQ4_NL", "-o", str(tmp_path / "q.gguf")],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while unfinished(tmp_path / "q.gguf") is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert re.search(
        r"hakaru: \d+ tensors are done and kept \(.* in .*/\.q\.gguf\.part\): "
        r"the same command continues there",
        err,
    )
    assert "Traceback" not in err
    assert not (tmp_path / "q.gguf").exists()


@pytest.mark.engine
def test_test_as_json(
    capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quality against a reference with intervals; an own text is one more domain."""
    monkeypatch.setattr("hakaru.evaluation.losses.gather_windows", few_windows)
    answer(capsys, "quantize", tiny, "--type", "Q8_0", "-o", tmp_path / "q8.gguf", "--json")
    text = tmp_path / "own.txt"
    text.write_text("Measure twice, cut once. " * 60)
    arguments = (
        "test",
        tmp_path / "q8.gguf",
        "--reference",
        tiny,
        "--text",
        text,
        "--context",
        "512",
        "--json",
    )
    code, out, err = answer(capsys, *arguments)
    data = json.loads(out)
    assert (code, err, data["schema"]) == (0, "", "hakaru.measurement/1")
    assert data["verdict"] == "pass"
    for figure in ("kld_mean", "top1_agreement", "perplexity_ratio"):
        found = data["quality"][figure]
        assert found["low"] <= found["value"] <= found["high"]
    assert {"own", "code", "prose-en", "answers-en", "answers-ja"} == set(
        data["quality"]["domains"]
    )
    assert data["speed"]["decode_tokens_per_s"]["value"] > 0
    assert data["speed"]["first_token_ms"]["value"] > 0
    assert data["memory"]["peak_rss_bytes"] > data["memory"]["weights_bytes"]
    short = tmp_path / "short.txt"
    short.write_text("too short")
    code, _, err = answer(
        capsys, "test", tmp_path / "q8.gguf", "--reference", tiny, "--text", short
    )
    assert (code, "expected at least one window" in err) == (2, True)


@pytest.mark.engine
def test_serve_dry_run_tells_the_plan(
    capsys: pytest.CaptureFixture[str], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `fit` says, the flags of llama-server and the command in earnest; for programs, the
    exact command of the engine's server. Nothing is started.
    """
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    asked = ("serve", tiny, "--context", "512", "--dry-run")
    code, out, _ = answer(capsys, *asked)
    assert code == 0
    assert "it fits" in out and "-c 512 -ub 512 -np 1" in out and "Dry run: nothing" in out
    assert out.rpartition("Next:")[2].split() == ["hakaru", *map(str, asked[:-1])]
    code, out, _ = answer(capsys, *asked, "--json")
    plan = json.loads(out)
    assert (code, plan["schema"], plan["fit"]["verdict"]) == (0, "hakaru.serve/1", "fits")
    assert "hakaru.engine.server_child" in plan["command"]
    assert json.loads(plan["command"][-1])["n_ctx"] == 512


def test_serve_prints_no_object_while_it_serves(
    capsys: pytest.CaptureFixture[str], tiny: Path
) -> None:
    """--json is for the plan."""
    code, out, err = answer(capsys, "serve", tiny, "--json")
    assert (code, out) == (2, "")
    assert "--json goes with --dry-run" in err
