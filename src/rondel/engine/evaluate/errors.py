"""Errors that the API's clients know by their shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

OMITTED = "[omitting %d bytes]..."
ERROR_OUTPUT_LIMIT = 100 * 1024


def shortened(text: str) -> str:
    """Output as an error carries it: trimmed, and its last 100 KiB only."""
    text = text.strip()
    excess = len(text.encode(errors="replace")) - ERROR_OUTPUT_LIMIT
    if excess <= 0:
        return text
    tail = text.encode(errors="replace")[-ERROR_OUTPUT_LIMIT:].decode(errors="ignore")
    return OMITTED % excess + tail


class ExecError(EngineError):
    """A command ended with a code that was not expected, or could not be started.

    The client turns ``extensions`` into ``dagger.ExecError``; all of its keys are mandatory.
    """

    def __init__(
        self, message: str, *, cmd: Sequence[str], exit_code: int, stdout: str = "", stderr: str = ""
    ) -> None:
        super().__init__(message)
        self.cmd = tuple(cmd)
        self.exit = exit_code
        self.stdout = shortened(stdout)
        self.stderr = shortened(stderr)

    @property
    def extensions(self) -> dict[str, Any]:
        """What goes into the GraphQL error's extensions."""
        return {
            "_type": "EXEC_ERROR",
            "cmd": list(self.cmd),
            "exitCode": self.exit,
            "stdout": self.stdout,
            "stderr": self.stderr,
        }


class NotServed(EngineError):
    """A field of the API that the embedded engine does not serve."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not served by Rondel's embedded engine; run this under a Dagger engine "
            "(`dagger run`, or _EXPERIMENTAL_DAGGER_RUNNER_HOST for one elsewhere)"
        )
