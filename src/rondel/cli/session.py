"""``rondel session``: serves one session to a Dagger client that started this process itself."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.engines.session import engine_environment

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Print the session's port and token as a line of JSON; end when standard input ends, or by SIGTERM.

    The flags are those that Dagger's clients pass to ``dagger session``.
    """
    parser = Parser(prog="rondel session", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--workdir", type=Path, help="what relative host paths refer to")
    parser.add_argument("--label", action="append", help="accepted, not used")
    parser.add_argument("--project", help="accepted, not used")
    parser.add_argument("-W", "--workspace", help="accepted, not used")
    for flag in ("--load-workspace-modules", "--skip-workspace-modules"):
        parser.add_argument(flag, action="store_true", help="accepted, not used")
    # A client that gives a version asks for that one's schema; here there is one.
    parser.add_argument(
        "--version", nargs="?", const="", help="print the version; with one: accepted, not used"
    )
    arguments = parser.parse_args(list(argv))
    if arguments.version == "":
        from rondel.cli.version import main as version

        return version(())
    from rondel.engine.server.launcher import EmbeddedSession

    # A terminal's ^C reaches the client, too, which then closes our standard input in its own time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # This is how the clients for Node end it, and they take any code but 0 for a failure of theirs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.environ.update(engine_environment(arguments.workdir or Path.cwd(), os.environ))
    with EmbeddedSession.open(workdir=arguments.workdir) as session:
        print(session.connection_line, flush=True)
        # Not sys.stdin: its buffer would have to be filled.
        while os.read(0, 4096):
            pass
    return 0
