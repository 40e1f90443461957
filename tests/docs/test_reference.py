"""The reference pages say what the code says."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def generator():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["options.md", "exit-codes.md", "engine.md"])
def test_generated_pages_are_up_to_date(name):
    written = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert written == generator().PAGES[name](), "run `python docs/generate.py`"
