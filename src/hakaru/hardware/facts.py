"""Facts of the catalogue about accelerators whose name or PCI number a driver tells."""

from hakaru.hardware.lookup import Row, find_rows, table
from hakaru.hardware.machine import Rates


def known_bandwidth(name: str, total_bytes: int | None = None) -> float | None:
    """Memory bandwidth in GB/s of the accelerator called `name`. Of several products of that name,
    the one with about `total_bytes` of memory counts. None if the catalogue does not tell exactly
    one figure.
    """
    bandwidth = {row["bandwidth_gb_s"] for row in _rows_of(name, total_bytes)}
    return bandwidth.pop() if len(bandwidth) == 1 else None


def known_rates(name: str, total_bytes: int | None = None) -> Rates | None:
    """How fast the accelerator called `name` computes, found as by `known_bandwidth`."""
    rates = {rates_of(row) for row in _rows_of(name, total_bytes)}
    return rates.pop() if len(rates) == 1 else None


def rates_of(row: Row) -> Rates:
    """The rates of a row of the catalogue."""
    return Rates(fp16_tflops=row["fp16_tflops"], fp32_tflops=row["fp32_tflops"], tdp_w=row["tdp_w"])


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


def _rows_of(name: str, total_bytes: int | None) -> list[Row]:
    rows = list(find_rows(name).rows)
    if total_bytes is not None and len(rows) > 1:
        rows = _of_size(rows, total_bytes) or rows
    return rows


def _of_size(rows: list[Row], total_bytes: int) -> list[Row]:
    """The products with about `total_bytes` of memory."""
    return [
        row
        for row in rows
        if row["memory_gib"] and abs(row["memory_gib"] * 2**30 / total_bytes - 1) < 0.1
    ]
