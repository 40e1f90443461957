"""The key parts that all stages of a project share: image, host and environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rondel.cache.recipe import host_parts, read_recipe
from rondel.secrets.names import is_secret
from rondel.secrets.values import secret_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rondel.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedParts:
    """The values of the shared key parts.

    ``host`` counts only if the image is built on this machine's own system.
    ``environment`` has the values of the variables that the stages get; of
    secrets it records only that they are set.
    """

    image: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def with_commit(self, commit: str | None) -> SharedParts:
        """Add the commit, for a stage with ``git=True``."""
        if commit is None:
            return self
        return replace(self, environment={**self.environment, "git commit": commit})

    def after_shell(self, run: str | None) -> SharedParts:
        """Add the run whose shell commands came first in this stage: no other run can reuse the result."""
        if run is None:
            return self
        return replace(self, environment={**self.environment, "commands before it": f"those of run {run}"})

    def parts(self, *, on_host: bool) -> dict[str, Mapping[str, str]]:
        """The parts by name; ``host`` is empty unless ``on_host``."""
        return {
            "image": self.image,
            "host": self.host if on_host else {},
            "environment": self.environment,
        }


def read_shared_parts(
    settings: Settings, environ: Mapping[str, str], hash_file: Callable[[Path], str]
) -> SharedParts:
    """Read the shared parts of the project as it is now.

    Raises ConfigurationError if the Containerfile or something that it copies does not exist.
    """
    recipe = read_recipe(
        settings.root,
        settings.containerfile,
        target=settings.target,
        build_args=settings.build_args,
        hash_file=hash_file,
    )
    return SharedParts(
        image=recipe, host=host_parts(hash_file), environment=environment_parts(settings, environ)
    )


def environment_parts(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that stages get, with their values; for a secret, ``set``.

    A value that looks like a secret, because of its name or a login in it, counts as one.
    """
    given = {name: environ[name] for name in (*settings.environment, *settings.secrets) if name in environ}
    hidden = secret_values(given, settings.secrets)
    parts: dict[str, str] = {}
    for name, value in sorted(given.items()):
        if name in settings.secrets or is_secret(name) or any(each in value for each in hidden):
            parts[f"secret {name}"] = "set"
        else:
            parts[name] = value
    return parts


def relative_hasher(root: Path, of: Callable[[str], str | None]) -> Callable[[Path], str]:
    """Make a ``hash_file`` for :func:`read_shared_parts` from one that takes paths relative to ``root``."""
    return lambda path: of(os.path.relpath(path, root)) or "missing"


def may_be_host_image(image_source: str | None) -> bool:
    """Whether the image was built on this machine's own system, or nothing says that it was not."""
    return image_source is None or image_source in {"host", "in-place"}
