"""What a client is told of failures that are the machine's."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from rondel.engine.api.execution import _known

if TYPE_CHECKING:
    from pathlib import Path


def test_a_full_disk_is_told_wherever_the_engine_meets_it(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    for error in (full, ExceptionGroup("", [ValueError(), full])):
        found = _known(error, tmp_path)
        assert found is not None
        assert found.what == f"no space left for the engine's store in {tmp_path}"
        assert "rondel engine prune" in (found.hint or "")


def test_a_defect_is_none_of_the_machines_failures(tmp_path: Path) -> None:
    assert _known(ValueError(), tmp_path) is None
    assert _known(FileNotFoundError(errno.ENOENT, "x"), tmp_path) is None
