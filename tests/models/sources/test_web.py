"""A header is fetched from a real server at the loopback interface, whatever that server does."""

import os
import re
from pathlib import Path

import pytest
from huggingface_hub import constants

from hakaru.errors import HakaruError, Misuse, ModelDamaged, ModelNotFound, Offline
from hakaru.models.model import read_model
from hakaru.models.sources import shelf
from hakaru.models.sources.find import find_model
from hakaru.models.sources.remote import RemoteFile
from hakaru.places import cache_dir
from hakaru.testing import tiny_shape, write_header_only, write_tiny_llama
from loopback import COMMIT, Loopback, serving


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr("hakaru.models.sources.web.PAUSE_S", 0.01)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A model of 26 GB whose header takes 6 MB."""
    shape = tiny_shape(
        n_layer=40, n_embd=5120, n_ff=13824, n_head=40, n_head_kv=(40,) * 40, n_vocab=152064
    )
    return write_header_only(tmp_path / "large.gguf", shape, vocabulary=True)


def test_a_header_is_fetched_and_never_the_weights(web: Loopback, large: Path) -> None:
    """The stand-in reads as the file itself, takes the disk of its header, and cost at most three
    times the header.
    """
    web.files["/models/large.gguf"] = large
    found = find_model(f"{web.url}/models/large.gguf")
    ours, theirs = read_model(found.path), read_model(large)
    assert (ours.tensors, ours.shape, ours.file_bytes) == (
        theirs.tensors,
        theirs.shape,
        theirs.file_bytes,
    )
    assert not found.complete and not ours.complete
    assert found.path.stat().st_size == large.stat().st_size > 2**34
    assert found.path.stat().st_blocks * 512 < ours.data_offset + 2**16
    assert ours.data_offset <= found.fetched_bytes <= web.sent_bytes < 3 * ours.data_offset
    assert all(headers["range"].startswith("bytes=") for _, headers in web.asked)


def test_the_second_question_needs_no_network(web: Loopback, tiny: Path) -> None:
    """The answer is given from the cache for a day; then the server is asked again; without it the
    old answer stands.
    """
    web.files["/m.gguf"] = tiny
    first = find_model(f"{web.url}/m.gguf")
    asked = len(web.asked)
    second = find_model(f"{web.url}/m.gguf")
    assert (second.path, second.fetched_bytes, len(web.asked)) == (first.path, 0, asked)
    record = first.path.parent.parent / "found.json"
    yesterday = record.stat().st_mtime - shelf.FRESH_S
    os.utime(record, (yesterday, yesterday))
    assert find_model(f"{web.url}/m.gguf").fetched_bytes > 0
    os.utime(record, (yesterday, yesterday))
    web.statuses["/m.gguf"] = [(503, {})]
    assert find_model(f"{web.url}/m.gguf").path.exists()


def test_a_server_that_ignores_ranges_is_left_early(web: Loopback, large: Path) -> None:
    """It answers 200 with everything: the header is read, the rest is not, and Content-Length is
    the size.
    """
    web.files["/large.gguf"], web.ignores_ranges = large, True
    found = find_model(f"{web.url}/large.gguf")
    assert read_model(found.path).file_bytes == large.stat().st_size
    assert found.fetched_bytes < read_model(large).data_offset + 2**20
    assert len(web.asked) == 1


@pytest.mark.parametrize("ignores_ranges", [False, True])
def test_a_cut_connection_is_taken_up_where_it_broke_off(
    web: Loopback, large: Path, ignores_ranges: bool
) -> None:
    """By a range from there on; from a server without ranges by reading over what is known."""
    web.files["/m.gguf"], web.cuts, web.ignores_ranges = large, 2, ignores_ranges
    found = find_model(f"{web.url}/m.gguf")
    assert read_model(found.path).tensors == read_model(large).tensors
    starts = [int(h["range"].split("=")[1].split("-")[0]) for _, h in web.asked]
    assert starts[:3] == [0, 2**15, 2**15 if ignores_ranges else 2**16]


def test_a_connection_that_is_always_cut_is_given_up(web: Loopback, large: Path) -> None:
    """After four tries, with exit code 5; nothing is left behind."""
    web.files["/m.gguf"], web.cuts = large, 99
    with pytest.raises(Offline, match=r"/m\.gguf: failed 4 times") as caught:
        find_model(f"{web.url}/m.gguf")
    assert caught.value.exit_code == 5
    assert not list(cache_dir("sources").rglob("*.gguf*"))


@pytest.mark.parametrize(
    ("status", "headers", "error", "words"),
    [
        (401, {}, ModelNotFound, r"access is refused \(401\)"),
        (403, {}, ModelNotFound, "set HF_TOKEN"),
        (403, {"X-Error-Code": "GatedRepo"}, ModelNotFound, "fill in the form at"),
        (404, {}, ModelNotFound, "there is no such file"),
        (418, {}, ModelNotFound, "answers 418"),
        (429, {"Retry-After": "17"}, Offline, "asks to wait 17 s"),
        (429, {}, Offline, "wait some minutes"),
        (500, {}, Offline, r"failed 4 times \(HTTP 500\)"),
        (503, {"Retry-After": "x"}, Offline, "HTTP 503"),
    ],
)
def test_a_refusal_is_one_sentence(
    web: Loopback,
    tiny: Path,
    status: int,
    headers: dict[str, str],
    error: type[HakaruError],
    words: str,
) -> None:
    """It says what the server means and what to do; nothing secret of the address is repeated."""
    web.files["/m.gguf"], web.statuses["/m.gguf"] = tiny, [(status, headers)]
    with pytest.raises(error, match=words) as caught:
        find_model(f"{web.url.replace('://', '://me:secret@')}/m.gguf?token=secret")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_recovers_is_not_given_up(web: Loopback, tiny: Path) -> None:
    """Two failures, then the file."""
    web.files["/m.gguf"], web.statuses["/m.gguf"] = tiny, [(502, {}), (503, {}), (200, {})]
    assert read_model(find_model(f"{web.url}/m.gguf").path).n_params == read_model(tiny).n_params


def test_redirects_are_followed_but_not_for_ever(web: Loopback, tiny: Path) -> None:
    """Five at most."""
    web.files["/m.gguf"], web.redirects["/old.gguf"], web.redirects["/loop.gguf"] = (
        tiny,
        "/m.gguf",
        "/loop.gguf",
    )
    assert find_model(f"{web.url}/old.gguf").path.name == "old.gguf"
    with pytest.raises(ModelNotFound, match="redirects more than 5 times"):
        find_model(f"{web.url}/loop.gguf")


def test_the_token_stays_with_its_host(
    hub: Loopback, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub sees the Authorization header, the host that it redirects to never does; that host is
    then asked directly.
    """
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving() as other:
        other.files["/blob"] = large
        hub.add_repository("org/repo", {"large.gguf": large})
        path = next(p for p in hub.files if p.endswith("large.gguf"))
        hub.redirects[path] = f"{other.url}/blob"
        find_model("hf:org/repo")
        assert all(h["authorization"] == "Bearer hf_secret" for _, h in hub.asked)
        assert len([p for p, _ in hub.asked if p == path]) == 1
        assert len(other.asked) > 2
        assert not any("authorization" in h for _, h in other.asked)


def test_a_file_that_changes_meanwhile_is_begun_again_once(web: Loopback, large: Path) -> None:
    """Another ETag in the middle: from the start; and again another one: refused."""
    web.files["/m.gguf"], web.etags["/m.gguf"] = large, ['"a"', '"b"']
    assert find_model(f"{web.url}/m.gguf").version == '"b"'
    web.files["/n.gguf"], web.etags["/n.gguf"] = large, ['"a"', '"b"', '"c"', '"d"']
    with pytest.raises(Offline, match="changes while it is read"):
        find_model(f"{web.url}/n.gguf")


def test_an_unknown_size_is_refused(web: Loopback, tiny: Path) -> None:
    """No range and no Content-Length: a memory answer would be a guess."""
    web.files["/m.gguf"], web.ignores_ranges, web.hides_length = tiny, True, True
    with pytest.raises(ModelNotFound, match="does not say how large the file is"):
        find_model(f"{web.url}/m.gguf")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "the file is empty"), (b"<html>", "begins with '<htm'"), (b"GGUF", "incomplete")],
)
def test_what_is_no_model_is_damage(web: Loopback, content: bytes, words: str) -> None:
    """The same sentences as for a file here, with the address."""
    web.files["/m.gguf"] = content
    with pytest.raises(ModelDamaged, match=words) as caught:
        find_model(f"{web.url.replace('://', '://me:secret@')}/m.gguf")
    assert f"{web.url}/m.gguf" in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        "bytes 0-99/*",
        "bytes 5-99/100",
        "bytes 0-100/100",
        "bytes 9-0/100",
        "0-99/100",
        "bytes 0-99/1" + "0" * 15,
        "bytes 0-99/" + "9" * 5000,
        "",
    ],
)
def test_a_wrong_range_is_refused(web: Loopback, tiny: Path, answer: str) -> None:
    """The size must be known, and the bytes must be those that were asked for."""
    web.files["/m.gguf"], web.range_answer = tiny, answer
    with pytest.raises(
        ModelNotFound, match=f"answers a range request with '{re.escape(answer[:80])}'"
    ):
        find_model(f"{web.url}/m.gguf")


def test_a_slow_server_has_a_deadline(
    web: Loopback, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that drips is given up, however often it sends a little."""
    monkeypatch.setattr("hakaru.models.sources.web.PATIENCE_S", 0.2)
    web.files["/m.gguf"], web.piece_delay_s = large, 0.05
    with pytest.raises(Offline, match="too slow"):
        find_model(f"{web.url}/m.gguf")


def test_nobody_there_is_said_at_once() -> None:
    """A refused connection is no reason to wait."""
    with pytest.raises(Offline, match=r"127\.0\.0\.1:9/m\.gguf: cannot be reached"):
        find_model("http://127.0.0.1:9/m.gguf")


def test_offline_mode_sends_nothing(
    web: Loopback, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HF_HUB_OFFLINE holds for every address."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    web.files["/m.gguf"] = tiny
    with pytest.raises(Offline, match="HF_HUB_OFFLINE is set"):
        find_model(f"{web.url}/m.gguf")
    assert not web.asked


@pytest.mark.parametrize(
    "address", ["http://", "https://[", "http://host:port/m.gguf", "http:///m.gguf"]
)
def test_what_is_no_address_is_misuse(address: str) -> None:
    """Exit code 2."""
    with pytest.raises(Misuse, match="is no web address"):
        find_model(address)


def test_an_interruption_leaves_nothing_behind(
    web: Loopback, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of a header: no file, no folder, no answer; the next question begins
    anew.
    """
    web.files["/m.gguf"] = large
    read, calls = RemoteFile.read, iter(range(100))

    def interrupted(self: RemoteFile, n: int) -> bytes:
        if next(calls) == 20:
            raise KeyboardInterrupt
        return read(self, n)

    with monkeypatch.context() as patched:
        patched.setattr(RemoteFile, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            find_model(f"{web.url}/m.gguf")
    assert not list(cache_dir("sources").glob("*/*"))
    assert find_model(f"{web.url}/m.gguf").path.exists()


def test_a_split_model_is_fetched_in_all_its_parts(web: Loopback, tmp_path: Path) -> None:
    """Stand-ins with their true names in one folder, so that the engine finds them; any part may be
    named.
    """
    first = write_tiny_llama(tmp_path / "s.gguf", part_tensors=8)
    for part in tmp_path.glob("s-*.gguf"):
        web.files[f"/{part.name}"] = part
    found = find_model(f"{web.url}/s-00002-of-00003.gguf")
    assert found.path.name == "s-00001-of-00003.gguf"
    assert read_model(found.path).tensors == read_model(first).tensors
    del web.files["/s-00003-of-00003.gguf"]
    with pytest.raises(ModelNotFound, match="s-00003-of-00003"):
        find_model(f"{web.url}/s-00001-of-00003.gguf")


def test_a_proxy_is_named_where_it_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not answer, and one of a kind that nobody knows."""
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(Offline, match=r"through the proxy http://127.0.0.1:9 .*HTTP_PROXY"):
        find_model("http://host.invalid/m.gguf")
    monkeypatch.setenv("HTTP_PROXY", "pigeon://x")
    with pytest.raises(Misuse, match="the proxy of HTTP_PROXY cannot be used"):
        find_model("http://host.invalid/m.gguf")


def test_the_hub_s_refusals_name_the_model(
    hub: Loopback, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a person typed it, not the address of an interface; its short waits are kept."""
    for name in ("hf:org/none", "hf:org/none@v1"):
        with pytest.raises(ModelNotFound, match=f"^{name}: there is no such"):
            find_model(name)
    hub.add_repository("org/x", {"x-F16.gguf": tiny})
    slept: list[float] = []
    monkeypatch.setattr("hakaru.models.sources.web.time.sleep", slept.append)
    hub.statuses["/api/models/org/x"] = [(429, {"Retry-After": "3"}), (200, {})]
    file = f"/org/x/resolve/{COMMIT}/x-F16.gguf"
    hub.statuses[file] = [(403, {})]
    with pytest.raises(ModelNotFound, match=r"^hf:org/x:x-F16.gguf: access is refused"):
        find_model("hf:org/x")
    assert 3 in slept
    monkeypatch.setattr(constants, "ENDPOINT", "nonsense")
    with pytest.raises(Misuse, match="HF_ENDPOINT is 'nonsense'"):
        find_model("hf:org/y")


def test_a_file_that_was_cut_off_at_the_hub_is_not_to_be_fetched_again(
    hub: Loopback, tiny: Path
) -> None:
    """It would not grow."""
    hub.add_repository("org/x", {"x-F16.gguf": tiny.read_bytes()[:-1000]})
    with pytest.raises(ModelDamaged, match=r"^hf:org/x:x-F16.gguf: .*name another file"):
        find_model("hf:org/x")
