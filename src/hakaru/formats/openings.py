"""Files that were taken for a model and are none, told by their first bytes: a pointer, a web page,
an archive, another format.

Downloads go wrong in few ways: a clone without Git LFS leaves pointers of 130 bytes, a login page
comes instead of the file, an archive was never unpacked.
"""

from pathlib import Path

from hakaru.errors import ModelDamaged, ModelUnknown

N_OPENING_BYTES = 16
"""How many first bytes of a file `error_by_opening` looks at."""


def error_by_opening(where: Path | str, opening: bytes) -> ModelDamaged | ModelUnknown | None:
    """The error for a file that begins with `opening` and is no model; None if `opening` does not
    say what the file is.
    """
    low = opening.lstrip().lower()
    if opening.startswith(b"version https://"[:N_OPENING_BYTES]):
        return ModelDamaged(
            "{path}: is a Git LFS pointer and not the weights; run git lfs pull in its folder, "
            "or fetch the file with hf download.",
            path=where,
        )
    if low.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return ModelDamaged(
            "{path}: is a web page (of a login or an error?) and no model: it begins with "
            "{found}; fetch the file again, by its own address.",
            path=where,
            found=opening[:4],
        )
    if opening[8:9] == b"{" and int.from_bytes(opening[:8], "little") < 2**25:
        return ModelUnknown(
            "{path}: is a safetensors file; name the folder that it lies in, with its config.json.",
            path=where,
        )
    if opening.startswith(b"PK\x03\x04"):
        return ModelUnknown(
            "{path}: is an archive (ZIP), as PyTorch's pickled weights are, too; unpack it, or "
            "name the folder with its config.json.",
            path=where,
        )
    if opening.startswith(
        (b"\x1f\x8b", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd", b"Rar!")
    ):
        return ModelUnknown(
            "{path}: is a compressed archive; unpack it, and name the model in it.", path=where
        )
    return None
