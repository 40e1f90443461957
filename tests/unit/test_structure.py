"""No circles between files. The layers that import-linter checks say nothing about files of one package."""

from __future__ import annotations

from functools import cache
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

# The packages whose files form no circle.
PACKAGES = ["rondel"]
TEMPLATES = "rondel.scaffold.files"  # what `rondel init` writes: a beginner's project, not code of ours


@cache
def imports() -> dict[str, set[str]]:
    """What each module imports, also lazily or for its types alone."""
    graph = grimp.build_graph("rondel", exclude_type_checking_imports=False, cache_dir=None)
    modules = {name for name in graph.modules if not f"{name}.".startswith(f"{TEMPLATES}.")}
    return {name: graph.find_modules_directly_imported_by(name) & modules for name in modules}


def circle_of(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


@pytest.mark.parametrize("package", PACKAGES)
def test_files_of_a_package_form_no_circle(package: str):
    inside = {name for name in imports() if f"{name}.".startswith(f"{package}.")}
    assert len(inside) > 1
    circle = circle_of({name: imports()[name] & inside for name in inside})
    assert not circle, f"imports in a circle: {' -> '.join(circle)}"


def test_a_circle_is_found():
    assert circle_of({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})[:-1]
    assert circle_of({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_type_checking_and_lazy_imports_count():
    assert "rondel.engine.sandbox.resources" in imports()["rondel.engine.sandbox.prepare"]  # TYPE_CHECKING
    assert "rondel.engine.server.process" in imports()["rondel.engine.server.__main__"]  # in a function
