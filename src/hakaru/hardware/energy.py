"""Energy that the machine says it has spent: its processors' packages (RAPL) and its NVIDIA GPUs
(NVML).

Both count everything that runs there, so a figure belongs to a machine on which nobody else
computes. RAPL is Intel's and AMD's counter in microjoules (Linux, Documentation/power/powercap); it
often needs root to be read, and wraps around. Left out: main memory, fans and power supplies, and
every machine that does not tell.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hakaru.hardware.nvidia import nvml

RAPL: Final = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class Energy:
    """A reading of all counters of energy."""

    joules: dict[str, float]  # so far, by the name of the counter
    wraps: dict[str, float]  # the value at which that counter begins again at 0; infinite: never

    def since(self, before: "Energy") -> float | None:
        """Joules spent since `before`; None where no counter can be read."""
        spent = [
            now - before.joules[name] + (self.wraps[name] if now < before.joules[name] else 0.0)
            for name, now in self.joules.items()
            if name in before.joules
        ]
        return sum(spent) if spent else None


def read_energy(rapl: Path = RAPL) -> Energy:
    """A reading now."""
    joules, wraps = _nvidia(), dict[str, float]()
    wraps |= dict.fromkeys(joules, float("inf"))
    for zone in sorted(rapl.glob("*-rapl:[0-9]*")):
        with suppress(OSError, ValueError):
            if (
                (zone / "name").read_text().startswith("package")
            ):  # not its parts, nor psys, which holds packages
                wraps[zone.name] = int((zone / "max_energy_range_uj").read_text()) / 1e6
                joules[zone.name] = int((zone / "energy_uj").read_text()) / 1e6
    return Energy(joules, wraps)


def _nvidia() -> dict[str, float]:
    import pynvml

    found = {}
    with nvml() as handles:
        for handle in handles:
            found[str(pynvml.nvmlDeviceGetUUID(handle))] = (
                pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
            )
    return found
