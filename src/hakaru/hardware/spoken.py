"""A machine in words: what `hakaru hardware` tells, and every verb that measures."""

import re

from hakaru.hardware.machine import Cpu, Machine
from hakaru.language import say
from hakaru.units import alike, format_bytes


def describe_briefly(machine: Machine) -> list[str]:
    """The machine in two lines: what there is, and what that means for models."""
    cpu = machine.cpu
    gpus = [
        say("{name} ({free} free)", name=device.name, free=format_bytes(device.usable_bytes))
        for device in machine.accelerators
        if not device.unified or machine.has_gpu
    ]
    parts = [
        *(gpus or [say("no GPU")]),
        say("{n} cores of {model}", n=cpu.threads, model=_short(cpu.model)),
        say("{free} of RAM free", free=format_bytes(machine.memory.available_bytes)),
    ]
    return [
        say("Machine  {parts}", parts=say(", ").join(parts)),
        say(
            "         class {size_class}: {meaning}",
            size_class=class_name(machine.size_class),
            meaning=_briefly(machine),
        ),
    ]


def _briefly(machine: Machine) -> str:
    models = _models(machine.size_class)
    if machine.has_gpu:
        return models
    return say("{models}; twice the size, half the speed", models=models)


def _short(processor: str) -> str:
    """The name of a processor without what says nothing. Example: `Intel(R) Xeon(R) Platinum 8481C
    CPU @ 2.70GHz` -> `Intel Xeon Platinum 8481C`.
    """
    name = re.sub(r"\((?:R|TM|C)\)|\bCPU\b|\bProcessor\b|@.*|\d+-Core", "", processor)
    return " ".join(name.split()) or processor


def describe(machine: Machine) -> list[str]:
    """The machine in a few lines."""
    cpu, memory = machine.cpu, machine.memory
    available, total = alike(memory.available_bytes, memory.total_bytes)
    lines = [
        say(
            "Processor  {model}, {cores} cores usable of {logical}",
            model=cpu.model,
            cores=cpu.usable_cores,
            logical=cpu.logical_cores,
        ),
        say(
            "           {sets}",
            sets=" ".join(cpu.instruction_sets) or say("no vector instructions known"),
        ),
        say("Threads    {n}, for the lab and the server alike{why}", n=cpu.threads, why=_why(cpu)),
        say("RAM        {available} available of {total}", available=available, total=total),
    ]
    if memory.limit_bytes:
        lines.append(
            say("           this container may use {limit}", limit=format_bytes(memory.limit_bytes))
        )
    for device in machine.devices:
        if device not in machine.accelerators:
            lines.append(
                say(
                    "GPU        {name}: shares the RAM, and is not used beside another GPU",
                    name=device.name,
                )
            )
            continue
        free, total = alike(device.free_bytes or 0, device.total_bytes)
        lines.append(
            say(
                "GPU        {name}: {free} free of {total} ({source})",
                name=device.name,
                free=free if device.free_bytes is not None else "?",
                total=total,
                source=device.source,
            )
        )
    lines += [
        say("GPU        {name}: not planned with ({reason})", name=d.name, reason=d.reason)
        for d in machine.silent_devices
    ]
    if not machine.devices and not machine.silent_devices:
        lines.append(say("GPU        none found; models run on the processor"))
    lines.append(
        say(
            "Class      {size_class}: {meaning}",
            size_class=class_name(machine.size_class),
            meaning=_meaning(machine),
        )
    )
    return lines


def _why(cpu: Cpu) -> str:
    """What lowers the number of threads below that of the cores."""
    if cpu.quota is not None and cpu.threads == max(1, int(cpu.quota)):
        return say(" (this container has the time of {quota:.3g} processors)", quota=cpu.quota)
    return say(" (one for each performance core)") if cpu.threads < cpu.usable_cores else ""


def class_name(size_class: str) -> str:
    """The class of a machine or a model in the language in use."""
    return {
        "large": say("large"),
        "medium": say("medium"),
        "small": say("small"),
        "tiny": say("tiny"),
    }[size_class]


def _parameters(size_class: str) -> str:
    """How many parameters a model of this class has."""
    return {
        "large": say("tens of billions of parameters"),
        "medium": say("billions of parameters"),
        "small": say("hundreds of millions of parameters"),
    }[size_class]


def _meaning(machine: Machine) -> str:
    """What the class says of models, and without a GPU, of speed."""
    models = _models(machine.size_class)
    if machine.has_gpu:
        memory = {
            "large": say("20 GB or more"),
            "medium": say("8 to 20 GB"),
            "small": say("4 to 8 GB"),
            "tiny": say("under 4 GB"),
        }[machine.size_class]
        return say("{memory}, {models}", memory=memory, models=models)
    return say(
        "{models}; no GPU, so {n} cores compute every word: twice the size, half the speed",
        n=machine.cpu.threads,
        models=models,
    )


def _models(size_class: str) -> str:
    """The models that a machine of a class takes: those of the class of the same name. Under 4 GB,
    which no class of models is made for, small models go in quantized.
    """
    if size_class == "tiny":
        return say("quantized models of {parameters}", parameters=_parameters("small"))
    parameters = _parameters(size_class)
    if size_class == "small":
        return say("models of {parameters}, quantized up to a few billion", parameters=parameters)
    return say("models of {parameters}", parameters=parameters)
