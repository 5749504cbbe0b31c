"""Write docs/options.md from the tables of options in the package."""

from pathlib import Path

from penstock.util.command_options import command_tables
from penstock.util.engine_options import markdown_table

FILE = Path(__file__).resolve().parents[1] / "docs" / "options.md"
HEAD = """# Options

The options of the first three tables belong to the engine. Their names are keywords of
`penstock.LLM`, and options of `penstock run`, `plan`, `bench`, `eval` and `quantize`.
`tools/options_table.py` writes this page from the tables in the package.

"""


def page() -> str:
    return HEAD + markdown_table() + "\n" + command_tables()


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
