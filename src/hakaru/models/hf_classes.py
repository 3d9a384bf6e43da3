"""Which architecture a checkpoint's model class means, and what kind of model it is: one that
writes, scores or embeds.

The class stands in `architectures`, of the language model's part where that has its own, as
llama.cpp's converter takes it. A class that scores or embeds (`Qwen3ForSequenceClassification`,
`Qwen2Model`) has the body of the one that writes. Source: llama.cpp, conversion/base.py
(get_model_architecture) and conversion/__init__.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hakaru.errors import ModelUnknown
from hakaru.language import say
from hakaru.models.architectures import ARCHITECTURES
from hakaru.models.config_values import TEXT_PARTS
from hakaru.models.hf_fields import CLASSES

WRITES, CLASSIFIES, MARKS, EMBEDS, REWARDS = (
    "language model",
    "classifier",
    "token classifier",
    "embedding model",
    "reward model",
)
_ENDINGS: Final = {
    "ForSequenceClassification": CLASSIFIES, "ForTokenClassification": MARKS,
    "ForQuestionAnswering": MARKS, "ForRewardModel": REWARDS, "ForRewardModeling": REWARDS,
    "ForProcessRewardModel": REWARDS, "RewardModel": REWARDS, "ForTextEncoding": EMBEDS,
    "BidirectionalModel": EMBEDS, "BidirectionalForMNTP": EMBEDS, "ForEmbedding": EMBEDS,
    "EmbeddingModel": EMBEDS, "TextModel": EMBEDS, "Model": EMBEDS,
}  # fmt: skip
_BODIES_CONVERTED: Final = {
    name
    for record in ARCHITECTURES.values()
    if record.hugging_face
    for name in record.hugging_face.bodies
}
"""Bodies that llama.cpp's converter takes under these names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelClass:
    """A class, the architecture that its body converts to, and what it does. `is_converted`:
    llama.cpp's converter takes it.
    """

    name: str
    architecture: str
    kind: str
    is_converted: bool
    is_named: bool = True  # the configuration names it


def model_class(where: Path | str, config: Mapping[str, Any]) -> ModelClass:
    """The class that `config` names, or, without one, the usual one of its `model_type`. Raises
    ModelUnknown, with what it is.
    """
    names = _class_names(config)
    for name in names:
        if name in CLASSES:
            return ModelClass(
                name=name,
                architecture=CLASSES[name],
                kind=EMBEDS if name.endswith("Model") else WRITES,
                is_converted=True,
            )
    for name in names:
        ending = next((e for e in _ENDINGS if name.endswith(e)), None)
        if ending and (body := CLASSES.get(name.removesuffix(ending) + "ForCausalLM")):
            return ModelClass(
                name=name,
                architecture=body,
                kind=_ENDINGS[ending],
                is_converted=name in _BODIES_CONVERTED,
            )
    if not names:
        kind = str(config.get("model_type") or "").replace("_", "").replace("-", "").lower()
        usual = next(
            (c for c in CLASSES if kind and c.lower().replace("_", "") == f"{kind}forcausallm"),
            None,
        )
        if usual:
            return ModelClass(
                name=usual,
                architecture=CLASSES[usual],
                kind=WRITES,
                is_converted=False,
                is_named=False,
            )
    raise _unknown(where, names, config)


def kind_in_words(kind: str) -> str:
    """What a model of that kind does, for a sentence."""
    return {
        WRITES: say("a language model"),
        CLASSIFIES: say("a classifier or reranker: it scores texts and writes none"),
        MARKS: say("a token classifier: it marks words and writes none"),
        REWARDS: say("a reward model: it scores answers and writes none"),
        EMBEDS: say("an embedding model: it turns texts into vectors and writes none"),
    }[kind]


def _class_names(config: Mapping[str, Any]) -> list[str]:
    """The classes that the configuration names, the language model's part's own before the
    whole's.
    """
    parts = [config[p] for p in TEXT_PARTS if isinstance(config.get(p), dict)]
    outer, inner = _classes(config), [name for part in parts for name in _classes(part)]
    return [*(n for n in outer if n in CLASSES), *inner, *outer]


def _classes(part: Mapping[str, Any]) -> list[str]:
    found = part.get("architectures")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _unknown(where: Path | str, names: list[str], config: Mapping[str, Any]) -> ModelUnknown:
    name = names[0] if names else None
    if name is None:
        return ModelUnknown(
            "{path}: names no model class (architectures), and hakaru cannot tell it from "
            "model_type '{found}'; fetch the file again, "
            "or name a GGUF file of the model.",
            path=where,
            found=str(config.get("model_type"))[:60],
        )
    return ModelUnknown(
        "{path}: the sizes of the model class '{found}' cannot be derived by hakaru; by its name "
        "it is {kind}. Where llama.cpp's "
        "convert_hf_to_gguf.py knows it, convert it and name the GGUF file.",
        path=where,
        found=name[:80],
        kind=_guessed(name),
    )


def _guessed(name: str) -> str:
    """What a class that is not known probably is, by the custom of its name."""
    if (
        re.search(r"Bert|Roberta|BERT|MPNet|Electra|Encoder|ColBERT|Embed", name)
        and "Classification" not in name
    ):
        return say("an embedding model: it turns texts into vectors and writes none")
    for pattern, words in (
        (
            r"SequenceClassification|CrossEncoder",
            say("a classifier or reranker: it scores texts and writes none"),
        ),
        (
            r"TokenClassification|QuestionAnswering",
            say("a token classifier: it marks words and writes none"),
        ),
        (r"Reward", say("a reward model: it scores answers and writes none")),
        (
            r"Whisper|SpeechSeq2Seq|ForCTC|Wav2Vec|Audio|TTS|Speech",
            say("a model of speech or sound"),
        ),
        (
            r"Image|CLIP|Siglip|ViT|Detection|Segmentation|Diffusion|UNet",
            say("a model of pictures"),
        ),
        (r"T5|Bart|Marian|M2M|Pegasus", say("an encoder with a decoder, as for translation")),
        (r"ForConditionalGeneration|VL|Vision|Omni", say("a language model with eyes or ears")),
        (r"CausalLM|LMHead", say("a language model")),
    ):
        if re.search(pattern, name):
            return words
    return say("of a kind unknown to hakaru")
