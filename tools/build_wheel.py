"""Builds a wheel in dist/ and names it by what the built module needs: `make wheel`.

The platform tag comes from auditwheel, which reads the symbols that the module takes from the C
and C++ libraries: on Debian 12 it is manylinux_2_35, in the manylinux_2_28 image manylinux_2_28.
Where auditwheel is not installed the wheel keeps its plain name, linux_ARCH. From Python 3.12 on
the wheel is for the stable ABI and serves all later Pythons; with 3.10 and 3.11 for that one.

Further arguments go to pip, as -C cmake.define.PENSTOCK_CUDA=ON.
"""

import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RAW, DIST = ROOT / "build" / "wheel", ROOT / "dist"
VERSIONED = re.compile(rb"\b(GLIBC|GLIBCXX|CXXABI|GCC)_([0-9]+(?:\.[0-9]+)+)\0")


def newest_needed(module: bytes) -> dict[str, str]:
    """The newest version of each library's symbols that a compiled module names."""
    newest: dict[str, tuple[int, ...]] = {}
    for library, text in VERSIONED.findall(module):
        version = tuple(map(int, text.split(b".")))
        name = library.decode()
        newest[name] = max(newest.get(name, version), version)
    return {name: ".".join(map(str, version)) for name, version in sorted(newest.items())}


def build(arguments: list[str]) -> Path:
    """The wheel as the build names it."""
    shutil.rmtree(RAW, ignore_errors=True)
    command = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q")
    where = ("--no-build-isolation", "--no-deps", "-w", str(RAW), ".")
    subprocess.run([*command, *arguments, *where], cwd=ROOT, check=True)
    (made,) = RAW.glob("*.whl")
    return made


def named(raw: Path) -> Path:
    """The same wheel in dist/, with the platform tag that is true of it."""
    DIST.mkdir(exist_ok=True)
    if find_spec("auditwheel") is None:
        print("auditwheel is not installed (pip install --group wheel): the name stays as it is")
        return Path(shutil.copy(raw, DIST))
    before = set(DIST.glob("*.whl"))
    command = (sys.executable, "-m", "auditwheel", "repair", "--plat", "auto", "-w", str(DIST))
    done = subprocess.run([*command, str(raw)], capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip(), "the name stays as it is", sep="\n")
        return Path(shutil.copy(raw, DIST))
    made = set(DIST.glob("*.whl")) - before
    return made.pop() if made else max(before, key=lambda path: path.stat().st_mtime)


def main() -> None:
    """Builds, names and says what was built."""
    wheel = named(build(sys.argv[1:]))
    with zipfile.ZipFile(wheel) as files:
        modules = [name for name in files.namelist() if re.search(r"/_core\.[^/]*so$", name)]
        needed = newest_needed(files.read(modules[0]))
    versions = ", ".join(f"{name} {version}" for name, version in needed.items())
    print(f"{wheel.relative_to(ROOT)}: {wheel.stat().st_size / 1e6:.1f} MB; needs {versions}")


if __name__ == "__main__":
    main()
