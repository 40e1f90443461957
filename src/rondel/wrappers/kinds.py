"""The wrappers there are, by name."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.wrappers import gitlab, jenkins
from rondel.wrappers.jobs import below
from rondel.wrappers.regions import marked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rondel.settings.ci import CiOptions
    from rondel.wrappers.jobs import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapper:
    """One CI system: its file, its comment sign, and how jobs are written down in it.

    ``together``: the file stands at the top of the repository and has the jobs
    of all projects in it. Otherwise each project has its own.
    """

    name: str
    path: str
    comment: str
    render: Callable[[Sequence[Job], CiOptions, str], tuple[str, ...]]
    together: bool

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
        """Raise ConfigurationError for a file that the CI system would not take."""
        if folder and self.together:
            gitlab.check_stages(text, options)

    def file(self, folder: str) -> str:
        """Where the file stands, relative to the top of the repository."""
        return f"{folder}/{self.path}" if folder and not self.together else self.path


WRAPPERS = {
    "gitlab": Wrapper(name="gitlab", path=".gitlab-ci.yml", comment="#", render=gitlab.render, together=True),
    "jenkins": Wrapper(
        name="jenkins", path="Jenkinsfile", comment="//", render=jenkins.render, together=False
    ),
}
"""By the name that ``rondel ci generate`` takes."""
