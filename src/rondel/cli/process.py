"""What all commands share: usable standard streams, exit codes, and plain messages for machine errors."""

from __future__ import annotations

import errno
import gc
import os
import sys
from typing import TYPE_CHECKING

from rondel.errors import RondelError
from rondel.reports.terminal import discard_output

if TYPE_CHECKING:
    from collections.abc import Callable

_FREE_SPACE = "free disk space: `rondel runs prune` and `rondel engine prune` remove old data"
_MAKE_WRITABLE = "make .rondel in the project and ~/.cache/rondel writable: Rondel writes to both"

HINTS = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EROFS: _MAKE_WRITABLE,
    errno.EACCES: _MAKE_WRITABLE,
    errno.EPERM: _MAKE_WRITABLE,
    errno.EMFILE: "allow more open files: `ulimit -n 4096`",
    errno.ENFILE: "close other programs, or raise the system's limit of open files",
    errno.ENOMEM: "free memory, or run fewer stages at once with --jobs",
    errno.EAGAIN: "allow more processes: `ulimit -u`",
    errno.ENAMETOOLONG: "use a shorter name, or a project folder with a shorter path",
    errno.EIO: "check the disk",
}
"""What to do about errors of the machine. Other errors are defects and keep their traceback."""


def repair_streams() -> None:
    """Make the three standard streams usable.

    A closed stream becomes ``/dev/null``: otherwise the next open file would get
    its number, and the output of tools. Characters that the terminal's encoding
    lacks are printed as ``?``.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def run_guarded(body: Callable[[], int], show: Callable[[RondelError], None]) -> int:
    """Run ``body`` and return its exit code, or that of its error, which ``show`` shows to the user.

    Raises exceptions that are defects.
    """
    # Most objects are of imported modules and live as long as the process: to look for garbage
    # among them, while importing and at the end, takes a tenth of a second.
    gc.set_threshold(50_000)
    try:
        code = body()
        sys.stdout.flush()
    except RondelError as error:
        show(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        discard_output(sys.stdout)
        return 141
    except OSError as error:
        found = machine_error(error)
        if found is None:
            raise
        discard_output(sys.stdout)
        show(found)
        return found.exit_code
    finally:
        gc.freeze()
    return code


def machine_error(error: OSError) -> RondelError | None:
    """An error of the machine, with what to do about it; None for a defect."""
    if error.errno == errno.ENOENT and not _folder_exists():
        return RondelError("the current folder no longer exists", hint="change to another folder")
    hint = HINTS.get(error.errno or 0)
    if hint is None:
        return None
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    return RondelError(f"the operating system reports: {error.strerror}", place=place, hint=hint)


def _folder_exists() -> bool:
    try:
        os.getcwd()  # noqa: PTH109
    except OSError:
        return False
    return True
