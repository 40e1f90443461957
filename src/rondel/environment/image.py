"""Builds the stages' image and queries its digest, base, source and Python packages."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rondel.container_scripts import script
from rondel.environment.host_environment import build_script
from rondel.errors import StageFailed
from rondel.record import Image

if TYPE_CHECKING:
    from pathlib import Path

    import dagger

    from rondel.environment.output_stream import OutputStream
    from rondel.record import StageRecorder
    from rondel.settings import Settings

# Rondel's engine sets these labels for an image's source; a Dagger engine has none of them.
SOURCE_LABEL = "dev.rondel.image.source"
BASE_LABEL = "dev.rondel.image.base"
DIGEST_LABEL = "dev.rondel.image.digest"

DIGEST_SECONDS = 60
"""Seconds that a Dagger engine may take to compute an image's digest."""


class NoPinnedBase(Exception):
    """Neither the store nor the registry has the base image of that digest."""


class ImageBuilder:
    """Builds the image of a run's stages, once a run."""

    def __init__(
        self,
        root: Path,
        settings: Settings,
        client: dagger.Client,
        output_stream: OutputStream,
        observer: Any,
    ) -> None:
        self.root = root
        self.settings = settings
        self.client = client
        self.output_stream = output_stream
        self.observer = observer
        self._containerfile = ""

    async def build(self, recorder: StageRecorder) -> tuple[dagger.Container, Image]:
        """Build the image and describe it.

        Raises StageFailed if it can't be built, ConfigurationError if there is no Containerfile.
        """
        built = await self._build(recorder)
        image = Image(reference=f"{self.settings.containerfile}:{self.settings.target}")
        return built, await _describe(self.client, built, image, self._base_name())

    async def _build(self, recorder: StageRecorder) -> dagger.Container:
        import dagger

        from rondel.cache import read_build_context

        settings, root = self.settings, self.root
        read = read_build_context(
            root, settings.containerfile, target=settings.target, build_args=settings.build_args
        )
        context = self.client.host().directory(str(root), include=read.include, exclude=read.exclude)
        text = self._containerfile = read.outline.text
        secret = self.client.set_secret("package-index", build_script(os.environ))

        def build(context: dagger.Directory) -> dagger.Container:
            return context.docker_build(
                dockerfile=settings.containerfile,
                target=settings.target,
                build_args=[dagger.BuildArg(name, value) for name, value in settings.build_args],
                secrets=[secret],
            )

        try:
            pinned = self._pinned(text)
            if pinned is not None:
                with suppress(NoPinnedBase):
                    built = build(context.with_new_file(settings.containerfile, pinned))
                    built = await self._on_pinned_base(built, recorder)
                    self._containerfile = pinned
                    return built
            return await self.output_stream.follow_build(recorder.output, build(context).sync)
        except dagger.ExecError as error:
            output = "\n".join((error.stdout + "\n" + error.stderr).strip().splitlines()[-20:])
            raise StageFailed(
                "can't build the image", why=output, hint=f"see {settings.containerfile}"
            ) from error

    def _pinned(self, text: str) -> str | None:
        """With ``base_image``: the Containerfile with its digest as base; None if it has another base."""
        from rondel.cache.pinned import pinned_text

        if self.settings.base_image is None:
            return None
        pinned = pinned_text(text, self.settings.base_image, self.settings.build_args)
        return pinned if pinned != text else None

    async def _on_pinned_base(self, built: dagger.Container, recorder: StageRecorder) -> dagger.Container:
        """Build the image on the pinned base; notes the problem and raises NoPinnedBase if there is none."""
        import dagger

        try:
            return await self.output_stream.follow_build(recorder.output, built.sync)
        except dagger.ExecError:
            raise
        except dagger.QueryError as error:
            self.observer.note(
                f"the base image {self.settings.base_image} of the original run is not available "
                f"({str(error).splitlines()[0]}); using the base image in {self.settings.containerfile}"
            )
            raise NoPinnedBase from error

    def _base_name(self) -> str | None:
        from rondel.cache.pinned import base_reference

        return base_reference(self._containerfile, self.settings.target, self.settings.build_args)


async def _describe(
    client: dagger.Client, built: dagger.Container, image: Image, base_name: str | None
) -> Image:
    """``image`` with the engine's details; ``base_name`` is the base image in the Containerfile."""
    import dagger
    from anyio import move_on_after

    described = replace(image, packages=await installed_packages(built))
    source = await built.label(SOURCE_LABEL)
    if source is not None:
        base, digest = await built.label(BASE_LABEL), await built.label(DIGEST_LABEL)
        return replace(described, digest=digest, source=source, base=base)
    base = digest = None
    if base_name is not None:
        with suppress(dagger.QueryError):
            # Within a session, an engine resolves a name to the same digest, so this is the build's base.
            base = await client.container().from_(base_name).image_ref()
    # A Dagger engine reads the whole image for its digest, once; the digest is not worth a long wait.
    with move_on_after(DIGEST_SECONDS), suppress(dagger.QueryError):
        digest = await built.rootfs().digest()
    return replace(described, digest=digest, source="registry", base=base)


async def installed_packages(container: dagger.Container) -> dict[str, str]:
    """The Python packages of a container with their versions; none if it has no Python.

    Call it on the image before the run's own variables are set, so that the engine caches the answer.
    """
    import json

    import dagger

    program = shlex.quote(script("list_packages"))
    listing = container.with_exec(["sh", "-c", f"python -c {program} || python3 -c {program}"])
    try:
        packages = json.loads(await listing.stdout())
    except (dagger.QueryError, ValueError):
        return {}
    return {str(name): str(version) for name, version in sorted(packages.items())}
