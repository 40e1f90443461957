"""Errors whose type the API's clients recognise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

ERROR_OUTPUT_LIMIT = 100 * 1024


def shortened(tail: bytes, size: int) -> bytes:
    """The end of an output for an error: at most 100 KiB, including a notice of what is left out.

    ``tail`` is the end of the output, ``size`` its total length.
    """
    tail = tail[-ERROR_OUTPUT_LIMIT:]
    excess = size - len(tail)
    if excess <= 0:
        return tail
    notice = b"[omitting %d bytes]..." % excess
    return notice + tail[len(notice) :]


class ExecError(EngineError):
    """A command ended with an unexpected exit code, or could not be started.

    The client turns ``extensions`` into ``dagger.ExecError``; all of its keys are mandatory. The
    caller trims a command's outputs; a service's are passed unchanged.
    """

    def __init__(
        self, message: str, *, cmd: Sequence[str], exit_code: int, stdout: str = "", stderr: str = ""
    ) -> None:
        super().__init__(message)
        self.cmd = tuple(cmd)
        self.exit = exit_code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def extensions(self) -> dict[str, Any]:
        """The extensions of the GraphQL error."""
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
