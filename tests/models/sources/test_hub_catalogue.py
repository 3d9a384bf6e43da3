"""`catalog update` against a Hub on the loopback interface: what is asked, what is kept, and every
way in which a Hub fails.
"""

import json
from typing import Any

import pytest

from hakaru.errors import HakaruError, ModelDamaged, Offline
from hakaru.models import own_catalogue
from hakaru.models.catalogue import KnownModel, catalogue_date, known_models
from hakaru.models.own_catalogue import all_models, catalogue
from hakaru.models.sources import hub_catalogue
from hakaru.models.sources.hub_catalogue import Heard, ask_hub, update_catalogue
from hakaru.places import data_dir
from loopback import Loopback

DAY = "2026-11-30"
NAMES = ("qwen3-8b", "qwen3-14b", "gemma-3-1b-it", "cat-paws-8b")
MODELS = tuple(model for model in known_models() if model.id in NAMES)


def row(repo: str, **fields: Any) -> dict[str, Any]:
    """A repository as the Hub's API tells it."""
    plain = {
        "id": repo,
        "cardData": {"license": "apache-2.0", "language": ["en", "ja", "code-switching"]},
        "gated": False,
        "lastModified": "2026-10-01T12:00:00.000Z",
        "createdAt": "2025-04-27T03:43:05.000Z",
        "config": {"architectures": ["Qwen3ForCausalLM"]},
    }
    return {**plain, **fields}


def made_of(repo: str) -> str:
    return f"filter=base_model:quantized:{repo}"


@pytest.fixture
def whole_hub(hub: Loopback) -> Loopback:
    """A Hub that has the makers' repositories, some new ones, and GGUF files."""
    qwen = [
        row("Qwen/Qwen3-8B", cardData={"license": "other", "license_name": "qwen-9"}),
        row("Qwen/Qwen3-14B", gated="auto"),
        row("Qwen/Qwen9-1B", createdAt="2026-11-28T00:00:00.000Z"),
        row("Qwen/Qwen9-2B", createdAt="2026-11-29T00:00:00.000Z"),
        row("Qwen/Old-1B", createdAt="2026-11-01T00:00:00.000Z"),
        row(
            "Qwen/Qwen9-1B-FP8", createdAt="2026-11-29T00:00:00.000Z",
            baseModels={"relation": "quantized", "models": [{"id": "Qwen/Qwen9-1B"}]},
        ),
        row(
            "Qwen/Qwen9-1B-AWQ", createdAt="2026-11-29T00:00:00.000Z",
            config={"architectures": ["Qwen3ForCausalLM"], "quantization_config": {"bits": 4}},
        ),
        row(
            "Qwen/Qwen9-Image", createdAt="2026-11-29T00:00:00.000Z",
            config={"architectures": ["QwenImage"]},
        ),
        row("Qwen/Qwen9-None", createdAt="2026-11-29T00:00:00.000Z", config=None),
    ]  # fmt: skip
    hub.listings["author=Qwen"] = json.dumps(qwen).encode()
    hub.listings[made_of("Qwen/Qwen3-8B")] = json.dumps(
        [{"id": "Qwen/Qwen3-8B-GGUF"}, {"id": "unsloth/Qwen3-8B-GGUF"}, {"id": "../evil"}, "x"]
    ).encode()
    alone = row(
        "cyberagent/CAT-Paws-8B",
        baseModels={"relation": "finetune", "models": [{"id": "Qwen/Qwen3-8B"}]},
    )
    hub.files["/api/models/cyberagent/CAT-Paws-8B"] = json.dumps(alone).encode()
    return hub


def ask(models: tuple[KnownModel, ...] = MODELS) -> Heard:
    return ask_hub(models, catalogue_date(), lambda step, done, total: None)


def test_the_hub_s_word_on_every_model(whole_hub: Loopback) -> None:
    """From the maker's list, or where a list does not have the repository, asked alone."""
    heard = ask()
    first = heard.facts["qwen3-8b"]
    assert (first.license, first.gated, first.modified) == (
        "LicenseRef-qwen-9",
        False,
        "2026-10-01",
    )
    assert first.gguf_repos == ("Qwen/Qwen3-8B-GGUF", "unsloth/Qwen3-8B-GGUF")
    assert (heard.facts["qwen3-14b"].gated, heard.facts["qwen3-14b"].gguf_repos) == (True, ())
    assert heard.facts["qwen3-14b"].languages == ("en", "ja")
    assert heard.facts["cat-paws-8b"].base_repo == "Qwen/Qwen3-8B"
    assert heard.missing == ("gemma-3-1b-it",)


def test_new_models_of_known_makers_are_told_the_newest_first(whole_hub: Loopback) -> None:
    """Their own weights only, of a class that llama.cpp's converter takes, and none is added."""
    assert ask().new == ("Qwen/Qwen9-2B", "Qwen/Qwen9-1B")
    assert all_models() == known_models()


def test_an_update_is_kept_and_tells_what_is_other_than_before(
    whole_hub: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the next process, too; a second update changes nothing."""
    monkeypatch.setattr(own_catalogue, "known_models", lambda: MODELS)
    monkeypatch.setattr(own_catalogue, "_read", own_catalogue._read.__wrapped__)
    _, changes = update_catalogue(DAY, lambda step, done, total: None)
    told = {(c.id, c.field): (c.before, c.after) for c in changes}
    assert told["qwen3-8b", "license"] == ("Apache-2.0", "LicenseRef-qwen-9")
    assert told["qwen3-14b", "gated"] == (False, True)
    assert not any(name == "gemma-3-1b-it" for name, _ in told)
    by_id = {m.id: m for m in all_models()}
    assert by_id["qwen3-14b"].gated and by_id["qwen3-14b"].checked == DAY
    assert by_id["gemma-3-1b-it"] == next(m for m in MODELS if m.id == "gemma-3-1b-it")
    assert (catalogue().updated, catalogue().n_told) == (DAY, 3)
    assert update_catalogue(DAY, lambda step, done, total: None)[1] == []


def test_progress_reaches_its_end(whole_hub: Loopback) -> None:
    """One step for each maker and each model."""
    steps: list[tuple[int, int]] = []
    ask_hub(MODELS, DAY, lambda step, done, total: steps.append((done, total)))
    assert steps == [(n, 7) for n in range(1, 8)]


def test_the_person_s_token_goes_to_the_hub(
    whole_hub: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every request: a gated model is shown to whom it was granted."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    ask()
    assert {headers.get("authorization") for _, headers in whole_hub.asked} == {"Bearer hf_secret"}


def test_offline_nothing_is_asked_and_nothing_changes(
    whole_hub: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HF_HUB_OFFLINE is honoured."""
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    with pytest.raises(Offline, match="HF_HUB_OFFLINE"):
        update_catalogue(DAY, lambda step, done, total: None)
    assert whole_hub.asked == []
    assert not data_dir("catalogue", make=False).exists()


@pytest.mark.parametrize(
    ("statuses", "error", "words"),
    [
        ([(429, {"Retry-After": "30"})], Offline, "asks to wait 30 s"),
        ([(500, {})], Offline, "failed 4 times"),
    ],
)
def test_a_hub_that_refuses_changes_nothing(
    whole_hub: Loopback,
    statuses: list[tuple[int, dict[str, str]]],
    error: type[HakaruError],
    words: str,
) -> None:
    """One sentence, and the catalogue is as before."""
    whole_hub.statuses["/api/models"] = statuses
    with pytest.raises(error, match=words):
        update_catalogue(DAY, lambda step, done, total: None)
    assert all_models() == known_models()


def test_a_hub_that_fails_once_is_asked_again(whole_hub: Loopback) -> None:
    """As for every file."""
    whole_hub.statuses["/api/models/cyberagent/CAT-Paws-8B"] = [(503, {}), (200, {})]
    assert "cat-paws-8b" in ask().facts


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b'"x"', b"[" * 100_000])
def test_an_answer_that_is_none_of_a_hub_is_told(whole_hub: Loopback, answer: bytes) -> None:
    """HF_ENDPOINT may name another server."""
    whole_hub.listings["author=Qwen"] = answer
    with pytest.raises(ModelDamaged, match="is no answer of a Hugging Face Hub"):
        ask()


@pytest.mark.parametrize(
    "changed",
    [
        {"cardData": None},
        {"cardData": "text"},
        {"cardData": {"license": 3, "language": {"en": 1}}},
        {"gated": None},
        {"lastModified": 7},
        {"baseModels": {"relation": "finetune", "models": "x"}},
        {"baseModels": {"relation": "finetune", "models": [{"id": "a/b"}, {"id": "c/d"}]}},
        {"baseModels": {"relation": "merge", "models": [{"id": "a/b"}]}},
        {"baseModels": {"relation": "finetune", "models": [{"id": "../../etc"}]}},
        {"createdAt": None},
        {"config": ["x"]},
    ],
)
def test_a_field_of_another_kind_is_not_known(whole_hub: Loopback, changed: dict[str, Any]) -> None:
    """Whatever a card says, an update ends well and invents nothing."""
    whole_hub.listings["author=Qwen"] = json.dumps([row("Qwen/Qwen3-8B", **changed)]).encode()
    heard = ask()
    facts = heard.facts["qwen3-8b"]
    assert facts.base_repo is None
    if "cardData" in changed:
        assert (facts.license, facts.languages) == (None, ())
    if "gated" in changed:
        assert facts.gated is None
    if "lastModified" in changed:
        assert facts.modified is None


def test_a_model_without_a_repository_is_not_asked_for(whole_hub: Loopback) -> None:
    """A file that a person added."""
    mine = KnownModel(
        id="mine", name="mine", architecture="llama", hyperparameters={}, n_params=1, n_vocab=1,
        tied=True, license=None, hf_repo="",
    )  # fmt: skip
    assert ask((mine,)) == Heard(facts={}, missing=(), new=())
    assert whole_hub.asked == []


def test_a_maker_s_list_is_one_request(whole_hub: Loopback) -> None:
    """And each model one more, for its GGUF files; only what no list shows is asked alone."""
    ask()
    paths = [path for path, _ in whole_hub.asked]
    assert paths.count("/api/models") == 3 + 2 + 1  # makers; Qwen's two; CAT-Paws
    assert len(paths) == 6 + 2  # CAT-Paws and Gemma alone
    assert hub_catalogue.PER_MAKER == 500


def test_a_licence_in_other_letters_is_no_change(
    whole_hub: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Makers write `qwen-research`, the catalogue has `Qwen-Research`."""
    model = next(m for m in known_models() if m.license == "LicenseRef-Qwen-Research")
    monkeypatch.setattr(own_catalogue, "known_models", lambda: (model,))
    monkeypatch.setattr(own_catalogue, "_read", own_catalogue._read.__wrapped__)
    card = {"license": "other", "license_name": "qwen-research"}
    whole_hub.listings["author=Qwen"] = json.dumps([row(model.hf_repo, cardData=card)]).encode()
    _, changes = update_catalogue(DAY, lambda step, done, total: None)
    assert "license" not in {change.field for change in changes}
