"""Which of the published types is taken: a pure decision, and the same one by real headers."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from hakaru.errors import DoesNotFit, ModelNotFound
from hakaru.formats.header_file import write_header_only
from hakaru.models.catalogue import known_models
from hakaru.models.sources.choice import Choice
from hakaru.planning.fit import fit
from hakaru.planning.shares import FitVerdict
from hakaru.pulling.offers import Offer, nearest, type_in
from hakaru.pulling.pull import pull
from hakaru.pulling.ready_made import in_order, take
from hakaru.session import Session
from hakaru.testing import llama_tensors, tiny_hyperparameters, tiny_shape, write_tiny_llama
from loopback import Loopback

pytestmark = pytest.mark.usefixtures("no_engine")
Sessions = Callable[..., Session]
SIZES = {"F16": 16, "Q8_0": 8, "Q6_K": 6, "Q4_0": 4, "Q4_K_M": 5, "IQ4_XS": 3, "UD-Q4_K_XL": 5}


def offer(type_: str) -> Offer:
    """One file of that type."""
    choice = Choice(parts=(f"x-{type_}.gguf",), bytes=SIZES.get(type_, 2) * 10**9)
    return Offer(choice=choice, type=type_)


def judging(verdicts: Mapping[str, FitVerdict]) -> Callable[[Offer], FitVerdict]:
    """A judge that knows these; everything else does not fit."""
    return lambda offer: verdicts.get(offer.label, "does_not_fit")


@pytest.mark.parametrize(
    ("published", "verdicts", "taken", "way", "words"),
    [
        (
            ("F16", "Q8_0", "Q4_K_M"),
            {"F16": "fits", "Q8_0": "fits", "Q4_K_M": "fits"},
            "Q8_0",
            "ready",
            "the most exact of the 3 there but for sources of 16 bits",
        ),
        (
            ("F16", "Q8_0", "Q6_K", "Q4_K_M"),
            {"Q6_K": "tight", "Q4_K_M": "fits"},
            "Q4_K_M",
            "ready",
            "that fits; Q8_0 .* does not",
        ),
        (("Q8_0", "Q6_K"), {"Q6_K": "tight"}, "Q6_K", "ready", "that fits"),
        (
            ("Q4_0", "UD-Q4_K_XL", "IQ4_XS"),
            {"Q4_0": "fits", "IQ4_XS": "fits"},
            "IQ4_XS",
            "ready",
            "the most exact",
        ),
        (("F16",), {"F16": "fits"}, "F16", "ready", "the only one there"),
        (("F16", "Q8_0", "Q4_K_M"), {}, "Q8_0", "make", "None of the 3 published types fits"),
        (("Q6_K", "Q4_K_M"), {}, "Q4_K_M", "ready", "none of the 2 types there fits"),
    ],
)
def test_the_best_that_fits_is_taken(
    published: tuple[str, ...], verdicts: Mapping[str, FitVerdict], taken: str, way: str, words: str
) -> None:
    """In the order of `fit`; with a margin before tightly; a source where nothing fits."""
    answer = take([offer(type_) for type_ in published], judging(verdicts))
    assert (answer.offer.label, answer.way) == (taken, way)
    assert re.search(words, answer.sentence())


def test_types_of_somebody_s_own_are_tried_where_no_usual_one_is_there() -> None:
    """The most bits first; of as many bits after those that `fit` proposes; sources where nothing
    else is there, the smallest first.
    """
    offers = [offer(t) for t in ("F16", "UD-Q2_K_XL", "Q4_0", "UD-Q4_K_XL", "Q4_K_M")]
    names = [o.label for o in in_order(offers)]
    assert names == ["Q4_K_M", "UD-Q4_K_XL", "Q4_0", "UD-Q2_K_XL"]
    assert [o.label for o in in_order([offer("F16"), offer("Q8_0")])] == ["Q8_0"]
    assert [o.label for o in in_order([offer("F16")])] == ["F16"]


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("Qwen3-8B-Q4_K_M.gguf", "Q4_K_M"),
        ("UD/Qwen3-8B-UD-Q4_K_XL-00001-of-00002.gguf", "UD-Q4_K_XL"),
        ("qwen2.5-7b-instruct-q8_0.gguf", "Q8_0"),
        ("x.IQ3_XXS.gguf", "IQ3_XXS"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("model.gguf", None),
        ("Q-model.gguf", None),
    ],
)
def test_a_name_tells_the_type(name: str, type_: str | None) -> None:
    """As people name files."""
    assert type_in(name) == type_


def test_the_nearest_types_are_those_of_as_many_bits() -> None:
    """Then those that are spelled alike."""
    near = nearest([offer(t) for t in SIZES], "Q4_K_S")
    assert {o.label for o in near[:4]} == {"Q4_0", "Q4_K_M", "IQ4_XS", "UD-Q4_K_XL"}
    assert near[0].label == "Q4_K_M"


def header(path: Path, type_: str) -> Path:
    """The header of a tiny model in that type, and a hole."""
    values, rows = tiny_hyperparameters("llama"), dict(llama_tensors(tiny_shape()))
    types = {name: type_ if len(dims) > 1 else "F32" for name, dims in rows.items()}
    return write_header_only(path, values, rows.items(), types)


def needed(session: Session, path: Path) -> int:
    """What a file needs on such a machine."""
    return fit(path, session=session).total_bytes


def test_by_real_headers_the_largest_that_fits_is_taken(
    hub: Loopback, tmp_path: Path, session_with: Sessions
) -> None:
    """Each machine gets its own; the one that is refused is named with its size."""
    files = {t: header(tmp_path / f"x-{t}.gguf", t) for t in ("F16", "Q8_0", "Q4_0")}
    hub.add_repository("org/x", {path.name: path for path in files.values()})
    for type_, n in (("Q8_0", 2**40), ("Q4_0", needed(session_with(), files["Q8_0"]) - 1)):
        pulled = pull("hf:org/x", dry_run=True, session=session_with(available_bytes=n))
        assert pulled.download and pulled.download.taken
        assert pulled.download.taken.offer.label == type_


def test_where_nothing_fits_a_source_is_fetched_and_a_file_made_of_it(
    hub: Loopback, tmp_path: Path, session_with: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smallest source that is exact enough, in the budget of this machine; where not even two
    bits would fit, nothing is fetched.
    """
    source = write_tiny_llama(tmp_path / "x-F16.gguf", tiny_shape(n_ff=4096, n_embd=512))
    hub.add_repository("org/x", {"x-F16.gguf": source})
    asked: list[tuple[object, dict[str, object]]] = []

    def made(model: object, **options: object) -> SimpleNamespace:
        asked.append((model, options))
        return SimpleNamespace(path=tmp_path / "made.gguf")

    monkeypatch.setattr("hakaru.quantization.quantize.quantize", made)
    with pytest.raises(DoesNotFit, match="nothing was fetched"):
        pull("hf:org/x", session=session_with(available_bytes=2**20))
    n = needed(session_with(), source) - 8_000_000
    pulled = pull("hf:org/x", session=session_with(available_bytes=n))
    assert pulled.made == tmp_path / "made.gguf" and pulled.path.exists()
    assert asked[0][0] == "hf:org/x:x-F16.gguf" and asked[0][1]["fit"] is True


def test_a_name_of_the_catalogue_means_its_makers_files(
    hub: Loopback, tmp_path: Path, session_with: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the makers publish none and several others do, the person is asked; nobody there: both
    are named.
    """
    file = write_tiny_llama(tmp_path / "x-F16.gguf")
    for repo in ("one/X-GGUF", "two/X-GGUF", "Qwen/X-GGUF"):
        hub.add_repository(repo, {"x-F16.gguf": file, f"x-{repo[:3]}-Q4_0.gguf": b"GGUF"})
    repos = ["one/X-GGUF", "gone/X-GGUF", "two/X-GGUF"]
    (entry,) = (known for known in known_models() if known.id == "qwen3-8b")
    monkeypatch.setattr(
        "hakaru.pulling.whereabouts.all_models", lambda: [replace(entry, gguf_repos=tuple(repos))]
    )
    words = r"qwen3-8b: is published at 2 places; name one of them: hf:one/X-GGUF:F16, hf:two/"
    with pytest.raises(ModelNotFound, match=words):
        pull("qwen3-8b:F16", session=session_with())
    questions: list[str] = []

    def second(question: str, answers: Sequence[str]) -> int:
        questions.append(question)
        return 1

    pulled = pull("qwen3-8b:F16", ask=second, session=session_with())
    assert questions == ["qwen3-8b is published at 2 places:"]
    assert pulled.origin == "hf:two/X-GGUF:x-F16.gguf"
    assert pulled.predicted_bytes == 16_382_087_168  # what the catalogue says of Qwen3-8B
    repos.append("Qwen/X-GGUF")
    assert pull("qwen3-8b:F16", session=session_with()).origin == "hf:Qwen/X-GGUF:x-F16.gguf"
    repos[:] = ["gone/X-GGUF"]
    with pytest.raises(ModelNotFound, match=r"none of the repositories .*\(gone/X-GGUF\)"):
        pull("qwen3-8b", session=session_with())
    repos.clear()
    with pytest.raises(ModelNotFound, match="has no repository with its GGUF files"):
        pull("qwen3-8b", session=session_with())
    with pytest.raises(ModelNotFound, match="neither a file nor a model of the catalogue"):
        pull("qwen3-99b", session=session_with())
