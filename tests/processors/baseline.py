"""Which machine instructions stand where in a build for x86-64.

Code that every processor runs may hold nothing beyond the x86-64 baseline (SSE2). Wider
instructions belong to the files of the table of instruction sets (`cmake/PenstockIsas.cmake`).
Those may not define weak symbols: the linker keeps one copy of an inline or templated function for
all callers, and it could be a wide one.

    python tests/processors/baseline.py build/release
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_LEGACY_PREFIXES = {0x66, 0xF2, 0xF3, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65, 0x67, 0xF0}
_VECTOR_PREFIXES = {0xC4, 0xC5, 0x62}  # VEX and EVEX; in 64-bit code they have no other meaning
_SSE3 = {(0xF2, 0x7C), (0x66, 0x7C), (0xF2, 0x7D), (0x66, 0x7D), (0xF2, 0xD0), (0x66, 0xD0)}
_SSE3 |= {(0xF2, 0xF0), (0xF2, 0x12), (0xF3, 0x12), (0xF3, 0x16)}
# As TZCNT it would be beyond, but compilers write `rep bsf`, which old processors take for BSF.
_COUNTS = {(0xF3, 0xB8), (0xF3, 0xBD)}  # POPCNT, LZCNT

_FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t((?:[0-9a-f]{2} )+)\s*(?:\t(.*))?$")
_ISA_FLAG = re.compile(r"\s-m(?:sse[34s]|avx|fma|f16c|amx)")


def beyond_baseline(code: bytes) -> bool:
    """Whether an instruction needs more than the x86-64 baseline."""
    prefixes, at = set(), 0
    while at < len(code) and code[at] in _LEGACY_PREFIXES:
        prefixes.add(code[at])
        at += 1
    if at < len(code) and code[at] in _VECTOR_PREFIXES:
        return True
    wide = at < len(code) and code[at] & 0xF8 == 0x48
    if at < len(code) and code[at] & 0xF0 == 0x40:
        at += 1
    if code[at : at + 1] == b"\x8f":
        return len(code) > at + 1 and code[at + 1] & 0x38 != 0  # XOP; else POP
    if code[at : at + 1] != b"\x0f" or len(code) < at + 2:
        return False
    opcode = code[at + 1]
    if opcode in (0x38, 0x3A):  # SSSE3, SSE4, AES, SHA, MOVBE, CRC32
        return True
    if opcode == 0xC7 and wide and len(code) > at + 2:
        return code[at + 2] & 0x38 == 0x08  # CMPXCHG16B
    return any((prefix, opcode) in _SSE3 | _COUNTS for prefix in prefixes)


def disassemble(file: Path) -> Iterator[str]:
    """The lines of objdump for one object or library."""
    command = ["objdump", "-d", "-w", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield from process.stdout
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")


def wide_functions(lines: Iterable[str]) -> dict[str, str]:
    """The functions that hold a wider instruction, each with its first one."""
    found: dict[str, str] = {}
    function = ""
    for line in lines:
        if match := _FUNCTION.match(line):
            function = match[1]
        elif (match := _INSTRUCTION.match(line)) and match[2]:
            if function not in found and beyond_baseline(bytes.fromhex(match[1])):
                found[function] = match[2].strip()
    return found


def symbols(file: Path) -> dict[str, str]:
    """The symbols that a file defines, each with the letter that nm gives it."""
    run = subprocess.run(
        ["nm", "--defined-only", str(file)], capture_output=True, text=True, check=True
    )
    fields = (line.split() for line in run.stdout.splitlines())
    return {field[2]: field[1] for field in fields if len(field) == 3}


@dataclass(frozen=True)
class Unit:
    """A compiled file of the build."""

    source: str
    object: Path
    wide: bool  # compiled for an instruction set


def units(tree: Path) -> list[Unit]:
    """The C++ files of the package that were built, from the compile commands."""
    found = []
    for entry in json.loads((tree / "compile_commands.json").read_text()):
        object_file = re.search(r" -o (\S+\.o) ", entry["command"] + " ")
        if not object_file:  # a precompiled header
            continue
        made = tree / object_file[1]
        package = "/tests/" not in entry["file"] and "/benchmarks/" not in entry["file"]
        if package and made.exists():
            wide = bool(_ISA_FLAG.search(entry["command"]))
            found.append(Unit(entry["file"], made, wide))
    return found


def unit_violations(unit: Unit) -> list[str]:
    """What is wrong with one object."""
    if unit.wide:
        weak = sorted(name for name, kind in symbols(unit.object).items() if kind == "W")
        return [f"{unit.source}: {name} is weak in a file of an instruction set" for name in weak]
    wide = wide_functions(disassemble(unit.object))
    return [f"{unit.source}: {name} holds `{code}`" for name, code in wide.items()]


def module_violations(module: Path, isa_symbols: set[str]) -> list[str]:
    """Functions of the linked module with wider instructions that no ISA file defines."""
    wide = wide_functions(disassemble(module))
    return [
        f"{module.name}: {name} holds `{code}`"
        for name, code in wide.items()
        if name not in isa_symbols
    ]


def violations(tree: Path) -> list[str]:
    """What is wrong with a build tree."""
    built = units(tree)
    if not any(unit.wide for unit in built):
        return [f"{tree}: no file of an instruction set was built"]
    found = [line for unit in built for line in unit_violations(unit)]
    isa_symbols = {name for unit in built if unit.wide for name in symbols(unit.object)}
    modules = sorted(tree.glob("python/bindings/_core*.so"))
    if not modules:
        return [*found, f"{tree}: no Python module was built"]
    return found + [line for module in modules for line in module_violations(module, isa_symbols)]


def main() -> int:
    """Runs the command line of this module."""
    tree = Path(sys.argv[1])
    found = violations(tree)
    print("\n".join(found) or f"{tree}: wider instructions stand in files of their own alone")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
