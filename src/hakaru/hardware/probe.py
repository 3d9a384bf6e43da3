"""Looking at the machine we run on."""

import platform

from hakaru.hardware import accelerators, processor
from hakaru.hardware.machine import Machine


def probe_machine() -> Machine:
    """This machine, now. Never raises: what cannot be read is left out."""
    memory = processor.memory()
    devices, silent = accelerators.all_devices(memory)
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cpu=processor.cpu(),
        memory=memory,
        devices=devices,
        silent_devices=silent,
    )
