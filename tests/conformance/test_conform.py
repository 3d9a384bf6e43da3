"""Every fault is found, and a server without a fault has none: against servers that answer by a
script.
"""

import json

import pytest
from msgspec.structs import replace

from hakaru.conformance.conform import conform
from hakaru.conformance.every_check import every_check
from hakaru.conformance.verdicts import Conformance
from hakaru.errors import EngineRefused, Interrupted, Misuse, Offline
from hakaru.session import Session
from loopback import Loopback
from ports import free_port
from scripted_server import MODEL, N_CTX, Scripted


@pytest.fixture
def session() -> Session:
    """Whom `conform` tells its progress."""
    return Session.here(keeps=False)


def names(found: Conformance, verdict: str) -> set[str]:
    """The checks with this verdict."""
    return {r.check.name for r in found.results if r.outcome.verdict == verdict}


def test_a_server_without_a_fault_passes_everything(server: Scripted, session: Session) -> None:
    """Nothing fails. Too quick to tell whether its streams flow, and without a key there is nothing
    to guard.
    """
    found = conform(server.url, session=session)
    assert [r.as_json() for r in found.of("fail")] == []
    assert names(found, "unknown") <= {"stream.flows"}
    assert names(found, "skipped") == {"auth.none", "auth.wrong"}
    assert (found.model, found.n_ctx, found.is_whole) == (MODEL, N_CTX, True)
    assert len(found.results) == len(every_check())


FAULTS = {
    "no_id": {"chat.shape"},
    "adds_wrong": {"chat.usage", "completions.usage", "stream.usage"},
    "max_tokens_ignored": {"chat.max_tokens"},
    "stop_ignored": {"chat.stop", "stream.stop", "completions.stop"},
    "stop_leaks": {"stream.stop"},
    "n_ignored": {"chat.n"},
    "logprobs_ignored": {"chat.logprobs"},
    "random": {"chat.greedy", "chat.seed"},
    "no_role": {"stream.role"},
    "ends_twice": {"stream.finish"},
    "late_text": {"stream.finish"},
    "no_done": {"stream.done", "completions.stream"},
    "no_usage": {"stream.usage"},
    "usage_unasked": {"stream.no_usage"},
    "held_back": {"stream.flows"},
    "breaks_off": {"stream.events", "stream.done", "stream.role", "completions.stream"},
    "form_ignored": {"json.schema", "json.object", "responses.schema"},
    "cuts_letters": {"json.letters"},
    "tools_dropped": {"tools.shown", "responses.built_in"},
    "tools_ignored": {"tools.required", "tools.named", "tools.stream"},
    "first_tool": {"tools.named"},
    "object_arguments": {"tools.required", "tools.named"},
    "echo_ignored": {"completions.echo"},
    "swaps_vectors": {"embeddings.batch"},
    "base64_ignored": {"embeddings.base64"},
    "worst_first": {"rerank.shape"},
    "calls_it_completed": {"responses.limit"},
    "unnumbered": {"responses.sequence"},
    "wants_types": {"responses.turns"},
    "response_form_ignored": {"responses.schema"},
    "no_start": {"messages.stream"},
    "counts_wrong": {"messages.count"},
    "takes_bad_json": {"errors.json_cut", "errors.json_none"},
    "takes_stop_5": {"errors.stop_type"},
    "fails_on_tools": {"errors.tools_type", "errors.tool_type"},
    "drops_pictures": {"errors.picture"},
    "drops_fields": {
        "chat.functions", "completions.suffix", "responses.previous", "messages.document",
    },
    "echoes_model": {"errors.model"},
    "plain_errors": {"form.error"},
    "number_codes": {"form.code"},
    "ends_connections": {"connection.kept", "connection.after_stream", "connection.after_error"},
    "cuts": {
        "context.chat", "context.stream", "context.completions", "context.embeddings",
        "context.rerank", "context.responses", "context.messages",
    },
    "mixes_clients": {"together.answers"},
    "never_cancels": {"together.cancel"},
}  # fmt: skip
ALSO = {
    "cuts_letters": ("json",),
    "plain_errors": ("errors.list",),
    "number_codes": ("errors.list",),
}
"""What must be asked besides, for checks that look at the answers of others."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(
    fault: str, server: Scripted, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by the checks that are about it. The same checks pass where there is no such fault
    (above), so no check fails for another reason.
    """
    monkeypatch.setattr("hakaru.conformance.together_checks.LEAVE_S", 0.3)
    server.faults = {fault}
    only = [*FAULTS[fault], *ALSO.get(fault, ())]
    found = conform(server.url, only=only, session=session)
    assert names(found, "fail") == FAULTS[fault]
    assert all(result.outcome.reason for result in found.of("fail"))


@pytest.mark.parametrize(
    ("fault", "failing"),
    [
        ("ignores_key", {"auth.none", "auth.wrong"}),
        ("compares_prefix", {"auth.wrong"}),
        ("", set()),
    ],
)
def test_a_key_that_guards_nothing_is_found(
    fault: str, failing: set[str], server: Scripted, session: Session
) -> None:
    """Also where only its beginning is compared. The key stands nowhere in the result."""
    server.key, server.faults = "sk-secret-7431", {fault}
    found = conform(server.url, key=server.key, only=["auth", "chat.shape"], session=session)
    assert names(found, "fail") == failing
    assert names(found, "skipped") == {"auth.any"}
    assert server.key not in json.dumps(found.as_json())


def test_a_prompt_that_is_cut_in_silence_is_told_with_both_counts(
    server: Scripted, session: Session
) -> None:
    """What was sent, and what was read."""
    server.faults = {"cuts"}
    (result,) = conform(server.url, only=["context.chat"], session=session).results
    assert result.severity == "severe"
    assert result.outcome.reason.startswith(f"cut in silence: {N_CTX - 50} tokens of 5")
    assert "QX7431" in json.dumps(result.asked)


def test_a_server_that_says_that_a_connection_ends_does_nothing_wrong(
    server: Scripted, session: Session
) -> None:
    """Its clients open another one."""
    server.faults = {"says_it_ends"}
    found = conform(server.url, only=["connection"], session=session)
    assert names(found, "pass") == FAULTS["ends_connections"]
    assert all("and says so" in result.outcome.reason for result in found.results)


@pytest.mark.parametrize(("faults", "verdict"), [({"cuts"}, "fail"), (set(), "pass")])
def test_where_no_context_is_told_the_prompt_grows(
    faults: set[str], verdict: str, server: Scripted, session: Session
) -> None:
    """Until it is refused, or cut; the next check begins where that was."""
    server.faults, server.tells_context = faults, False
    found = conform(server.url, only=["context.chat", "context.completions"], session=session)
    assert (found.n_ctx, [r.outcome.verdict for r in found.results]) == (None, [verdict] * 2)
    assert [len(result.asked) for result in found.results] == [3, 3]


def test_a_question_that_is_never_answered_ends_by_its_time(
    server: Scripted, session: Session
) -> None:
    """It fails, and the others are asked."""
    server.faults = {"hangs"}
    found = conform(server.url, timeout_s=1, only=["errors"], session=session)
    assert names(found, "fail") == {"errors.messages_empty"}
    assert "no whole answer within 1 s" in found.of("fail")[0].outcome.reason
    assert found.of("fail")[0].came[0]["broken"] == "slow"
    assert found.seconds < 10


def test_after_the_end_of_a_server_nothing_else_is_asked(
    server: Scripted, session: Session
) -> None:
    """The check that ended it fails, severely; the others cannot be told, and take no time."""
    server.faults = {"hangs", "dies"}
    found = conform(server.url, timeout_s=0.8, only=["errors", "together"], session=session)
    (fault,) = found.of("fail")
    assert (fault.check.name, fault.severity) == ("errors.messages_empty", "severe")
    assert "together.answers" in names(found, "unknown")
    assert found.seconds < 10


def test_who_is_slow_is_not_called_broken(
    server: Scripted, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even the first answer took a good part of the time, nobody can tell."""
    monkeypatch.setattr("hakaru.conformance.peer.Peer.is_slow_for", lambda self, body: True)
    server.faults = {"hangs"}
    found = conform(server.url, timeout_s=0.8, only=["errors.messages_empty"], session=session)
    assert names(found, "unknown") == {"errors.messages_empty"}


def test_what_a_server_has_not_is_skipped_with_its_own_words(
    server: Scripted, session: Session
) -> None:
    """Every check that needs it, and no other."""
    server.lacks = {"chat", "rerank"}
    found = conform(server.url, session=session)
    assert names(found, "fail") == set()
    skipped = found.of("skipped")
    assert {r.check.needs for r in skipped} == {"", "chat", "rerank"}
    assert all(
        "404: there is no such endpoint" in r.outcome.reason for r in skipped if r.check.needs
    )


def test_ctrl_c_ends_with_what_is_known(server: Scripted, session: Session) -> None:
    """The checks before it have their results."""

    def watch(step: str, done: int, total: int) -> None:
        if (done, total) == (5, len(every_check())):
            raise KeyboardInterrupt

    found = conform(server.url, session=replace(session, watch=watch))
    assert (len(found.results), found.is_whole, found.as_json()["complete"]) == (5, False, False)


def test_ctrl_c_before_anything_is_known_says_so(server: Scripted, session: Session) -> None:
    """There is nothing to tell."""

    def watch(step: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="was asked nothing yet"):
        conform(server.url, session=replace(session, watch=watch))


def test_where_nothing_listens_that_is_said(session: Session) -> None:
    """With the address."""
    port = free_port()
    with pytest.raises(Offline, match=f"nothing answers at http://127.0.0.1:{port} "):
        conform(f"127.0.0.1:{port}", session=session)


def test_a_web_site_is_no_api(web: Loopback, session: Session) -> None:
    """What came is told."""
    web.files["/v1/models"] = b"<html>Welcome</html>"
    with pytest.raises(Misuse, match="but not as an OpenAI-style API does"):
        conform(web.url, session=session)


def test_who_sends_elsewhere_is_not_followed(web: Loopback, session: Session) -> None:
    """The person learns where it leads."""
    web.redirects["/v1/models"] = "https://elsewhere.example/v1/models"
    with pytest.raises(Misuse, match=r"leads elsewhere \(302, https://elsewhere.example/v1/models"):
        conform(web.url, session=session)


@pytest.mark.parametrize(("key", "sentence"), [(None, "asks for a key"), ("sk-x", "refuses this")])
def test_a_missing_or_wrong_key_is_told_at_once(
    key: str | None, sentence: str, server: Scripted, session: Session
) -> None:
    """Instead of a hundred failures."""
    server.key = "sk-secret-7431"
    with pytest.raises(Misuse, match=sentence):
        conform(server.url, key=key, session=session)


def test_a_model_that_is_not_listed_is_refused_with_those_that_are(
    server: Scripted, session: Session
) -> None:
    """A misspelt name is no fault of the server's."""
    with pytest.raises(Misuse, match=f"it lists {MODEL}"):
        conform(server.url, model="no-such", session=session)


def test_a_server_that_answers_nothing_is_told_so(server: Scripted, session: Session) -> None:
    """No endpoint: nothing could be checked."""
    server.lacks = {"chat", "completions", "embeddings", "rerank", "responses", "messages"}
    with pytest.raises(EngineRefused, match="answers no question"):
        conform(server.url, session=session)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"timeout_s": 0.0}, "`timeout_s` is 0"),
        ({"timeout_s": float("nan")}, "`timeout_s` is nan"),
        ({"key": "é"}, "`key` is empty or has letters"),
        ({"key": ""}, "`key` is empty or has letters"),
        ({"only": ["chatt"]}, "`only` is 'chatt'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    how: dict[str, object], sentence: str, server: Scripted, session: Session
) -> None:
    """In one sentence."""
    with pytest.raises(Misuse, match=sentence):
        conform(server.url, session=session, **how)  # type: ignore[arg-type]
    assert server.asked == []


def test_every_check_has_a_name_of_its_own() -> None:
    """By which it is asked alone."""
    checks = every_check()
    assert len({check.name for check in checks}) == len(checks) > 90
    assert all(check.expected and check.area != check.name for check in checks)
