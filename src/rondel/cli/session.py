"""``rondel session``: serves a session to the Dagger client that started this process."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.engines.session import engine_environment

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Print the session's port and token as a line of JSON; run until standard input ends, or SIGTERM.

    The flags are those that Dagger's clients pass to ``dagger session``.
    """
    parser = Parser(prog="rondel session", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--workdir", type=Path, help="the base folder of relative host paths")
    parser.add_argument("--label", action="append", help="accepted, not used")
    parser.add_argument("--project", help="accepted, not used")
    parser.add_argument("-W", "--workspace", help="accepted, not used")
    for flag in ("--load-workspace-modules", "--skip-workspace-modules"):
        parser.add_argument(flag, action="store_true", help="accepted, not used")
    # A client that passes a version requests that version's schema; here there is only one.
    parser.add_argument(
        "--version", nargs="?", const="", help="print the version; with a value: accepted, not used"
    )
    arguments = parser.parse_args(list(argv))
    if arguments.version == "":
        from rondel.cli.version import main as version

        return version(())
    from rondel.engine.server.launcher import EmbeddedSession

    # A terminal also sends ^C to the client, which closes our standard input when it is ready.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Dagger's clients for Node end the session with SIGTERM, and fail if the exit code is not 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.environ.update(engine_environment(arguments.workdir or Path.cwd(), os.environ))
    with EmbeddedSession.open(workdir=arguments.workdir) as session:
        print(session.connection_line, flush=True)
        _wait_for_end(0)
    return 0


def _wait_for_end(stdin: int) -> None:
    """Wait until standard input ends, or a signal arrives.

    A signal that arrives just before a blocking read does not interrupt it, nor does one that
    the kernel gives to another thread: so the signal itself writes to a pipe that wakes us.
    """
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    before = signal.set_wakeup_fd(sink, warn_on_full_buffer=False)
    try:
        while True:
            ready, _, _ = select.select([stdin, source], [], [])
            if source in ready:
                os.read(source, 64)  # Python runs the signal's handler next
            elif not os.read(stdin, 4096):  # not sys.stdin, whose buffer would have to fill first
                return
    finally:
        signal.set_wakeup_fd(before)
        os.close(source)
        os.close(sink)
