"""Checkpoints are made once a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from python.oracle.checkpoints import Case, write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case, str], Path]:
    """The folder of a case in a dtype."""
    made: dict[tuple[str, str], Path] = {}
    torch.set_num_threads(1)  # small products: more threads only wait for each other

    def folder(case: Case, dtype: str = "float32") -> Path:
        key = (case.name, dtype)
        if key not in made:
            made[key] = tmp_path_factory.mktemp(f"{case.name}-{dtype}")
            write_checkpoint(case, made[key], dtype)
        return made[key]

    return folder
