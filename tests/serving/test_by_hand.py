"""Settings of the engine that a person makes by hand: all of them go through the plan."""

import base64
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from hakaru.cli import run
from hakaru.conformance.refusal_checks import red_square
from hakaru.engine.mode import Mode
from hakaru.engine.sampling import Sampling
from hakaru.engine.server_log import ServerLog
from hakaru.engine.speculation import Speculation
from hakaru.errors import EngineRefused, Misuse
from hakaru.evaluation.served import as_served, check_laid_out
from hakaru.hardware.machine import Device, Hardware
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.planning.fit_at import fit_at
from hakaru.planning.to_load import NothingLoaded
from hakaru.serving.by_hand import ByHand
from hakaru.serving.plan_to_load import plan_to_load
from hakaru.serving.serve import serve, to_serve
from hakaru.serving.serve_at import Serving
from hakaru.session import Session
from hakaru.testing import (
    tiny_hyperparameters,
    tiny_shape,
    write_tiny,
    write_tiny_llama,
    write_tiny_projector,
)

SAMPLING = Sampling(temp=0.25, top_k=7, top_p=0.5, min_p=0.1, repeat_penalty=1.1, seed=5)
MAKE = Callable[..., Session]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model, its eyes, and a draft that answers as it does."""
    folder = tmp_path_factory.mktemp("hand")
    return {
        "model": write_tiny_llama(folder / "deep.gguf", tiny_shape(n_layer=8), idle_from=2),
        "mmproj": write_tiny_projector(folder / "mmproj.gguf"),
        "draft": write_tiny_llama(folder / "small.gguf"),
    }


def test_options_reach_the_plan_and_the_engine(
    no_engine: None, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """As llama.cpp spells them. What is loaded beside the model has its memory in the plan."""
    options = [
        "-c", "512", "-t", "1", "-ngl", "0", "--temp", "0", "--top-k", "5", "--draft",
        str(files["draft"]), "--mmproj", str(files["mmproj"]),
    ]  # fmt: skip
    assert run(["serve", str(files["model"]), *options, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    request = json.loads(plan["command"][-1])
    assert (request["n_ctx"], request["n_threads"]) == (512, 1)
    assert request["sampling"] == {"temp": 0.0, "top_k": 5}
    assert request["projector"] == str(files["mmproj"])
    assert request["speculation"]["draft"] == str(files["draft"])
    beside = {extra["name"]: extra["bytes"] for extra in plan["fit"]["extras"]}
    assert list(beside) == ["mmproj.gguf", read_model(files["draft"]).name]
    assert all(size > 100_000 for size in beside.values())


@pytest.mark.parametrize("name", ["draft", "mmproj"])
def test_what_has_no_room_beside_the_model_is_refused(
    name: str, no_engine: None, session_with: MAKE, files: dict[str, Path]
) -> None:
    """Nobody who names a draft wants to be served without it."""
    room = session_with()
    by_hand = ByHand(draft=files[name]) if name == "draft" else ByHand(mmproj=files[name])
    what = to_serve(files["model"], None, room, by_hand=by_hand, n_ctx=512)
    alone = to_serve(files["model"], None, room, n_ctx=512)
    plans = [plan_to_load(*w, room)[0] for w in (what, alone)]
    needed, least = (plan.total_bytes - plan.growth.prompts_bytes for plan in plans)
    assert needed > least
    with pytest.raises(NothingLoaded):
        plan_to_load(*what, session_with(available_bytes=(needed + least) // 2))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-ngl", "7"], "--gpu-layers is 7, but the engine has no accelerator here"),
        (["-ngl", "-1"], "--gpu-layers is -1, expected a whole number from 0"),
        (["-t", "0"], "--threads is 0, expected a whole number from 1 to 512"),
        (["--temp", "-1"], "--temp is -1, expected a number from 0"),
        (["--temp", "nan"], "--temp is nan, expected a number from 0"),
        (["--top-p", "1.5"], "--top-p is 1.5, expected a number from 0 to 1"),
        (["--mmproj", "MODEL"], "no projector"),
        (["--draft", "OTHER"], "its vocabulary is not that of"),
        (["--draft", "nowhere.gguf"], "nowhere.gguf"),
    ],
)
def test_what_means_nothing_is_refused(
    options: list[str],
    said: str,
    no_engine: None,
    files: dict[str, Path],
    tmp_path: Path,
    session_with: MAKE,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the option, what was found and what was expected, before anything is loaded."""
    session = session_with()
    monkeypatch.setattr("hakaru.cli.commands.serve.terminal_session", lambda **_: session)
    other = write_tiny_llama(tmp_path / "other.gguf", tiny_shape(n_vocab=1024))
    paths = {"MODEL": str(files["model"]), "OTHER": str(other)}
    words = [paths.get(word, word) for word in options]
    assert run(["serve", str(files["model"]), "--dry-run", *words]) in {2, 4}
    assert said in capsys.readouterr().err


def test_an_embedding_model_takes_no_sampling(files: dict[str, Path], session_with: MAKE) -> None:
    """It writes nothing that could be sampled."""
    whole, settings, mode = to_serve(files["model"], None, session_with(), n_ctx=512)
    for by_hand in (ByHand(sampling=Sampling(temp=0)), ByHand(mmproj=files["mmproj"])):
        with pytest.raises(Misuse, match="for models that write text"):
            by_hand.applied(replace(mode, gives="embedding"), whole)
    assert by_hand.applied(mode, whole).projector == files["mmproj"]
    assert settings.n_ctx == 512


def on_cards(
    model: Model, *free_mib: int, session: Session, n_gpu_layers: int | None = None
) -> Any:
    """The plan of `model` on a machine with such cards."""
    cards = tuple(
        Device(name=f"card {i}", vendor="nvidia", total_bytes=mib * 2**20, free_bytes=mib * 2**20)
        for i, mib in enumerate(free_mib)
    )
    ram = Device(name="RAM", vendor="other", total_bytes=2**36, free_bytes=2**36)
    hardware = Hardware(accelerators=cards, ram=ram)
    return fit_at(
        model, ContextSettings(n_ctx=512), machine=replace(session.machine, devices=cards),
        ledger=None, engine=session.lab, hardware=hardware, source="computed",
        n_gpu_layers=n_gpu_layers,
    )  # fmt: skip


def test_named_layers_lie_on_the_accelerator_or_are_refused(
    files: dict[str, Path], session_with: MAKE
) -> None:
    """So many and no others; more than there are means all; what has no room does not fit, though
    fewer layers would.
    """
    model, session = read_model(files["model"]), session_with()
    for named, placed in ((0, 0), (3, 3), (9, 9), (99, 9)):
        plan = on_cards(model, 2000, session=session, n_gpu_layers=named)
        assert plan.placement.layout.n_gpu_layers == placed
        assert plan.verdict == "fits"
    whole = on_cards(model, 2000, session=session)
    narrow = whole.placement.shares[0].needed_bytes // 2**20 - 1
    assert on_cards(model, narrow, session=session).placement.layout.n_gpu_layers < 9
    assert on_cards(model, narrow, session=session, n_gpu_layers=99).verdict == "does_not_fit"


class Told:
    """A loaded server whose log has these lines."""

    def __init__(self, lines: list[str]) -> None:
        self.path, self.mode, self.log = Path("/m.gguf"), Mode(), ServerLog()
        self.log.lines.extend([*lines, "n_slots = 1, n_ctx_slot = 512"])
        self.log.wait_for_start()


def log_of(plan: Any, *, moved: int = 0) -> list[str]:
    """What an engine says that lies as planned, but for bytes `moved` to the first card."""
    lines = [f"offloaded {plan.placement.layout.n_gpu_layers}/9 layers to GPU"]
    for i, share in enumerate(plan.placement.shares):
        for kind, size in (("model", share.weights_bytes), ("KV", share.kv_cache_bytes)):
            mib = (size + (moved if i == 0 and kind == "model" else 0)) / 2**20
            lines.append(f"CUDA{i} {kind} buffer size = {mib:.2f} MiB")
    return lines


def test_where_the_layers_lie_is_read_back(tmp_path: Path, session_with: MAKE) -> None:
    """An engine that fell back to the processor, or cut elsewhere, is told and never served."""
    model = read_model(write_tiny_llama(tmp_path / "wide.gguf", tiny_shape(n_embd=1024, n_ff=2048)))
    plan = on_cards(model, 2000, 2000, session=session_with())
    check_laid_out(Told(log_of(plan)), plan)  # type: ignore[arg-type]
    for lines in (
        [],
        log_of(plan)[1:3],
        [log_of(plan)[0].replace("offloaded 3", "offloaded 1"), *log_of(plan)[1:]],
        log_of(plan, moved=16 * 2**20),
    ):
        with pytest.raises(EngineRefused, match="with other settings than planned"):
            check_laid_out(Told(lines), plan)  # type: ignore[arg-type]


def test_the_first_answer_is_the_warm_up_where_it_reads_every_weight(
    tmp_path: Path, files: dict[str, Path], session_with: MAKE
) -> None:
    """Of a dense model, on processors, with nothing beside it."""
    dense = read_model(files["model"])
    mixture = read_model(write_tiny(tmp_path / "moe.gguf", tiny_hyperparameters("qwen3moe")))
    here = partial(on_cards, session=session_with())
    drafted = Speculation(means="draft", n_max=4, draft=files["draft"])
    assert not as_served(here(dense), Mode()).warms_up
    for plan, mode in (
        (here(mixture), Mode()),
        (here(dense, 2000), Mode()),
        (here(dense), Mode(gives="embedding")),
        (here(dense), Mode(speculation=drafted)),
        (here(dense), Mode(projector=files["mmproj"])),
        (here(dense), Mode(rpc=("127.0.0.1:50052",))),
    ):
        assert as_served(plan, mode).warms_up


@pytest.fixture(scope="module")
def serving(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The model with everything that can be set by hand."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("s")
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "TMPDIR"):
            patch.setenv(name, str(folder))
        by_hand = ByHand(
            n_threads=1, sampling=SAMPLING, mmproj=files["mmproj"], draft=files["draft"]
        )
        with serve(files["model"], n_ctx=512, by_hand=by_hand) as serving:
            yield serving


@pytest.mark.engine
def test_a_model_sees_the_picture_of_a_request(serving: Serving) -> None:
    """Its tokens are counted in every interface. The engine took what was set: `check_promises`
    read it back when it was loaded, and here it is read once more.
    """
    told = httpx.get(serving.url.replace("/v1", "/props")).json()
    has = told["default_generation_settings"]["params"]
    assert {"top_k": 7, "seed": 5}.items() <= has.items()
    assert has["temperature"] == pytest.approx(0.25)
    text = {"type": "text", "text": "What is this?"}
    shown = {"type": "image_url", "image_url": {"url": red_square()}}

    def n_prompt(content: object) -> int:
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 1}
        answer = httpx.post(f"{serving.url}/chat/completions", json=body, timeout=60).json()
        return int(answer["usage"]["prompt_tokens"])

    assert n_prompt([text, shown]) > n_prompt([text])


@pytest.mark.engine
@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("chat/completions", [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/"}}]),
        ("chat/completions", [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]),
        ("messages", [{"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:9/"}}]),
        ("responses", [{"type": "input_image", "image_url": "http://127.0.0.1:9/"}]),
    ],
)
def test_the_engine_fetches_no_picture(serving: Serving, path: str, content: list[object]) -> None:
    """A request that names an address would have the server ask it, from inside this machine."""
    turns = [{"role": "user", "content": content}]
    body = {"input": turns} if path == "responses" else {"messages": turns, "max_tokens": 1}
    answer = httpx.post(f"{serving.url}/{path}", json=body, timeout=60)
    assert answer.status_code == 400
    assert "must stand in the request" in answer.json()["error"]["message"]


@pytest.mark.engine
def test_a_large_picture_is_no_long_text(serving: Serving) -> None:
    """A photograph of two megabytes is neither too long for the context, nor held up as so much
    text would be.
    """
    noise = "data:image/png;base64," + base64.b64encode(bytes(2_000_000)).decode()
    content = [{"type": "image_url", "image_url": {"url": noise}}]
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": 1}
    answer = httpx.post(f"{serving.url}/chat/completions", json=body, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] != "context_length_exceeded"
    assert "image" in answer.json()["error"]["message"].lower()
