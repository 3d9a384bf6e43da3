"""Build the wheel, install it into an environment of its own and run it: what is tested is what is shipped."""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def main() -> None:
    """Raise SystemExit if the wheel does not work."""
    with tempfile.TemporaryDirectory(prefix="hakaru-wheel-") as scratch:
        folder = Path(scratch)
        quiet = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        _run([*quiet, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", scratch, str(ROOT)])
        wheel = next(folder.glob("hakaru-*.whl"))
        venv.create(folder / "venv", with_pip=False, system_site_packages=False)
        python = folder / "venv" / "bin" / "python"
        site = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
        _run([*quiet, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)])
        (site / "dependencies.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")) + "\n")
        said = _run(
            [str(python), "-m", "hakaru", "formula", "--params", "70B", "--bits", "4", "--hardware", "2x L4", "--lang", "ja"]
        )
        where = _run([str(python), "-c", "import hakaru; print(hakaru.__file__)"])
    if "42.0 GB" not in said or str(site) not in where:
        raise SystemExit(f"the wheel does not work: {said!r} from {where!r}")
    print(f"{wheel.name}: built, installed and run")


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tempfile.gettempdir())
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
