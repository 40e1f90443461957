"""``rondel.Pipeline``: a pipeline with the command line that runs it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rondel.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence


class RunnablePipeline(Pipeline):
    """A pipeline that ``main()`` runs as the command line requests."""

    def main(self, argv: Sequence[str] | None = None) -> None:
        """Run the pipeline as the command line requests, and exit the process."""
        # Declaring a pipeline loads nothing that runs it.
        from rondel.cli.pipeline import main

        raise SystemExit(main(self, sys.argv[1:] if argv is None else list(argv)))
