"""The CI systems that Rondel knows, and the one place that decides which of them a process runs in.

A new system is a folder here with a :class:`~rondel.ci.provider.Provider`, and
an entry in ``REGISTRY``. Nothing else of CI is imported until a system's
variables are set, because most runs are not CI jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rondel.ci.model import CiContext
    from rondel.ci.provider import Provider


class Registration(NamedTuple):
    """A CI system: ``load`` imports it, which happens in CI only if one of the variables ``signs`` is set."""

    signs: tuple[str, ...]
    load: Callable[[], Provider]


def _gitlab() -> Provider:
    from rondel.ci.providers import gitlab

    return gitlab.PROVIDER


def _jenkins() -> Provider:
    from rondel.ci.providers import jenkins

    return jenkins.PROVIDER


def _github() -> Provider:
    from rondel.ci.providers import github

    return github.PROVIDER


def _other() -> Provider:
    from rondel.ci.providers import other

    return other.PROVIDER


REGISTRY: dict[str, Registration] = {
    "gitlab": Registration(("GITLAB_CI",), _gitlab),
    "jenkins": Registration(("JENKINS_URL", "JENKINS_HOME"), _jenkins),
    "github": Registration(("GITHUB_ACTIONS",), _github),
}
"""By the name that commands take and records keep. Detection asks them in this order."""

OTHER = Registration(("CI",), _other)
"""Any system that is not registered: it is known only to be CI."""


def detect(environ: Mapping[str, str]) -> CiContext | None:
    """The CI job that ``environ`` belongs to; None outside of CI."""
    for registration in (*REGISTRY.values(), OTHER):
        if any(environ.get(name) for name in registration.signs):
            context = registration.load().detect(environ)
            if context is not None:
                return context
    return None


def provider_of(context: CiContext) -> Provider:
    """The provider that detected a job."""
    return REGISTRY.get(context.provider, OTHER).load()


def providers() -> Iterator[Provider]:
    """All registered CI systems."""
    return (registration.load() for registration in REGISTRY.values())
