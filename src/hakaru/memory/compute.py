"""Compute buffers (being replaced)."""

from dataclasses import dataclass

from hakaru.memory.footprint import ContextSettings, compute_bytes
from hakaru.models.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCompute:
    """Compute buffers of a run over several devices."""

    host_bytes: int
    first_bytes: int
    middle_bytes: int
    last_bytes: int

    @staticmethod
    def unknown() -> "DeviceCompute":
        """Nothing known."""
        return DeviceCompute(host_bytes=0, first_bytes=0, middle_bytes=0, last_bytes=0)

    def of(self, index: int, n_devices: int) -> int:
        """Bytes on the device of that index."""
        return self.last_bytes if index == n_devices - 1 else self.middle_bytes if index else self.first_bytes


def device_compute(
    shape: Shape, settings: ContextSettings, *, n_devices: int, all_layers: bool, experts_on_host: bool
) -> DeviceCompute | None:
    """Bytes per device."""
    whole = compute_bytes(shape, settings)
    if n_devices == 0:
        return DeviceCompute(host_bytes=whole, first_bytes=0, middle_bytes=0, last_bytes=0)
    row, mask = 4 * shape.n_embd * settings.n_tokens, 2 * settings.n_cells * settings.n_tokens
    if n_devices == 1:
        host = 2 * row + mask if all_layers else whole
        return DeviceCompute(host_bytes=host, first_bytes=whole - row, middle_bytes=whole - row, last_bytes=whole - row)
    first = whole - row + 3 * (row + mask) + row
    return DeviceCompute(
        host_bytes=4 * (row + mask) + row, first_bytes=first, middle_bytes=first + 4 * row, last_bytes=first + 4 * row
    )
