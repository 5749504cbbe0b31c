"""``python -m penstock``."""

import sys

from penstock._cmake import cmakedir


def main() -> int:
    """Answer ``--cmakedir``; everything else is refused with a usage line."""
    if sys.argv[1:] == ["--cmakedir"]:
        print(cmakedir())
        return 0
    print("usage: python -m penstock --cmakedir", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
