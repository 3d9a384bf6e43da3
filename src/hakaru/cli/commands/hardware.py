"""`hakaru hardware`."""

from dataclasses import dataclass

from hakaru.cli.output import next_step, print_json, print_text
from hakaru.hardware.probe import probe_machine
from hakaru.hardware.spoken import describe


@dataclass(frozen=True, kw_only=True)
class HardwareOptions:
    """`hakaru hardware`."""

    json: bool


def run(options: HardwareOptions) -> int:
    """Print this machine."""
    machine = probe_machine()
    if options.json:
        print_json({"schema": "hakaru.hardware/1", **machine.as_json()})
        return 0
    print_text("\n".join(describe(machine)))
    next_step("hakaru up")
    return 0
