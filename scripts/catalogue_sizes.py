"""Write the weights of every model of the catalogue at every type into the package; with --check
only say whether the table is up to date.
"""

import json
import sys

from hakaru.memory.compute import is_known
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.selection.catalogue_sizes import TABLE, measured, packed


def main() -> None:
    """Write or compare."""
    table = "".join(line(model) for model in known_models() if is_known(model.shape))
    if "--check" not in sys.argv:
        TABLE.write_text(table, encoding="utf-8")
    elif not TABLE.exists() or TABLE.read_text(encoding="utf-8") != table:
        raise SystemExit(f"{TABLE.name} is out of date: run python scripts/catalogue_sizes.py")


def line(model: KnownModel) -> str:
    """The line of one model: its name, then its sizes by type."""
    row = {type_: packed(one) for type_, one in measured(model).items()}
    return f"{model.id}\t{json.dumps(row, separators=(',', ':'))}\n"


if __name__ == "__main__":
    main()
