"""The two ways to a file that fits, beside each other: what each costs, and which is taken."""

from collections.abc import Callable
from pathlib import Path

import pytest

from checkpoints import checkpoint_of, stored
from hakaru.errors import DoesNotFit
from hakaru.formats.header_file import write_header_only
from hakaru.ledger import Ledger
from hakaru.models.model import read_model
from hakaru.planning.fit import fit
from hakaru.pulling.pull import pull
from hakaru.pulling.speed_seen import last_speed, remember_speed, speed_from
from hakaru.pulling.ways import Way, why
from hakaru.quantization import how_long
from hakaru.session import Session
from hakaru.testing import tiny_hyperparameters, tiny_shape, write_tiny_llama
from loopback import Loopback

pytestmark = pytest.mark.usefixtures("no_engine")
Sessions = Callable[..., Session]
GIB = 2**30
LARGE = tiny_shape(n_ff=4096, n_embd=512)


def test_what_a_way_costs() -> None:
    """Time and disk of what is made here hold both steps; what is not known stays so."""
    make = Way(
        kind="make", label="F16", bytes=16 * GIB, missing_bytes=12 * GIB, bytes_per_s=GIB / 60,
        made_bytes=5 * GIB, quantizing_s=600,
    )  # fmt: skip
    assert (make.fetching_s, make.seconds, make.disk_bytes) == (720, 1320, 17 * GIB)
    ready = Way(kind="ready", label="Q4_K_M", bytes=4 * GIB, missing_bytes=4 * GIB)
    assert (ready.fetching_s, ready.seconds, ready.disk_bytes) == (None, None, 4 * GIB)
    assert why([ready, make]).startswith("ready-made: 12.0 GiB less to fetch")
    assert why([make, ready]) == "made here, since no ready-made file fits"


@pytest.fixture
def source(hub: Loopback, tmp_path: Path) -> Path:
    """A source of 30 MB, alone in one repository, and beside a file of four bits in another."""
    file = write_tiny_llama(tmp_path / "x-F16.gguf", LARGE)
    hub.add_repository("org/alone", {"x-F16.gguf": file})
    rows = [(t.name, t.shape) for t in read_model(file).tensors]
    types = {name: "Q4_0" if len(dims) > 1 else "F32" for name, dims in rows}
    values = tiny_hyperparameters(
        "llama", embedding_length=512, feed_forward_length=4096, attention__key_length=128,
        attention__value_length=128, rope__dimension_count=128,
    )  # fmt: skip
    small = write_header_only(tmp_path / "x-Q4_0.gguf", values, rows, types)
    hub.add_repository("org/both", {"x-F16.gguf": file, "x-Q4_0.gguf": small})
    return file


def test_a_repository_with_a_large_source_alone(
    hub: Loopback, source: Path, session_with: Sessions
) -> None:
    """Both ways stand there, with the times that were seen here before: made here is taken."""
    n_bytes, size = fit(source, session=session_with()).total_bytes, source.stat().st_size
    session = session_with(available_bytes=n_bytes - 8_000_000)
    remember_speed(session.ledger, hub.url, 1e6)
    with how_long.clocked(session, fit(source, session=session).model, "standard", "one"):
        pass
    download = pull("hf:org/alone", dry_run=True, session=session).download
    assert download and download.makes
    make, ready = download.ways
    assert (make.kind, make.label, ready.kind, ready.fits) == ("make", "F16", "ready", False)
    assert make.fetching_s == size / 1e6 and make.quantizing_s and make.seconds
    assert make.made_bytes and size / 8 < make.made_bytes < size
    assert make.disk_bytes == size + make.made_bytes
    assert download.made_bytes == make.made_bytes


def test_a_file_that_fits_is_taken_before_one_that_would_be_made(
    source: Path, session_with: Sessions
) -> None:
    """The other way is told; where the source itself fits, there is no other way."""
    n_bytes = fit(source, session=session_with()).total_bytes
    tight = session_with(available_bytes=n_bytes - 8_000_000)
    download = pull("hf:org/both", dry_run=True, session=tight).download
    assert download and [way.kind for way in download.ways] == ["ready", "make"]
    assert download.ways[1].quantizing_s is None
    download = pull("hf:org/both", dry_run=True, session=session_with()).download
    assert download and download.ways == ()


def test_what_cannot_be_made_is_not_fetched(source: Path, session_with: Sessions) -> None:
    """Where `quantize` would find no budget, no byte of the source comes."""
    n_bytes = fit(source, session=session_with()).total_bytes - source.stat().st_size
    with pytest.raises(DoesNotFit, match="nothing was fetched"):
        pull("hf:org/alone", session=session_with(available_bytes=n_bytes + 2**20))


def test_original_weights_are_judged_as_what_is_made_of_them(
    hub: Loopback, session_with: Sessions
) -> None:
    """The most exact type that fits; where not even two bits do, nothing is fetched."""
    config, tensors = checkpoint_of(LARGE)
    files: dict[str, Path | bytes] = {"config.json": config, "model.safetensors": stored(tensors)}
    hub.add_repository("org/base", {**files, "tokenizer.json": b"{}"})
    download = pull("hf:org/base", dry_run=True, session=session_with()).download
    assert download and download.fit and download.becomes == "Q8_0"
    rest = download.fit.total_bytes - download.fit.model.weights_bytes
    for spare, type_ in ((18_000_000, "Q6_K"), (14_300_000, "Q4_K_M")):
        session = session_with(available_bytes=rest + spare)
        judged = pull("hf:org/base", dry_run=True, session=session).download
        assert judged and judged.fit and (judged.becomes, judged.fit.verdict) == (type_, "fits")
    with pytest.raises(DoesNotFit, match="nothing was fetched"):
        pull("hf:org/base", session=session_with(available_bytes=rest))


def test_a_limit_of_memory_holds_for_a_pull(source: Path, session_with: Sessions) -> None:
    """As for `fit`: what would not fit into it is not fetched."""
    with pytest.raises(DoesNotFit, match="nothing was fetched"):
        pull("hf:org/both:F16", memory="100MiB", session=session_with())


def test_the_pace_of_quantizing_is_that_of_the_nearest_model(
    tiny: Path, session_with: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all interruptions, in proportion to the parameters; of one model the longest counts,
    since the next budget finds what was measured before.
    """
    session, clock = session_with(), iter([0.0, 5.0, 100.0, 107.0, 200.0, 201.0, 300.0, 399.0])
    model = fit(tiny, session=session).model
    monkeypatch.setattr(how_long, "monotonic", lambda: next(clock))
    machine = session.machine.fingerprint
    with pytest.raises(KeyboardInterrupt), how_long.clocked(session, model, "standard", "one"):
        raise KeyboardInterrupt
    assert how_long.seconds_for(10, session.ledger, machine) is None
    for order in ("one", "two", "one"):  # the last is only a look at what is there
        with how_long.clocked(session, model, "standard", order):
            pass
    seconds = how_long.seconds_for(model.n_params * 3, session.ledger, machine)
    assert seconds == pytest.approx(3 * 12)
    assert how_long.seconds_for(10, session.ledger, "another machine") is None
    assert how_long.seconds_for(10, session.ledger, machine, "thorough") is None


def test_the_speed_of_a_download_is_kept_by_its_server(tmp_path: Path) -> None:
    """Without the name of a person in the address; the last one is that of the latest."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert last_speed(ledger) is None
    remember_speed(ledger, "https://me@one.example/x", 5.0)
    remember_speed(ledger, "https://two.example/y", 7.0)
    assert (speed_from(ledger, "https://one.example/z"), last_speed(ledger)) == (5.0, 7.0)
