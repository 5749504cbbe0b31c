"""Penstock runs language models that are larger than memory."""

from penstock._core import version

__version__ = version()

__all__ = ["__version__"]
