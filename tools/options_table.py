"""Write docs/options.md from the table of options in the package."""

from pathlib import Path

from penstock.util.engine_options import markdown_table

FILE = Path(__file__).resolve().parents[1] / "docs" / "options.md"
HEAD = """# The engine's options

The same names are keywords of `penstock.LLM` and options of `penstock run`, `plan`, `bench`, `eval`
and `quantize`. `tools/options_table.py` writes this page from the table in the package.

"""


def page() -> str:
    return HEAD + markdown_table()


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
