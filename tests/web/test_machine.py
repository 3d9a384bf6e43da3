"""The part "Machine" of the page: charts that are the plan, and plans of other settings."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from hakaru.engine.lab import Lab
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.context import settings_for
from hakaru.planning.fit import fit
from hakaru.planning.fit_at import fit_at
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_header_only
from hakaru.units import bytes_told
from hakaru.web.devices_chart import devices_chart
from page_server import FREE, PageServer, page_server

LARGE = tiny_shape(n_layer=32, n_embd=4096, n_ff=11008, n_head=32, n_ctx_train=8192)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    with page_server(tmp_path_factory.mktemp("page")) as server:
        yield server


def plan(server: PageServer, **query: str | int) -> httpx.Response:
    return httpx.get(f"{server.url}/machine/plan", params={"lang": "en", **query}, timeout=60)


def test_every_device_has_a_bar_and_a_column(tmp_path: Path) -> None:
    """The pieces of a bar are as long as the bytes of its column, and the line stands at what may
    be used.
    """
    model = write_header_only(tmp_path / "m.gguf", LARGE)
    session = Session(machine=probe_machine(), ledger=Ledger())
    placed = fit(model, hardware="2x L4", source="computed", n_ctx=4096, session=session).placement
    chart = devices_chart(placed)
    assert len(chart.bars) == len(placed.devices) >= 2
    assert chart.head == ["", *(share.device.name for share in placed.devices)]
    for i, (bar, share) in enumerate(zip(chart.bars, placed.devices, strict=True)):
        scale = float(bar.limit) / share.device.usable_bytes
        for piece, n_bytes in zip(bar.pieces, share.bar, strict=True):
            assert float(piece.share) == pytest.approx(n_bytes * scale, abs=0.001)
        assert chart.foot[0][1][i] == bytes_told(share.needed_bytes, "GiB")


def test_what_does_not_fit_reaches_beyond_the_line(server: PageServer) -> None:
    """The bar ends behind it, within the picture."""
    shares = server.loaded.fit.placement
    ram = replace(shares.ram, weights_bytes=2 * FREE)
    bar = devices_chart(replace(shares, ram=ram)).bars[0]
    end = float(bar.pieces[-1].begin) + float(bar.pieces[-1].share)
    assert float(bar.limit) < end <= 100


def test_the_plan_is_that_of_fit(server: PageServer) -> None:
    """To the digit, with the memory that was free before the model was loaded."""
    loaded = server.loaded
    settings = settings_for(
        loaded.fit.model, n_ctx=1024, n_parallel=2, type_k="q8_0", type_v="q8_0"
    )
    same = fit_at(
        loaded.fit.model,
        settings,
        machine=loaded.machine,
        ledger=None,
        engine=Lab(),
        source="computed",
    )
    answer = plan(server, n_ctx=1024, n_parallel=2, cache="q8_0")
    assert answer.status_code == 200
    assert bytes_told(same.total_bytes, "GiB") in answer.text
    assert f"of the {FREE / 2**30:.2f} GiB that may be used: it fits." in answer.text


def test_another_model_is_planned_at_a_type(server: PageServer) -> None:
    """One of the catalogue as `fit` plans it, with the command that fetches it; the served one as
    if it were quantized. Nothing is fetched.
    """
    answer = plan(server, model="qwen3-4b", preset="Q8_0", n_ctx=1024)
    same = fit(
        "qwen3-4b",
        preset="Q8_0",
        n_ctx=1024,
        source="computed",
        session=Session(machine=server.loaded.machine, ledger=Ledger()),
    )
    assert answer.status_code == 200
    assert bytes_told(same.total_bytes, "GiB") in answer.text
    assert "./hakaru pull qwen3-4b:Q8_0" in answer.text
    usual = plan(server, model="qwen3-4b", n_ctx=1024)
    assert "qwen3-4b, Q4_K_M." in usual.text
    smaller = plan(server, preset="Q2_K", model=server.loaded.supervisor.path.stem)
    assert "--type Q2_K" in smaller.text and "./hakaru quantize" in smaller.text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"model": "no-such-model-9"}, "is neither a file nor a model of the catalogue"),
        ({"model": "/etc/passwd"}, "is neither a file nor a model of the catalogue"),
        ({"preset": "Q9_Z"}, "Q9_Z"),
        ({"n_ctx": "0"}, "Context, tokens is 0, expected a whole number from 1"),
        ({"n_ctx": "-5"}, "expected a whole number"),
        ({"n_ctx": "9" * 400}, "expected a whole number"),
        ({"n_parallel": "x"}, "expected a whole number"),
        ({"cache": "<b>"}, "expected one of"),
    ],
)
def test_a_wrong_setting_is_a_400_in_words(
    server: PageServer, query: dict[str, str], words: str
) -> None:
    """That name the field of the form; what was typed is text."""
    answer = plan(server, **query)
    assert answer.status_code == 400 and words in answer.text and "<b>" not in answer.text


def test_pieces_are_for_the_server_s_own_page(server: PageServer) -> None:
    """Not for a page of another port of this machine, which a browser calls same-site, nor for
    other sites.
    """
    for path in ("/machine/plan", "/machine/now", "/privacy/now", "/models/rows"):
        for site in ("same-site", "cross-site"):
            answer = httpx.get(server.url + path, headers={"Sec-Fetch-Site": site})
            assert answer.status_code == 403, path
    own = httpx.get(f"{server.url}/machine/now", headers={"Sec-Fetch-Site": "same-origin"})
    assert own.status_code == 200 and "of the RAM, at most" in own.text
