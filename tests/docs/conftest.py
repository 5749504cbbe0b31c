"""Where the documents are."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))


@pytest.fixture
def root():
    """The folder of the project."""
    return ROOT
