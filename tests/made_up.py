"""Results as a large model on a large machine would give them, made by hand: no engine reads
anything.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from msgspec.structs import replace

from hakaru.conformance.every_check import every_check
from hakaru.conformance.verdicts import VERDICTS, Conformance, Outcome, Result
from hakaru.engine.builds import Build
from hakaru.engine.devices import EngineDevice
from hakaru.engine.inventory import BuildFacts, Inventory
from hakaru.evaluation.comparison import Comparison, Measured
from hakaru.evaluation.findings import Findings
from hakaru.evaluation.grading import Graded
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.losses import Tested
from hakaru.evaluation.speed import LeftOut, Point, Speed
from hakaru.evaluation.tasks import our_items
from hakaru.evaluation.tiers import TIERS, Quality
from hakaru.evaluation.trial import Trial
from hakaru.hardware.accelerators import GpuUser
from hakaru.hardware.busy import Others
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.quantization.build import Recipe
from hakaru.quantization.made import Made, TensorRow
from hakaru.quantization.race import Race, Rival
from hakaru.servers import Deployment
from hakaru.servers.holding import NOT_LOADED, Holding, Stranger
from hakaru.testing import tiny_shape, write_header_only
from hakaru.units import Figure

DOMAINS = ("code", "wiki-en", "wiki-ja", "answers-en", "answers-ja", "own")
NAMES = (
    "Llama-3.1-Swallow-8B-Instruct-v0.5-Q4_K_M.gguf",
    "Llama-3.1-Swallow-8B-Instruct-v0.5-4.53bpw.gguf",
    "日本語の モデル.gguf",
)


def figure(value: float, unit: str, spread: float = 0.08) -> Figure:
    """A measured figure with an interval of `spread` to both sides."""
    return Figure(
        value=value,
        unit=unit,
        source="measured",
        low=value * (1 - spread),
        high=value * (1 + spread),
    )


def quality(kld: float) -> Quality:
    """A loss with every kind of text."""
    return Quality(
        kld_mean=figure(kld, "nats/token"),
        kld_p99=figure(20 * kld, "nats/token"),
        top1_agreement=figure(0.9134, "fraction", 0.01),
        perplexity_ratio=figure(1.0213, "ratio"),
        domains={domain: figure(kld, "nats/token") for domain in DOMAINS},
        n_windows=192,
        n_tokens=20_160,
    )


def trial(rate: float) -> Trial:
    """A speed beside other work, and a memory of gigabytes."""
    speed = Speed(
        decode_tokens_per_s=figure(rate, "tokens/s"),
        prefill_tokens_per_s=figure(20 * rate, "tokens/s"),
        first_token_ms=figure(123, "ms"),
        n_prompt=128,
        n_predict=48,
        repeats=6,
        others=Others(processors=3.2),
    )
    memory = Footprint(
        weights_bytes=5 * 2**30,
        kv_cache_bytes=2**30,
        compute_bytes=2**29,
        output_bytes=2**19,
        source="measured",
    )
    return Trial(speed=speed, memory=memory, peak_rss_bytes=7 * 2**30)


def graded(n_right: int) -> list[Graded]:
    """Answers to twenty of our tasks, the first `n_right` of them right."""
    items = our_items("en")[:20]
    return [Graded(item=item, answer="", right=i < n_right) for i, item in enumerate(items)]


def named(folder: Path, name: str) -> Model:
    """A tiny model under the name of a large one."""
    return replace(
        read_model(write_header_only(folder / name, tiny_shape())), tokenizer_digest="0123456789ab"
    )


def findings(folder: Path) -> Findings:
    """One model: everything was measured, the tier failed."""
    model, lost = named(folder, NAMES[0]), quality(0.01234)
    tested = Tested(
        quality=lost, judgement=Judgement("fail", "kld_mean, wiki-ja"), domains=list(DOMAINS) * 32
    )
    points = [
        Point(
            depth=d,
            users=u,
            decode_tokens_per_s=figure(44, "tokens/s"),
            first_token_ms=figure(9, "ms"),
        )
        for d, u in ((2048, 1), (0, 8))
    ]
    return Findings(
        model=model,
        settings=ContextSettings(n_ctx=4096),
        original=model,
        tier=TIERS["balanced"],
        tested=tested,
        floor=figure(1.2e-5, "nats/token"),
        trial=trial(57.9),
        points=points,
        left_out=[LeftOut(depth=8192, reason="context")],
        graded=graded(15),
        theirs=graded(17),
    )


def comparison(folder: Path) -> Comparison:
    """Three models side by side, by everything that can be measured."""
    models = []
    for i, name in enumerate(NAMES):
        rows = [{"kld": 0.5 + i * (1 + 0.1 * (n % 7))} for n in range(60)]
        verdict = Judgement("fail", "top1_agreement") if i else Judgement("inconclusive")
        models.append(
            Measured(
                model=named(folder, name),
                rows=cast(Any, rows),
                quality=quality(0.012 * (i + 1)),
                judgement=verdict,
                trial=trial(57.9 + 20 * i),
                graded=graded(15 + i),
            )
        )
    return Comparison(measured=models, reference=models[0].model, tier=TIERS["near-lossless"])


def made(folder: Path, *, is_raced: bool) -> Made:
    """A mix to a budget: planned, or raced and written. Of a plan it has what the telling asks."""
    source = named(folder, NAMES[0])
    tensors = [
        TensorRow(
            name=f"blk.{i}.attn_output.weight",
            type="IQ4_XS",
            n_bytes=2**22,
            bpw=4.5,
            damage=0.001234,
            sensitivity=s,
            blocks=32,
            why=cast(Any, why),
        )
        for i, (s, why) in enumerate([(12.3, "sensitive"), (0.12, "robust"), (1.1, "usual")])
    ]
    kld, ratio = figure(0.01234, "nats/token"), figure(0.39, "ratio")
    recipe = cast(Recipe, SimpleNamespace(preset="Q4_K_M"))
    race = Race(
        ours=kld,
        rival=Rival(recipe=recipe, file_bytes=5 * 2**30, kld=kld),
        ratio=ratio,
        wins=True,
        without_copies=kld,
        without_copies_ratio=figure(0.97, "ratio"),
    )
    target = SimpleNamespace(
        bpw="4.5",
        file_bytes=2**30,
        tier=None,
        speed=None,
        room=SimpleNamespace(device_bytes={"NVIDIA GeForce RTX 4090": 2**34, "RAM": 2**33}),
    )
    plan = SimpleNamespace(
        hidden=("Q4_0", "Q4_1"), target=target, budget_bytes=2**30, is_measured=is_raced
    )
    source_tensors = [SimpleNamespace(name=t.name, n_elements=2**23) for t in tensors]
    return cast(
        Made,
        SimpleNamespace(
            measured=kld if is_raced else None,
            race=race if is_raced else None,
            preset=None,
            tensors=tensors,
            copied=tensors[:1],
            n_matrices=3,
            plan=plan,
            predicted=kld,
            path=Path("日本語の モデル-4.5bpw.gguf"),
            speed=None,
            others=Others(),
            tested=None,
            source=SimpleNamespace(
                tensors=source_tensors, is_quantized=True, type_bytes=source.type_bytes
            ),
            device_bytes={"NVIDIA GeForce RTX 4090": 2**33, "RAM": 2**32},
            file_bytes=2**30,
            file_bpw=4.497,
        ),
    )


def inventory() -> Inventory:
    """The wheel, and a native build with two cards."""
    card = EngineDevice(
        name="CUDA0", description="NVIDIA GeForce RTX 4090", total_bytes=2**34, free_bytes=2**34
    )
    cards = [card, replace(card, name="CUDA1")]
    wheel = Build(
        name="wheel",
        identity="xllamacpp",
        version="2026.10.11549",
        backend=None,
        library=Path("lib"),
    )
    native = Build(
        name="native-cuda",
        identity="native",
        version="2026.10.11549",
        backend="cuda",
        library=Path("lib"),
        server=Path("s"),
        quantizer=Path("q"),
        rpc_server=Path("r"),
    )
    facts = [
        BuildFacts(build=wheel, version="0.6.0-dev (build 11549)", devices=[], used_for=[]),
        BuildFacts(
            build=native,
            version="0.6.0-dev (build 11549)",
            devices=cards,
            used_for=["lab", "server"],
        ),
    ]
    return Inventory(builds=facts, chosen=None, trouble=None)


def summaries() -> dict[str, dict[str, Any]]:
    """The worst errors of two architectures."""
    errors = {"weights_bytes": 0, "kv_cache_bytes": 0, "compute_bytes": -778}
    some = {
        "checks": 1234,
        "loads": 17,
        "computed_less_dry_run_bytes": errors,
        "dry_run_less_measured_bytes": {**errors, "compute_bytes": 1023 * 2**10},
        "peak_over_prediction": {"least": -0.023, "most": 0.117},
    }
    return {
        "granitehybrid": some,
        "llama": {**some, "peak_over_prediction": {"least": None, "most": None}},
    }


def conformance() -> Conformance:
    """Every check of `conform`, with each verdict in turn and with long requests."""
    body = '{"model": "x", "messages": [{"role": "user", "content": "' + "rain " * 90 + '"}]}'
    asked = {"method": "POST", "path": "/v1/chat/completions", "body": body}
    reason = "501: This server does not support embeddings. Start it with another option."
    results = tuple(
        Result(
            check=check,
            outcome=Outcome(verdict=VERDICTS[i % len(VERDICTS)], reason=reason),
            asked=(asked,),
        )
        for i, check in enumerate(every_check())
    )
    return Conformance(
        url="https://inference.example.org:8443/openai/v1",
        model="Llama-3.1-Swallow-8B-Instruct-v0.5-Q4_K_M",
        models=(),
        n_ctx=131_072,
        results=results,
        n_checks=len(results) + 1,
        seconds=48.2,
    )


def holdings() -> tuple[list[Holding], list[Stranger]]:
    """A server of two models, one of which is loaded, and another program on the GPU."""
    gpus = [
        GpuUser(device="NVIDIA GeForce RTX 4090", number=number, pid=7, bytes=17 * 2**30)
        for number in (0, 1)
    ]
    loaded, waiting = (
        Deployment(
            pid=4_194_303, started=1.8e9, port=8600, model=name, path=f"/models/{name}.gguf",
            settings={"n_ctx": 131_072, "n_parallel": 16}, place=place, is_loaded=place == 0,
        )
        for place, name in enumerate(("qwen3-30b-a3b-instruct-2507-Q4_K_M", "multilingual-e5"))
    )  # fmt: skip
    known: dict[str, Any] = {"server": loaded, "state": "ready", "n_answering": 16, "n_waiting": 48}
    held = Holding(**known, idle_s=None, ram_bytes=3 * 2**30, gpus=tuple(gpus))
    unloaded = Holding(
        server=waiting, state=NOT_LOADED, n_answering=None, n_waiting=None, idle_s=7300.0,
        ram_bytes=None, gpus=(),
    )  # fmt: skip
    return [held, unloaded], [Stranger(user=user, name="blender") for user in gpus[:1]]
