"""All records by name. A new family file is named here and nowhere else."""

from typing import Final

from hakaru.models.architectures import (
    cohere,
    deepseek,
    encoders,
    exaone,
    gemma,
    glm,
    granite,
    hunyuan,
    lfm,
    llama,
    mamba,
    nemotron,
    others,
    partly,
    phi,
    qwen,
    step,
)
from hakaru.models.architectures.record import UNCONVERTED, UNWRITTEN, Architecture

_FAMILIES: Final = (
    llama,
    qwen,
    gemma,
    phi,
    deepseek,
    glm,
    granite,
    cohere,
    lfm,
    nemotron,
    mamba,
    exaone,
    hunyuan,
    step,
    others,
    encoders,
    partly,
)

ARCHITECTURES: Final = {
    record.name: record for family in _FAMILIES for record in family.ARCHITECTURES
}
"""Every record, family by family."""


def architecture(name: str) -> Architecture:
    """The record of that name; for an unknown name a record without parts."""
    return ARCHITECTURES.get(name) or Architecture(
        name,
        why_no_tensors=UNWRITTEN,
        why_no_caches=UNWRITTEN,
        why_no_graph=UNWRITTEN,
        why_no_hugging_face=UNCONVERTED,
    )
