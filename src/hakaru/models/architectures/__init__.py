"""One record per architecture: everything that hakaru knows of it, in its family's file.

To add one, write its record into the file of its family, and a model of it into the tests. Arcee is
an example: Llama's layers, but a feed-forward part without a gate. Its record in `llama.py` is

    Architecture(
        "arcee",                                        # llama.cpp's name
        tensors=plain(attention(), dense(gate=False)),  # names and shapes, from parts/
        caches=Caches(),                                # keys and values in every layer
        graph=Blueprint(layer=Residual(Attention(), Dense(gate=False))),
        hugging_face=HuggingFace(classes=("ArceeForCausalLM",)),
    )

and in `tests/public_models.py` OTHERS has a line for it:

    model("a small arcee", "arcee", 0, 128004, block_count=4, embedding_length=2560, ...)

A part that is not known stays out, and the record says why: `why_no_graph="..."`. llama.cpp is the
judge. The tests write a header from the record: the loader refuses a tensor that is missing, extra
or of another shape, and the dry run tells whether cache and compute buffers are right to the byte.
Then `python scripts/architectures.py` writes the page of all architectures anew.
"""

from hakaru.formats.gguf import Dims
from hakaru.models.architectures.families import ARCHITECTURES, architecture
from hakaru.models.architectures.record import Architecture
from hakaru.models.architectures.tables import buffer_bytes, is_loaded, loaded, tensors_of

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Dims",
    "architecture",
    "buffer_bytes",
    "is_loaded",
    "loaded",
    "tensors_of",
]
