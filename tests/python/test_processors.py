"""The check that wider instructions stand in files of their own, on code made to break it."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "processors"))
import baseline  # noqa: E402

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="looks at x86-64 instructions"
)


def compiled(folder, text, *flags):
    source, made = folder / "unit.cc", folder / "unit.o"
    source.write_text(text)
    subprocess.run(
        ["c++", "-std=c++20", "-O2", *flags, "-c", str(source), "-o", str(made)], check=True
    )
    return made


SUM = "void add(float* to, const float* from) { for (int i = 0; i < 64; ++i) to[i] += from[i]; }"
TEMPLATE = """
template <class T> __attribute__((noinline)) T twice(T x) { return x + x; }
double use(double x) { return twice(x); }
"""


@pytest.mark.parametrize(
    ("code", "beyond"),
    [
        ("c5 f8 58 c1", True),  # vaddps
        ("62 f1 7c 48 58 c1", True),  # vaddps zmm
        ("66 0f 38 00 c1", True),  # pshufb
        ("f2 48 0f 38 f1 c1", True),  # crc32
        ("f3 48 0f b8 c1", True),  # popcnt
        ("f3 0f bd c1", True),  # lzcnt
        ("f2 0f 7c c1", True),  # haddps
        ("48 0f c7 0f", True),  # cmpxchg16b
        ("0f 58 c1", False),  # addps
        ("66 0f fe c1", False),  # paddd
        ("f3 0f bc c1", False),  # rep bsf
        ("0f c7 0f", False),  # cmpxchg8b
        ("8f 00", False),  # pop
        ("f3 c3", False),  # rep ret
    ],
)
def test_instructions_are_known_by_their_bytes(code, beyond):
    assert baseline.beyond_baseline(bytes.fromhex(code)) == beyond


def test_wide_code_in_a_plain_file_is_found(tmp_path):
    plain = baseline.Unit("unit.cc", compiled(tmp_path, SUM), wide=False)
    assert baseline.unit_violations(plain) == []
    wide = baseline.Unit("unit.cc", compiled(tmp_path, SUM, "-O3", "-mavx2"), wide=False)
    assert "add" in baseline.unit_violations(wide)[0]


def test_a_shared_template_in_a_wide_file_is_found(tmp_path):
    wide = baseline.Unit("unit.cc", compiled(tmp_path, TEMPLATE, "-mavx2"), wide=True)
    assert "twice" in baseline.unit_violations(wide)[0]
    hidden = compiled(tmp_path, "namespace {" + TEMPLATE.replace("use", "used") + "}\n", "-mavx2")
    assert baseline.unit_violations(baseline.Unit("unit.cc", hidden, wide=True)) == []


def test_a_module_may_hold_wide_code_of_its_files_alone(tmp_path):
    module = compiled(tmp_path, 'extern "C" ' + SUM, "-O3", "-mavx2")
    assert baseline.module_violations(module, {"add"}) == []
    assert len(baseline.module_violations(module, {"other"})) == 1
