"""`hakaru show`: what is known about a model, before anything is downloaded."""

from hakaru.cli.options import ShowOptions
from hakaru.cli.output import next_step, print_json, print_table, print_text
from hakaru.language import say
from hakaru.models.description import Description, describe
from hakaru.models.sources.find import find_model
from hakaru.units import format_bytes, format_params


def run(options: ShowOptions) -> int:
    """Print what is known about a model."""
    known = describe(find_model(options.model))
    if options.json:
        print_json(known.as_json())
    else:
        _print(known)
        next_step(f"hakaru fit {options.model}")
    return 0


def _print(known: Description) -> None:
    print_text(known.name)
    print_table(["", ""], [*_origin(known), *_figures(known), *_texts(known)], left=2)
    if known.model.is_draft_head:
        print_text(
            say(
                "A draft head: it runs only beside its model; name that, and this file with "
                "--draft."
            )
        )
    if known.found.note:
        print_text(known.found.note)
    if known.found.stored and known.found.stored.complete:
        if known.found.fetch:
            print_text(
                say(
                    "The weights are here, but not as GGUF yet; make it with: {command}",
                    command=known.found.fetch,
                )
            )
    elif not known.model.complete:
        print_text(say("Only the header is on this machine; the weights are not."))
        if known.found.fetch:
            print_text(say("Fetch them with: {command}", command=known.found.fetch))


def _origin(known: Description) -> list[list[str]]:
    model = known.model
    files = say("{n} files", n=len(model.parts)) if len(model.parts) > 1 else model.path.name
    rows = [[say("origin"), known.found.origin]]
    if stored := known.found.stored:
        rows.append(
            [
                say("checkpoint"),
                (say("{n} files", n=stored.n_files) if stored.n_files > 1 else say("one file"))
                + f", {format_bytes(stored.bytes)}, {stored.class_name}",
            ]
        )
        if stored.quantization:
            rows.append(
                [
                    say("quantized"),
                    say(
                        "{label}; {bpw:.2f} bits per weight",
                        label=stored.quantization,
                        bpw=stored.bpw,
                    ),
                ]
            )
        files = say("{name}, as it would be written", name=files)
    rows.append([say("file"), f"{files}, {format_bytes(model.file_bytes)}"])
    if known.download_bytes is not None:
        rows.append([say("download"), format_bytes(known.download_bytes)])
    return rows + [
        [c.role, f"{c.name} ({format_bytes(c.bytes)})" if c.bytes is not None else c.name]
        for c in known.found.companions
    ]


def _figures(known: Description) -> list[list[str]]:
    model, shape = known.model, known.model.shape
    types = say(", ").join(f"{name} {format_bytes(n)}" for name, n in model.type_bytes().items())
    heads = sorted(set(shape.n_head_kv))
    n_head_kv = str(heads[0]) if len(heads) == 1 else f"{heads[0]}–{heads[-1]}"
    rows = [
        [say("architecture"), shape.architecture],
        [say("parameters"), f"{format_params(model.n_params)} ({model.n_params:,})"],
        [say("weights"), format_bytes(model.weights_bytes)],
        [say("types"), types],
        [say("bits per weight"), f"{model.bpw:.2f}"],
        [say("trained context"), f"{shape.n_ctx_train:,}" if shape.n_ctx_train else "?"],
        [say("layers"), str(shape.n_layer)],
        [
            say("heads"),
            say(
                "{n_head}, of them {n_head_kv} for keys and values",
                n_head=shape.n_head,
                n_head_kv=n_head_kv,
            ),
        ],
        [say("vocabulary"), f"{shape.n_vocab:,}"],
    ]
    if shape.n_expert:
        rows.append(
            [
                say("experts"),
                say("{n}, {used} per token", n=shape.n_expert, used=known.n_expert_used or "?"),
            ]
        )
    return rows


def _texts(known: Description) -> list[list[str]]:
    tokenizer = known.tokenizer()
    kinds = " ".join(
        text
        for text in (tokenizer["model"], tokenizer["pre"], (tokenizer["digest"] or "")[:12])
        if text
    )
    labels = {
        "license": say("licence"),
        "license_link": say("licence text"),
        "basename": say("base name"),
        "size_label": say("size class"),
        "organization": say("organization"),
        "quantized_by": say("quantized by"),
        "url": say("address"),
    }
    return [
        [say("tokenizer"), kinds or "?"],
        [
            say("chat template"),
            "?"
            if known.has_chat_template is None
            else say("yes")
            if known.has_chat_template
            else say("no"),
        ],
        *([labels[name], text] for name, text in known.stated().items()),
    ]
