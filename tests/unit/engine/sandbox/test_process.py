"""Children that are watched by descriptors."""

import errno
import os

import pytest

from rondel.engine.sandbox.process import spawn, watched


def test_a_child_that_cannot_be_watched_is_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none_left)
    pid = spawn(["/bin/sleep", "60"], standard=(0, 1, 2), passed=[])
    with pytest.raises(OSError, match="Too many open files"):
        watched(pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
