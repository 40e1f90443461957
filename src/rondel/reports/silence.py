"""A stream whose reader went away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


def silence(stream: TextIO) -> None:
    """Send what is left in a stream's buffer where nobody minds: else Python complains of it at exit."""
    try:
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    except (OSError, ValueError):  # no file, as in a test
        return
