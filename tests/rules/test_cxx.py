"""The reader of C++ finds what the other rules count."""

import pytest
from rules import cxx

SNIPPETS = {
    "int f(int a) { return a; }": ["f"],
    "namespace a::b {\nnamespace {\nvoid f() {}\n}\n}": ["f"],
    'extern "C" {\nvoid f(void) {}\n}': ["f"],
    "struct A {\n  A() : a_{1}, b_(2) { g(); }\n  ~A() {}\n  int a_{0}, b_;\n};": ["A", "~A"],
    "class A : public B<int> {\n public:\n  int size() const noexcept { return 1; }\n};": ["size"],
    'class CAPABILITY("mutex") A {\n  void lock() ACQUIRE() {}\n};': ["lock"],
    "enum class A : int { x, y };\nunion U { int a; };": [],
    "constexpr int table[] = {1, 2};\nconst A a{1};\nstd::vector<int> v({1, 2});": [],
    "const auto f = [](int a) { return a; };": [],
    "bool operator==(A a, A b) { return true; }": ["operator=="],
    "int A::operator()(int a) const { return a; }": ["operator()"],
    "A::operator bool() const { return true; }": ["operator bool"],
    "template <class T, int N = 3>\n  requires(N == 3)\nT f(T a, int b = g({1})) {}": ["f"],
    "auto f(int a) -> std::pair<int, int> { return {a, a}; }": ["f"],
    "void f(Options o = {}) {}": ["f"],
    "__global__ void __launch_bounds__(256) f(P p) {}": ["f"],
    "[[nodiscard]] static inline int f() { if (g()) { return 1; } return 2; }": ["f"],
    "NB_MODULE(_core, m) { g(m); }": ["NB_MODULE"],
    "int f();\nextern int g(int);\n": [],
    "#if defined(A)\n#define F(x) void x() {}\n#endif\nvoid g() {}": ["g"],
    'void f() { g("{", \'{\', R"(}})"); } // }\n/* { */ void h() { int a = 1\'000; }': ["f", "h"],
}


@pytest.mark.parametrize("source", SNIPPETS)
def test_functions_are_found(source):
    assert [function.name for function in cxx.functions(source)] == SNIPPETS[source]


def test_a_function_spans_its_signature_and_braces():
    source = "\n// Says what.\ntemplate <class T>\nvoid f(T a,\n       T b) {\n  g();\n}\n"
    (function,) = cxx.functions(source)
    assert (function.line, function.lines) == (4, 4)


def test_a_label_or_body_before_does_not_count():
    source = "struct A {\n public:\n  int f() { return 1; }\n\n  int g() { return 2; }\n};\n"
    assert [(f.name, f.line, f.lines) for f in cxx.functions(source)] == [("f", 3, 1), ("g", 5, 1)]


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ("", 0),
        ("void", 0),
        ("int a", 1),
        ("std::map<int, int> a, int b", 2),
        ("F<void(A, B)> f", 1),
    ],
)
def test_parameters_are_counted(arguments, count):
    (function,) = cxx.functions(f"void f({arguments}) {{}}")
    assert len(function.parameters) == count


def test_statements_carry_scope_and_line():
    source = "int a = 1;\nstruct A {\n  static int b;\n};\nvoid f() { int c; }\nint d{2};\n"
    found = [(s.text, s.line, s.scope) for s in cxx.statements(source)]
    assert ("int a = 1", 1, "namespace") in found
    assert ("static int b", 3, "type") in found
    assert ("int d{2}", 6, "namespace") in found
    assert not any("c" == text[-1] for text, _, _ in found)


def test_includes_keep_their_brackets():
    source = '#include <vector>\n/* #include "x.h" */\n# include "base/error.h"  // why\n'
    assert cxx.includes(source) == [(1, "<vector>"), (3, '"base/error.h"')]
