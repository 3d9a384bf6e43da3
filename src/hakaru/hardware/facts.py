"""Facts of the catalogue about accelerators whose name or PCI number a driver tells."""

from hakaru.hardware.lookup import Row, find_rows, table


def known_bandwidth(name: str, total_bytes: int | None = None) -> float | None:
    """Memory bandwidth in GB/s of the accelerator called `name`. Of several products of that name,
    the one with about `total_bytes` of memory counts. None if the catalogue does not tell exactly
    one figure.
    """
    rows = list(find_rows(name).rows)
    if total_bytes is not None and len(rows) > 1:
        rows = _of_size(rows, total_bytes) or rows
    bandwidth = {row["bandwidth_gb_s"] for row in rows}
    return bandwidth.pop() if len(bandwidth) == 1 else None


def known_rate(name: str) -> float | None:
    """The FP16 rate of the accelerator called `name` in TFLOP/s, or None. By this rate the faster
    of two cards is told.
    """
    return next((row["fp16_tflops"] for row in find_rows(name).rows if row["fp16_tflops"]), None)


def name_by_pci(number: str, total_bytes: int | None) -> str | None:
    """The name of the accelerator with this vendor and PCI number, such as `amd:0x744c`. Of several
    products with that number, the one with about `total_bytes` of memory; None if several remain.
    """
    rows = [row for row in table() if number in row.get("pci", ())]
    if total_bytes is not None:
        rows = _of_size(rows, total_bytes)
    return rows[0]["name"] if len(rows) == 1 else None


def _of_size(rows: list[Row], total_bytes: int) -> list[Row]:
    """The products with about `total_bytes` of memory."""
    return [
        row
        for row in rows
        if row["memory_gib"] and abs(row["memory_gib"] * 2**30 / total_bytes - 1) < 0.1
    ]
