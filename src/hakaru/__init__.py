"""hakaru (測る measure, 量る weigh, 図る plan): the language model that truly fits your machine,
measured.

Every verb of the command line is a function here, over a `Session`:

    import hakaru

    hakaru.fit("qwen3-8b", hardware="L4").verdict
    with hakaru.serve("model.gguf", n_ctx=8192) as serving:
        print(serving.url)

A name is loaded when it is first used, so that `import hakaru` takes milliseconds. See
docs/python.md.
"""

from importlib import import_module

TYPE_CHECKING = False  # type checkers take it for true; the module `typing` would take 5 ms
if TYPE_CHECKING:
    from hakaru.choosing.decision import Decision
    from hakaru.choosing.tune import tune
    from hakaru.conformance.conform import conform
    from hakaru.conformance.verdicts import Conformance
    from hakaru.deploying.bundle import Bundle
    from hakaru.deploying.deploy import deploy
    from hakaru.errors import (
        DoesNotFit,
        EngineDied,
        EngineError,
        EngineMissing,
        EngineOutOfMemory,
        EngineRefused,
        HakaruError,
        Interrupted,
        MachineError,
        Misuse,
        ModelDamaged,
        ModelError,
        ModelNotFound,
        ModelUnknown,
        NodeError,
        NodeUnreachable,
        NodeUnready,
        Offline,
        TooManyRequests,
        WorkerLost,
    )
    from hakaru.evaluation.comparison import Comparison
    from hakaru.evaluation.findings import Findings
    from hakaru.evaluation.test import test
    from hakaru.memory.context import Context
    from hakaru.planning.answer import Fit
    from hakaru.planning.fit import fit
    from hakaru.planning.to_load import NothingLoaded
    from hakaru.pulling.pull import Pulled, pull
    from hakaru.quantization.made import Made
    from hakaru.quantization.quantize import quantize
    from hakaru.quantization.to_preset import MadePreset
    from hakaru.selection.choose import choose
    from hakaru.selection.chosen import Chosen
    from hakaru.serving.serve import serve
    from hakaru.serving.serve_at import Serving
    from hakaru.serving.serve_several import serve_several
    from hakaru.session import Session

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "Chosen",
    "Comparison",
    "Conformance",
    "Context",
    "Decision",
    "DoesNotFit",
    "EngineDied",
    "EngineError",
    "EngineMissing",
    "EngineOutOfMemory",
    "EngineRefused",
    "Findings",
    "Fit",
    "HakaruError",
    "Interrupted",
    "MachineError",
    "Made",
    "MadePreset",
    "Misuse",
    "ModelDamaged",
    "ModelError",
    "ModelNotFound",
    "ModelUnknown",
    "NodeError",
    "NodeUnreachable",
    "NodeUnready",
    "NothingLoaded",
    "Offline",
    "Pulled",
    "Serving",
    "Session",
    "TooManyRequests",
    "WorkerLost",
    "choose",
    "conform",
    "deploy",
    "fit",
    "pull",
    "quantize",
    "serve",
    "serve_several",
    "test",
    "tune",
]

_MODULES = {
    "Bundle": "hakaru.deploying.bundle", "deploy": "hakaru.deploying.deploy",
    "Chosen": "hakaru.selection.chosen",
    "Comparison": "hakaru.evaluation.comparison",
    "Conformance": "hakaru.conformance.verdicts",
    "conform": "hakaru.conformance.conform", "Context": "hakaru.memory.context",
    "Decision": "hakaru.choosing.decision", "Findings": "hakaru.evaluation.findings",
    "Fit": "hakaru.planning.answer", "Made": "hakaru.quantization.made",
    "MadePreset": "hakaru.quantization.to_preset", "NothingLoaded": "hakaru.planning.to_load",
    "Serving": "hakaru.serving.serve_at", "Session": "hakaru.session",
    "Pulled": "hakaru.pulling.pull", "pull": "hakaru.pulling.pull",
    "choose": "hakaru.selection.choose",
    "fit": "hakaru.planning.fit", "quantize": "hakaru.quantization.quantize",
    "serve": "hakaru.serving.serve", "serve_several": "hakaru.serving.serve_several",
    "test": "hakaru.evaluation.test", "tune": "hakaru.choosing.tune",
}  # fmt: skip
"""Where a name is defined; the errors are all in `hakaru.errors`."""


if not TYPE_CHECKING:  # a checker knows the names above, and that there are no others

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'hakaru' has no attribute '{name}'")
        value: object = getattr(import_module(_MODULES.get(name, "hakaru.errors")), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
