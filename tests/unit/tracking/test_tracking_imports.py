"""The public names, and the modules that finding the champion loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rondel.tracking


def test_every_public_name_exists() -> None:
    for name in rondel.tracking.__all__:
        assert getattr(rondel.tracking, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = rondel.tracking.nothing  # type: ignore[attr-defined]


def test_the_champion_of_the_projects_own_server_loads_no_client() -> None:
    code = (
        "import sys;from pathlib import Path;from rondel.registry.champion import champion_version;"
        "assert champion_version(Path('/nonexistent'), {}, 'm') is None;"
        "print(' '.join({'httpx','anyio','ssl','subprocess','mlflow','lark','sqlite3'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == ""
