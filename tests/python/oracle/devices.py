"""The accelerator that tests are asked to use as well: PENSTOCK_TEST_DEVICE, as "cuda:0"."""

from __future__ import annotations

import os
from typing import Any


def devices_and(*always: str) -> list[str]:
    """`always` and the test device, where the variable names one."""
    named = os.environ.get("PENSTOCK_TEST_DEVICE", "")
    return list(dict.fromkeys([*always, *([named] if named else [])]))


def memory_on(device: str) -> dict[str, Any]:
    """Budgets of a small model there."""
    budgets: dict[str, Any] = {"device": device, "host_memory": "1GiB"}
    return budgets if device == "cpu" else {**budgets, "device_memory": "512MiB"}
