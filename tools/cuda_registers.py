"""What the CUDA kernels take of a GPU's registers, by compute capability, as Markdown.

    python tools/cuda_registers.py > table.md

Compiles cpp/kernels/cuda/*.cu with nvcc's report; needs nvcc and no GPU. A kernel that spills
registers to memory has the bytes behind it.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "cpp" / "kernels" / "cuda"
FLAGS = ["-std=c++20", "--expt-relaxed-constexpr", "--fmad=false", "-Xptxas=-v"]

TYPES = {"0": "fp32", "1": "fp16", "2": "bf16"}  # DType

_REPORT = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?(?P<stores>\d+) bytes spill stores"
    r".*?Used (?P<registers>\d+) registers",
    re.S,
)


def kernel_name(mangled: str) -> str:
    """The kernel's struct, with what it is made of: "GemmHalf<bf16, fp16, 8>"."""
    name = re.search(r"(?<=\d)([A-Z]\w*?)Kernel", mangled)
    if name is None:
        raise SystemExit(f"what kernel is {mangled}?")
    rest = mangled[name.end() :]
    arguments = re.match(r"I((?:L(?:i|NS\w*?DTypeE|S\d*_)\d+E)+)E", rest)
    if arguments is not None:
        values = re.findall(r"L(i|NS\w*?DTypeE|S\d*_)(\d+)E", arguments[1])
        return f"{name[1]}<{', '.join(v if kind == 'i' else TYPES[v] for kind, v in values)}>"
    if "Bf16AsF16" in rest:
        return f"{name[1]}<bf16 as fp16>"
    reader = re.search(r"(Raw|Code|Pair)(?:s|Reader|Cache)IL(?:NS\w*?DTypeE|i)(\d+)E", rest)
    if reader is None:
        return name[1]
    return f"{name[1]}<{TYPES[reader[2]] if reader[1] != 'Code' else 'int' + reader[2]}>"


def registers(capability: str) -> dict[str, str]:
    """By kernel: registers of a thread, and bytes spilled if any."""
    found: dict[str, str] = {}
    for source in sorted(KERNELS.glob("*.cu")):
        command = ["nvcc", *FLAGS, f"-arch=sm_{capability}", f"-I{ROOT / 'cpp'}", "-c"]
        result = subprocess.run(
            [*command, str(source), "-o", "/dev/null"], check=True, capture_output=True, text=True
        )
        for report in _REPORT.finditer(result.stderr):
            spilled = f" ({report['stores']} B)" if report["stores"] != "0" else ""
            found[kernel_name(report["name"])] = report["registers"] + spilled
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capabilities", nargs="+", default=["75", "80", "90a"])
    arguments = parser.parse_args()
    columns = [registers(capability) for capability in arguments.capabilities]
    print("| kernel | " + " | ".join(f"sm_{name}" for name in arguments.capabilities) + " |")
    print("|---|" + "---:|" * len(columns))
    for kernel in sorted(columns[0]):
        print(f"| {kernel} | " + " | ".join(column[kernel] for column in columns) + " |")
    print("registers of a thread; in brackets what spills", file=sys.stderr)


if __name__ == "__main__":
    main()
