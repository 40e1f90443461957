"""The code part of a key over several modules: nothing that a stage reaches is left out, and it is what runs."""

from __future__ import annotations

import py_compile
from typing import TYPE_CHECKING

import pytest

from rondel.cache import code_parts
from rondel.pipeline import load_pipeline

if TYPE_CHECKING:
    from pathlib import Path

MAIN = """\
{imports}
from rondel import Pipeline

pipeline = Pipeline()


@pipeline.stage
async def work(ctx) -> None:
    await ctx.sh({call})
"""


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def parts(root: Path) -> dict[str, str]:
    (stage,) = load_pipeline(root / "ci/main.py").declared
    return code_parts(stage.body, root)


CASES = {
    "a function of a module in a namespace package": (
        "import shared.names",
        "shared.names.name()",
        {"ci/shared/names.py": 'def name():\n    return "one"\n'},
    ),
    "a function of a module in a package": (
        "import shared.deep.names",
        "shared.deep.names.name()",
        {
            "ci/shared/__init__.py": "",
            "ci/shared/deep/__init__.py": "",
            "ci/shared/deep/names.py": 'def name():\n    return "one"\n',
        },
    ),
    "a constant whose name another module has, too": (
        "from first import one\nfrom second import two",
        "one() + two()",
        {
            "ci/first.py": 'NAME = "one"\n\ndef one():\n    return NAME\n',
            "ci/second.py": 'NAME = "x"\n\ndef two():\n    return NAME\n',
        },
    ),
    "the same the other way round": (
        "from first import one\nfrom second import two",
        "one() + two()",
        {
            "ci/first.py": 'NAME = "x"\n\ndef one():\n    return NAME\n',
            "ci/second.py": 'NAME = "one"\n\ndef two():\n    return NAME\n',
        },
    ),
    "what a decorator puts around a function": (
        "from wrapping import name",
        "name()",
        {
            "ci/wrapping.py": "import functools\n\ndef louder(function):\n    @functools.wraps(function)\n"
            '    def inner():\n        return function() + "one"\n    return inner\n\n'
            '@louder\ndef name():\n    return "x"\n',
        },
    ),
    "what is inside of a decorator": (
        "from wrapping import name",
        "name()",
        {
            "ci/wrapping.py": "import functools\n\ndef louder(function):\n    @functools.wraps(function)\n"
            '    def inner():\n        return function() + "x"\n    return inner\n\n'
            '@louder\ndef name():\n    return "one"\n',
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_change_counts_of(tmp_path: Path, case: str) -> None:
    imports, call, files = CASES[case]
    write(tmp_path, {**files, "pyproject.toml": "", "ci/main.py": MAIN.format(imports=imports, call=call)})
    before = parts(tmp_path)
    assert parts(tmp_path) == before
    for name, text in files.items():
        (tmp_path / name).write_text(text.replace('"one"', '"two"'))
    after = parts(tmp_path)
    assert after.keys() == before.keys()
    assert sum(after[name] != before[name] for name in after) == 1


def without_source(root: Path, text: str) -> None:
    source = root / "names.py"
    source.write_text(text)
    py_compile.compile(str(source), cfile=str(root / "ci/names.pyc"), doraise=True)
    source.unlink()


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("from names import name", "name()"),
        ("import names", "names.name()"),
        ("from names import Name", "Name().name()"),
    ],
    ids=["function", "module", "class"],
)
def test_a_change_counts_of_a_module_that_is_bytecode_alone(tmp_path: Path, imports: str, call: str) -> None:
    text = 'def name():\n    return "{0}"\n\nclass Name:\n    def name(self):\n        return "{0}"\n'
    write(tmp_path, {"pyproject.toml": "", "ci/main.py": MAIN.format(imports=imports, call=call)})
    without_source(tmp_path, text.format("one"))
    before = parts(tmp_path)
    assert len(before) == 2
    without_source(tmp_path, text.format("two"))
    assert parts(tmp_path) != before


def test_code_that_is_edited_after_it_was_loaded_is_that_which_was_loaded(tmp_path: Path) -> None:
    files = {
        "pyproject.toml": "",
        "ci/names.py": 'def name():\n    return "one"\n',
        "ci/whole.py": 'def name():\n    return "one"\n',
        "ci/main.py": MAIN.format(
            imports="import whole\nfrom names import name", call="name() + whole.name()"
        ),
    }
    write(tmp_path, files)
    (stage,) = load_pipeline(tmp_path / "ci/main.py").declared
    before = code_parts(stage.body, tmp_path)
    for name in ("ci/main.py", "ci/names.py", "ci/whole.py"):
        (tmp_path / name).write_text("# a line more\n" + files[name].replace('"one"', '"three"'))
    assert code_parts(stage.body, tmp_path) == before
    (stage,) = load_pipeline(tmp_path / "ci/main.py").declared
    after = code_parts(stage.body, tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"name", "whole"}
