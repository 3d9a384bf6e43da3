"""`hakaru conform`: what it prints, where, and with which exit code."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hakaru.cli import run
from hakaru.conformance.every_check import every_check
from scripted_server import MODEL, Scripted


def test_a_good_server_gives_0_and_a_table(
    server: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    """Progress is on stderr; stdout has the server, the areas and the sum."""
    assert run(["conform", server.url, "--only", "chat", "--only", "stream.done"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[:4] == [
        f"{server.url}/v1, model {MODEL}, 400 tokens of context",
        "checks of  passed  failed  cannot tell  skipped",
        "chat           11       0            0        0",
        "stream          1       0            0        0",
    ]
    assert said.out.splitlines()[-1].startswith("12 passed, 0 failed, 0 cannot tell, 0 skipped, in")
    assert "checks …" in said.err


def test_a_fault_gives_1_and_says_what_was_asked_expected_and_found(
    server: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worst first."""
    server.faults = {"number_codes", "stop_ignored"}
    names = ["chat.stop", "errors.tools_type", "form.code"]
    assert run(["conform", server.url, *(word for n in names for word in ("--only", n))]) == 1
    lines = capsys.readouterr().out.splitlines()
    begin = lines.index("✗ chat.stop (severe)")
    assert lines[begin + 1] == (
        "  expected  the answer ends before the text in stop, with finish_reason stop"
    )
    assert lines[begin + 2].startswith("  found     '")
    assert lines[begin + 3].startswith("  asked     POST /v1/chat/completions {")
    assert '"stop": "' in lines[begin + 3]
    assert lines[begin + 4] == "✗ form.code (minor)"
    assert "1 passed, 2 failed (1 severe, 1 minor), " in lines[-1]


def test_a_request_is_shown_with_what_matters_of_it(
    server: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model only where it is another one, and long texts cut; also of a body that is cut."""
    server.faults = {"echoes_model", "cuts"}
    assert run(["conform", server.url, "--only", "errors.model", "--only", "context.chat"]) == 1
    asked = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  asked")]
    assert '"model": "scripted-1b"' not in asked[1] and "no-such-model-7431" in asked[1]
    assert "The secret is QX7431" in asked[0] and max(map(len, asked)) < 360


def test_it_speaks_japanese(server: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    """The checks, too."""
    server.faults = {"no_done"}
    assert run(["conform", server.url, "--only", "stream.done", "--lang", "ja"]) == 1
    out = capsys.readouterr().out
    assert "✗ stream.done（中程度）" in out
    assert "最後のイベントが [DONE]" in out


def test_what_cannot_be_told_gives_7_where_nothing_failed(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that asks for certainty sees that there is none. A failure says more."""
    monkeypatch.setattr("hakaru.conformance.peer.Peer.is_slow_for", lambda self, body: True)
    server.faults = {"hangs", "stop_ignored"}
    untold = ["conform", server.url, "--timeout", "0.5", "--only", "errors.messages_empty"]
    assert run(untold) == 7
    assert run([*untold, "--only", "chat.stop"]) == 1


def test_json_has_the_longest_request_whole(
    server: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that it can be asked again."""
    assert run(["conform", server.url, "--only", "context.chat", "--json"]) == 0
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert len(check["asked"][-1]["body"]) > 2500
    assert json.loads(check["asked"][-1]["body"])["messages"]


def test_json_is_one_object_with_a_schema(
    server: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    """With every request and every answer."""
    assert run(["conform", server.url, "--only", "chat.shape", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["schema"], data["model"], data["complete"]) == (
        "hakaru.conformance/1",
        MODEL,
        True,
    )
    assert data["counts"] == {"pass": 1, "fail": 0, "unknown": 0, "skipped": 0}
    (check,) = data["checks"]
    assert (check["name"], check["verdict"], check["severity"]) == (
        "chat.shape",
        "pass",
        "moderate",
    )
    assert json.loads(check["asked"][0]["body"])["model"] == MODEL
    assert check["came"][0]["status"] == 200


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["http://127.0.0.1:9"], 5, "nothing answers at http://127.0.0.1:9 "),
        (["ftp://127.0.0.1"], 2, "is no address of a server"),
        ([], 2, "Missing argument 'URL'"),
        (["URL", "--only", "x"], 2, "--only is 'x'"),
        (["URL", "--timeout", "0"], 2, "--timeout is 0"),
        (["URL", "--timeout", "soon"], 2, "'soon' is not a valid float"),
        (["URL", "--model", "x"], 2, f"the server has no --model x; it lists {MODEL}."),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_sentence(
    arguments: list[str],
    code: int,
    sentence: str,
    server: Scripted,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the exit code of its kind, and nothing on stdout."""
    typed = [server.url if word == "URL" else word for word in arguments]
    assert run(["conform", *typed]) == code
    said = capsys.readouterr()
    assert (said.out, sentence in said.err) == ("", True), said.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_ctrl_c_tells_what_is_known(server: Scripted, number: signal.Signals) -> None:
    """With exit code 130, while a question is waiting for its answer."""
    server.faults = {"hangs"}
    command = [sys.executable, "-m", "hakaru", "conform", server.url, "--only", "errors"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while not any(b'"messages": []' in body for _, body in server.asked):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    n = len([check for check in every_check() if check.area == "errors"])
    assert process.returncode == 130, err
    assert f"Ended early, after 6 of {n} checks: 6 passed" in out
    assert "Traceback" not in err


def test_a_reader_that_leaves_ends_it_quietly(server: Scripted) -> None:
    """As `head -1` does."""
    command = [sys.executable, "-m", "hakaru", "conform", server.url, "--only", "models", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        err = process.stderr.read()
        process.wait(60)
    assert (process.returncode, b"Traceback" in err) == (0, False)
