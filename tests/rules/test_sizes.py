"""Files, functions and parameter lists stay small."""

from rules import exceptions, project, sizes


def test_files():
    paths = project.files(*project.CXX, ".py")
    found = [sizes.file_violation(p, project.text(p), exceptions.LONG_FILES) for p in paths]
    assert not any(found), "\n".join(filter(None, found))


def test_functions():
    found = [v for f in sizes.all_functions("") for v in sizes.function_violations(f)]
    assert not found, "\n".join(found)


def test_most_functions_are_short():
    lines = [function.lines for function in sizes.all_functions("cpp/", "python/")]
    median, p90 = sizes.quantile(lines, 0.5), sizes.quantile(lines, 0.9)
    assert median <= sizes.MEDIAN_LINES, f"median function length {median}"
    assert p90 <= sizes.P90_LINES, f"90 % of functions have up to {p90} lines"


def test_exceptions_name_files_that_exist():
    lists = (exceptions.LONG_FILES, exceptions.LONG_FUNCTIONS, exceptions.WIDE_FUNCTIONS)
    lists += (exceptions.MACROS, exceptions.MUTABLE_GLOBALS)
    known = set(project.files())
    stale = [key for entries in lists for key in entries if key.split(":")[0] not in known]
    assert not stale


def test_a_long_file_needs_a_reason():
    assert sizes.file_violation("a.py", "x\n" * 501, {})
    assert not sizes.file_violation("a.py", "x\n" * 501, {"a.py": "a table"})
    assert not sizes.file_violation("a.py", "x\n" * 500, {})
    assert sizes.file_violation("a.py", "x\n" * 801, {"a.py": "a table"})


def test_a_long_function_is_found():
    source = "void f() {\n" + "  g();\n" * 79 + "}\n"
    (function,) = sizes.cxx_functions("cpp/base/a.cc", source)
    assert function.lines == 81
    assert sizes.function_violations(function)
    (kernel,) = sizes.cxx_functions("cpp/kernels/cpu/a.cc", source)
    assert not sizes.function_violations(kernel)


def test_a_wide_function_is_found():
    (function,) = sizes.cxx_functions("a.cc", "int f(int a, int b, int c, int d, int e, int g) {}")
    assert sizes.function_violations(function)
    (function,) = sizes.python_functions("a.py", "def f(a, b, c, *, d, e, g): ...")
    assert sizes.function_violations(function)


def test_python_lengths_leave_out_the_docstring_and_self():
    source = 'class A:\n  def f(self, a):\n    """One.\n\n    Two.\n    """\n    return a\n'
    (function,) = sizes.python_functions("a.py", source)
    assert (function.name, function.lines, function.parameters) == ("A.f", 2, 1)


def test_quantile():
    assert sizes.quantile([4, 1, 3, 2], 0.5) == 2
    assert sizes.quantile(list(range(1, 11)), 0.9) == 9
    assert sizes.quantile([7], 0.9) == 7
