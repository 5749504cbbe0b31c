"""Where the CMake package of the C++ engine was installed."""

from pathlib import Path


def cmakedir() -> str:
    """Return the folder to pass to CMake as ``penstock_DIR``, for ``find_package(penstock)``."""
    return str(Path(__file__).parent / "lib" / "cmake" / "penstock")
