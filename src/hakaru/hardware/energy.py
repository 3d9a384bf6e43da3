"""Energy that the machine says it has spent: its processors' packages (RAPL) and its NVIDIA GPUs
(NVML).

Both counters hold everything that runs, so a figure is true of a machine on which nobody else
computes. RAPL is Intel's and AMD's counter in microjoules (Linux, Documentation/power/powercap);
the counter wraps around, and often only root may read it. Left out: main memory, fans and power
supplies, and every machine that has no counter.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.hardware.nvidia import nvml

RAPL: Final = Path("/sys/class/powercap")


class Energy(Struct, frozen=True):
    """A reading of all counters of energy."""

    joules: dict[str, float]  # so far, by the name of the counter
    wraps: dict[str, float]  # joules at which that counter begins again at 0; infinite: never

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
    joules = _nvidia()
    wraps = dict.fromkeys(joules, float("inf"))
    for zone in sorted(rapl.glob("*-rapl:[0-9]*")):
        with suppress(OSError, ValueError):
            # a package: not a part of one, nor psys, which holds packages
            if (zone / "name").read_text().startswith("package"):
                wraps[zone.name] = int((zone / "max_energy_range_uj").read_text()) / 1e6
                joules[zone.name] = int((zone / "energy_uj").read_text()) / 1e6
    return Energy(joules, wraps)


def _nvidia() -> dict[str, float]:
    """Joules so far, by the GPU's UUID."""
    import pynvml

    joules = {}
    with nvml() as handles:
        for handle in handles:
            millijoules = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            joules[str(pynvml.nvmlDeviceGetUUID(handle))] = millijoules / 1e3
    return joules
