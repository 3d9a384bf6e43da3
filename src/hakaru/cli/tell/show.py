"""What `hakaru show` says."""

from hakaru.cli.output import print_facts, print_text
from hakaru.cli.wrapping import whole
from hakaru.hardware.spoken import class_name
from hakaru.language import listed, say
from hakaru.models.by_word import size_class_of
from hakaru.models.description import Description
from hakaru.units import format_bytes, format_params


def print_description(description: Description) -> None:
    """The figures of the header, and where the weights are."""
    print_text(description.name)
    print_facts([*_origin(description), *_figures(description), *_texts(description)])
    if description.model.is_draft_head:
        print_text(
            say(
                "A draft head: it runs only beside its model; name that, and this file with "
                "--draft."
            )
        )
    if description.found.note:
        print_text(description.found.note)
    if description.found.stored and description.found.stored.complete:
        if description.found.fetch:
            print_text(
                say(
                    "The weights are here, but not as GGUF yet; make it with: {command}",
                    command=whole(description.found.fetch or ""),
                )
            )
    elif not description.model.complete:
        print_text(say("Only the header is on this machine; the weights are not."))
        if search := description.found.gguf_search:
            print_text(
                say(
                    "GGUF files that were made of it are listed by: {command}",
                    command=whole(search),
                )
            )
        elif description.found.fetch:
            print_text(
                say("Fetch them with: {command}", command=whole(description.found.fetch or ""))
            )


def _origin(description: Description) -> list[list[str]]:
    model = description.model
    files = say("{n} files", n=len(model.parts)) if len(model.parts) > 1 else whole(model.path.name)
    rows = [[say("origin"), whole(description.found.origin)]]
    if stored := description.found.stored:
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
    rows.append([say("file"), listed([files, format_bytes(model.file_bytes)])])
    if description.download_bytes is not None:
        rows.append([say("download"), format_bytes(description.download_bytes)])
    return rows + [
        [c.role, f"{c.name} ({format_bytes(c.bytes)})" if c.bytes is not None else c.name]
        for c in description.found.companions
    ]


def _figures(description: Description) -> list[list[str]]:
    model, shape = description.model, description.model.shape
    types = listed(whole(f"{name} {format_bytes(n)}") for name, n in model.type_bytes().items())
    heads = sorted(set(shape.n_head_kv))
    n_head_kv = str(heads[0]) if len(heads) == 1 else f"{heads[0]}–{heads[-1]}"
    rows = [
        [say("architecture"), shape.architecture],
        [say("parameters"), f"{format_params(model.n_params)} ({model.n_params:,})"],
        [say("class"), class_name(size_class_of(model))],
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
        used = description.n_expert_used or "?"
        rows.append([say("experts"), say("{n}, {used} per token", n=shape.n_expert, used=used)])
    return rows


def _texts(description: Description) -> list[list[str]]:
    tokenizer = description.tokenizer()
    kinds = " ".join(
        text
        for text in (tokenizer["model"], tokenizer["pre"], (tokenizer["digest"] or "")[:12])
        if text
    )
    labels = {
        "license": say("licence"),
        "license_link": say("licence text"),
        "basename": say("base name"),
        "size_label": say("stated size"),
        "organization": say("organization"),
        "quantized_by": say("quantized by"),
        "url": say("address"),
    }
    has_template = {None: "?", True: say("yes"), False: say("no")}
    return [
        [say("tokenizer"), kinds or "?"],
        [say("chat template"), has_template[description.has_chat_template]],
        *([labels[name], text] for name, text in description.stated().items()),
    ]
