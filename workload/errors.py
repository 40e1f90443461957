"""What can be wrong with the workload's input, and how a stage says so."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


class WorkloadError(Exception):
    """The base of the errors that a stage reports in words, without a traceback."""


class DataInvalid(WorkloadError):
    """A data frame does not hold what the next step relies on."""


class ParameterInvalid(WorkloadError):
    """A value in ``params.yaml`` or on the command line cannot be used."""


def run(main: Callable[[], None]) -> NoReturn:
    """Run a stage and leave the process: 0 after success, 2 when its input is wrong.

    The process ends without tearing the interpreter down: what a stage wrote is
    closed by then, and freeing several hundred megabytes object by object costs
    more than the smaller stages do.
    """
    code = 0
    try:
        main()
    except WorkloadError as error:
        sys.stderr.write(f"error: {error}\n")
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
