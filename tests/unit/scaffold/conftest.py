from __future__ import annotations

from pathlib import Path  # noqa: TC003 - a fixture's annotation

import pytest


@pytest.fixture
def folder(tmp_path: Path):
    """A folder with these files in it."""

    def make(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return make
