"""The verb `fit`: the same answer for whoever types the command and whoever imports hakaru."""

import json
import os
import re
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from hakaru.cli import run
from hakaru.engine.lab import Lab
from hakaru.errors import DoesNotFit, EngineDied, Misuse
from hakaru.hardware.machine import Device, Machine, Memory, SilentDevice
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.context import Context, settings_for
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.models.sources.find import find_model, whole_model
from hakaru.planning.dry_run import RememberedDryRuns
from hakaru.planning.fit import fit
from hakaru.planning.to_load import NothingLoaded, fit_to_load
from hakaru.session import Session
from hakaru.testing import tiny_hyperparameters, write_tiny

GIB = 2**30


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A whole model of two layers."""
    return write_tiny(tmp_path / "tiny.gguf", tiny_hyperparameters("llama"))


def with_memory(machine: Machine, available_bytes: int) -> Machine:
    """The machine with so much RAM that is free, and without accelerators."""
    memory = Memory(total_bytes=2**40, available_bytes=available_bytes)
    return replace(machine, memory=memory, devices=())


def session(tmp_path: Path, told: list[str], **fields: object) -> Session:
    """A session with a ledger of its own, whose notes and warnings are in `told`."""
    machine = with_memory(probe_machine(), 2**34)
    made = Session(
        machine=machine,
        ledger=Ledger(tmp_path / "ledger.sqlite"),
        note=told.append,
        warn=lambda text: told.append(f"warning: {text}"),
    )
    return replace(made, **fields)


def test_the_answer_s_json_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a model that nobody has downloaded, with the terms and the longest context."""
    asked = ["qwen3-8b", "--hardware", "L4", "--type", "Q4_K_M", "--context", "8192"]
    code = run(["fit", *asked, "--source", "computed", "--explain", "--max-context", "--json"])
    printed = json.loads(capsys.readouterr().out)
    answer = fit(
        "qwen3-8b", hardware="L4", preset="Q4_K_M", n_ctx=8192, source="computed", find_max=True
    )
    assert (code, answer.verdict, answer.max_context) == (0, "fits", printed["max_context"])
    assert json.loads(json.dumps(answer.as_json(explain=True))) == printed
    assert "terms" not in answer.as_json()


@pytest.mark.parametrize("name", ["bge-m3", "nomic-embed-text-v1.5", "apertus-8b-instruct-2509"])
def test_another_type_of_a_model_keeps_all_that_the_engine_needs(name: str) -> None:
    """Some keys have no architecture's name before them, and without them the engine refuses the
    header that is laid out for it.
    """
    asked = fit(name, hardware="L4", preset="Q8_0", n_ctx=512, source="dry-run")
    assert asked.verdict == "fits"


@pytest.mark.parametrize(
    ("name", "n_parallel", "type_k", "dies"),
    [
        ("phi-4", 2, "q8_0", True),
        ("phi-4", 1, "q8_0", False),
        ("phi-4", 4, "f16", False),
        ("phi-4-mini-instruct", 4, "q8_0", False),
    ],
)
def test_a_cache_of_which_the_engine_dies_is_refused_by_its_reason(
    name: str, n_parallel: int, type_k: str, dies: bool
) -> None:
    """It is refused where the engine really dies, and nowhere else."""
    asked: Context = {"n_ctx": 4096, "n_parallel": n_parallel, "type_k": type_k, "type_v": type_k}
    model = read_model(find_model(name).path)
    if dies:
        with pytest.raises(Misuse, match="larger graph than"):
            fit(name, hardware="H100", preset="Q8_0", **asked)
        with pytest.raises(EngineDied):
            Lab().dry_run(model.path, settings_for(model, **asked))
    else:
        fitted = fit(name, hardware="H100", preset="Q8_0", source="dry-run", **asked)
        assert fitted.verdict == "fits"


def test_what_is_told_on_the_way_goes_to_the_session(tmp_path: Path, tiny_model: Path) -> None:
    """How a machine's name was understood is a note; a device that nobody can plan with, a
    warning.
    """
    told: list[str] = []
    here = session(tmp_path, told)
    fit("qwen3-0.6b", hardware="RTX 3060", source="computed", session=here)
    assert len(told) == 1 and told[0].startswith("RTX 3060: taken as the one with 12 GB")
    silent = (SilentDevice(name="Arc A770", reason="no driver"),)
    told.clear()
    here = replace(here, machine=replace(here.machine, silent_devices=silent))
    fit(tiny_model, source="computed", session=here)
    assert told == ["warning: Arc A770 is not planned with: no driver"]


def test_a_model_is_named_by_a_text_a_path_or_itself(tmp_path: Path, tiny_model: Path) -> None:
    """And the answer is the same."""
    here = session(tmp_path, [])
    named = (str(tiny_model), tiny_model, read_model(tiny_model))
    answers = [fit(name, source="computed", session=here).as_json() for name in named]
    assert answers[0] == answers[1] == answers[2]
    model = read_model(tiny_model)
    assert whole_model(model) is model


def test_what_has_no_meaning_is_told_by_the_names_of_fields() -> None:
    """Whoever imports hakaru typed no option."""
    with pytest.raises(Misuse, match=re.escape("`bits` and `preset` both name a type")):
        fit("qwen3-8b", hardware="L4", preset="Q4_0", bits=4)
    with pytest.raises(Misuse, match=re.escape("`draft` and `mtp` both say")):
        fit("qwen3-8b", hardware="L4", draft="qwen3-0.6b", mtp=True, source="computed")
    with pytest.raises(Misuse, match=re.escape("`type_k` is 'q9', expected one of")):
        fit("qwen3-8b", hardware="L4", type_k="q9")


def test_what_counts_is_the_memory_that_is_free_now(tmp_path: Path, tiny_model: Path) -> None:
    """A session lives long: it looks at the machine again for every answer."""
    here = session(tmp_path, [], look=lambda: with_memory(probe_machine(), 2**20))
    assert fit(tiny_model, source="computed", session=here).verdict == "does_not_fit"
    big = fit(tiny_model, hardware="16GiB RAM", source="computed", session=here)
    assert big.verdict == "fits"


def card(n_gib: int) -> Device:
    """A GPU with so much memory, all of it free."""
    return Device(name="RTX", vendor="nvidia", total_bytes=n_gib * GIB, free_bytes=n_gib * GIB)


def test_memory_limits_what_may_be_used_of_this_machine(tmp_path: Path) -> None:
    """GPU included: so `serve` understands it, too. With two, of both together."""
    told: list[str] = []
    here = session(tmp_path, told)
    with_card = replace(here, machine=replace(here.machine, devices=(card(24),)))
    free = fit("qwen3-8b", preset="Q4_K_M", source="computed", session=with_card)
    limited = fit("qwen3-8b", preset="Q4_K_M", memory="4GiB", source="computed", session=with_card)
    for answer, n_gib in ((free, 24), (limited, 4)):
        (gpu,) = answer.hardware.accelerators
        assert (gpu.name, gpu.usable_bytes) == ("RTX", n_gib * GIB)
        assert answer.placement.shares[0].weights_bytes > 0
    assert free.placement.layout.n_gpu_layers > limited.placement.layout.n_gpu_layers > 0
    two = replace(here, machine=replace(here.machine, devices=(card(24), card(8))))
    answer = fit("qwen3-8b", memory="16GiB", source="computed", session=two)
    assert [d.usable_bytes // GIB for d in answer.hardware.accelerators] == [12, 4]
    assert answer.hardware.ram and answer.hardware.ram.usable_bytes == 16 * GIB
    assert told == []


def test_memory_limits_a_named_machine_too(tmp_path: Path) -> None:
    """Such as a card of which another program has a part."""
    here = session(tmp_path, [])
    asked = {"hardware": "RTX 4090 + 64GiB RAM", "source": "computed", "session": here}
    whole = fit("qwen3-8b", preset="Q4_K_M", **asked)  # type: ignore[arg-type]
    part = fit("qwen3-8b", preset="Q4_K_M", memory="4GiB", **asked)  # type: ignore[arg-type]
    assert whole.placement.layout.n_gpu_layers > part.placement.layout.n_gpu_layers
    assert {d.usable_bytes for d in (*part.hardware.accelerators, part.hardware.ram) if d} == {
        4 * GIB
    }


def test_more_memory_than_there_is_names_another_machine(tmp_path: Path, tiny_model: Path) -> None:
    """That is what whoever types it mostly means, so it is told how; nothing is assumed."""
    told: list[str] = []
    here = session(tmp_path, told)
    here = replace(here, machine=with_memory(here.machine, 8 * GIB))
    answer = fit(tiny_model, memory="2TiB", source="computed", session=here)
    assert answer.hardware.ram and answer.hardware.ram.usable_bytes == 8 * GIB
    assert len(told) == 1 and told[0].endswith(
        "a machine with 2.0 TiB is named by `hardware`, such as '2.0 TiB RAM'."
    )
    named = fit(tiny_model, hardware="2.0 TiB RAM", source="computed", session=here)
    assert named.hardware.ram and named.hardware.ram.usable_bytes == 2 * 2**40


@pytest.mark.engine
def test_what_does_not_fit_is_not_loaded(tmp_path: Path, tiny_model: Path) -> None:
    """The error has the whole answer; what is tight is noted, and goes."""
    told: list[str] = []
    here, model = session(tmp_path, told), read_model(tiny_model)
    with pytest.raises(NothingLoaded, match="may be used; nothing was loaded") as refused:
        fit_to_load(model, ContextSettings(n_ctx=256), here, memory="1MiB")
    assert isinstance(refused.value, DoesNotFit)
    assert refused.value.fit.verdict == "does_not_fit"
    needed = fit_to_load(model, ContextSettings(n_ctx=256), here).total_bytes
    assert told == []
    fit_to_load(model, ContextSettings(n_ctx=256), here, memory=int(needed * 1.01))
    assert len(told) == 1 and told[0].endswith("it fits, but tightly.")


def test_an_unchanged_file_is_laid_out_once(tmp_path: Path, tiny_model: Path) -> None:
    """At each settings, also for the next command; a file that was touched is laid out again."""

    class Engine:
        n_asked = 0

        def dry_run(self, path: Path, settings: ContextSettings) -> Footprint:
            self.n_asked += 1
            return Footprint(
                weights_bytes=1, kv_cache_bytes=settings.n_ctx, compute_bytes=2, output_bytes=3,
                source="dry_run",
            )  # fmt: skip

    engine, file = Engine(), tmp_path / "ledger.sqlite"
    for n_asked, n_ctx in ((1, 256), (1, 256), (2, 512), (2, 256)):
        with closing(Ledger(file)) as ledger:
            known = RememberedDryRuns(engine=engine, ledger=ledger)
            found = known.dry_run(tiny_model, ContextSettings(n_ctx=n_ctx))
        assert (found.kv_cache_bytes, found.total_bytes) == (n_ctx, n_ctx + 6)
        assert (engine.n_asked, found.source) == (n_asked, "dry_run")
    os.utime(tiny_model, ns=(1, 1))
    with closing(Ledger(file)) as ledger:
        RememberedDryRuns(engine=engine, ledger=ledger).dry_run(
            tiny_model, ContextSettings(n_ctx=256)
        )
    assert engine.n_asked == 3
