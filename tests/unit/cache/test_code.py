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
    "a module that is imported in the function": (
        "def name():\n    from inner import NAME\n    return NAME",
        "name()",
        {"ci/inner.py": 'NAME = "one"\n'},
    ),
    "a module that a module imports": (
        "import outer",
        "outer.name()",
        {
            "ci/outer.py": "from inner import NAME\n\ndef name():\n    return NAME\n",
            "ci/inner.py": 'NAME = "one"\n',
        },
    ),
    "a module of a package that imports another one of it": (
        "from shared import outer",
        "outer.name()",
        {
            "ci/shared/__init__.py": "",
            "ci/shared/outer.py": "from .inner import NAME\n\ndef name():\n    return NAME\n",
            "ci/shared/inner.py": 'NAME = "one"\n',
        },
    ),
    "an object of a class of the project": (
        "from config import CONFIG",
        "CONFIG.name",
        {
            "ci/config.py": "from dataclasses import dataclass\n\n@dataclass\nclass Config:\n    name: str\n\n"
            'CONFIG = Config("one")\n'
        },
    ),
    "a method of an object": (
        "from config import CONFIG",
        "CONFIG.name()",
        {
            "ci/config.py": 'class Config:\n    def name(self):\n        return "one"\n\nCONFIG = Config()\n',
        },
    ),
    "a class that another one inherits": (
        "from config import Config",
        "Config().name()",
        {
            "ci/config.py": 'class Base:\n    def name(self):\n        return "one"\n\nclass Config(Base):\n    pass\n',
        },
    ),
    "an attribute that a class takes from elsewhere": (
        "from config import Config",
        "Config.name",
        {"ci/config.py": 'NAME = "one"\n\nclass Config:\n    name = NAME\n'},
    ),
    "a path": (
        "from config import NAME",
        "str(NAME)",
        {"ci/config.py": 'from pathlib import Path\n\nNAME = Path("one")\n'},
    ),
    "a function in a list": (
        "from config import NAMES",
        "NAMES[0]()",
        {"ci/config.py": 'def name():\n    return "one"\n\nNAMES = [name]\n'},
    ),
    "a value of a function that is given in advance": (
        "from config import name",
        "name()",
        {"ci/config.py": 'from functools import partial\n\nname = partial(str, "one")\n'},
    ),
    "a function whose results are kept": (
        "from config import name",
        "name()",
        {"ci/config.py": 'from functools import cache\n\n@cache\ndef name():\n    return "one"\n'},
    ),
    "a member of an enumeration": (
        "from config import NAME",
        "NAME.value",
        {"ci/config.py": 'import enum\n\nclass Name(enum.Enum):\n    A = "one"\n\nNAME = Name.A\n'},
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
    assert any(after[name] != before[name] for name in after)


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
