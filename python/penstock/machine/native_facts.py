"""The process that asks the native module what it finds here; it may die of a wrong build."""

from __future__ import annotations

if __name__ == "__main__":
    from penstock import _core

    print(_core.describe_system())
