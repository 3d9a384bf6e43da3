"""`hakaru quantize` to a budget: never over, honest about what it lost, and one sentence for what
cannot be.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from hakaru.cli import run
from hakaru.cli.tell.quantize import role_of
from hakaru.evaluation.judgement import Judgement
from hakaru.formats.gguf import read_header
from hakaru.models.model import read_model
from hakaru.quantization.choices import TYPES
from hakaru.quantization.study.study import SAMPLINGS
from hakaru.testing import tiny_shape, write_tiny_llama
from little_effort import FEW, LITTLE, few_windows

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in F16 whose rows divide by 256, so that every type applies."""
    return write_tiny_llama(tmp_path_factory.mktemp("source") / "tiny.gguf", tiny_shape(n_layer=4))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data directory for all commands here, so that each measures only what no other has
    measured.
    """
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def shared_home(own_places: None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The places of `own_places`, but for the data directory; little text, and few types."""
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    monkeypatch.setitem(SAMPLINGS, "quick", LITTLE)
    monkeypatch.setattr("hakaru.evaluation.losses.gather_windows", few_windows)
    monkeypatch.setattr("hakaru.quantization.study.type_errors.TYPES", FEW)


def asked(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    code = run(["quantize", *(str(a) for a in arguments), "--effort", "quick", "--json"])
    said = capsys.readouterr()
    assert said.out.startswith("{") and said.out.rstrip().endswith("}"), said.err
    return code, json.loads(said.out)


@pytest.fixture
def all_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that take seconds of every process."""
    monkeypatch.setattr("hakaru.quantization.study.type_errors.TYPES", TYPES)


@pytest.mark.usefixtures("all_types")
def test_a_budget_is_kept_to_the_byte_and_nearly_filled(
    capsys: pytest.CaptureFixture[str], source: Path, tmp_path: Path
) -> None:
    """The file is what was planned, at most the budget; its types are the recipe's; the race and
    the measurement are told.
    """
    out = tmp_path / "small.gguf"
    code, data = asked(capsys, source, "--bpw", "5", "-o", out)
    assert (code, data["schema"], data["written"]) == (0, "hakaru.recipe/1", True)
    size = out.stat().st_size
    assert size == data["bytes"] <= data["budget_bytes"]
    written = {t.name: t.type.name for t in read_header(out).tensors}
    assert written == {t["name"]: t["type"] for t in data["tensors"]}
    assert data["best_preset"]["bytes"] <= data["budget_bytes"]
    won = data["type"] == "mix"
    assert won == (data["ratio_to_preset"]["high"] < 1)
    assert won or data["type"] == data["best_preset"]["type"]
    assert (
        data["measured_kld"]["low"] <= data["measured_kld"]["value"] <= data["measured_kld"]["high"]
    )
    metadata = read_header(out).metadata
    assert metadata["hakaru.recipe.schema"] == "hakaru.recipe/1"
    assert len(str(metadata["hakaru.recipe.text.calibration"])) == 64


def test_a_dry_run_plans_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], source: Path, tmp_path: Path
) -> None:
    """With pins kept, and within 0.2% of the budget."""
    out = tmp_path / "small.gguf"
    size = f"{int(source.stat().st_size * 0.4)}"
    code, data = asked(
        capsys, source, "--size", size, "--pin", r"blk\.0\.=Q8_0", "--dry-run", "-o", out
    )
    assert (code, data["written"], data["measured_kld"], out.exists()) == (0, False, None, False)
    assert 0.99 * int(size) <= data["bytes"] <= int(size)
    first = {
        t["type"]
        for t in data["tensors"]
        if t["name"].startswith("blk.0.") and t["name"] in _matrices(source)
    }
    assert first == {"Q8_0"}


@pytest.mark.alone
def test_a_speed_is_measured_and_kept(
    capsys: pytest.CaptureFixture[str], source: Path, tmp_path: Path
) -> None:
    """The mix's decoding through the server is at least what was asked for; what nothing reaches is
    exit code 3, and nothing written.
    """
    out = tmp_path / "small.gguf"
    code, data = asked(capsys, source, "--bpw", "5", "--min-speed", "1", "-o", out)
    assert (code, data["written"]) == (0, True)
    assert data["decode_tokens_per_s"]["source"] == "measured"
    assert data["decode_tokens_per_s"]["value"] >= 1
    never = tmp_path / "never.gguf"
    assert (
        run(
            [
                "quantize",
                str(source),
                "--bpw",
                "5",
                "--min-speed",
                "1000000",
                "--effort",
                "quick",
                "-o",
                str(never),
            ]
        )
        == 3
    )
    assert not never.exists()


def test_a_dry_run_of_a_stranger_measures_no_loss(
    capsys: pytest.CaptureFixture[str],
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stands on the prior and says so; every tensor has its reason; the speed is the pace of the
    machine.
    """
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("hakaru.hardware.busy.Others.matter", False)  # else no pace is remembered

    def no(*_: object, **__: object) -> None:
        raise AssertionError("a glance measures no loss")

    for name in ("probe", "importance", "compare", "answer"):
        monkeypatch.setattr(f"hakaru.engine.lab.Lab.{name}", no)
    code, data = asked(
        capsys,
        source,
        "--bpw",
        "5.5",
        "--pin",
        r"blk\.1\.attn_q=Q8_0",
        "--dry-run",
        "-o",
        tmp_path / "small.gguf",
    )
    assert (code, data["basis"]) == (0, "prior")
    assert (
        data["predicted_kld"]["low"]
        < data["predicted_kld"]["value"]
        < data["predicted_kld"]["high"]
    )
    assert data["decode_tokens_per_s"]["source"] == "computed"
    why = {t["name"]: t["why"] for t in data["tensors"]}
    assert (why["blk.1.attn_q.weight"], why["output_norm.weight"], why["output.weight"]) == (
        "pinned",
        "kept",
        "sensitive",
    )
    assert sum(t["bytes"] for t in data["tensors"]) <= data["bytes"]
    assert (
        run(
            [
                "quantize",
                str(source),
                "--bpw",
                "5.5",
                "--dry-run",
                "-o",
                str(tmp_path / "small.gguf"),
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert all(name in said for name in why)
    assert "Nothing of this model was measured yet" in said


def test_every_device_is_filled(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Two cards of unlike room: each holds what it can, by the planner's arithmetic."""
    cards, deep = (
        "474MiB + 472MiB",
        write_tiny_llama(tmp_path / "deep.gguf", tiny_shape(n_layer=16)),
    )
    code, data = asked(
        capsys,
        deep,
        "--fit",
        "--hardware",
        cards,
        "--context",
        "256",
        "--dry-run",
        "-o",
        tmp_path / "small.gguf",
    )
    assert code == 0
    filled = [device["weights_bytes"] / device["room_bytes"] for device in data["devices"]]
    assert len(filled) == 2
    assert all(0.98 < part <= 1 for part in filled), data["devices"]


def test_a_preset_takes_importance_data(
    capsys: pytest.CaptureFixture[str], source: Path, tmp_path: Path
) -> None:
    """Collected where the preset needs it or somebody asks; another file than without."""
    files: list[Path] = []
    for type_, options in (("IQ2_XS", []), ("Q4_K_M", ["--importance", "auto"]), ("Q4_K_M", [])):
        files.append(tmp_path / f"{len(files)}.gguf")
        code, data = asked(capsys, source, "--type", type_, *options, "-o", files[-1])
        assert (code, data["written"], data["file_bytes"]) == (0, True, files[-1].stat().st_size)
    assert {t.type.name for t in read_header(files[0]).tensors} >= {"IQ2_XS"}
    assert files[1].stat().st_size == files[2].stat().st_size
    assert files[1].read_bytes() != files[2].read_bytes()


def test_the_table_counts_no_layers_matrix_as_the_output() -> None:
    """`blk.0.attn_output.weight` ends like `output.weight`, and is another role."""
    assert role_of("blk.12.attn_output.weight") == "attn_output.weight"
    assert role_of("output.weight") == "output.weight"


def _matrices(path: Path) -> set[str]:
    return {t.name for t in read_header(path).tensors if len(t.shape) > 1}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--bpw", "1"], 3, "this model's files can have"),
        (["--bpw", "20"], 2, "ask for less"),
        (["--bpw", "many"], 2, "'many' is no number of bits per weight"),
        (["--bpw", "5", "--size", "1MiB"], 2, "name one target"),
        ([], 2, "name one target: --bits, --type, --bpw, --size, --fit or --quality"),
        (["--bits", "4", "--type", "Q4_0"], 2, "name one target: --bits, --type"),
        (["--bits", "4.5"], 2, "--bits is '4.5', expected one of 2, 3, 4, 5, 6, 8, 16, 32; for"),
        (["--type", "Q8_0", "--min-speed", "5"], 2, "--min-speed goes with a budget"),
        (["--type", "Q8_0", "--pin", "ffn=Q4_0"], 2, "--pin goes with a budget"),
        (["--type", "IQ2_XS", "--importance", "none"], 2, "needs importance data"),
        (["--type", "Q4_0", "--importance", "missing.gguf"], 4, "missing.gguf"),
        (["--bpw", "5", "--min-speed", "0"], 2, "--min-speed"),
        (["--bpw", "5", "--pin", "nothing=Q8_0"], 2, "matches no tensor"),
        (["--bpw", "5", "--pin", "Q8_0"], 2, "expected REGEX=TYPE"),
        (["--quality", "splendid"], 2, "--quality is 'splendid'"),
        (["--bpw", "5", "--importance", "missing.gguf"], 4, "missing.gguf"),
        (["--fit"], 2, "fits as it is"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
    source: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    """The right exit code, nothing on stdout, nothing written."""
    out = tmp_path / "small.gguf"
    assert run(["quantize", str(source), *arguments, "--effort", "quick", "-o", str(out)]) == code
    said = capsys.readouterr()
    last = said.err.strip().splitlines()[-1]
    assert words in last
    assert (said.out, out.exists()) == ("", False)


def test_a_tier_is_aimed_at_and_judged(
    capsys: pytest.CaptureFixture[str], source: Path, tmp_path: Path
) -> None:
    """The file is smaller than the source and keeps the tier, as `hakaru test` says, too; a lower
    tier takes no more bytes.
    """
    sizes = []
    for tier in ("compact", "extreme"):
        out = tmp_path / f"{tier}.gguf"
        code, data = asked(capsys, source, "--quality", tier, "-o", out)
        assert (code, data["tier"]) == (1 if data["verdict"] == "fail" else 0, tier)
        assert data["verdict"] == "pass"
        sizes.append(data["bytes"])
        assert (
            run(
                [
                    "test",
                    str(out),
                    "--reference",
                    str(source),
                    "--quality",
                    tier,
                    "--no-speed",
                    "--json",
                ]
            )
            == 0
        )
        tested = json.loads(capsys.readouterr().out)
        assert (tested["verdict"], tested["quality"]["kld_mean"]) == (
            data["verdict"],
            data["measured_kld"],
        )
    assert sizes[1] <= sizes[0] < source.stat().st_size


def test_a_file_that_breaks_its_tier_is_exit_code_1(
    capsys: pytest.CaptureFixture[str],
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is written, since it was made, but nobody calls it good."""
    monkeypatch.setattr(
        "hakaru.evaluation.losses.judge", lambda *_: Judgement("fail", broken="top1_agreement")
    )
    out = tmp_path / "bad.gguf"
    code, data = asked(capsys, source, "--quality", "extreme", "-o", out)
    assert (code, data["verdict"], data["broken"], out.exists()) == (
        1,
        "fail",
        "top1_agreement",
        True,
    )


def test_without_importance_no_type_is_chosen_that_needs_it(
    capsys: pytest.CaptureFixture[str], source: Path, tmp_path: Path
) -> None:
    """At a budget where such types would be the best ones."""
    out = tmp_path / "small.gguf"
    code, data = asked(capsys, source, "--bpw", "3.6", "--importance", "none", "-o", out)
    assert (code, out.exists()) == (0, True)
    assert not {t["type"] for t in data["tensors"] if t["name"].startswith("blk.")} & {
        "IQ2_S",
        "IQ2_XS",
        "IQ2_XXS",
        "IQ3_XXS",
    }


@pytest.mark.engine
def test_a_preset_that_the_file_already_has_is_told_as_the_source_itself(
    capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    """Nothing is quantized twice, so nothing of that is said; the file has the same weights."""
    small = tmp_path / "small.gguf"
    assert run(["quantize", str(tiny), "--type", "Q5_K_M", "-o", str(small)]) == 0
    assert "the source itself" not in capsys.readouterr().out
    again = tmp_path / "again.gguf"
    assert run(["quantize", str(small), "--type", "Q5_K_M", "-o", str(again)]) == 0
    out = capsys.readouterr().out
    assert "That is the source itself, bit for bit" in out
    assert "loses twice" not in out
    first, second = read_model(small), read_model(again)
    assert [(t.name, t.type) for t in first.tensors] == [(t.name, t.type) for t in second.tensors]
    assert small.read_bytes()[first.data_offset :] == again.read_bytes()[second.data_offset :]
    assert (
        run(["quantize", str(small), "--type", "Q4_K_M", "-o", str(tmp_path / "other.gguf")]) == 0
    )
    assert "the source itself" not in capsys.readouterr().out


def test_a_pin_is_kept_also_where_a_preset_is_as_good(
    capsys: pytest.CaptureFixture[str], source: Path, tmp_path: Path
) -> None:
    """A model of random weights loses nothing at any type, so no mix is proven better than a
    preset; but no preset has the type that was pinned.
    """
    out = tmp_path / "small.gguf"
    code, data = asked(capsys, source, "--bpw", "7", "--pin", r"^token_embd=Q4_K", "-o", out)
    assert (code, data["written"]) == (0, True)
    (embedding,) = (t for t in read_model(out).tensors if t.name == "token_embd.weight")
    assert embedding.type.name == "Q4_K"
