"""The ways in which `hakaru serve` serves, one file each: one model, several models, a model over a
cluster, before servers elsewhere, and as a service, which is printed. What all are asked is here.
"""

from dataclasses import dataclass
from pathlib import Path

from hakaru.cli.options import BackendOptions, HandOptions, ServedContextOptions, ServingOptions


@dataclass(frozen=True, kw_only=True)
class ServeOptions(ServedContextOptions, HandOptions, ServingOptions, BackendOptions):
    """`hakaru serve`."""

    models: tuple[str, ...]
    memory: str | None
    chat_template: str | None
    idle: float | None  # seconds
    generate: str | None
    cluster: Path | None
    trust_network: bool
    restart: bool
    dry_run: bool
    json: bool

    @property
    def are_several(self) -> bool:
        """Whether models come and go while the server runs."""
        return len(self.models) > 1 or self.idle is not None
