"""`hakaru pull` against a hub on the loopback interface: what is fetched, where it lies, how it is
checked, and every way in which a hub or a disk errs.
"""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub import constants, scan_cache_dir, try_to_load_from_cache
from msgspec.structs import replace

from checkpoints import checkpoint_of, stored
from hakaru.errors import (
    DoesNotFit,
    Interrupted,
    MachineError,
    ModelDamaged,
    ModelNotFound,
    Offline,
)
from hakaru.models.sources.find import find_model
from hakaru.planning.fit import fit
from hakaru.planning.shares import MARGIN
from hakaru.pulling import transfer
from hakaru.pulling.pull import pull
from hakaru.session import Session
from hakaru.testing import (
    TINY_TOWER,
    tiny_shape,
    write_header_only,
    write_tiny_llama,
    write_tiny_projector,
)
from loopback import COMMIT, Loopback, serving
from projectors import vision

pytestmark = pytest.mark.usefixtures("no_engine")
Sessions = Callable[..., Session]
REPO = "org/x-GGUF"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A whole model, some hundred kilobytes."""
    return write_tiny_llama(tmp_path / "x-F16.gguf")


@pytest.fixture
def place(hub: Loopback, file: Path) -> Loopback:
    """A hub with one repository that has this file, and tells its hash."""
    hub.add_repository(
        REPO,
        {"x-F16.gguf": file, "README.md": b"x"},
        hashes=True,
        cardData={"license": "apache-2.0"},
    )
    return hub


def test_a_file_of_the_hub_lies_in_its_cache_afterwards(
    place: Loopback, file: Path, session_with: Sessions
) -> None:
    """Where huggingface_hub finds it, and hakaru by the same name, also without the network; a
    second pull fetches nothing.
    """
    pulled = pull(f"hf:{REPO}", session=session_with())
    assert pulled.path.read_bytes() == file.read_bytes()
    assert pulled.fetched and pulled.fetched.bytes == file.stat().st_size
    assert pulled.is_as_judged and pulled.download and pulled.download.licence == "apache-2.0"
    cache = pulled.path.parents[3]
    assert try_to_load_from_cache(REPO, "x-F16.gguf", cache_dir=cache) == str(pulled.path)
    scanned = scan_cache_dir(cache)
    assert not scanned.warnings and scanned.size_on_disk == file.stat().st_size
    assert find_model(f"hf:{REPO}").path == pulled.path
    again = pull(f"hf:{REPO}", session=session_with())
    assert again.fetched is None and again.path == pulled.path


def test_a_cut_goes_on_where_it_was(place: Loopback, file: Path, session_with: Sessions) -> None:
    """Of broken answers nothing is fetched twice: each request begins where the last one ended."""
    pull(f"hf:{REPO}", dry_run=True, session=session_with())  # the header is here then
    del place.asked[:]
    pulled = pull(f"hf:{REPO}", session=session_with(), hear=lambda _: setattr(place, "cuts", 2))
    assert pulled.path.read_bytes() == file.read_bytes()
    assert starts(place) == [0, 2**15, 2**16]
    assert pulled.fetched and pulled.fetched.bytes == file.stat().st_size


def test_ctrl_c_says_what_is_kept(place: Loopback, session_with: Sessions) -> None:
    """And how to go on."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    place.piece_delay_s = 0.001
    with pytest.raises(Interrupted, match=r"the [\d.]+ \w+ that came of x-F16\.gguf are kept"):
        pull(f"hf:{REPO}", session=replace(session_with(), watch=stop))


def starts(hub: Loopback) -> list[int]:
    """The bytes from which on the file was asked for."""
    spans = [headers["range"] for path, headers in hub.asked if "x-F16" in path]
    return [int(span.removeprefix("bytes=").partition("-")[0]) for span in spans]


KILLED = """
import sys
from hakaru.cli import run
sys.exit(run(["pull", "hf:org/x-GGUF", "--json"]))
"""


@pytest.mark.alone
def test_killed_five_times_it_ends_with_the_right_file(
    place: Loopback, file: Path, tmp_path: Path
) -> None:
    """By kill -9 and by Ctrl-C at random moments; every byte is fetched about once."""
    place.piece_delay_s = 0.03
    moments, size = random.Random(7), file.stat().st_size
    environment = os.environ | {"HF_ENDPOINT": place.url}
    for i in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            _wait_for_bytes(process, place, moments.randrange(2**16, 2**18))
            process.send_signal(signal.SIGINT if i % 3 == 0 else signal.SIGKILL)
    place.piece_delay_s = 0
    done = subprocess.run(
        [sys.executable, "-c", KILLED], env=environment, check=True, capture_output=True, text=True
    )
    pulled = json.loads(done.stdout)
    assert Path(pulled["path"]).read_bytes() == file.read_bytes()
    assert 0 < pulled["fetched"]["bytes"] < size  # the rest came before
    assert not [*Path(pulled["path"]).parents[2].rglob("*.incomplete*")]


def _wait_for_bytes(process: subprocess.Popen[bytes], hub: Loopback, n: int) -> None:
    """Wait until the process got `n` more bytes of the file, or ended."""
    before, end = len(starts(hub)), time.monotonic() + 60
    while process.poll() is None and len(starts(hub)) == before and time.monotonic() < end:
        time.sleep(0.01)
    sent = hub.sent_bytes
    while process.poll() is None and hub.sent_bytes < sent + n and time.monotonic() < end:
        time.sleep(0.005)


def test_two_pulls_of_one_file_fetch_it_once(place: Loopback, session_with: Sessions) -> None:
    """The second one says that it waits, and finds the file."""
    told: list[str] = []
    pull(f"hf:{REPO}", dry_run=True, session=session_with())
    del place.asked[:]
    place.piece_delay_s = 0.1
    environment = os.environ | {"HF_ENDPOINT": place.url}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], env=environment, stdout=subprocess.DEVNULL
    ) as first:
        while not starts(place) and first.poll() is None:
            time.sleep(0.005)
        second = pull(f"hf:{REPO}", session=session_with(told=told))
    assert (first.returncode, second.fetched, starts(place)) == (0, None, [0])
    assert told == ["another hakaru fetches x-F16.gguf at this moment; waiting for it"]


@pytest.mark.parametrize(
    ("lies", "words"),
    [
        ({"lfs": {"sha256": "0" * 64}}, "has the SHA-256 .* the Hub announces 0000"),
        ({"size": 17}, "sends 2,900,384 bytes, but 17 were announced"),
        ({"size": 2**40}, "but 1,099,511,627,776 were announced"),
    ],
)
def test_a_hub_that_lies_is_caught(
    hub: Loopback,
    file: Path,
    session_with: Sessions,
    tmp_path: Path,
    lies: dict[str, object],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """About the hash or the size; nothing of the file stays, and nothing has its name."""
    monkeypatch.setattr("hakaru.pulling.download.Download.free_bytes", 2**50)
    hub.add_repository(REPO, {"x-F16.gguf": file}, hashes=True, lies={"x-F16.gguf": lies})
    with pytest.raises(ModelDamaged, match=words):
        pull(f"hf:{REPO}", session=session_with())
    blobs = [path for path in (tmp_path / "hf" / "hub").rglob("*") if path.is_file()]
    assert not [path for path in blobs if path.stat().st_size > 1000]


def test_a_damaged_file_of_the_cache_is_told(place: Loopback, session_with: Sessions) -> None:
    """A second pull reads what lies there, and leaves it to its owner to remove it."""
    path = pull(f"hf:{REPO}", session=session_with()).path
    with path.resolve().open("rb+") as kept:
        kept.seek(10**6)
        kept.write(b"damage")
    with pytest.raises(ModelDamaged, match="is damaged: it has the SHA-256"):
        pull(f"hf:{REPO}", session=session_with())
    assert path.exists()


def test_a_disk_that_fills_keeps_what_came(
    place: Loopback, file: Path, session_with: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next pull goes on from there."""
    real = transfer.body

    def full(response: httpx.Response, n: int | None) -> Iterator[bytes]:
        for piece in real(response, 2**16 if n else n):
            yield piece
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "body", full)
    with pytest.raises(MachineError, match=r"is full. The [\d.]+ \w+ that came are kept; free 2"):
        pull(f"hf:{REPO}", session=session_with())
    monkeypatch.setattr(transfer, "body", real)
    del place.asked[:]
    assert pull(f"hf:{REPO}", session=session_with()).path.read_bytes() == file.read_bytes()
    assert starts(place)[-1] > 0


def test_a_disk_that_is_too_small_is_told_before(
    place: Loopback, session_with: Sessions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With both numbers and a way on; no byte of the weights comes."""
    monkeypatch.setattr("hakaru.pulling.download.Download.free_bytes", 2**26 + 10**6)
    words = "2.8 MiB are needed there, and 976.6 KiB are free; nothing was fetched. Free 1.8 MiB"
    with pytest.raises(MachineError, match=words):
        pull(f"hf:{REPO}", session=session_with())
    assert not [*(tmp_path / "hf").rglob("*.incomplete")]


def test_what_does_not_fit_is_fetched_by_force_alone(
    place: Loopback, session_with: Sessions
) -> None:
    """A person may fetch it for another machine."""
    session = session_with(available_bytes=2**20)
    with pytest.raises(DoesNotFit, match=r"nothing was fetched.*with `force`"):
        pull(f"hf:{REPO}:F16", session=session)
    assert pull(f"hf:{REPO}:F16", session=session, force=True).path.exists()


@pytest.mark.parametrize(
    ("status", "headers", "error", "words"),
    [
        (401, {}, ModelNotFound, "access is refused"),
        (403, {"X-Error-Code": "GatedRepo"}, ModelNotFound, r"form at http://\S+/org/x-GGUF , "),
        (404, {}, ModelNotFound, "there is no such file"),
        (429, {"Retry-After": "9999"}, Offline, "asks to wait 9999 s"),
        (500, {}, Offline, "failed 5 times .*HTTP 500.* are kept: the same command goes on"),
    ],
)
def test_a_refusal_is_one_sentence(
    place: Loopback,
    session_with: Sessions,
    status: int,
    headers: dict[str, str],
    error: type[Exception],
    words: str,
) -> None:
    """Of the file, after its header was read."""
    pull(f"hf:{REPO}", dry_run=True, session=session_with())
    place.statuses[f"/{REPO}/resolve/{COMMIT}/x-F16.gguf"] = [(status, headers)]
    with pytest.raises(error, match=words):
        pull(f"hf:{REPO}", session=session_with())


def test_a_server_that_asks_to_wait_is_waited_for(
    place: Loopback, session_with: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as it asks, and the person hears why nothing happens."""
    told: list[str] = []
    pull(f"hf:{REPO}", dry_run=True, session=session_with())
    slept: list[float] = []
    monkeypatch.setattr("hakaru.pulling.transfer.time.sleep", slept.append)
    place.statuses[f"/{REPO}/resolve/{COMMIT}/x-F16.gguf"] = [
        (429, {"Retry-After": "7"}),
        (200, {}),
    ]
    assert pull(f"hf:{REPO}", session=session_with(told=told)).fetched
    assert [s for s in slept if s] == [7] and "The server asks to wait 7 s." in told


def test_offline_what_is_here_is_enough(
    place: Loopback, session_with: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is not here is told."""
    path = pull(f"hf:{REPO}", session=session_with()).path
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pull(f"hf:{REPO}", session=session_with()).path == path
    with pytest.raises(Offline, match="HF_HUB_OFFLINE is set"):
        pull("hf:org/other", session=session_with())


def test_a_token_goes_to_the_hub_alone(
    place: Loopback, web: Loopback, session_with: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub sends the weights from another host, which must not see it."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving() as network:
        path = f"/{REPO}/resolve/{COMMIT}/x-F16.gguf"
        network.files["/signed"] = place.files[path]
        place.redirects[path] = f"{network.url}/signed"
        pull(f"hf:{REPO}", session=session_with())
        assert {headers.get("authorization") for _, headers in place.asked} == {"Bearer hf_secret"}
        assert {headers.get("authorization") for _, headers in network.asked} == {None}


def test_split_files_come_whole(hub: Loopback, tmp_path: Path, session_with: Sessions) -> None:
    """Whichever part is named; the model is read from all of them."""
    write_tiny_llama(tmp_path / "x-F16.gguf", part_tensors=8)
    parts: dict[str, Path | bytes] = {p.name: p for p in sorted(tmp_path.glob("x-F16-0*.gguf"))}
    hub.add_repository(REPO, parts, hashes=True)
    pulled = pull(f"hf:{REPO}:F16", session=session_with())
    assert pulled.model and len(pulled.model.parts) == len(parts) == 3
    assert pulled.is_as_judged


def test_the_projector_comes_with_vision(
    place: Loopback, file: Path, tmp_path: Path, session_with: Sessions
) -> None:
    """And its memory is part of the verdict; a repository without one is told."""
    with pytest.raises(ModelNotFound, match="has no projector"):
        pull(f"hf:{REPO}", vision=True, session=session_with())
    eyes = vision(
        tmp_path / "mmproj-F16.gguf",
        "mlp",
        n_layer=2,
        n_embd=64,
        n_ff=128,
        n_head=4,
        image=32,
        patch=16,
    )
    place.add_repository("org/see", {"x-F16.gguf": file, "mmproj-F16.gguf": eyes}, hashes=True)
    pulled = pull("hf:org/see", vision=True, session=session_with())
    assert pulled.download and pulled.download.fit and len(pulled.download.fit.extras) == 1
    assert (pulled.path.parent / "mmproj-F16.gguf").read_bytes() == eyes.read_bytes()


def test_a_type_is_taken_that_fits_with_its_projector(
    place: Loopback, tmp_path: Path, session_with: Sessions
) -> None:
    """On a machine that holds the larger type alone, the smaller one is taken with its eyes; and
    what is made here leaves them their room.
    """
    shape = tiny_shape(n_embd=1024, n_ff=4096, n_layer=4)
    large = write_header_only(tmp_path / "x-Q8_0.gguf", shape)
    small = write_tiny_llama(tmp_path / "x-Q4_K_M.gguf")
    tower = replace(TINY_TOWER, n_layer=12, n_embd=512, n_ff=2048)
    eyes = write_tiny_projector(tmp_path / "eyes.gguf", tower=tower, n_embd=1024)
    files: dict[str, Path | bytes] = {large.name: large, small.name: small, "mmproj-F16.gguf": eyes}
    place.add_repository("org/both", files)
    alone = session_with()
    needed = fit(str(large), session=alone).placement.total_bytes
    session = session_with(int(needed / (1 - MARGIN)) + 2**24)
    kinds = [
        pull("hf:org/both", vision=vision, dry_run=True, session=session)
        for vision in (False, True)
    ]
    types = [p.download.taken.offer.type for p in kinds if p.download and p.download.taken]
    assert types == ["Q8_0", "Q4_K_M"]


def test_a_type_that_is_not_there_names_the_nearest(
    place: Loopback, session_with: Sessions
) -> None:
    """By their bits, with their sizes."""
    place.add_repository("org/y", {f"y-{t}.gguf": b"GGUF" for t in ("Q8_0", "Q3_K_M", "Q4_K_M")})
    words = r"nothing there is named 'Q4_K_X'; the nearest are Q4_K_M \(4 B\), Q3_K_M"
    with pytest.raises(ModelNotFound, match=words):
        pull("hf:org/y:Q4_K_X", session=session_with())


def test_a_checkpoint_comes_with_its_small_files(hub: Loopback, session_with: Sessions) -> None:
    """The original weights, from which a GGUF file is made; the same weights in another form stay
    where they are.
    """
    config, tensors = checkpoint_of(tiny_shape())
    files: dict[str, Path | bytes] = {
        "config.json": config,
        "model.safetensors": stored(tensors),
        "tokenizer.json": b"{}",
    }
    hub.add_repository("org/base", {**files, "consolidated.safetensors": bytes(51 * 2**20)})
    pulled = pull("hf:org/base", session=session_with())
    assert {p.name for p in pulled.path.parent.iterdir()} == set(files)
    assert find_model("hf:org/base").stored


def test_a_web_address_goes_on_while_the_file_is_the_same(
    web: Loopback, file: Path, session_with: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its ETag; a file that changed meanwhile begins anew."""
    web.files["/m/x-F16.gguf"], web.etags["/m/x-F16.gguf"] = file, ['"one"']
    address = f"{web.url}/m/x-F16.gguf"
    for state, first in (('"one"', 2**15), ('"two"', 0)):
        with monkeypatch.context() as once:
            once.setattr(transfer, "TRIES", 1)
            web.cuts = 0
            pull(address, dry_run=True, session=session_with())
            web.cuts = 1
            with pytest.raises(Offline, match="are kept: the same command goes on there"):
                pull(address, session=session_with())
        web.etags["/m/x-F16.gguf"] = [state]
        before = web.sent_bytes
        pulled = pull(address, session=session_with())
        assert pulled.path.read_bytes() == file.read_bytes()
        assert web.sent_bytes - before == file.stat().st_size - first
        assert find_model(address).path == pulled.path
        pulled.path.unlink()
