"""What a licence of a model allows, in four classes. Pure.

open            anybody may use, change and pass on the model for any purpose; at most the names of
                its makers must be kept (OSI's licences, CC0, CC-BY, OpenMDW)
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

_BY_NAME: Final[dict[str, LicenceClass]] = {
    "apache-2.0": "open",
    "mit": "open",
    "bsd-2-clause": "open",
    "bsd-3-clause": "open",
    "bsl-1.0": "open",
    "isc": "open",
    "mpl-2.0": "open",
    "gpl-3.0": "open",
    "agpl-3.0": "open",
    "lgpl-3.0": "open",
    "cc0-1.0": "open",
    "cc-by-4.0": "open",
    "cc-by-sa-4.0": "open",
    "unlicense": "open",
    "openmdw-1.0": "open",
    "openmdw-1.1": "open",
    "gemma-terms": "community",
    "gemma": "community",
    "llama2": "community",
    "llama3": "community",
    "llama3.1": "community",
    "llama3.2": "community",
    "llama3.3": "community",
    "llama4": "community",
    "llama-3.1-community": "community",
    "llama-3.2-community": "community",
    "llama-3.3-community": "community",
    "llama-4-community": "community",
    "lfm1.0": "community",
    "modified-mit": "community",
    "falcon-llm-license": "community",
    "nvidia-open-model-license": "community",
    "nvidia-nemotron-open-model-license": "community",
    "deepseek": "community",
    "deepseek-license": "community",
    "tencent-hunyuan-a13b": "community",
    "qwen": "community",
    "plamo-community-license": "community",
    "minimax-community": "community",
    "qwen-community-1.0": "community",
    "cc-by-nc-4.0": "non-commercial",
    "cc-by-nc-sa-4.0": "non-commercial",
    "cc-by-nc-nd-4.0": "non-commercial",
    "exaone": "non-commercial",
    "mrl": "non-commercial",
    "qwen-research": "non-commercial",
}

_FROM_HUB: Final = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc0-1.0": "CC0-1.0",
    "bsd-3-clause": "BSD-3-Clause",
    "gemma": "LicenseRef-Gemma-Terms",
    "llama3.1": "LicenseRef-Llama-3.1-Community",
    "llama3.2": "LicenseRef-Llama-3.2-Community",
    "llama3.3": "LicenseRef-Llama-3.3-Community",
    "llama4": "LicenseRef-Llama-4-Community",
}
"""What the Hub calls a licence, and what the catalogue calls it."""


def licence_class(licence: str | None) -> LicenceClass:
    """The class of a licence by its SPDX name or `LicenseRef-…`; of several with commas between
    them, the strictest.
    """
    names = (licence or "").lower().removeprefix("licenseref-").split(",")
    classes = [_BY_NAME.get(name.strip(), "unknown") for name in names]
    return max(classes, key=CLASSES.index)


def licence_from_hub(licence: object, own_name: object = None) -> str | None:
    """The catalogue's name of the licence that a model's page at the Hub states: `other` with a
    name of its own becomes `LicenseRef-<name>`. None where it states none.
    """
    stated = licence if isinstance(licence, list) else [licence]
    texts = [text for text in stated if isinstance(text, str) and text not in {"", "unknown"}]
    if texts == ["other"]:
        texts = [own_name] if isinstance(own_name, str) and own_name else []
    if not texts:
        return None
    if len(texts) == 1 and texts[0].lower() in _FROM_HUB:
        return _FROM_HUB[texts[0].lower()]
    return f"LicenseRef-{','.join(texts)}"
