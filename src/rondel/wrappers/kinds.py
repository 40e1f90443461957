"""The wrappers there are, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.wrappers import gitlab, jenkins
from rondel.wrappers.regions import marked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rondel.settings.ci import CiOptions
    from rondel.wrappers.jobs import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapper:
    """One CI system: its file, its comment sign, and how jobs are written down in it."""

    name: str
    path: str
    comment: str
    render: Callable[[Sequence[Job], CiOptions], tuple[str, ...]]

    def regions(self, jobs: Sequence[Job], options: CiOptions) -> tuple[str, ...]:
        """The marked regions of the file for these jobs, in their order."""
        generate = f"rondel ci generate {self.name}"
        return tuple(marked(text, self.comment, generate) for text in self.render(jobs, options))


WRAPPERS = {
    "gitlab": Wrapper(name="gitlab", path=".gitlab-ci.yml", comment="#", render=gitlab.render),
    "jenkins": Wrapper(name="jenkins", path="Jenkinsfile", comment="//", render=jenkins.render),
}
"""By the name that ``rondel ci generate`` takes."""
