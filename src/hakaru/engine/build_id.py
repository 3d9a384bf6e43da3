"""Which build of llama.cpp computes.

Two builds of one version give other figures: one for the processor and one for a GPU, or one made
for another machine. So a build is its version and its libraries, as the installer listed them, and
no figure of one is taken for another's.
"""

import hashlib
from functools import cache
from importlib import metadata
from typing import Final

LIBRARIES: Final = (".so", ".dylib", ".dll", ".pyd")


@cache
def build_of(package: str) -> str:
    """Package, version and the first digits of a hash over its libraries, such as `xllamacpp
    2026.10.11549+1f0c9a3e`; without the hash where the installer left no list. Raises
    PackageNotFoundError.
    """
    distribution = metadata.distribution(package)
    hashes = [
        f"{file}={file.hash.value}"
        for file in distribution.files or ()
        if file.hash and any(end in file.name for end in LIBRARIES)
    ]
    digest = hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()[:8]
    name = f"{package} {distribution.version}"
    return f"{name}+{digest}" if hashes else name
