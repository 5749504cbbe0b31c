"""``penstock`` and ``python -m penstock``."""

import sys

from penstock._cmake import cmakedir


def main() -> int:
    """Answers ``--cmakedir``; everything else is the command line's."""
    if sys.argv[1:] == ["--cmakedir"]:
        print(cmakedir())
        return 0
    from penstock.cli.app import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
