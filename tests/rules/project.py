"""The files the rules read, as paths relative to the root of the repository."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CXX = (".h", ".cc", ".inl", ".cu", ".cuh")
SKIPPED = {".git", ".venv", "build", "dist", "__pycache__"}


def _git_files() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    return listed.stdout.split("\0")


def _walked_files() -> list[str]:
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
    return [path.as_posix() for path in paths if not SKIPPED.intersection(path.parts)]


def files(*suffixes: str, under: tuple[str, ...] = ("",)) -> list[str]:
    """All files with one of the suffixes (any, when none is given) below one of the folders."""
    try:
        found = _git_files()
    except (OSError, subprocess.CalledProcessError):
        found = _walked_files()
    return sorted(
        path
        for path in set(found)
        if path.endswith(suffixes or "") and path.startswith(under) and (ROOT / path).is_file()
    )


def text(path: str) -> str:
    """The content of a file; what is not text reads as empty."""
    data = (ROOT / path).read_bytes()
    return "" if b"\0" in data else data.decode("utf-8", errors="replace")
