"""Everything that the README tells its reader to run does run, and prints what it says.

Commands run in a folder of their own that holds a copy of the model. Two are checked otherwise:
`pip install .`, which has been done for the Python that runs this test, and `make TARGET`, which
has to be a target.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = "models/penstock-opt-5m"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DONE_BEFORE = ("pip install .",)
RUN_BY_A_TEST = {"sh": 1, "": 1, "python": 1, "cpp": 1}


@pytest.fixture
def readme(root):
    return (root / "README.md").read_text("utf-8")


@pytest.fixture
def run(tmp_path, root):
    """Runs a command in a folder with a copy of the model; gives what it printed."""
    shutil.copytree(root / MODEL, tmp_path / MODEL)
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    machine = {"PENSTOCK_MACHINE": str(tmp_path / "machine.json"), "PENSTOCK_PROBE": "off"}
    environment = {**os.environ, "PATH": os.pathsep.join(paths), **machine}

    def command(*words):
        result = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return command


def blocks(readme, language):
    """The blocks of one language."""
    return [text for name, text in BLOCK.findall(readme) if name == language]


def test_every_block_is_run_by_a_test_below(readme):
    languages = [language for language, _ in BLOCK.findall(readme)]
    assert {name: languages.count(name) for name in languages} == RUN_BY_A_TEST


def test_shell_commands_print_what_the_readme_shows(readme, run):
    (script,), (shown,) = blocks(readme, "sh"), blocks(readme, "")
    lines = script.splitlines()
    assert all(line in lines for line in DONE_BEFORE)
    left = "\n".join(line for line in lines if line not in DONE_BEFORE)
    printed = iter(run("bash", "-euo", "pipefail", "-c", left).splitlines())
    for line in (line for line in shown.splitlines() if line != "..."):
        # `in` goes on in the iterator from where the line before was found.
        assert any(pattern_of(line).fullmatch(found.rstrip()) for found in printed), line


def pattern_of(line):
    """The line itself; times and rates are of the machine and the hour."""
    exact = re.escape(line)
    if line.endswith("tokens/s"):
        exact = re.sub(r"[\d,]+\\\.\d", r"[\\d,]+\\.\\d", exact)
    return re.compile(exact)


def test_the_pattern_of_a_line_can_fail():
    shown = "1 of 1 rows (0 errors), 10 tokens in 0.5 s: 18.8 tokens/s"
    assert pattern_of(shown).fullmatch(shown.replace("0.5 s: 18.8", "12.1 s: 0.8"))
    assert not pattern_of(shown).fullmatch(shown.replace("10 tokens", "9 tokens"))
    assert not pattern_of('{"id":1}').fullmatch('{"id":2}')


def test_python_prints_texts_and_a_score(readme, run):
    (source,) = blocks(readme, "python")
    *texts, score = run(sys.executable, "-c", source).splitlines()
    assert len([text for text in texts if text.strip()]) >= 2
    assert float(score) < 0


def test_the_cpp_program_prints_tokens(readme, run, root, tmp_path):
    (source,) = blocks(readme, "cpp")
    project = tmp_path / "cpp"
    project.mkdir()
    shutil.copy(root / "examples" / "cpp" / "CMakeLists.txt", project)
    (project / "main.cc").write_text(source, "utf-8")
    package = run(sys.executable, "-m", "penstock", "--cmakedir").strip()
    settings = [f"-Dpenstock_DIR={package}", "-DCMAKE_BUILD_TYPE=Release"]
    run("cmake", "-S", "cpp", "-B", "build", *settings)
    run("cmake", "--build", "build")
    tokens = [int(token) for token in run("build/generate").split()]
    assert len(tokens) == 10


def test_make_targets_exist(readme, root):
    makefile = (root / "Makefile").read_text("utf-8")
    named = re.findall(r"`make ([\w-]+)`", readme)
    assert named
    missing = [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)]
    assert not missing
