"""The engine process: ``python -m rondel.engine.server FD``, started by the launcher.

FD is the listening socket. The token is the first line of standard input, so that it
appears in no command line and in no environment; the end of standard input ends the session.

The process loads its modules at once and does nothing else before the first connection: a
session that nobody uses opens no store and makes no namespace.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import socket
import sys

EXIT_UNAVAILABLE = 21

NOT_NEEDED = signal.SIGUSR1
"""Ends an engine that has no connection yet, even while it loads; one that serves ignores it."""


def main() -> int:
    """Serve one session until its launcher goes away."""
    _die_with_parent()
    # The launcher interrupts pending requests; a terminal's ^C reaches the client first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start = sys.stdin.buffer.readline()
    if not start:
        return 0
    words = _own_stdout()
    sys.setrecursionlimit(20_000)  # the JSON encoder recurses with the answer's depth
    gc.set_threshold(50_000, 20, 20)  # most objects are of modules, and live as long as the process
    try:
        from rondel.engine.server.process import serve

        with socket.socket(fileno=int(sys.argv[1])) as listener:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if listener not in ready:
                return 0
            signal.signal(NOT_NEEDED, lambda *_: None)  # not SIG_IGN, which commands would inherit
            return serve(listener, start)
    except Exception as error:  # noqa: BLE001 - the launcher passes any error on to clients in words
        from rondel.engine.server.refusal import LONGEST_REASON, reason_of

        os.write(words, reason_of(error).encode("utf-8", "replace")[:LONGEST_REASON])
        return EXIT_UNAVAILABLE
    finally:
        gc.freeze()  # no last search for garbage


def _own_stdout() -> int:
    """Reserve standard output for the last error message; other output goes to standard error."""
    words = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return words


def _die_with_parent() -> None:
    """Have the kernel end this process with the thread that started it (PR_SET_PDEATHSIG)."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
