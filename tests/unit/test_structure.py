"""The house is what ARCHITECTURE.md says, and no two files import each other in a circle.

The layers that import-linter checks say nothing about files of one package.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

TOP = Path(__file__).resolve().parents[2]
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


def layers(container: str) -> list[str]:
    """The layers of the import contract, from top to bottom."""
    contracts = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(each["layers"] for each in contracts if each.get("containers") == [container])


def test_no_files_import_each_other_in_a_circle():
    circle = circle_of(imports())
    assert not circle, f"imports in a circle: {' -> '.join(circle)}"


def test_the_table_of_packages_is_the_order_of_their_imports():
    table = re.findall(r"^\| `rondel\.(\w+)` \|", (TOP / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    assert table == layers("rondel")
    there = {
        path.stem for path in (TOP / "src/rondel").iterdir() if path.suffix == ".py" or any(path.glob("*.py"))
    }
    assert set(table) == there - {"__init__", "__pycache__"}


def test_the_engines_layers_are_those_of_the_page():
    line = next(
        line for line in (TOP / "ARCHITECTURE.md").read_text().splitlines() if line.startswith("server →")
    )
    shown = [" | ".join(name.strip() for name in layer.split(",")) for layer in line.split("→")]
    assert shown == layers("rondel.engine")


def test_a_circle_is_found():
    assert circle_of({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})[:-1]
    assert circle_of({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_type_checking_and_lazy_imports_count():
    assert "rondel.engine.sandbox.resources" in imports()["rondel.engine.sandbox.prepare"]  # TYPE_CHECKING
    assert "rondel.engine.server.process" in imports()["rondel.engine.server.__main__"]  # in a function
