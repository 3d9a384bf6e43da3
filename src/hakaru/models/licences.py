"""What a licence of a model allows, in four classes. Pure.

open            anybody may use, change and pass on the model for any purpose: the licences that
                OSI approves, CC0, CC-BY, CC-BY-SA, OpenMDW
community       its makers' own terms: free to use, with conditions (size of the business,
                uses that are forbidden, a name that must be shown)
non-commercial  not for business
unknown         none is stated, or one whose terms nobody has classified here

The class follows from the licence's name, which is the makers' word at Hugging Face. It is no legal
advice: `unknown` is never counted as open, and of several licences the strictest counts.
"""

from typing import Final, Literal, get_args

LicenceClass = Literal["open", "community", "non-commercial", "unknown"]
CLASSES: Final[tuple[LicenceClass, ...]] = get_args(LicenceClass)
"""From the least to the most strict."""

_OPEN: Final = (
    "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MPL-2.0", "GPL-3.0",
    "AGPL-3.0", "LGPL-3.0", "Unlicense", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0",
    "LicenseRef-openmdw-1.0", "LicenseRef-openmdw-1.1",
)  # fmt: skip
_COMMUNITY: Final = (
    "LicenseRef-gemma", "LicenseRef-llama2", "LicenseRef-llama3", "LicenseRef-llama3.1",
    "LicenseRef-llama3.2", "LicenseRef-llama3.3", "LicenseRef-llama4", "LicenseRef-lfm1.0",
    "LicenseRef-Modified-MIT", "LicenseRef-falcon-llm-license",
    "LicenseRef-nvidia-open-model-license", "LicenseRef-nvidia-nemotron-open-model-license",
    "LicenseRef-deepseek", "LicenseRef-deepseek-license", "LicenseRef-tencent-hunyuan-a13b",
    "LicenseRef-Qwen", "LicenseRef-qwen-community-1.0", "LicenseRef-plamo-community-license",
    "LicenseRef-minimax-community",
)  # fmt: skip
_NON_COMMERCIAL: Final = (
    "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0", "LicenseRef-exaone", "LicenseRef-mrl",
    "LicenseRef-Qwen-Research",
)  # fmt: skip
_BY_NAME: Final[dict[str, LicenceClass]] = {
    **{name.lower(): "open" for name in _OPEN},
    **{name.lower(): "community" for name in _COMMUNITY},
    **{name.lower(): "non-commercial" for name in _NON_COMMERCIAL},
}
_OWN: Final = "LicenseRef-"
"""Before the name of a licence that has no SPDX id."""
_SPDX: Final = {
    name.lower(): name for name in (*_OPEN, *_NON_COMMERCIAL) if not name.startswith(_OWN)
}


def licence_class(licence: str | None) -> LicenceClass:
    """The class of a licence by its SPDX name or `LicenseRef-…`; of several with commas between
    them, the strictest.
    """
    names = (licence or "").removeprefix(_OWN).lower().split(",")
    return max((_class_of(name.strip()) for name in names), key=CLASSES.index)


def _class_of(name: str) -> LicenceClass:
    return _BY_NAME.get(name) or _BY_NAME.get(f"{_OWN.lower()}{name}") or "unknown"


def licence_from_hub(licence: object, own_name: object = None) -> str | None:
    """The catalogue's name of the licence that a model's page at the Hub states: an SPDX id as it
    is spelled, else `LicenseRef-` and the Hub's name; for `other` the name that its makers gave.
    None where it states none.
    """
    stated = licence if isinstance(licence, list) else [licence]
    texts = [text for text in stated if isinstance(text, str) and text not in {"", "unknown"}]
    if texts == ["other"]:
        texts = [own_name] if isinstance(own_name, str) and own_name else []
    if not texts:
        return None
    joined = ",".join(texts)
    return _SPDX.get(joined.lower(), f"{_OWN}{joined}")
