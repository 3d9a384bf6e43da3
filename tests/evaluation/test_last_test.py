"""The last test of a file is remembered under the file's hash."""

from pathlib import Path

from hakaru.evaluation import losses
from hakaru.evaluation.divergence import identical
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.last_test import last_test, remember_test
from hakaru.ledger import Ledger

F16, Q8_0 = ("f16", "f16"), ("q8_0", "q8_0")


def test_the_last_test_is_the_one_that_is_told(tmp_path: Path) -> None:
    """A later test of the same file takes its place; another KV cache is another test."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert last_test(ledger, "a", F16) is None
    for tier, verdict in (("balanced", "pass"), ("transparent", "fail")):
        tested = losses.Tested(
            quality=identical(),
            judgement=Judgement("pass" if verdict == "pass" else "fail"),
            domains=[],
        )
        remember_test(ledger, "a", F16, tested, tier=tier, reference="large.gguf")
    told = last_test(ledger, "a", F16)
    assert told
    assert (told.tier, told.verdict, told.reference) == ("transparent", "fail", "large.gguf")
    assert told.kld_mean == identical().kld_mean
    assert last_test(ledger, "a", Q8_0) is last_test(ledger, "b", F16) is None
