"""Markdown files keep their form, and the rules about it can fail."""

from rules import markdown, project


def assert_none(rule):
    """Fails with everything that the rule finds in the project's documents."""
    found = [v for path in project.files(".md") for v in rule(path, project.text(path))]
    assert not found, "\n".join(found)


def test_lines_have_at_most_100_columns():
    assert_none(markdown.wide_lines)


def test_the_readme_is_short():
    assert_none(markdown.too_long)


def test_links_lead_somewhere():
    files = set(project.files())
    assert_none(lambda path, source: markdown.dead_links(path, source, files))


def test_wide_lines_are_found():
    assert markdown.wide_lines("a.md", "x" * 100 + "\n") == []
    assert markdown.wide_lines("a.md", "ok\n" + "x" * 101 + "\n") == [
        "a.md:2: 101 columns, over 100"
    ]
    assert markdown.wide_lines("a.md", "| " + "x" * 200 + " |\n") == []


def test_a_line_may_be_wide_by_its_link():
    link = "[" + "x" * 80 + "](docs/a-file-with-a-long-name.md)"
    assert markdown.wide_lines("a.md", link) == []
    assert markdown.wide_lines("a.md", "y" * 101 + link) != []


def test_a_long_readme_is_found():
    assert markdown.too_long("README.md", "a\n" * 90) == []
    assert markdown.too_long("README.md", "a\n" * 91) == ["README.md: 91 lines, over 90"]
    assert markdown.too_long("docs/a.md", "a\n" * 91) == []


def test_dead_links_are_found():
    files = {"docs/a.md", "examples/cpp/main.cc"}
    text = "[a](a.md) [here](#part) [web](https://example.org) [cpp](../examples/cpp)"
    assert markdown.dead_links("docs/b.md", text, files) == []
    found = markdown.dead_links("docs/b.md", "[c](../docs/c.md#x)", files)
    assert found == ["docs/b.md: links to ../docs/c.md#x, which is not there"]
    assert markdown.dead_links("docs/b.md", "```\n[c](c.md)\n```\n", files) == []
