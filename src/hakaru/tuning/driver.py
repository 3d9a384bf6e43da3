"""What a GPU's driver takes for a process beside the engine's buffers: its context, its kernels, its workspaces.

After a real load NVML tells what the process takes on each GPU, and the engine's log what its buffers take; the rest is the
driver's. It is remembered by the GPU's name, and takes the place of the assumed figure in every later plan for such a GPU.
"""

from collections.abc import Iterable, Mapping

from hakaru.ledger import Ledger


def remember_driver(ledger: Ledger, taken: Mapping[str, list[int]], buffers_bytes: int) -> None:
    """Store the driver's bytes per GPU. `taken`: by GPU name what the process takes on each of that name; `buffers_bytes`: the
    engine's buffers over all of them. GPUs of one process share the rest evenly: the log's names do not tell which is which.
    """
    n_devices = sum(len(each) for each in taken.values())
    rest = sum(sum(each) for each in taken.values()) - buffers_bytes
    for name in taken:
        if rest > 0:
            ledger.remember("driver", {"device": name}, {"bytes": rest // n_devices})


def known_driver_bytes(ledger: Ledger, names: Iterable[str]) -> dict[str, int]:
    """The driver's bytes for those of the named GPUs on which a model was loaded before."""
    found = {name: ledger.recall("driver", {"device": name}) for name in set(names)}
    return {name: int(row["bytes"]) for name, row in found.items() if row}
