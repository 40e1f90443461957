"""Children that are watched by descriptors."""

import errno
import os
import sys

import anyio
import pytest

from rondel.engine.sandbox.spawn import BwrapProcess, Stream, spawn, watched


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_a_child_that_cannot_be_watched_is_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none_left)
    pid = spawn(["/bin/sleep", "60"], standard=(0, 1, 2), passed=[])
    with pytest.raises(OSError, match="Too many open files"):
        watched(pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


@pytest.mark.anyio
async def test_what_a_killed_bwrap_left_before_it_told_of_process_1_ends_with_it() -> None:
    # Killed just after it had cloned the container's first process, which goes on waiting for it.
    status, output = Stream(lambda _data: None), Stream(lambda _data: None)
    script = (
        "import os, signal, sys, time\n"
        "if os.fork():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.close(int(sys.argv[1]))\n"  # as bwrap's child does first of all
        "time.sleep(600)\n"
    )
    argv = [sys.executable, "-S", "-c", script, str(status.theirs)]
    pid = spawn(argv, standard=(0, output.theirs, 2), passed=[status.theirs])
    container = BwrapProcess(pid, watched(pid), status)
    status.start()
    output.start()
    with anyio.fail_after(20):
        await container.wait()
        await output.ended.wait()  # nobody is left who could write
    container.close()
