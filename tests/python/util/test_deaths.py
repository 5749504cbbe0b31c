"""Exit codes in words, and what the kernel tells of a processor."""

import pytest
from penstock.util.deaths import how_it_ended, signal_name
from penstock.util.processor import instruction_sets, processor_name

LAPTOP = """processor\t: 0
model name\t: Some Laptop CPU @ 2 GHz
flags\t\t: fpu sse4_2 avx2 fma avx_vnni
"""


def test_an_exit_code_and_a_signal_have_words():
    assert how_it_ended(3) == "ended with exit code 3"
    assert how_it_ended(-11) == "was killed by SIGSEGV"
    assert "--host-memory" in how_it_ended(-9)
    assert signal_name(-60) == "signal 60"


def test_an_illegal_instruction_names_the_processor_and_what_it_has():
    words = how_it_ended(-4, kernels="avx512")
    assert "SIGILL: this processor lacks an instruction of this build" in words
    assert processor_name() in words and "kernels for avx512 were chosen" in words
    assert "were chosen" not in how_it_ended(-4)


def test_the_processor_is_read_from_the_kernels_text(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(LAPTOP)
    assert processor_name(file) == "Some Laptop CPU @ 2 GHz"
    assert instruction_sets(file) == ["avx2", "avx_vnni"]


@pytest.mark.parametrize("text", ["", "model name: x\n"])
def test_a_kernel_that_tells_little_is_no_error(tmp_path, text):
    file = tmp_path / "cpuinfo"
    file.write_text(text)
    assert processor_name(file)
    assert instruction_sets(file) == []
    assert processor_name(tmp_path / "none")
