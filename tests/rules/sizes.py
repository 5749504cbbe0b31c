"""How large files and functions may be."""

import ast
from dataclasses import dataclass

from rules import cxx, exceptions, project

FILE_LINES, FILE_LINES_EVER = 500, 800
FUNCTION_LINES, KERNEL_LINES = 80, 150
PARAMETERS = 5
MEDIAN_LINES, P90_LINES = 12, 30


@dataclass(frozen=True)
class Function:
    """One function of either language; docstring lines are not counted."""

    path: str
    name: str
    line: int
    lines: int
    parameters: int

    @property
    def key(self) -> str:
        """How the lists of exceptions name it."""
        return f"{self.path}:{self.name}"


def file_violation(path: str, source: str, reasons: dict[str, str]) -> str | None:
    """What is wrong with the length of one file."""
    lines = source.count("\n")
    if lines > FILE_LINES_EVER:
        return f"{path}: {lines} lines, over {FILE_LINES_EVER}"
    if lines > FILE_LINES and path not in reasons:
        return f"{path}: {lines} lines, over {FILE_LINES} without a reason in exceptions.py"
    return None


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is None:
        return 0
    return first.end_lineno - first.lineno + 1


def _parameter_count(arguments: ast.arguments) -> int:
    positional = [a.arg for a in arguments.posonlyargs + arguments.args]
    count = len(positional) - (positional[:1] in (["self"], ["cls"]))
    return count + len(arguments.kwonlyargs) + bool(arguments.vararg) + bool(arguments.kwarg)


def python_functions(path: str, source: str) -> list[Function]:
    """The functions of a Python file; a method is named Class.method."""
    found: list[Function] = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = child.end_lineno - child.lineno + 1 - _docstring_lines(child)
                count = _parameter_count(child.args)
                found.append(Function(path, prefix + child.name, child.lineno, lines, count))
            scope = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            visit(child, f"{prefix}{child.name}." if scope else prefix)

    visit(ast.parse(source), "")
    return found


def cxx_functions(path: str, source: str) -> list[Function]:
    """The functions of a C++ or CUDA file."""
    return [
        Function(path, f.name, f.line, f.lines, len(f.parameters)) for f in cxx.functions(source)
    ]


def all_functions(*under: str) -> list[Function]:
    """The functions below some folders of the project."""
    found: list[Function] = []
    for path in project.files(*project.CXX, ".py", under=under):
        read = python_functions if path.endswith(".py") else cxx_functions
        found += read(path, project.text(path))
    return found


def function_violations(function: Function) -> list[str]:
    """What is wrong with the size of one function."""
    where = f"{function.path}:{function.line}: {function.name}"
    limit = KERNEL_LINES if function.path.startswith("cpp/kernels/") else FUNCTION_LINES
    found = []
    if function.lines > limit and function.key not in exceptions.LONG_FUNCTIONS:
        found.append(f"{where} has {function.lines} lines, over {limit}")
    if function.parameters > PARAMETERS and function.key not in exceptions.WIDE_FUNCTIONS:
        found.append(f"{where} has {function.parameters} parameters, over {PARAMETERS}")
    return found


def quantile(values: list[int], share: float) -> int:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)]
