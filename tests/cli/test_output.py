"""What is printed, and to whom."""

import io
import sys

import pytest

from hakaru.cli.output import show_table
from hakaru.cli.table import Column, Table


def test_a_reader_who_leaves_within_a_table_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """`hakaru test … | head -1` ends as `--json | head -1` does: rich would end it with exit code
    1.
    """

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    with pytest.raises(BrokenPipeError):
        show_table(Table([Column("a"), Column("b")], [["1", "2"]]))
