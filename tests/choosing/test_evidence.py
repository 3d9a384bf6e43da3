"""A decision is saved, and the last one is found again."""

import json
from pathlib import Path

from hakaru.choosing.evidence import last_choice, save_evidence


def test_the_last_choice_is_found_if_its_file_is_there(tmp_path: Path) -> None:
    """Evidence of a decision without a choice, or of a file that is gone, is passed over."""
    model = tmp_path / "m.gguf"
    model.touch()
    save_evidence("a", {"chosen": {"path": str(model)}})
    save_evidence("b", {"chosen": {"path": str(tmp_path / "gone.gguf")}})
    written = save_evidence("c", {"chosen": None})
    assert json.loads(written.read_text())["evidence"] == str(written)
    assert last_choice() == model
