"""How safe it is to place a model whose graph hakaru does not know: the catalogue plays the
unknown, its arithmetic the judge.

Up to two models of every architecture with arithmetic in Q4_K_M, at three contexts, on one card,
two, two unlike ones, and a card with RAM, of 0.4 to 1.3 of what the model needs. Prints how often
the assumption calls a layout fitting that the arithmetic calls otherwise (a false `fits`), by
architecture, and how the verdicts differ. Run: python benchmarks/unmodelled.py
"""

from collections import Counter
from collections.abc import Iterator

from msgspec.structs import replace

from hakaru.hardware.machine import Hardware
from hakaru.hardware.named_machine import parse_hardware
from hakaru.memory.compute import is_known
from hakaru.memory.footprint import compute_footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import known_models
from hakaru.models.model import as_preset, read_model
from hakaru.models.sources.find import find_model
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task, placement
from hakaru.planning.search import place

PARTS = (0.4, 0.55, 0.7, 0.9, 1.1, 1.3)


def tasks() -> Iterator[Task]:
    """Each with what a dry run would say of it."""
    taken = Counter[str]()
    for known in known_models():
        architecture = known.shape.architecture
        if not is_known(known.shape) or taken[architecture] == 2:
            continue
        taken[architecture] += 1
        model = as_preset(read_model(find_model(known.id).path), "Q4_K_M")
        for n_ctx in (4096, 32768, 131_072):
            settings = ContextSettings(n_ctx=n_ctx)
            engine = compute_footprint(model.shape, model.loaded, settings)
            yield Task(
                load=load_of(model.loaded, model.shape.n_layer),
                shape=model.shape,
                settings=settings,
                engine=engine,
            )


def machines(n_gib: float) -> dict[str, Hardware]:
    """With half a GiB more per card, for its driver."""
    texts = {
        "one": f"{n_gib + 0.5:.2f}GiB",
        "two": f"2x {n_gib / 2 + 0.5:.2f}GiB",
        "unlike": f"{0.7 * n_gib + 0.5:.2f}GiB + {0.3 * n_gib + 0.5:.2f}GiB",
        "RAM": f"{0.6 * n_gib + 0.5:.2f}GiB + {0.6 * n_gib + 0.5:.2f}GiB RAM",
    }
    return {kind: parse_hardware(text) for kind, text in texts.items()}


def main() -> None:
    """Place, judge, count."""
    n, false, verdicts = 0, Counter[str](), Counter[tuple[str, str]]()
    for task in tasks():
        assert task.engine
        known = replace(task, engine=None)
        for part in PARTS:
            for kind, hardware in machines(part * task.engine.total_bytes / 2**30).items():
                if kind == "RAM" and task.shape.architecture.startswith("lfm2"):
                    continue  # docs/memory.md: its attention is split over devices then
                assumed = place(task, hardware)
                n += 1
                verdicts[place(known, hardware).verdict, assumed.verdict] += 1
                if (
                    assumed.verdict == "fits"
                    and placement(known, hardware, assumed.layout).verdict != "fits"
                ):
                    false[task.shape.architecture] += 1
    print(f"{n:,} placements; called fitting, and by arithmetic are not: {dict(false)}")
    for (ours, theirs), count in sorted(verdicts.items()):
        print(f"  by arithmetic {ours}, assumed {theirs}: {count:,}")


if __name__ == "__main__":
    main()
