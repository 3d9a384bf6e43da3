"""`hakaru fit` on named machines, with explanations and pictures, and what it refuses."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from hakaru.cli import run
from hakaru.testing import tiny_shape, write_header_only, write_tiny_projector
from loopback import Loopback
from projectors import gemma3


def answer(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `hakaru fit`, by our arithmetic unless the arguments say
    otherwise.
    """
    source = () if "--source" in arguments else ("--source", "computed")
    code = run(["fit", *(str(a) for a in arguments), *source])
    said = capsys.readouterr()
    return code, said.out, said.err


def json_answer(
    capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, dict[str, Any]]:
    code, out, err = answer(capsys, *arguments, "--json")
    assert err == ""
    return code, json.loads(out)


def test_a_model_that_nobody_has_downloaded_on_a_card_that_nobody_owns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The figures of a real load of Llama 3 8B Q4_K_M on an RTX 4090, and every field that the
    contract names.
    """
    code, data = json_answer(
        capsys,
        "llama-3.1-8b-instruct",
        "--type",
        "Q4_K_M",
        "--hardware",
        "RTX 4090",
        "--context",
        "8192",
        "--max-context",
    )
    assert (code, data["schema"], data["verdict"], data["dry_run"]) == (
        0,
        "hakaru.fit/1",
        "fits",
        None,
    )
    assert set(data["parts"]) == {
        "weights_bytes", "kv_cache_bytes", "compute_bytes", "output_bytes", "overhead_bytes",
        "checkpoints_bytes", "prompts_bytes", "requests_bytes",
    }  # fmt: skip
    (card,) = data["devices"]
    fields = {"name", "capacity_bytes", "free_bytes", "weights_bytes", "kv_cache_bytes",
        "compute_bytes", "overhead_bytes",
              "headroom_bytes", "layers"}  # fmt: skip
    assert fields <= set(card)
    assert card["weights_bytes"] / 2**20 == pytest.approx(4403.49, abs=0.01)
    assert card["headroom_bytes"] == card["free_bytes"] - sum(
        card[k]
        for k in card
        if k.endswith("_bytes") and k not in {"capacity_bytes", "free_bytes", "headroom_bytes"}
    )
    assert data["flags"][-2:] == ["-ngl", "33"]
    assert data["max_context"] > 100_000


@pytest.mark.parametrize(
    ("hardware", "words"),
    [
        ("RTX 3060", "RTX 3060: taken as the one with 12 GB; write 'RTX 3060 8GB' for the other."),
        (
            "Ryzen AI Max+ 395",
            (
                "a model may take 64.0 GiB of its 128 GB (half of the RAM by default; more if set "
                "by hand)."
            ),
        ),
        ("M2 Max 96GB", "(what Metal recommends, interpolated between sizes that were seen)."),
    ],
)
def test_how_a_machine_s_name_was_understood_is_said(
    capsys: pytest.CaptureFixture[str], hardware: str, words: str
) -> None:
    """In print and in JSON; a name that says all is not commented."""
    asked = ("qwen3-0.6b", "--type", "Q8_0", "--hardware")
    assert words in answer(capsys, *asked, hardware)[1]
    assert any(words in note for note in json_answer(capsys, *asked, hardware)[1]["hardware_notes"])
    assert json_answer(capsys, *asked, "RTX 4090")[1]["hardware_notes"] == []


def test_an_explanation_sums_to_the_total(capsys: pytest.CaptureFixture[str]) -> None:
    """In JSON and in print, to the byte."""
    asked = (
        "gemma-3-12b-it",
        "--type",
        "IQ4_XS",
        "--hardware",
        "24GiB + 8GiB",
        "--context",
        "16384",
        "--explain",
    )
    _, data = json_answer(capsys, *asked)
    assert sum(t["bytes"] for t in data["terms"]) == data["total_bytes"]
    _, out, _ = answer(capsys, *asked)
    assert f"{data['total_bytes']:,} B" in out
    assert "window of 1024" in out
    assert "…" not in out.split("computed")[0].replace(
        "dry run", ""
    )  # no line of the ledger is cut


@pytest.mark.engine
def test_an_explanation_of_the_engine_s_own_figures_sums_too(
    capsys: pytest.CaptureFixture[str], embedded: Path
) -> None:
    """Where the dry run decides, its difference is a term; what comes with use stands beside it."""
    _, data = json_answer(capsys, embedded, "--context", "4096", "--explain", "--source", "both")
    assert sum(t["bytes"] for t in data["terms"]) == data["total_bytes"]
    assert data["total_bytes"] == data["dry_run"]["total_bytes"] + data["parts"]["requests_bytes"]


@pytest.mark.engine
def test_a_dry_run_of_what_nobody_built_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A 70B model at a preset is laid out from a header that is gone afterwards; ours and the
    engine's weights are equal.
    """
    _, data = json_answer(
        capsys,
        "llama-3.1-70b-instruct",
        "--type",
        "Q4_K_M",
        "--hardware",
        "64GiB RAM",
        "--source",
        "both",
    )
    for part in ("weights_bytes", "kv_cache_bytes"):
        assert data["parts"][part] == data["dry_run"][part]
    assert not list(tmp_path.glob("hakaru-*"))


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_picture_is_written_whole(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, ending: str
) -> None:
    """With every device's name and its memory."""
    path = tmp_path / f"memory.{ending}"
    assert answer(capsys, "qwen3-8b", "--hardware", "2x L4", "--plot", path)[0] == 0
    content = path.read_bytes()
    if ending == "svg":
        assert b"NVIDIA L4" in content
        assert b"22.5 GiB" in content
    else:
        assert content.startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_companions_take_their_part(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A draft model without its process, a projector's weights."""
    eyes, here = gemma3(tmp_path / "eyes.gguf"), ("--hardware", "64GiB RAM")
    _, alone = json_answer(capsys, "qwen3-8b", *here)
    beside = ("--draft", "qwen3-0.6b", "--mmproj", eyes)
    _, both = json_answer(capsys, "qwen3-8b", *here, *beside)
    extras = sum(extra["bytes"] for extra in both["extras"])
    assert both["total_bytes"] == alone["total_bytes"] + extras
    assert [e["weights_bytes"] > 0 for e in both["extras"]] == [True, True]


def test_its_own_projector_is_loaded_beside_it(
    capsys: pytest.CaptureFixture[str], hub: Loopback, tiny: Path, tmp_path: Path
) -> None:
    """Of a model of the catalogue by the shape of its tower, at the Hub and in a folder by its
    header; where there is none, a sentence says what to name.
    """
    here, eyes = ("--vision", "--hardware", "64GiB RAM"), write_tiny_projector(tmp_path / "eyes")
    _, known = json_answer(capsys, "qwen3-vl-8b-instruct", *here)
    assert round(known["extras"][0]["weights_bytes"] / 2**20, 1) == 1105.3
    hub.add_repository("org/x", {"x-F16.gguf": tiny, "mmproj-F16.gguf": eyes})
    _, remote = json_answer(capsys, "hf:org/x", *here)
    (tmp_path / "m").mkdir()
    shutil.copy(tiny, tmp_path / "m/m.gguf")
    shutil.copy(eyes, tmp_path / "m/mmproj-m.gguf")
    _, local = json_answer(capsys, tmp_path / "m", *here)
    names = [answer["extras"][0].pop("name") for answer in (remote, local)]
    assert names == ["mmproj-F16.gguf", "mmproj-m.gguf"]
    assert remote["extras"] == local["extras"] != []
    for model, words in (
        (tiny, "has no projector beside it"),
        ("qwen3-8b", "the catalogue does not know its projector"),
    ):
        code, out, err = answer(capsys, model, *here)
        assert (code, out) == (4, "") and words in err
    code, _, err = answer(capsys, tmp_path / "m", *here, "--mmproj", eyes)
    assert code == 2 and "give one of them" in err


def test_what_is_no_projector_is_refused(
    capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    """The header says what a file is, whatever its name; and the other way round."""
    named = Path(shutil.copy(tiny, tmp_path / "mmproj-model.gguf"))
    code, out, err = answer(capsys, "qwen3-8b", "--mmproj", named)
    assert (code, out) == (4, "")
    assert "mmproj-model.gguf: is a language model and no projector" in err
    eyes = gemma3(tmp_path / "model.gguf")
    for command in ("fit", "show", "serve", "chat", "test", "up", "tune"):
        assert run([command, str(eyes)]) == 4
        assert "is a projector (the eyes or ears of a model)" in capsys.readouterr().err


def test_bits_are_the_usual_preset_which_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """As with `quantize`; the figures are those of the preset's name."""
    code, out, _ = answer(capsys, "qwen3-8b", "--hardware", "L4", "--bits", "4-bit")
    assert code == 0 and "This is the preset Q4_K_M, the usual one for so many bits." in out
    by_bits, by_name = (
        json_answer(capsys, "qwen3-8b", "--hardware", "L4", *asked)[1]
        for asked in (("--bits", "4"), ("--type", "Q4_K_M"))
    )
    assert by_bits == by_name


def test_what_would_change_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """70B in F16 on two L4: exit code 3, and a type that makes it fit."""
    code, data = json_answer(capsys, "llama-3.1-70b-instruct", "--hardware", "2x L4")
    assert (code, data["verdict"]) == (3, "does_not_fit")
    first = data["alternatives"][0]
    assert (first["flag"], first["fits"]) == ("--type Q4_K_M", True)
    code, data = json_answer(
        capsys, "llama-3.1-70b-instruct", "--hardware", "2x L4", "--type", "Q4_K_M"
    )
    assert (code, data["verdict"]) == (0, "fits")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ["llama-3.1-8b-instruct", "--type", "Q9"],
            2,
            "--type is 'Q9', expected such as Q4_K_M, Q5_K_M",
        ),
        (["qwen3-8b", "--bits", "4", "--type", "Q4_0"], 2, "--bits and --type both name a type"),
        (["qwen3-8b", "--bits", "7"], 2, "--bits is '7', expected one of 2, 3, 4, 5, 6, 8, 16, 32"),
        (["llama-3.1-8b-instruct", "--hardware", "L9"], 2, "no accelerator 'L9'"),
        (["llama-3.1-8b-instruct", "--plot", "a.gif"], 2, "expected .svg or .png"),
        (["llama-3.1-8b-instruct", "--source", "guess"], 2, "'guess' is not one of"),
        (["llama-3.1-8b-instrukt"], 4, "did you mean"),
        (
            ["sarashina2.2-0.5b-instruct-v0.1", "--cache-type-k", "q8_0"],
            2,
            "heads have 80 elements",
        ),
    ],
)
def test_what_has_no_answer_says_why(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    """One sentence, the right exit code, nothing on stdout."""
    found, out, err = answer(capsys, *arguments)
    assert (found, out) == (code, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_arithmetic_alone_does_not_answer_for_a_stranger(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The sentence sends to the engine."""
    path = write_header_only(tmp_path / "m.gguf", tiny_shape(architecture="llama-embed"))
    found, out, err = answer(capsys, path, "--source", "computed")
    assert (found, out) == (4, "")
    assert "no arithmetic for the architecture 'llama-embed'; ask the engine" in err


def test_doctor_without_a_ledger_has_nothing_to_tell(capsys: pytest.CaptureFixture[str]) -> None:
    """And the margin is assumed."""
    assert run(["doctor", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["schema"], data["architectures"], data["margin"]["source"]) == (
        "hakaru.doctor/1",
        {},
        "assumed",
    )


@pytest.mark.engine
def test_doctor_tells_how_wrong_the_arithmetic_was(
    capsys: pytest.CaptureFixture[str], embedded: Path
) -> None:
    """After one check: weights and KV cache to the byte."""
    answer(capsys, embedded, "--source", "both")
    assert run(["doctor", "--json"]) == 0
    llama = json.loads(capsys.readouterr().out)["architectures"]["llama"]
    assert (llama["checks"], llama["loads"]) == (1, 0)
    assert (
        llama["computed_less_dry_run_bytes"]["weights_bytes"]
        == llama["computed_less_dry_run_bytes"]["kv_cache_bytes"]
        == 0
    )


@pytest.mark.engine
def test_a_real_load_is_held_against_its_prediction(
    capsys: pytest.CaptureFixture[str], tiny: Path
) -> None:
    """`hakaru test` loads the model; the prediction made before it and the process's peak then
    stand side by side.
    """
    assert run(["test", str(tiny), "--json"]) == 0
    capsys.readouterr()
    assert run(["doctor", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    llama = data["architectures"]["llama"]
    assert llama["loads"] == 1
    assert set(llama["dry_run_less_measured_bytes"].values()) == {0}, (
        "the lab and the server are one build"
    )
    assert llama["peak_over_prediction"]["most"] <= data["margin"]["fraction"]


@pytest.mark.parametrize("hardware", ["L4+16GiB", "2xL4+16GiB"])
def test_a_size_has_one_spelling_on_the_screen(
    hardware: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No `0.1 GiB` in the verdict below `109.5 MiB` in the table."""
    for model, unit in ((str(tiny), "MiB"), ("llama-3.1-8b-instruct", "GiB")):
        run(["fit", model, "--source", "computed", "--hardware", hardware, "--lang", "en"])
        lines = capsys.readouterr().out.splitlines()
        verdict = next(line for line in lines if "that may be used" in line)
        ((needed, free),) = re.findall(r"([\d.]+ [MG]iB) of the ([\d.,]+ GiB)", verdict)
        table = [line for line in lines if re.match(r"(?:weights|KV cache|total) ", line)]
        assert table
        assert set(re.findall(r"[KMGT]iB", "".join([needed, *table]))) == {unit}
        assert free in "".join(line for line in lines if line != verdict)
