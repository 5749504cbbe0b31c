"""Tests the lower bounds of the dependencies: tools/lower_bounds.py [--python P] [--wheel FILE].

Makes a virtual environment in build/lower-bounds, installs the package and exactly the oldest
version of each dependency that pyproject.toml allows, and runs the Python tests that need no torch.
The Python is the oldest one that is supported, 3.10: newer ones have no wheels of some of these
versions. With --wheel that wheel is tested, and nothing is compiled. Further arguments go to
pytest.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "lower-bounds"


def lower_bounds(text: str) -> list[str]:
    """`name==version` for each runtime dependency of a pyproject.toml."""
    listed = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    if listed is None:
        raise SystemExit("pyproject.toml: no list of dependencies")
    found = re.findall(r'"([^"]+)"', listed[1])
    for each in found:
        if not re.fullmatch(r"[a-z0-9-]+>=[0-9.]+", each):
            raise SystemExit(f"pyproject.toml: {each}: allowed: NAME>=VERSION")
    return [each.replace(">=", "==") for each in found]


def run(*command: str | Path) -> None:
    """Runs a command in the repository's root; ends this program when it fails."""
    code = subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode
    if code:
        raise SystemExit(code)


def main() -> None:
    """Installs and tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default="python3.10", help="the Python to test with")
    parser.add_argument("--wheel", help="test this wheel of the package; default: build it")
    arguments, rest = parser.parse_known_args()
    pinned = lower_bounds((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    python = shutil.which(arguments.python)
    if python is None:
        raise SystemExit(f"{arguments.python}: no such program; name another by --python")
    run(python, "-m", "venv", "--clear", FOLDER)
    pip = (FOLDER / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q")
    run(*pip, "--upgrade", "pip>=25.1")
    run(
        *pip,
        "--group",
        "build",
        "pytest",
        "safetensors",
        "--only-binary",
        "numpy,tokenizers,highspy",
        *pinned,
    )
    build = ("--no-build-isolation", "-C", "cmake.define.PENSTOCK_CUDA=OFF", ".")
    run(*pip, "--no-deps", *((arguments.wheel,) if arguments.wheel else build))
    print("tested with", ", ".join(pinned), "on", python, flush=True)
    tests = ("tests/python", "--ignore", "tests/python/oracle")
    run(FOLDER / "bin" / "python", "-m", "pytest", *tests, *rest)


if __name__ == "__main__":
    sys.exit(main())
