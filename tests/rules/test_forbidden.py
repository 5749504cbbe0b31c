"""Words that must not appear do not, and the rules against them can fail."""

from rules import forbidden, project

PRODUCT = ("cpp/", "python/")
CXX_SAMPLE = "cpp/io/a.cc"


def assert_none(rule, *suffixes, under=("",)):
    """Fails with everything that one rule finds in the project, one line each."""
    paths = project.files(*suffixes, under=under)
    found = [v for path in paths for v in rule(path, project.text(path))]
    assert not found, "\n".join(found)


def test_only_the_config_reader_reads_the_environment():
    assert_none(forbidden.environment_reads, *project.CXX, ".py", under=PRODUCT)


def test_macros_are_listed():
    assert_none(forbidden.macros, *project.CXX)


def test_headers_say_pragma_once():
    assert_none(forbidden.include_guard, *project.CXX)


def test_nothing_global_can_change():
    assert_none(forbidden.mutable_globals, *project.CXX, under=PRODUCT)


def test_files_are_not_mapped():
    assert_none(forbidden.file_mappings, *project.CXX, ".py", under=PRODUCT)


def test_the_package_runs_no_code_from_data():
    assert_none(forbidden.foreign_imports, ".py", under=("python/penstock/",))


def test_isa_files_include_light_headers():
    assert_none(forbidden.heavy_isa_includes, *project.CXX, under=("cpp/",))


def test_no_file_names_a_path_of_one_machine():
    assert_none(forbidden.machine_paths)


def test_names_say_what_they_hold():
    assert_none(forbidden.vague_names, ".py")


def test_environment_reads_are_found():
    assert forbidden.environment_reads(CXX_SAMPLE, 'auto a = std::getenv("A");')
    assert forbidden.environment_reads("python/penstock/llm.py", "a = os.environ['A']")
    assert not forbidden.environment_reads(forbidden.CONFIG_READER, "a = os.environ['A']")
    assert not forbidden.environment_reads(CXX_SAMPLE, "// getenv() is not used")


def test_macros_are_found():
    assert forbidden.macros(CXX_SAMPLE, "#  define A 1\n")
    assert not forbidden.macros(CXX_SAMPLE, "// #define A 1\n")
    assert forbidden.include_guard("cpp/io/a.h", "#ifndef A_H\n")
    assert not forbidden.include_guard("cpp/io/a.h", "#pragma once\n")


def test_mutable_globals_are_found():
    bad = (
        "int a = 1;", "static int a;", "namespace {\nstd::atomic<int> a{0};\n}", "Table a[3];",
        "thread_local int a;", "struct A { static int a; };", "inline std::mutex a;",
        "void f() { static int a = 0; }", "void f() {\n  thread_local std::string a;\n}",
    )  # fmt: skip
    for source in bad:
        assert forbidden.mutable_globals(CXX_SAMPLE, source), source


def test_constants_types_and_functions_are_not_globals():
    good = (
        "constexpr int a = 1;", "const Table a[] = {1};", "int f(int a = 1);", "int f();",
        "void f() { static const Table a = g(); }", "struct A { int a = 1; };", "using A = int;",
        "struct A { static A make(int a); };", "static int f(int a) { return a; }",
        "inline constexpr std::array<int, 2> a = {1, 2};", "template <class T> struct A;",
        "enum class E : int;", "bool operator==(A, A) = default;", "extern template class A<int>;",
        "void f() { static constexpr int a = 0; int b = static_cast<int>(1.0); }",
    )  # fmt: skip
    for source in good:
        assert not forbidden.mutable_globals(CXX_SAMPLE, source), source


def test_file_mappings_are_found():
    assert forbidden.file_mappings(CXX_SAMPLE, "void* a = ::mmap(b);")
    assert forbidden.file_mappings("python/penstock/a.py", "import mmap\n")
    assert forbidden.file_mappings("python/penstock/a.py", "a = numpy.memmap(b)")
    assert not forbidden.file_mappings("cpp/memory/a.cc", "void* a = ::mmap(b);")


def test_foreign_imports_are_found():
    for source in ("import torch", "def f():\n  from torch.nn import Linear", "import pickle as p"):
        assert forbidden.foreign_imports("python/penstock/a.py", source), source
    assert not forbidden.foreign_imports(
        "python/penstock/a.py", "import json\nfrom . import torchy"
    )


def test_vague_names_are_found():
    word = "to" + "ld"
    for source in ("{} = 1", "def f({}): pass", "a._{}_at", "class {}: pass", "f'{{{}}}'"):
        assert forbidden.vague_names("python/penstock/a.py", source.format(word)), source
    assert not forbidden.vague_names(
        "python/penstock/a.py", f"# {word}\na = '{word}'\nuntolded = 1"
    )


def test_heavy_headers_are_found():
    for path in ("cpp/kernels/cpu/vec_avx2.h", "cpp/kernels/cpu/bodies/norm.inl",
                 "cpp/kernels/cpu/avx512.cc", "cpp/base/crc32c_sse42.cc"):  # fmt: skip
        assert forbidden.heavy_isa_includes(path, "#include <vector>\n"), path
        assert not forbidden.heavy_isa_includes(path, "#include <immintrin.h>\n"), path
    assert not forbidden.heavy_isa_includes("cpp/kernels/cpu/table.cc", "#include <vector>\n")


def test_machine_paths_are_found():
    assert forbidden.machine_paths("a.md", "see " + "/home/" + "someone/models")
    assert not forbidden.machine_paths("a.md", "models/" + "home/x, https://a.b/" + "home/x")
