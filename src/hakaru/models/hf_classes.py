"""The architecture and the kind of a checkpoint, by its model class: a model writes, scores or
embeds.

The class stands in config.json's `architectures`; as in llama.cpp's converter, that of the language
model's part comes before that of the whole. A class that scores or embeds
(`Qwen3ForSequenceClassification`, `Qwen2Model`) has the body of the class that writes. Source:
llama.cpp, conversion/base.py (get_model_architecture) and conversion/__init__.py.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from hakaru.errors import ModelUnknown
from hakaru.language import say
from hakaru.models.architectures import ARCHITECTURES
from hakaru.models.config_values import TEXT_PARTS

CLASSES: Final = {
    name: record.name
    for record in ARCHITECTURES.values()
    if record.hugging_face
    for name in record.hugging_face.classes
}
"""The architecture that every model class converts to."""
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
"""Classes without a head that llama.cpp's converter takes."""


class ModelClass(Struct, frozen=True, kw_only=True):
    """The model class of a checkpoint."""

    name: str
    architecture: str  # that the body of the class converts to
    kind: str  # what a model of the class does, such as WRITES
    is_converted: bool  # llama.cpp's converter takes the class
    is_named: bool = True  # the configuration names the class; False: it follows from `model_type`


def model_class(where: Path | str, config: Mapping[str, Any]) -> ModelClass:
    """The class that `config` names, or, if it names none, the usual class of its `model_type`.
    Raises ModelUnknown, with what kind of model it probably is.
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
        ending = next((ending for ending in _ENDINGS if name.endswith(ending)), None)
        if ending and (body := CLASSES.get(name.removesuffix(ending) + "ForCausalLM")):
            return ModelClass(
                name=name,
                architecture=body,
                kind=_ENDINGS[ending],
                is_converted=name in _BODIES_CONVERTED,
            )
    if not names:
        kind = str(config.get("model_type") or "").replace("_", "").replace("-", "").lower()
        by_kind = {name.lower().replace("_", ""): name for name in reversed(CLASSES)}
        if usual := by_kind.get(f"{kind}forcausallm"):
            return ModelClass(
                name=usual,
                architecture=CLASSES[usual],
                kind=WRITES,
                is_converted=False,
                is_named=False,
            )
    raise _unknown(where, names, config)


def kind_in_words(kind: str) -> str:
    """A kind and what its models do, for a sentence."""
    return {
        WRITES: say("a language model"),
        CLASSIFIES: say("a classifier or reranker: it scores texts and writes none"),
        MARKS: say("a token classifier: it marks words and writes none"),
        REWARDS: say("a reward model: it scores answers and writes none"),
        EMBEDS: say("an embedding model: it turns texts into vectors and writes none"),
    }[kind]


def _class_names(config: Mapping[str, Any]) -> list[str]:
    """The classes that the configuration names: first the known classes of the whole, then the
    classes of the language model's part, then those of the whole.
    """
    parts = [config[part] for part in TEXT_PARTS if isinstance(config.get(part), dict)]
    outer, inner = _classes(config), [name for part in parts for name in _classes(part)]
    return [*(name for name in outer if name in CLASSES), *inner, *outer]


def _classes(part: Mapping[str, Any]) -> list[str]:
    names = part.get("architectures")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _unknown(where: Path | str, names: list[str], config: Mapping[str, Any]) -> ModelUnknown:
    name = names[0] if names else None
    if name is None:
        return ModelUnknown(
            "{path}: names no model class (architectures), and hakaru cannot tell it from "
            "model_type '{found}'; fetch the file again, or name a GGUF file of the model.",
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
    """What an unknown class probably is, by the words in its name."""
    if (
        re.search(r"Bert|Roberta|BERT|MPNet|Electra|Encoder|ColBERT|Embed", name)
        and "Classification" not in name
    ):
        return kind_in_words(EMBEDS)
    for pattern, words in (
        (r"SequenceClassification|CrossEncoder", kind_in_words(CLASSIFIES)),
        (r"TokenClassification|QuestionAnswering", kind_in_words(MARKS)),
        (r"Reward", kind_in_words(REWARDS)),
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
        (r"CausalLM|LMHead", kind_in_words(WRITES)),
    ):
        if re.search(pattern, name):
            return words
    return say("of a kind unknown to hakaru")
