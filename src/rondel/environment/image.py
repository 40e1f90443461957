"""What an engine tells of the stages' image: digest, base, where it came from, its Python packages."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagger

    from rondel.record import Image

# Rondel's engine answers these for an image's origin; a Dagger engine knows no such labels.
SOURCE_LABEL = "dev.rondel.image.source"
BASE_LABEL = "dev.rondel.image.base"
DIGEST_LABEL = "dev.rondel.image.digest"

PACKAGES = (
    "import importlib.metadata as m,json;"
    "print(json.dumps({d.metadata['Name']:d.version for d in m.distributions()}))"
)
"""A Python program that prints the packages of its environment as JSON."""

DIGEST_SECONDS = 60
"""How long a Dagger engine may take to tell an image's digest."""


async def describe(
    client: dagger.Client, built: dagger.Container, image: Image, base_name: str | None
) -> Image:
    """``image`` with what the engine says of it; ``base_name`` is its base as the Containerfile has it."""
    import dagger
    from anyio import move_on_after

    described = replace(image, packages=await _packages(built))
    source = await built.label(SOURCE_LABEL)
    if source is not None:
        base, digest = await built.label(BASE_LABEL), await built.label(DIGEST_LABEL)
        return replace(described, digest=digest, source=source, base=base)
    base = digest = None
    if base_name is not None:
        with suppress(dagger.QueryError):
            # A name means one digest throughout a session, so this is the one that was built on.
            base = await client.container().from_(base_name).image_ref()
    # A Dagger engine reads the whole image for this, once; not knowing is no reason to wait on.
    with move_on_after(DIGEST_SECONDS), suppress(dagger.QueryError):
        digest = await built.rootfs().digest()
    return replace(described, digest=digest, source="registry", base=base)


async def _packages(built: dagger.Container) -> dict[str, str]:
    """The Python packages of the image; none where it has no Python.

    Asked before the run's own variables are on it, so that an engine answers from its memory
    as long as the image is the same.
    """
    import json

    import dagger

    asked = built.with_exec(["sh", "-c", f'python -c "{PACKAGES}" || python3 -c "{PACKAGES}"'])
    try:
        found = json.loads(await asked.stdout())
    except (dagger.QueryError, ValueError):
        return {}
    return {str(name): str(version) for name, version in sorted(found.items())}
