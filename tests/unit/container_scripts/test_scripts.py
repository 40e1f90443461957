"""Programs that containers run: any Python from 3.8 on reads them, and they need nothing of Rondel."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import rondel.container_scripts as scripts

NAMES = sorted(path.stem for path in Path(scripts.__file__).parent.glob("*.py") if path.stem != "__init__")


def test_all_programs_are_there() -> None:
    assert NAMES == ["dvc_driver", "list_packages", "log_model"]


@pytest.mark.parametrize("name", NAMES)
def test_an_old_python_reads_it_and_it_imports_nothing_of_rondel(name: str) -> None:
    tree = ast.parse(scripts.script(name), feature_version=(3, 8))
    imported = {
        found
        for node in ast.walk(tree)
        for found in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert imported
    assert not {each for each in imported if each.partition(".")[0] == "rondel"}


def test_packages_are_listed_with_their_versions() -> None:
    done = subprocess.run(
        [sys.executable, "-c", scripts.script("list_packages")], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["pytest"] == metadata.version("pytest")
