"""The image part of a key: what the stages' image is made from.

Two machines never build the same image digest, so not the digest but the
recipe is keyed: the Containerfile, the files that it copies by hash, build
arguments, platform. Where this machine's own system is the base (the embedded
engine's host image), its distribution, interpreter and packages are a separate
part.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.containerfile import ContainerfileError, SourceMissing, read_context
from rondel.errors import ConfigurationError, EngineError
from rondel.files.yaml_file import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rondel.containerfile import BuildContext


def read_build_context(
    root: Path, containerfile: str, *, target: str, build_args: Iterable[tuple[str, str]]
) -> BuildContext:
    """What building the project's image reads: the key and the upload take their files from it.

    Raises ConfigurationError for a Containerfile that does not exist or can't be built.
    """
    file = root / containerfile
    try:
        text = read_text(file, containerfile)
        return read_context(root, containerfile, text, target=target, build_args=build_args)
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no {containerfile}",
            why="every stage runs in the image that it describes",
            hint="write one, or name another with containerfile in [tool.rondel]",
            place=str(file),
        ) from None
    except ContainerfileError as error:
        raise ConfigurationError(error.what, why=error.why, hint=error.hint, place=error.place) from None


def read_recipe(
    root: Path,
    containerfile: str,
    *,
    target: str,
    build_args: Iterable[tuple[str, str]],
    hash_file: Callable[[Path], str],
) -> dict[str, str]:
    """The recipe of the image by parts; ``hash_file`` gives a file's hash, and may answer from a stat cache.

    Raises ConfigurationError if the Containerfile or something that it copies does not exist.
    """
    build_args = tuple(build_args)
    context = read_build_context(root, containerfile, target=target, build_args=build_args)
    try:
        files = context.files()
    except SourceMissing as error:
        raise ConfigurationError(
            f"{error.source} {'is left out by .dockerignore' if error.ignored else 'does not exist'}",
            why="the image's recipe copies it",
            place=str(root / containerfile),
        ) from None
    except EngineError as error:
        raise ConfigurationError(error.what, place=str(root / containerfile)) from None
    return {
        "containerfile": hashlib.sha256(context.outline.needed_text.encode()).hexdigest(),
        "target": target,
        "platform": f"{sys.platform}/{platform.machine()}",
        **{f"arg {name}": value for name, value in build_args},
        **{f"file {path}": _content(root / path, hash_file) for path in files},
    }


def _content(path: Path, hash_file: Callable[[Path], str]) -> str:
    # A link to a directory, or to nothing, is copied as it is.
    return hash_file(path) if path.is_file() else f"link to {os.readlink(path)}"  # noqa: PTH115 - text


def host_parts(hash_file: Callable[[Path], str]) -> dict[str, str]:
    """What this machine puts into a host image: distribution, packages, interpreter."""
    parts = {
        "python": platform.python_version(),
        "prefix": sys.base_prefix,
        "libc": " ".join(platform.libc_ver()),
    }
    for name, path in (("distribution", "/etc/os-release"), ("packages", "/var/lib/dpkg/status")):
        file = Path(path)
        if file.is_file():
            parts[name] = hash_file(file)
    return parts
