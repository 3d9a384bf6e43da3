"""One record per architecture: everything that hakaru knows of it, in its family's file.

To add one: write its record into the file of its family, and a model of it into the tests. An
example is Arcee, whose layers are Llama's with a feed-forward part that has no gate and a squared
ReLU:

    Architecture(                                            # llama.py
        "arcee",                                             # llama.cpp's name
        tensors=plain(attention(), dense(gate=False)),       # blocks from parts/
        caches=Caches(),                                     # keys and values in every layer
        hugging_face=HuggingFace(classes=("ArceeForCausalLM",)),
    ),

    model("afm-4.5b", "arcee", ...)                          # OTHERS in tests/models/test_architectures.py

A part that is not known stays out, and says why: `why_no_hugging_face="..."`. llama.cpp itself is
the judge: the tests write a header from the record, and its loader refuses a tensor that is
missing, extra or of another shape.
"""

from hakaru.models.architectures.families import ARCHITECTURES, architecture
from hakaru.models.architectures.parts.sizes import Dims
from hakaru.models.architectures.record import Architecture
from hakaru.models.architectures.tables import (
    buffer_bytes,
    is_loaded,
    loaded,
    stays_f32,
    tensors_of,
)

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Dims",
    "architecture",
    "buffer_bytes",
    "is_loaded",
    "loaded",
    "stays_f32",
    "tensors_of",
]
