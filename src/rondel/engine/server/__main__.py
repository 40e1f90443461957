"""The engine process: ``python -m rondel.engine.server FD``, started by the launcher.

FD is the listening socket. The token comes as the first line of standard input, so that it is
on no command line and in no environment; the end of standard input ends the session.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import sys


def main() -> int:
    """Serve one session until its launcher goes away."""
    _die_with_parent()
    # Pending requests are the launcher's to interrupt; a terminal's ^C goes to the client first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start = sys.stdin.buffer.readline()
    if not start:
        return 0
    sys.setrecursionlimit(20_000)  # the JSON encoder recurses with the answer's depth
    gc.set_threshold(50_000, 20, 20)
    from rondel.engine.server.process import serve

    with socket.socket(fileno=int(sys.argv[1])) as listener:
        return serve(listener, start)


def _die_with_parent() -> None:
    """Have the kernel end this process with the thread that started it (PR_SET_PDEATHSIG)."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
