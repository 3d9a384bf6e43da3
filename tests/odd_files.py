"""GGUF files that are no models, as the format's own library writes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np

LORA: Final = {
    "general.type": "adapter",
    "adapter.type": "lora",
    "general.base_model.0.name": "Llama 3.2 1B",
}
"""The metadata of a LoRA adapter."""


def write_odd(
    path: Path, architecture: str, keys: Mapping[str, Any], tensors: tuple[str, ...] = ("v.weight",)
) -> Path:
    """A GGUF file of another kind, as the format's own library writes it."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in keys.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        else:
            writer.add_string(key, value)
    for name in tensors:
        writer.add_tensor(name, np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
