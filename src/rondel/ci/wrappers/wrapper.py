"""A CI system's file: where it is, and how jobs are written down in it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.ci.wrappers.jobs import below
from rondel.ci.wrappers.regions import marked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rondel.ci.wrappers.jobs import Job
    from rondel.settings import CiOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapper:
    """The file of one CI system.

    ``comment`` begins a line comment in it. ``together``: the file is at the top
    of the repository and has the jobs of all projects in it. Otherwise each
    project has its own. ``check_shared`` raises ConfigurationError for the text
    of such a shared file if the CI system would refuse it.
    """

    name: str
    path: str
    comment: str
    render: Callable[[Sequence[Job], CiOptions, str], tuple[str, ...]]
    together: bool
    check_shared: Callable[[str, CiOptions], None] | None = None

    def regions(self, jobs: Sequence[Job], options: CiOptions, folder: str = "") -> tuple[str, ...]:
        """The marked regions of the file for these jobs, in their order.

        ``folder`` is the project's in its repository; empty at the top.
        """
        generate = f"rondel ci generate {self.name}"
        if folder:
            generate = f"cd {shlex.quote(folder)} && {generate}"
        name = folder if self.together else ""
        texts = self.render(below(jobs, folder), options, folder)
        return tuple(marked(text, self.comment, generate, name) for text in texts)

    def check(self, text: str, options: CiOptions, folder: str) -> None:
        """Raise ConfigurationError for a file that the CI system would refuse."""
        if folder and self.together and self.check_shared is not None:
            self.check_shared(text, options)

    def file(self, folder: str) -> str:
        """The file's path, relative to the top of the repository."""
        return f"{folder}/{self.path}" if folder and not self.together else self.path
