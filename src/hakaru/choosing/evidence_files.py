"""Where the evidence of decisions lies: read apart from `evidence`, for whoever writes none."""

from collections.abc import Iterator

from hakaru.places import data_dir


def evidence_texts() -> Iterator[str]:
    """The evidence files of this machine, the latest first; what cannot be read is left out. Raises
    MachineError for a home that is read-only.
    """
    for path in sorted(data_dir("evidence").glob("*.json"), reverse=True):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        yield text
