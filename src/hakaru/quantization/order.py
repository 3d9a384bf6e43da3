"""What a person asks of a quantized file, before anything is read."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, field
from msgspec.structs import asdict

from hakaru.errors import Misuse
from hakaru.evaluation.tiers import tier_named
from hakaru.memory.context import Context, any_settings_for
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.models.presets import preset_named
from hakaru.places import check_place
from hakaru.quantization.build import is_mix
from hakaru.quantization.journal import journal_path
from hakaru.quantization.pins import parse_pin
from hakaru.quantization.probes import Effort
from hakaru.quantization.writer import check_free
from hakaru.units import size_in_bytes

NOT_IN_DIGEST: Final = {"overwrite", "output", "dry_run"}
"""Fields that change neither what is measured nor what is written."""


class Order(Struct, frozen=True, kw_only=True):
    """One of `preset`, `bpw`, `size`, `fit` and `tier` is given; the fields are those of
    `quantize`, whose `bits` are a preset here. A `preset` may also be the name of a mix that is
    known, such as `mix-1f2e3d4c`.
    """

    preset: str | None = None
    bpw: str | None = None
    size: str | int | None = None
    fit: bool = False
    tier: str | None = None
    hardware: str | None = None
    min_tokens_per_s: float | None = None
    effort: Effort = "standard"
    importance: str | None = None
    pins: tuple[str, ...] = ()
    split: str | int | None = None
    output: Path | None = None
    overwrite: bool = False
    dry_run: bool = False
    context: Context = field(default_factory=Context)

    def check(self) -> None:
        """Raises Misuse for what is wrong whatever the model, before anything is read."""
        targets = (self.preset, self.bpw, self.size, self.tier)
        if sum(target is not None for target in targets) + self.fit != 1:
            raise Misuse(
                "name one target: `bits`, `preset`, `bpw`, `size`, `fit` or `tier`; "
                "`bits` 4 is usual."
            )
        if self.preset:
            _type_named(self.preset)
            budgets = {"min_tokens_per_s": self.min_tokens_per_s is not None, "pin": self.pins}
            for name, is_given in budgets.items():
                if is_given:
                    raise Misuse(
                        "{field} goes with a budget: `bpw`, `size`, `fit` or `tier`.",
                        field=f"`{name}`",
                    )
        if self.min_tokens_per_s is not None and self.min_tokens_per_s <= 0:
            raise Misuse(
                "`min_tokens_per_s` is {found:g}, expected more than 0.",
                found=self.min_tokens_per_s,
            )
        for n_bytes in (self.size, self.split):
            if n_bytes is not None:
                size_in_bytes(n_bytes)
        for pin in self.pins:
            parse_pin(pin)
        if self.tier:
            tier_named(self.tier)
        if self.output:
            check_place("`output`", self.output)
            free = self.overwrite or journal_path(self.output).exists()
            check_free(self.output, overwrite=free)

    @property
    def name(self) -> str:
        """The end of the file's name where no `output` is given."""
        if self.preset:
            return _type_named(self.preset)
        return str(self.bpw or self.size or self.tier or "fit")

    @property
    def split_bytes(self) -> int | None:
        """The bytes of each part; None for one file."""
        return None if self.split is None else size_in_bytes(self.split)

    def settings(self, model: Model) -> ContextSettings:
        """How the file is to be served."""
        return any_settings_for(model, **self.context)

    def digest(self, source: Model) -> str:
        """The digest of all that decides the file: an order with the same digest goes on where an
        interrupted one stopped. Another version of hakaru may have other fields and so another
        digest.
        """
        kept: Mapping[str, object] = {
            name: value for name, value in asdict(self).items() if name not in NOT_IN_DIGEST
        }
        parts = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in source.parts]
        text = json.dumps([parts, sorted(kept.items())], default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def _type_named(name: str) -> str:
    """The canonical name of a preset, or a mix's name as it stands. Raises Misuse."""
    return name if is_mix(name) else preset_named(name)
