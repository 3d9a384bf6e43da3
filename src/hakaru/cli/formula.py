"""`hakaru formula`: the article's rule of thumb, corrected, with the exact answer beside it."""

from collections import Counter
from typing import Any

from hakaru.cli.output import print_json, print_text
from hakaru.language import say
from hakaru.memory.footprint import ContextSettings
from hakaru.memory.formula import OVERHEAD, formula_gigabytes
from hakaru.units import format_bytes, format_params, parse_params


def run(*, params: str, bits: float, hardware: str | None, context: int, json: bool) -> int:
    """Print what the formula gives, and with `hardware` both verdicts. Returns 3 if the exact one is "does not fit"."""
    n_params = parse_params(params)
    gigabytes, settings = formula_gigabytes(n_params, bits), ContextSettings(n_ctx=context)
    data: dict[str, Any] = {
        "schema": "hakaru.formula/1",
        "params": n_params,
        "bits": bits,
        "gigabytes": round(gigabytes, 6),
        "gibibytes": round(gigabytes * 1e9 / 2**30, 6),
        "weights_gigabytes": round(gigabytes / OVERHEAD, 6),
        "factor": OVERHEAD,
        "source": "assumed",
    }
    exact = _compare(data, n_params, gigabytes, bits, hardware, settings) if hardware else None
    if json:
        print_json(data)
    else:
        _print(data, exact)
    return 3 if exact and exact.placement.verdict == "does_not_fit" else 0


def _compare(data: dict[str, Any], n_params: int, gigabytes: float, bits: float, hardware: str, settings: ContextSettings) -> Any:
    from hakaru.hardware.catalogue import parse_hardware
    from hakaru.models.catalogue import nearest_model
    from hakaru.planning.exact import exact_answer

    machine = parse_hardware(hardware)
    labelled = sum(d.label_gigabytes for d in machine.accelerators)
    data["hardware"] = [d.as_json() for d in machine.accelerators]
    data["formula_capacity_gigabytes"] = labelled
    data["formula_verdict"] = "fits" if gigabytes <= labelled else "does_not_fit"
    model = nearest_model(n_params)
    exact = exact_answer(model, bits, machine, settings) if model else None
    data["exact"] = exact.as_json() if exact else None
    return exact


def _print(data: dict[str, Any], exact: Any) -> None:
    print_text(say("{params} parameters × {bits:g}/8 bytes × {factor} = {gigabytes:.1f} GB ({gibibytes:.1f} GiB), by the article's formula.",
              params=format_params(data["params"]), bits=data["bits"], factor=data["factor"],
              gigabytes=data["gigabytes"], gibibytes=data["gibibytes"]))  # fmt: skip
    print_text(say("The weights alone are {weights:.1f} GB. The factor 1.2 is a rule of thumb for the rest: the KV cache, compute buffers and the "
              "driver. It is far too much for a short context on a large model and far too little for a long one on a small model.",
              weights=data["weights_gigabytes"]))  # fmt: skip
    if data["bits"] == 4:
        print_text(say("A “4-bit” type is not 4 bits: Q4_0 has 4.5 bits per weight, and Q4_K_M about 4.9 over a whole model."))
    if "hardware" not in data:
        return
    counts = Counter(d["name"] for d in data["hardware"])
    names = " + ".join(f"{n}× {name}" if n > 1 else name for name, n in counts.items())
    print_text(say("By the formula, on {names} ({capacity:g} GB by their labels): {verdict}.",
              names=names, capacity=data["formula_capacity_gigabytes"], verdict=verdict_word(data["formula_verdict"])))  # fmt: skip
    if exact is None:
        print_text(say("No known model has this size, so there is no exact answer; name a file with: hakaru fit MODEL.gguf"))
        return
    print_text(say("Exactly, {model} in {type} ({bpw:.2f} bits per weight) at {n_ctx} tokens of context: {verdict}.",
              model=exact.model.name, type=exact.type, bpw=exact.bpw, n_ctx=exact.settings.n_ctx,
              verdict=verdict_word(exact.placement.verdict)))  # fmt: skip
    for share in exact.placement.devices:
        print_text(say("  {name}: {layers} layers, weights {weights}, KV cache {kv}, compute {compute}, driver {overhead}, free {free} of {total}",
                  name=share.device.name, layers=share.layers, weights=format_bytes(share.weights_bytes),
                  kv=format_bytes(share.kv_cache_bytes), compute=format_bytes(share.compute_bytes),
                  overhead=format_bytes(share.overhead_bytes), free=format_bytes(share.headroom_bytes),
                  total=format_bytes(share.device.total_bytes)))  # fmt: skip
    print_text(say("It fits comfortably up to {n} tokens of context.", n=f"{exact.max_context:,}") if exact.max_context else
          say("It does not fit even with a context of 256 tokens."))  # fmt: skip


def verdict_word(verdict: str) -> str:
    """A verdict in words."""
    return {"fits": say("it fits"), "tight": say("it fits, but tightly"), "does_not_fit": say("it does not fit")}[verdict]
