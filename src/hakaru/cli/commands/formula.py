"""`hakaru formula`: the article's rule of thumb, corrected, with the exact answer beside it."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hakaru.cli.next_steps import after_formula
from hakaru.cli.output import next_step, print_json, print_text, show_table
from hakaru.cli.tell.fit import devices_table
from hakaru.hardware.machine import Hardware
from hakaru.hardware.named_machine import parse_hardware
from hakaru.language import say
from hakaru.memory.compute import is_known
from hakaru.memory.formula import OVERHEAD, formula_gigabytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import KnownModel, model_called, nearest_model
from hakaru.models.presets import nearest_type
from hakaru.planning.sentences import verdict_sentence, verdict_word
from hakaru.planning.shares import MARGIN
from hakaru.units import format_params, names_experts, parse_params


@dataclass(frozen=True, kw_only=True)
class FormulaOptions:
    """`hakaru formula`."""

    params: str
    bits: float
    hardware: str | None
    context: int
    json: bool


def run(options: FormulaOptions) -> int:
    """Print what the formula gives, and with `hardware` both verdicts. Returns 3 if the exact one
    is "does not fit".
    """
    params, bits = options.params, options.bits
    n_params = parse_params(params)
    called = _called(params)
    if called and names_experts(params):
        n_params = called.n_params
    gigabytes, settings = formula_gigabytes(n_params, bits), ContextSettings(n_ctx=options.context)
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
    place = parse_hardware(options.hardware) if options.hardware else None
    model = called or (nearest_model(n_params) if place else None)
    exact = _compare(data, model, bits, place, settings) if place else None
    if options.json:
        print_json(data)
    else:
        if names_experts(params):
            print_text(_experts_sentence(params, called))
        _print(data, exact, model, place)
        known = model or nearest_model(n_params)
        next_step(
            after_formula(known.id if known else None, exact.type if exact else nearest_type(bits))
        )
    return 3 if exact and exact.placement.verdict == "does_not_fit" else 0


def _called(params: str) -> KnownModel | None:
    """The known model that a size such as `8x7B` or `30B-A3B` names; None for a plain number."""
    part = params.strip().lower()
    return model_called(part) if names_experts(part) or "-a" in part else None


def _experts_sentence(params: str, called: KnownModel | None) -> str:
    if called:
        return say(
            "{found} is no count of parameters: {model} has {params}, since its experts share "
            "the rest.",
            found=params,
            model=called.name,
            params=format_params(called.n_params),
        )
    return say(
        "{found} is taken as the product; such a model has fewer parameters, since its experts "
        "share the rest.",
        found=params,
    )


def _compare(
    data: dict[str, Any],
    model: KnownModel | None,
    bits: float,
    place: Hardware,
    settings: ContextSettings,
) -> Any:
    from hakaru.planning.exact import exact_answer

    labelled = sum(d.label_gigabytes for d in place.accelerators) or (
        place.ram.total_bytes / 10**9 if place.ram else 0
    )
    data["hardware"] = [d.as_json() for d in place.accelerators]
    data["hardware_notes"] = list(place.notes)
    data["formula_capacity_gigabytes"] = labelled
    data["formula_verdict"] = "fits" if data["gigabytes"] <= labelled else "does_not_fit"
    exact = exact_answer(model, bits, place, settings) if model else None
    data["exact"] = exact.as_json() if exact else None
    return exact


def _print(
    data: dict[str, Any], exact: Any, model: KnownModel | None, place: Hardware | None
) -> None:
    print_text(
        say(
            "{params} parameters × {bits:g}/8 bytes × {factor} = {gigabytes} GB ({gibibytes:.1f} "
            "GiB), by the article's formula.",
            params=format_params(data["params"]),
            bits=data["bits"],
            factor=data["factor"],
            gigabytes=_as_judged(data),
            gibibytes=data["gibibytes"],
        )
    )
    print_text(
        say(
            "The weights alone are {weights:.1f} GB. The factor 1.2 is a rule of thumb for the "
            "rest: the KV cache, compute buffers and the driver. It is far too much for a short "
            "context on a large model and far too little for a long one on a small model.",
            weights=data["weights_gigabytes"],
        )
    )
    if data["bits"] == 4:
        print_text(
            say(
                "A “4-bit” type is not 4 bits: Q4_0 has 4.5 bits per weight, and Q4_K_M about "
                "4.9 over a whole model."
            )
        )
    if place:
        _print_place(data, exact, model, place)


def _print_place(
    data: dict[str, Any], exact: Any, model: KnownModel | None, place: Hardware
) -> None:
    """The formula's verdict for the machine that was named, and the exact one where there is
    one.
    """
    for note in place.notes:
        print_text(note)
    counts = Counter(d.name for d in place.accelerators or (place.ram,) if d)
    names = " + ".join(f"{n}× {name}" if n > 1 else name for name, n in counts.items())
    print_text(
        say(
            "By the formula, on {names} ({capacity:g} GB by their labels): {verdict}.",
            names=names,
            capacity=data["formula_capacity_gigabytes"],
            verdict=verdict_word(data["formula_verdict"]),
        )
    )
    if exact:
        _print_exact(exact)
    elif model and not is_known(model.shape):
        print_text(
            say(
                "hakaru has no arithmetic for {model}, so there is no exact answer here; the "
                "engine answers: hakaru fit {id}",
                model=model.name,
                id=model.id,
            )
        )
    elif model:
        print_text(
            say(
                "No type has about {bits:g} bits per weight, so there is no exact answer; the "
                "nearest known model is {model}.",
                bits=data["bits"],
                model=model.name,
            )
        )
    else:
        print_text(
            say(
                "No known dense model has about this size, so there is no exact answer; name a "
                "file with: hakaru fit MODEL.gguf"
            )
        )


def _as_judged(data: dict[str, Any]) -> str:
    """The formula's GB, with as many decimals as it takes until the rounded number has the verdict
    that stands below it.
    """
    gigabytes, capacity = data["gigabytes"], data.get("formula_capacity_gigabytes", math.inf)
    same = (n for n in range(1, 6) if (round(gigabytes, n) <= capacity) == (gigabytes <= capacity))
    return f"{gigabytes:.{next(same, 6)}f}"


def _print_exact(exact: Any) -> None:
    """The verdict, the parts on every device, what decides, and how long a context fits."""
    print_text(
        say(
            "Exactly, {model} in {type} ({bpw:.2f} bits per weight) at {n_ctx:,} tokens of "
            "context: {verdict}.",
            model=exact.model.name,
            type=exact.type,
            bpw=exact.bpw,
            n_ctx=exact.settings.n_ctx,
            verdict=verdict_word(exact.placement.verdict),
        )
    )
    show_table(devices_table(exact.placement))
    print_text(verdict_sentence(exact.placement, MARGIN))
    print_text(
        say("It fits comfortably up to {n} tokens of context.", n=f"{exact.max_context:,}")
        if exact.max_context
        else say("It does not fit even with a context of 256 tokens.")
    )
