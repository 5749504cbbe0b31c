"""Small C++ programs of this folder, compiled when they are first needed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "benchmarks"
SOURCES = {
    "peaks": (
        *("benchmarks/peaks.cc", "benchmarks/kernels/peak.cc"),
        *("cpp/base/thread_pool.cc", "cpp/base/error.cc", "cpp/kernels/cpu/x86_probe.cc"),
    ),
    "disk_probe": ("benchmarks/disk_probe.cc",),
}


def _compiled(name: str) -> Path:
    """The program, made anew when a source is newer."""
    program = BUILD / name
    sources = [ROOT / source for source in SOURCES[name]]
    if program.exists() and program.stat().st_mtime > max(s.stat().st_mtime for s in sources):
        return program
    compiler = os.environ.get("CXX") or shutil.which("c++") or "g++"
    BUILD.mkdir(parents=True, exist_ok=True)
    include = [f"-I{ROOT / 'cpp'}", f"-I{ROOT / 'benchmarks'}"]
    command = [compiler, "-std=c++20", "-O3", "-w", *include, *map(str, sources), "-pthread"]
    subprocess.run([*command, "-o", str(program)], check=True)
    return program


def _built(folder: Path, target: str, *options: str) -> Path:
    """A target of the project, in release mode."""
    configure = ["cmake", "-S", ROOT, "-B", folder, "-DCMAKE_BUILD_TYPE=Release", *options]
    configure += ["-DPENSTOCK_BUILD_BENCHMARKS=ON", f"-DPython_EXECUTABLE={sys.executable}"]
    build = ["cmake", "--build", folder, "--target", target, "--parallel"]
    for command in (configure, build):
        subprocess.run(list(map(str, command)), check=True, stdout=sys.stderr)
    return folder / "benchmarks" / target


def kernels() -> Path:
    """bench_kernels, built with the library."""
    return _built(BUILD / "kernels", "bench_kernels")


def gpu_kernels() -> Path:
    """bench_gpu, built with nvcc for the GPU found."""
    options = ("-DPENSTOCK_CUDA=ON", "-DCMAKE_CUDA_ARCHITECTURES=native")
    return _built(BUILD / "gpu", "bench_gpu", *options)


def run(name: str, *arguments: object) -> dict[str, Any]:
    """The JSON object that the program prints."""
    command = [str(_compiled(name)), *map(str, arguments)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured: dict[str, Any] = json.loads(output)
    return measured
