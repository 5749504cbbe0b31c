"""``penstock doctor``: what the machine offers, what this build can use, what is missing."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from penstock.machine.disk_class import disk_facts
from penstock.machine.place import Place
from penstock.util.childprocess import module_command
from penstock.util.config import cublaslt_library
from penstock.util.deaths import how_it_ended
from penstock.util.processor import processor_name

_SECONDS_FOR_NATIVE = 60.0
_GPU_FILE = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Problem:
    """Something that is missing or slow, and what to do about it."""

    what: str
    fix: str


def examine(folder: Path) -> dict[str, Any]:
    """What this machine offers and this installation can use, as JSON values.

    `folder` is on the disk that is looked at. The native module is asked in a process of its own,
    so that a build that this processor cannot run is reported in words.
    """
    native, failure = _native_facts()
    found: dict[str, Any] = {
        "version": metadata.version("penstock"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(native),
        "memory": _memory(native),
        "disk": disk_facts(folder),
        "gpu": native.get("cuda", {"built": False, "gpus": [], "missing": failure}),
        "machine_file": _machine_file(folder),
        "packages": _packages(),
    }
    problems = [Problem(failure, _REINSTALL)] if failure else []
    problems += _problems(found)
    return {**found, "problems": [vars(problem) for problem in problems]}


_REINSTALL = "install from the sources on this machine: pip install --force-reinstall ."


def _native_facts() -> tuple[dict[str, Any], str]:
    """What the native module finds, and why there is nothing when it cannot run."""
    try:
        done = subprocess.run(
            module_command("penstock.machine.native_facts"),
            capture_output=True,
            timeout=_SECONDS_FOR_NATIVE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {}, f"the engine did not answer within {_SECONDS_FOR_NATIVE:g} s"
    if done.returncode == 0:
        return dict(json.loads(done.stdout)), ""
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    reason = how_it_ended(done.returncode)
    return {}, f"the engine cannot run: its process {reason}" + (f": {said[-1]}" if said else "")


def _processor(native: dict[str, Any]) -> dict[str, Any]:
    isas = native.get("isas", [])
    return {
        "name": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "isa": isas[0] if isas else "",
        "isas": isas,
    }


def _memory(native: dict[str, Any]) -> dict[str, Any]:
    host = native.get("host_memory", {"available": 0, "limit": 0})
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "total_bytes": total,
        "available_bytes": host["available"],
        "cgroup_limit_bytes": host["limit"] or None,
    }


def _machine_file(folder: Path) -> dict[str, Any]:
    path = Place(folder=folder).file
    about = ""
    if path.is_file():
        try:
            about = str(json.loads(path.read_text(encoding="utf-8")).get("about", ""))
        except (OSError, ValueError, AttributeError):
            about = "cannot be read"
    return {"path": str(path), "measured": path.is_file(), "about": about}


def _packages() -> dict[str, str | None]:
    """The versions of what the package needs and may use; None where it is not installed."""
    found: dict[str, str | None] = {}
    for requirement in metadata.requires("penstock") or []:
        name, _, extra = requirement.partition(";")
        if "extra" in extra and "cuda" not in extra:
            continue
        plain = name.split(">")[0].split("=")[0].split("<")[0].strip()
        try:
            found[plain] = metadata.version(plain)
        except metadata.PackageNotFoundError:
            found[plain] = None
    return found


def _problems(found: dict[str, Any]) -> list[Problem]:
    problems = []
    for name, version in found["packages"].items():
        if version is None and not name.startswith("nvidia-"):
            problems.append(Problem(f"the package {name} is missing", f"pip install {name}"))
    problems += _gpu_problems(found["gpu"])
    if found["processor"]["isas"] == ["portable"]:
        what = "this processor has none of the instruction sets with fast kernels"
        problems.append(Problem(what, "expect a tenth of the speed, or use another machine"))
    if not found["machine_file"]["measured"]:
        what = "this machine and disk were not measured; the first plan does so, roughly, in 10 s"
        folder = found["disk"]["folder"]
        problems.append(Problem(what, f"penstock probe --disk {folder}"))
    return problems + _disk_problems(found["disk"])


def _gpu_problems(gpu: dict[str, Any]) -> list[Problem]:
    problems = []
    if _GPU_FILE.exists() and not gpu["built"]:
        what = "this machine has an NVIDIA driver and this build has no CUDA"
        fix = "with nvcc on the PATH: pip install -C cmake.define.PENSTOCK_CUDA=ON ."
        problems.append(Problem(what, fix))
    if gpu["gpus"] and not cublaslt_library():
        what = "cuBLASLt is not installed; dense products use our own kernels"
        problems.append(Problem(what, 'pip install "nvidia-cublas>=13,<14"'))
    return problems


def _disk_problems(disk: dict[str, Any]) -> list[Problem]:
    problems = []
    if disk["missing"]:
        problems.append(Problem(f"{disk['folder']}: {disk['missing']}", "name another: --disk DIR"))
    if disk["class"] in ("memory", "network", "slow"):
        what = f"{disk['folder']} is on a disk of class {disk['class']}"
        fix = "keep models and --disk on a local SSD: streaming goes at its rate"
        problems.append(Problem(what, fix))
    return problems
