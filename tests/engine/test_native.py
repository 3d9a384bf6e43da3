"""Making a native build: its source through pip, unpacked safely; compiled, interrupted,
continued.
"""

import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from hakaru.engine import native, sdist
from hakaru.engine.builds import engines_folder, selection
from hakaru.engine.capi import PINNED, STAMP
from hakaru.engine.compiling import check_compilers, compile_tree, options
from hakaru.engine.first_token import give_first_token
from hakaru.engine.native import build_native, native_key
from hakaru.engine.sdist import fetch_source, unpack
from hakaru.errors import EngineMissing, EngineRefused, Interrupted, MachineError, Offline

ROOT = "xllamacpp-1.0/thirdparty/llama.cpp"


def archive(path: Path, *members: tarfile.TarInfo, **texts: str) -> Path:
    """A source distribution with these texts under llama.cpp's folder, and any other members."""
    with tarfile.open(path, "w:gz") as tar:
        for name, text in {
            f"{ROOT}/{name.replace('__', '/')}": text for name, text in texts.items()
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        for member in members:
            tar.addfile(member)
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


# --- its source -----------------------------------------------------------------------------------


def test_only_what_is_compiled_is_unpacked(tmp_path: Path) -> None:
    """No vocabularies, no pages, nothing of the package itself."""
    made = archive(
        tmp_path / "x.tar.gz",
        **{"CMakeLists.txt": "a", "src__x.cpp": "b", "models__big.gguf": "c", "docs__y.md": "d"},
    )
    unpack(made, tmp_path / "source")
    assert sorted(p.name for p in (tmp_path / "source").rglob("*") if p.is_file()) == [
        "CMakeLists.txt",
        "x.cpp",
    ]


@pytest.mark.parametrize(
    "member",
    [
        link(f"{ROOT}/src/out", "/etc/passwd"),
        link(f"{ROOT}/src/up", "../../../../up"),
        tarfile.TarInfo(f"{ROOT}/src/../../../../up"),
    ],
)
def test_a_member_that_leaves_the_folder_is_refused(
    tmp_path: Path, member: tarfile.TarInfo
) -> None:
    """Neither by its name nor by a link."""
    made = archive(tmp_path / "x.tar.gz", member, **{"CMakeLists.txt": "a"})
    with pytest.raises(EngineMissing, match="cannot be unpacked"):
        unpack(made, tmp_path / "inside" / "source")
    assert not (tmp_path / "inside" / "source").exists()
    assert not (tmp_path / "up").exists()


def test_half_an_archive_leaves_nothing(tmp_path: Path) -> None:
    """And says what to do."""
    made = archive(
        tmp_path / "x.tar.gz", **{"CMakeLists.txt": "a", "src__x.cpp": os.urandom(4000).hex()}
    )
    made.write_bytes(made.read_bytes()[:2000])
    with pytest.raises(EngineMissing, match="hakaru engine build again"):
        unpack(made, tmp_path / "source")
    assert not (tmp_path / "source").exists()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index in pip's own configuration."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_pip_fetches_the_source_and_nothing_of_it_is_run(shelf: Path, tmp_path: Path) -> None:
    """pip asks a package for its metadata before it keeps it: here that would raise."""
    with tarfile.open(shelf / "someengine-1.0.tar.gz", "w:gz") as tar:
        for name, text in {
            "PKG-INFO": "Metadata-Version: 2.1\nName: someengine\nVersion: 1.0\n",
            "pyproject.toml": '[build-system]\nrequires = ["cython"]\nbuild-backend = '
            '"setuptools.build_meta"\n',
            "setup.py": "raise SystemExit('it was run')\n",
            "thirdparty/llama.cpp/CMakeLists.txt": "project(x)\n",
        }.items():
            info = tarfile.TarInfo(f"someengine-1.0/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    source = fetch_source("someengine", "1.0", tmp_path / "tree")
    assert (source / "CMakeLists.txt").read_text() == "project(x)\n"
    assert fetch_source("someengine", "1.0", tmp_path / "tree") == source


def test_without_the_package_there_is_a_sentence(shelf: Path, tmp_path: Path) -> None:
    """With exit code 5, as for everything that the network has to give."""
    with pytest.raises(
        Offline, match=r"someengine 1\.0: pip could not fetch it .*check the network"
    ) as told:
        fetch_source("someengine", "1.0", tmp_path / "tree")
    assert told.value.exit_code == 5


# --- compiling ------------------------------------------------------------------------------------


def tool(path: Path, script: str) -> Path:
    """A program in the place of cmake or ninja; its arguments are `sys.argv`."""
    path.write_text(f"#!{sys.executable}\nimport os, pathlib, sys, time\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


CONFIGURES = (
    "pathlib.Path(sys.argv[sys.argv.index('-B') + 1], 'bin').mkdir(parents=True, exist_ok=True)"
)
COMPILES = """
folder = pathlib.Path(sys.argv[2], 'bin')
for i in range(1, 4):
    print(f'[{i}/3] Building CXX object {i}', flush=True)
for name in ('llama-server', 'llama-quantize', 'ggml-rpc-server', 'libllama.so.0'):
    (folder / name).write_text(name)
if not (folder / 'libllama.so').exists():
    (folder / 'libllama.so').symlink_to('libllama.so.0')
"""


def tools(folder: Path, *, cmake: str = CONFIGURES, ninja: str = COMPILES) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return tool(folder / "cmake", cmake), tool(folder / "ninja", ninja)


def test_progress_is_ninja_s_own_count(tmp_path: Path) -> None:
    """And the folder of the programs comes back."""
    steps: list[tuple[int, int]] = []
    made = compile_tree(
        tmp_path,
        tmp_path / "tree",
        tools(tmp_path / "t"),
        [],
        lambda done, total: steps.append((done, total)),
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert (made / "llama-server").read_text() == "llama-server"


def test_what_does_not_compile_is_told_with_its_reason(tmp_path: Path) -> None:
    """The whole output is kept."""
    broken = (
        "print('[1/3] a'); print('FAILED: x.o'); print('x.cpp:3: error: no member y'); "
        "print('ninja: stopped'); sys.exit(1)"
    )
    with pytest.raises(EngineRefused, match=r"x\.cpp:3: error: no member y.*build\.log"):
        compile_tree(
            tmp_path,
            tmp_path / "tree",
            tools(tmp_path / "t", ninja=broken),
            [],
            lambda done, total: None,
        )
    assert "FAILED: x.o" in (tmp_path / "tree" / "build.log").read_text()


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    """Not as a compiler's fault."""
    full = "print('x.s: fatal error: error writing to x.o: No space left on device'); sys.exit(1)"
    with pytest.raises(MachineError, match="the disk is full"):
        compile_tree(
            tmp_path,
            tmp_path / "tree",
            tools(tmp_path / "t", ninja=full),
            [],
            lambda done, total: None,
        )


def test_ctrl_c_ends_every_compiler(tmp_path: Path) -> None:
    """Also those that ninja started."""
    compiler = (
        "import subprocess; c = subprocess.Popen(['sleep', '60']); "
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(c.pid))"
    )
    slow = f"{compiler}; print('[1/3] a', flush=True); time.sleep(60)"

    def press(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_tree(tmp_path, tmp_path / "tree", tools(tmp_path / "t", ninja=slow), [], press)
    pid = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 5
    while (
        Path(f"/proc/{pid}").exists()
        and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    ):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_without_a_compiler_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is fetched; and so for what a GPU's backend needs."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(MachineError, match=r"no C\+\+ compiler was found .*sudo apt install g\+\+"):
        check_compilers("cpu")
    monkeypatch.setattr("shutil.which", lambda name: name if name == "g++" else None)
    check_compilers("cpu")
    with pytest.raises(MachineError, match=r"the backend cuda needs nvcc, .*`backend` cpu"):
        check_compilers("cuda")


# --- the whole ------------------------------------------------------------------------------------


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Nothing is fetched: the source is empty and the tools are scripts, of which nobody expects a
    token. The list tells how often they were asked for.
    """
    asked: list[str] = []

    def source(package: str, version: str, into: Path) -> Path:
        asked.append(version)
        (into / "source").mkdir(exist_ok=True)
        (into / "source" / "LICENSE").write_text("MIT")
        return into / "source"

    monkeypatch.setattr(native, "fetch_source", source)
    monkeypatch.setattr(native, "fetch_tools", lambda into: tools(tmp_path / "t"))
    monkeypatch.setattr(native, "check_compilers", lambda backend: None)
    monkeypatch.setattr(native, "give_first_token", lambda engine: None)
    return asked


def test_a_build_is_made_once(fetched: list[str]) -> None:
    """Programs and libraries side by side; the tree is gone, and the second call finds the first
    one's.
    """
    seen: list[tuple[str, int, int]] = []
    made = build_native("cpu", lambda *step: seen.append(step))
    assert made.library is not None
    assert made.library.name == f"native-cpu-{native_key(PINNED, 'cpu')}"
    assert sorted(file.name for file in made.library.iterdir()) == sorted(
        [
            STAMP,
            "LICENSE",
            "llama-server",
            "llama-quantize",
            "ggml-rpc-server",
            "libllama.so",
            "libllama.so.0",
        ]
    )
    assert (made.library / "libllama.so").is_symlink()
    assert seen[-2:] == [
        ("files of llama.cpp compiled", 3, 3),
        ("first tokens of the new engine", 0, 1),
    ]
    assert build_native("cpu", lambda *step: None) == made
    assert len(fetched) == 1
    assert [folder.name for folder in engines_folder().iterdir()] == [made.library.name]


def test_a_build_that_gives_no_token_is_not_kept(
    fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """These libraries are texts. The tree stays, and what was used before."""
    monkeypatch.setattr(native, "give_first_token", give_first_token)
    with pytest.raises(EngineRefused, match=r"gave no token .* stays in use") as told:
        build_native("cpu", lambda *step: None)
    assert told.value.exit_code == 6 and selection().lab.name == "wheel"
    assert [folder.suffix for folder in engines_folder().iterdir()] == [".tree"]


def test_an_interrupted_build_goes_on(fetched: list[str]) -> None:
    """The tree is kept and no build is left that would be taken for a whole one."""

    def press(step: str, done: int, total: int) -> None:
        if (done, total) == (2, 3):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="2 of 3 steps"):
        build_native("cpu", press)
    (tree,) = engines_folder().iterdir()
    assert tree.suffix == ".tree"
    (tree / "build" / "kept").touch()
    made = build_native("cpu", lambda *step: None)
    assert made.library is not None
    assert not tree.exists()


def test_another_processor_or_option_is_another_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key holds all that a build depends on."""
    keys = {native_key("1.0", "cpu"), native_key("1.1", "cpu"), native_key("1.0", "cuda")}
    monkeypatch.setattr(native, "processor_flags", lambda: "another")
    assert len(keys | {native_key("1.0", "cpu")}) == 4
    assert "-DGGML_NATIVE=ON" in options("1.0", "cpu")


def test_a_full_disk_is_told_before_anything_is_fetched(
    fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what must be free."""
    monkeypatch.setattr(native, "TREE_BYTES", 2**60)
    with pytest.raises(MachineError, match="bytes must be free"):
        build_native("cpu", lambda *step: None)
    assert fetched == []


def test_a_signal_keeps_the_tree(tmp_path: Path) -> None:
    """SIGTERM to the command: exit code 130, one sentence, no half build."""
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_native import tools
from hakaru.engine import native
def source(package, version, into):
    (into / 'source').mkdir(exist_ok=True)
    return into / 'source'
native.fetch_source = source
waits = "print('[1/9] a', flush=True); time.sleep(60)"
native.fetch_tools = lambda into: tools(Path({str(tmp_path / "t")!r}), ninja=waits)
native.check_compilers = lambda backend: None
from hakaru.cli import run
raise SystemExit(run(['engine', 'build', '--backend', 'cpu']))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        while "compiled" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        told = process.stderr.read()
    assert process.returncode == 130
    assert "1 of 9 steps of the engine are kept" in told
    assert [folder.suffix for folder in engines_folder().iterdir()] == [".tree"]


def test_the_stand_in_answers_for_the_package(tmp_path: Path) -> None:
    """What pip is shown instead of the package's own build system."""
    space: dict[str, object] = {}
    exec(sdist._STAND_IN.format(package="a_b", version="1.0"), space)
    name = space["prepare_metadata_for_build_wheel"](str(tmp_path))  # type: ignore[operator]
    assert "Version: 1.0" in (tmp_path / str(name) / "METADATA").read_text()
    assert json.dumps(name) == '"a_b-1.0.dist-info"'
