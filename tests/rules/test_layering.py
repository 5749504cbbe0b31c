"""Includes and links run one way."""

from rules import layering, project


def test_includes_follow_the_table():
    paths = project.files(*project.CXX, under=("cpp/", "python/bindings/"))
    found = [v for path in paths for v in layering.include_violations(path, project.text(path))]
    assert not found, "\n".join(found)


def test_links_equal_the_table():
    assert layering.link_table(project.text("cpp/CMakeLists.txt")) == layering.TABLE


def test_the_table_has_no_cycle():
    seen: set[str] = set()
    for folder, uses in layering.TABLE.items():
        assert uses <= seen, f"{folder} uses a folder that comes later"
        seen.add(folder)


def test_an_upward_include_is_found():
    source = '#include "base/error.h"\n#include "store/kv_store.h"\n'
    found = layering.include_violations("cpp/tensor/view.h", source)
    assert found == ['cpp/tensor/view.h:2: tensor may not include "store/kv_store.h"']


def test_a_sideways_or_forbidden_include_is_found():
    assert layering.include_violations("cpp/store/a.cc", '#include "schedule/step.h"\n')
    assert layering.include_violations("cpp/kernels/cpu/a.cc", '#include "device/op.h"\n')
    assert layering.include_violations("cpp/plan/a.cc", '#include "penstock/engine.h"\n')
    assert layering.include_violations("python/bindings/a.cc", '#include "io/file.h"\n')
    assert layering.include_violations("cpp/extra/a.cc", "")


def test_an_include_must_name_its_folder():
    assert layering.include_violations("cpp/base/a.cc", '#include "a.h"\n')
    assert layering.include_violations("cpp/base/a.cc", '#include "../base/a.h"\n')


def test_public_headers_stand_alone():
    path = "cpp/include/penstock/engine.h"
    assert layering.include_violations(path, '#include "base/error.h"\n')
    assert layering.include_violations(path, "#include <nlohmann/json.hpp>\n")
    assert not layering.include_violations(path, '#include <string>\n#include "penstock/a.h"\n')


def test_one_unit_includes_the_json_library():
    include = "#include <nlohmann/json.hpp>\n"
    assert not layering.include_violations("cpp/base/json_events.cc", include)
    assert layering.include_violations("cpp/engine/planning.cc", include)
    assert layering.include_violations("python/bindings/a.cc", include)


def test_a_commented_include_does_not_count():
    assert not layering.include_violations("cpp/base/a.cc", '// #include "engine/a.h"\n')
