"""Before a model is loaded: the verdict of `hakaru fit`, in the same words, and what the model is
for. What does not fit is not loaded.
"""

import sys
from contextlib import redirect_stdout
from dataclasses import replace

from hakaru.cli.output import warn_idle_gpu
from hakaru.cli.tell.fit import print_fit
from hakaru.cli.tell.verdict import verdict_sentence
from hakaru.engine.mode import Mode, named_template
from hakaru.errors import Misuse, ModelUnknown
from hakaru.hardware.machine import Machine
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.models.purpose import Purpose, chat_template_in, purpose_of
from hakaru.planning.fit import Fit, fit
from hakaru.planning.here import leaves_gpu_idle
from hakaru.serving.deployment import beside_servers
from hakaru.session import Session
from hakaru.units import parse_bytes


def fit_before_load(
    model: Model,
    settings: ContextSettings,
    session: Session | None = None,
    *,
    memory: str | None = None,
    tells_idle_gpu: bool = False,
) -> Fit:
    """The verdict, printed on stderr where it is not simply `fits`: the whole text of `hakaru fit`
    for what does not fit, with the ways out, and one line for what is tight. `memory` is the part
    of the free memory that may be used. With `tells_idle_gpu` a GPU that the engine cannot use is
    told, too.

    The machine is looked at again, also where `session` has one: what counts is the memory that is
    free now.
    """
    here = probe_machine()
    session = session or Session.here(
        machine=here, keeps=False
    )  # a ledger that cannot be written keeps nobody from loading
    machine = beside_servers(within(here, memory), model.parts)
    answer = fit(model, settings, machine=machine, ledger=session.ledger, engine=session.lab)
    with redirect_stdout(sys.stderr):
        if tells_idle_gpu and answer.dry_run and leaves_gpu_idle(machine, answer.dry_run):
            warn_idle_gpu(machine)
        if answer.verdict == "does_not_fit":
            print_fit(answer, [])
        elif answer.verdict == "tight":
            print(verdict_sentence(answer.placement, answer.margin.fraction))
    return answer


def within(machine: Machine, memory: str | None) -> Machine:
    """The machine, of which no more than `memory` may be used."""
    if memory is None:
        return machine
    limit = parse_bytes(memory)
    devices = tuple(replace(d, free_bytes=min(d.usable_bytes, limit)) for d in machine.devices)
    ram = replace(machine.memory, available_bytes=min(machine.memory.available_bytes, limit))
    return replace(machine, memory=ram, devices=devices)


def mode_for(model: Model, chat_template: str | None) -> Mode:
    """How the server of `model` is run; that a model was never taught to chat is said on stderr.

    Raises ModelUnknown for a model that llama.cpp's server cannot run, and Misuse for a template
    that is none, or not wanted.
    """
    purpose = purpose_of(model)
    if purpose not in {"text", "embedding", "reranker"}:
        raise ModelUnknown(
            "{path}: is {what}; llama.cpp's server does not run such models: choose another one.",
            path=model.path,
            what=_kind(purpose),
        )
    if purpose != "text":
        if chat_template:
            raise Misuse(
                "--chat-template is for models that chat; {path} is {what}.",
                path=model.path,
                what=_kind(purpose),
            )
        return Mode(gives="embedding" if purpose == "embedding" else "reranker")
    template = named_template(chat_template) if chat_template else None
    if template is None and chat_template_in(model.meta) is None:
        print(
            "hakaru: "
            + say(
                "{path} has no chat template: a base model, which continues texts. Conversations "
                "are written as ChatML, which it was not taught; "
                "ask it for completions (/v1/completions), or name its format: --chat-template "
                "NAME or FILE.",
                path=model.path.name,
            ),
            file=sys.stderr,
        )
    return Mode(template=template)


def needs_text(
    model: Model, command: str, *, tasks: bool = False, chat_template: str | None = None
) -> None:
    """Raises Misuse where `command` wants text of a model that gives none, or tasks are to be asked
    of one that was never taught to chat, and ModelUnknown as `mode_for` does.
    """
    purpose = purpose_of(model)
    if purpose in {"embedding", "reranker"}:
        raise Misuse(
            "{path}: is {what}: it gives no text, so hakaru {command} has nothing to ask or to "
            "measure; it can be served: hakaru serve {path}",
            path=model.path,
            what=_kind(purpose),
            command=command,
        )
    if purpose != "text":
        mode_for(model, None)
    if tasks and chat_template is None and chat_template_in(model.meta) is None:
        raise Misuse(
            "{path}: has no chat template, so tasks, which are asked as conversations, would "
            "measure the wrong format and not the model; "
            "name its format with --chat-template NAME or FILE, or leave --tasks out.",
            path=model.path,
        )


def _kind(purpose: Purpose) -> str:
    return {
        "text": say("a language model"), "embedding": say("an embedding model"),
        "reranker": say("a reranker"), "encoder-decoder": say("an encoder-decoder model"),
        "diffusion": say("a diffusion model"), "speech": say("a speech decoder"),
    }[purpose]  # fmt: skip
