"""What every command does first and last: usable streams, and failures of the machine as a sentence."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from rondel.errors import RondelError
from rondel.reports.terminal import discard_output

if TYPE_CHECKING:
    from collections.abc import Callable

HINTS = {
    errno.ENOSPC: "make room: `rondel runs prune` and `rondel engine prune` remove what is old",
    errno.EDQUOT: "make room: `rondel runs prune` and `rondel engine prune` remove what is old",
    errno.EROFS: "Rondel writes to .rondel in the project and to ~/.cache/rondel: both have to be writable",
    errno.EACCES: "Rondel writes to .rondel in the project and to ~/.cache/rondel: both have to be writable",
    errno.EPERM: "Rondel writes to .rondel in the project and to ~/.cache/rondel: both have to be writable",
    errno.EMFILE: "allow more open files: `ulimit -n 4096`",
    errno.ENFILE: "end other programs, or raise the system's limit of open files",
    errno.ENOMEM: "free memory, or run fewer stages at once with --jobs",
    errno.EAGAIN: "allow more processes: `ulimit -u`",
    errno.ENAMETOOLONG: "use a shorter name, or a project folder that is not so deep",
    errno.EIO: "is the disk in order?",
}
"""What to do about the failures that are the machine's; others are defects and keep their traceback."""


def open_streams() -> None:
    """Make the three standard streams usable, whatever the caller gave.

    One that is closed becomes ``/dev/null``: else the next file that is opened
    gets its number, and what a tool prints ends up in it. What the terminal's
    encoding lacks is printed as ``?``.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def guarded(body: Callable[[], int], told: Callable[[RondelError], None]) -> int:
    """The exit code of ``body``, or of what kept it from ending well.

    ``told`` shows an error to the user. Raises what is a defect.
    """
    try:
        code = body()
        sys.stdout.flush()
    except RondelError as error:
        told(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        discard_output(sys.stdout)
        return 141
    except OSError as error:
        found = failure(error)
        if found is None:
            raise
        discard_output(sys.stdout)
        told(found)
        return found.exit_code
    return code


def failure(error: OSError) -> RondelError | None:
    """A failure of the machine as an error that says what to do; None for what is a defect."""
    if error.errno == errno.ENOENT and not _folder_is_there():
        return RondelError("the current folder does not exist any more", hint="change to another one")
    hint = HINTS.get(error.errno or 0)
    if hint is None:
        return None
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    return RondelError(f"the machine says: {error.strerror}", place=place, hint=hint)


def _folder_is_there() -> bool:
    try:
        os.getcwd()  # noqa: PTH109
    except OSError:
        return False
    return True
