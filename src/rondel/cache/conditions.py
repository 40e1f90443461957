"""What a result depends on beside the stage itself: the image's recipe, the machine, variables."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rondel.cache.recipe import host_parts, read_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rondel.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """The parts of a key that all stages of a project share.

    ``host`` counts only where the image stands on this machine's own system.
    ``environment`` holds the variables that reach the stages with their
    values, and of secrets only that they are set.
    """

    image: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def at_commit(self, commit: str | None) -> Conditions:
        """The same for a stage that has the repository: its results depend on the commit, too."""
        if commit is None:
            return self
        return replace(self, environment={**self.environment, "git commit": commit})

    def within(self, run: str | None) -> Conditions:
        """The same for what follows a shell command in one stage: nobody else has what that left behind."""
        if run is None:
            return self
        return replace(self, environment={**self.environment, "commands before it": f"those of run {run}"})

    def parts(self, *, on_host: bool) -> dict[str, Mapping[str, str]]:
        """The parts by name."""
        return {
            "image": self.image,
            "host": self.host if on_host else {},
            "environment": self.environment,
        }


def read_conditions(
    settings: Settings, environ: Mapping[str, str], hash_file: Callable[[Path], str]
) -> Conditions:
    """The conditions of the project as it is now.

    Raises ConfigurationError if the Containerfile or something that it copies does not exist.
    """
    recipe = read_recipe(
        settings.root,
        settings.containerfile,
        target=settings.target,
        build_args=settings.build_args,
        hash_file=hash_file,
    )
    return Conditions(
        image=recipe, host=host_parts(hash_file), environment=environment_parts(settings, environ)
    )


def environment_parts(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that the settings hand to the stages: values, and of secrets that they are set.

    A value that looks like a secret, by its name or by a login in it, counts as one.
    """
    from rondel.record.redact import secret_values

    handed = {name: environ[name] for name in (*settings.environment, *settings.secrets) if name in environ}
    hidden = set(secret_values(handed, settings.secrets))
    parts: dict[str, str] = {}
    for name, value in sorted(handed.items()):
        if name in settings.secrets or any(each in value for each in hidden):
            parts[f"secret {name}"] = "set"
        else:
            parts[name] = value
    return parts


def hashed_below(root: Path, of: Callable[[str], str | None]) -> Callable[[Path], str]:
    """``hash_file`` of :func:`read_conditions` by a cache that takes paths relative to ``root``."""
    return lambda path: of(os.path.relpath(path, root)) or "missing"


def stands_on_host(image_source: str | None) -> bool:
    """Whether the image was, or for all we know may have been, made on this machine's own system."""
    return image_source is None or image_source in {"host", "in-place"}
