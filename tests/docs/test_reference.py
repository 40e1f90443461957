"""The reference pages say what the code says."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).resolve().parents[2] / "docs"


def generator():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["options.md", "exit-codes.md", "engine.md", "lineage.md", "dvc.md"])
def test_generated_pages_are_up_to_date(name):
    written = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert written == generator().PAGES[name](), "run `python docs/generate.py`"


def rows():
    groups = yaml.safe_load(generator().DVC_ROWS.read_text(encoding="utf-8"))
    return [row for group in groups for row in group["rows"]]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["feature"])
def test_every_row_about_dvc_has_its_test(row):
    file, _, name = row["test"].partition("::")
    text = (DOCS.parent / file).read_text(encoding="utf-8")
    if file.endswith(".yaml"):
        assert name in [case["case"] for case in yaml.safe_load(text)]
    else:
        assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{file} has no test {name}"


@pytest.mark.parametrize("name", ["notify.py", "kettle.py"])
def test_the_examples_of_a_new_operation_and_ci_system_are_those_that_the_tests_add(name):
    example = (DOCS.parent / "tests/support/made_up" / name).read_text(encoding="utf-8")
    assert f"```python\n{example}```" in (DOCS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
