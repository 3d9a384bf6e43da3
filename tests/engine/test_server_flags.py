"""One request starts every server: the wheel's in a child of ours, and a `llama-server` by its
options.
"""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from hakaru.engine import server_child
from hakaru.engine.builds import OVERRIDE
from hakaru.engine.environment import engine_environment
from hakaru.engine.mode import ChatTemplate, Mode
from hakaru.engine.sampling import Sampling
from hakaru.engine.server import EngineServer, server_command, server_request
from hakaru.engine.server_flags import every_flag, server_flags
from hakaru.engine.speculation import Means, Speculation
from hakaru.engine.spellings import N_MATCH
from hakaru.errors import EngineDied, EngineRefused, Misuse
from hakaru.memory.settings import ContextSettings

SETTINGS = ContextSettings(n_ctx=512, n_ubatch=128, n_parallel=2, type_k="q8_0", type_v="q8_0")
OTHERS = {
    "path": "/other.gguf", "socket": "/other.sock", "alias": "other", "n_threads": 99,
    "gives": "embedding", "n_gpu_layers": 3, "tensor_split": (2, 1), "n_cpu_moe": 2,
    "n_batch": 4096, "speculation": {"means": "mtp", "n_max": 1, "draft": None},
    "projector": "/other-mmproj.gguf", "sampling": {"top_k": 3}, "warms_up": True,
}  # fmt: skip
OTHER_SETTINGS: dict[str, Any] = {
    "n_ctx": 1024, "n_ubatch": 256, "n_parallel": 3, "type_k": "f16", "type_v": "f16",
    "kv_unified": True, "n_checkpoints": 7, "cache_ram_mib": 5,
}  # fmt: skip
DRAFTED = Speculation(means="draft", n_max=6, draft=Path("/models/d.gguf"))
PLACED = Mode(
    n_gpu_layers=7,
    tensor_split=(3, 4),
    n_cpu_moe=1,
    speculation=DRAFTED,
    projector=Path("/models/mmproj.gguf"),
    sampling=Sampling(temp=0.5),
    warms_up=False,
)


def request(mode: Mode = Mode()) -> dict[str, Any]:  # noqa: B008 -- a frozen value
    return server_request(Path("/models/m.gguf"), SETTINGS, socket=Path("/run/x.sock"), mode=mode)


def test_the_options_say_what_the_request_says() -> None:
    """Written out once, by hand."""
    assert server_flags(request() | {"n_threads": 4}, SETTINGS) == [
        "--model", "/models/m.gguf", "--alias", "m", "--host", "/run/x.sock", "--batch-size",
        "2048", "--threads", "4", "--threads-batch", "4",
        "--slot-prompt-similarity", "0.5", "--fit", "off", "--log-verbosity", "4",
        "-c", "512", "-ub", "128", "-np", "2", "-ctk", "q8_0", "-ctv",
        "q8_0", "--ctx-checkpoints", "1", "--cache-ram", "0", "--metrics", "--no-ui",
    ]  # fmt: skip


def test_placement_purpose_and_template_are_options_too() -> None:
    """A text's template goes by its file; a name goes without Jinja, which would take it for a
    template.
    """
    placed = server_flags(request(Mode(n_gpu_layers=7, tensor_split=(3, 4), n_cpu_moe=2)), SETTINGS)
    assert " --n-gpu-layers 7 --tensor-split 3,4 --n-cpu-moe 2 " in f" {' '.join(placed)} "
    reranker = " ".join(server_flags(request(Mode(gives="reranker")), SETTINGS))
    assert "--batch-size 128 " in reranker
    assert "--embedding" in reranker
    assert "--pooling rank" in reranker
    named = " ".join(server_flags(request(Mode(template=ChatTemplate(name="chatml"))), SETTINGS))
    assert "--chat-template chatml" in named
    assert "--no-jinja" in named
    text = " ".join(
        server_flags(request(Mode(template=ChatTemplate(name="x", text="{{ a }}"))), SETTINGS)
    )
    assert "--chat-template-file /run/template.jinja" in text
    assert "--no-jinja" not in text


def test_what_sees_and_how_tokens_are_chosen_are_options() -> None:
    """By llama-server's own names; only what was named."""
    mode = Mode(
        projector=Path("/m.gguf"),
        sampling=Sampling(temp=0, top_k=5, top_p=0.5, min_p=0.1, repeat_penalty=1.1, seed=3),
        n_threads=3,
    )
    flags = " ".join(server_flags(request(mode), SETTINGS))
    assert "--threads 3 --threads-batch 3" in flags
    assert (
        "--mmproj /m.gguf --temp 0 --top-k 5 --top-p 0.5 --min-p 0.1 --repeat-penalty 1.1 --seed 3"
        in flags
    )
    bare = " ".join(server_flags(request(), SETTINGS))
    assert "--mmproj" not in bare and "--temp" not in bare and "--seed" not in bare


def test_the_child_imports_next_to_nothing() -> None:
    """Every start of an engine waits for it: no library, and of ours only what it calls."""
    code = "import sys, hakaru.engine.server_child; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    ours = {name.rpartition(".")[2] for name in loaded if name.startswith("hakaru.")}
    assert ours == {"engine", "core_dump", "orphan", "server_child", "spellings"}
    assert not loaded & {"msgspec", "inspect", "pathlib", "uuid", "urllib.parse"}


def test_what_guesses_ahead_is_an_option() -> None:
    """A draft by its file, the model's own layers, and the text so far."""

    def flags(means: Means, draft: Path | None = None) -> str:
        way = Speculation(means=means, n_max=6, draft=draft)
        return " ".join(server_flags(request(Mode(speculation=way)), SETTINGS))

    drafted = flags("draft", Path("/models/d.gguf"))
    assert "--spec-type draft-simple --spec-draft-n-max 6" in drafted
    assert "--spec-draft-model /models/d.gguf" in drafted
    assert "--spec-type draft-mtp --spec-draft-n-max 6" in flags("mtp")
    assert (
        f"--spec-type ngram-simple --spec-ngram-simple-size-n {N_MATCH} "
        "--spec-ngram-simple-size-m 6" in flags("ngram")
    )
    assert "--spec" not in " ".join(server_flags(request(), SETTINGS))


@pytest.mark.parametrize("key", sorted(request(PLACED)))
def test_nothing_of_a_request_is_lost(key: str) -> None:
    """A field that is added to the request must be known to both kinds of servers: to the options,
    and to our child.
    """
    before = server_flags(request(PLACED), SETTINGS)
    if key in OTHER_SETTINGS:
        assert (
            server_flags(request(PLACED), replace(SETTINGS, **{key: OTHER_SETTINGS[key]})) != before
        )
    else:
        assert server_flags(request(PLACED) | {key: OTHERS[key]}, SETTINGS) != before
    source = Path(server_child.__file__).read_text()
    assert key in {
        node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)
    }


def test_a_program_s_own_settings_do_not_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`llama-server` reads LLAMA_ARG_CTX_SIZE and the like; what is measured is what the command
    line says.
    """
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "64")
    assert not [name for name in engine_environment() if name.startswith("LLAMA_")]


def program(folder: Path, script: str) -> Path:
    """A program in the place of a `llama-server`."""
    path = folder / "llama-server"
    path.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_program_that_ends_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Path
) -> None:
    """As for the wheel's server."""
    monkeypatch.setenv(
        OVERRIDE, str(program(tmp_path, "print('error: no such thing'); sys.exit(3)"))
    )
    with pytest.raises(EngineDied, match=r"exit 3.*no such thing"):
        EngineServer(tiny, SETTINGS).__enter__()


def test_a_program_s_end_is_its_parent_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Killed, the parent leaves no server behind."""
    own = program(
        tmp_path, f"import time; open({str(tmp_path / 'started')!r}, 'w').close(); time.sleep(60)"
    )
    monkeypatch.setenv(OVERRIDE, str(own))
    command = server_command(Path("/m.gguf"), SETTINGS, socket=Path("/x.sock"))
    code = (
        "import subprocess, sys, json; child = subprocess.Popen(json.loads(sys.argv[1]), "
        "stdin=subprocess.PIPE);print(child.pid, flush=True); child.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(command)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    with parent, parent.stdout:
        pid = int(parent.stdout.readline())
        wait_for(lambda: (tmp_path / "started").exists())
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not is_running(pid))


def wait_for(condition: Any, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return "\tZ" not in next(
            line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "State" in line
        )
    except FileNotFoundError:
        return False


@pytest.fixture
def native_server(native_engine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The native build serves."""
    monkeypatch.setenv(OVERRIDE, str(native_engine))
    return native_engine / "llama-server"


def answers(client: httpx.Client) -> dict[str, Any]:
    """What a server says of its settings, and what it writes at temperature 0."""
    props = client.get("/props").json()
    said = client.post(
        "/completion", json={"prompt": "The sea is", "n_predict": 8, "temperature": 0, "seed": 1}
    ).json()
    kept = (
        "default_generation_settings",
        "total_slots",
        "chat_template",
        "modalities",
        "model_path",
        "model_alias",
    )
    return {
        **{name: props.get(name) for name in kept},
        "tokens": said["tokens_predicted"],
        "n_prompt": said["tokens_evaluated"],
    }


@pytest.mark.engine
@pytest.mark.parametrize(
    "mode",
    [
        Mode(),
        Mode(template=ChatTemplate(name="chatml")),
        Mode(template=ChatTemplate(name="t", text="{{ messages[0].content }}")),
    ],
)
def test_both_servers_are_set_up_alike(
    native_server: Path, monkeypatch: pytest.MonkeyPatch, embedded: Path, mode: Mode
) -> None:
    """All that a server tells of its settings is the same, and so are the buffers; only the build
    differs.
    """
    seen = []
    for engine in (str(native_server.parent), "wheel"):
        monkeypatch.setenv(OVERRIDE, engine)
        with EngineServer(embedded, SETTINGS, mode) as server, server.client() as client:
            footprint = server.log.footprint()
            seen.append(
                (
                    answers(client),
                    server.log.context_per_slot(),
                    footprint.kv_cache_bytes,
                    footprint.compute_bytes,
                )
            )
    assert seen[0] == seen[1]


@pytest.mark.engine
def test_a_native_server_leaves_when_it_is_told(native_server: Path, tiny: Path) -> None:
    """In order, and its socket's folder with it."""
    with EngineServer(tiny, ContextSettings(n_ctx=256)) as server:
        pid, folder = server.process.pid, server.socket.parent
        assert os.readlink(f"/proc/{pid}/exe") == str(native_server.resolve())
        assert (server.peak_rss_bytes() or 0) > 2**20
    assert not is_running(pid)
    assert not folder.exists()


@pytest.mark.engine
def test_a_template_that_cannot_be_used_is_told(native_server: Path, tiny: Path) -> None:
    """In the words that the wheel's server gives, too."""
    with pytest.raises(Misuse, match="`chat_template` broken: cannot be used"):
        EngineServer(
            tiny, SETTINGS, Mode(template=ChatTemplate(name="broken", text="{% if %}"))
        ).__enter__()


@pytest.mark.engine
def test_the_native_server_has_every_option(native_server: Path) -> None:
    """A program is held against the options before it is used."""
    from hakaru.engine.binary import check_options

    check_options(native_server, every_flag())
    with pytest.raises(EngineRefused, match="does not know --quick"):
        check_options(native_server, {"--quick"})
