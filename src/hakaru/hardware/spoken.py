"""A machine in words: what `hakaru hardware` tells, and every verb that measures."""

from hakaru.hardware.machine import Cpu, Machine
from hakaru.language import say
from hakaru.units import format_bytes


def describe(machine: Machine) -> list[str]:
    """The machine in a few lines."""
    cpu, memory = machine.cpu, machine.memory
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
        say(
            "RAM        {available} available of {total}",
            available=format_bytes(memory.available_bytes),
            total=format_bytes(memory.total_bytes),
        ),
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
        free = format_bytes(device.free_bytes) if device.free_bytes is not None else "?"
        lines.append(
            say(
                "GPU        {name}: {free} free of {total} ({source})",
                name=device.name,
                free=free,
                total=format_bytes(device.total_bytes),
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
            size_class=_class_name(machine.size_class),
            meaning=_meaning(machine.size_class),
        )
    )
    return lines


def _why(cpu: Cpu) -> str:
    """What lowers the number of threads below that of the cores."""
    if cpu.quota is not None and cpu.threads == max(1, int(cpu.quota)):
        return say(" (this container has the time of {quota:.3g} processors)", quota=cpu.quota)
    return say(" (one for each performance core)") if cpu.threads < cpu.usable_cores else ""


def _class_name(size_class: str) -> str:
    return {
        "large": say("large"),
        "medium": say("medium"),
        "small": say("small"),
        "tiny": say("tiny"),
    }[size_class]


def _meaning(size_class: str) -> str:
    match size_class:
        case "large":
            return say("20 GB or more, models of tens of billions of parameters")
        case "medium":
            return say("8 to 20 GB, models of billions of parameters")
        case "small":
            return say(
                "4 to 8 GB, models of hundreds of millions of parameters up to a few billions"
            )
        case _:
            return say("under 4 GB, models of hundreds of millions of parameters")
