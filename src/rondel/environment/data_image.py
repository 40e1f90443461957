"""The image of the data container: the stages' own where that has DVC, else one of Rondel's.

A team's image need not have DVC nor the plug-in of a remote. What moves data
is then an image that holds nothing else, with the versions that are installed
beside this Rondel; it is built once for each of them.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from rondel.errors import StageFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import dagger

PLUGINS = {
    "webdav": "dvc-webdav",
    "webdavs": "dvc-webdav",
    "s3": "dvc-s3",
    "gs": "dvc-gs",
    "azure": "dvc-azure",
    "ssh": "dvc-ssh",
}
"""The package that DVC needs for a remote, by its scheme."""

OLDEST = 3
"""The first version of DVC whose hashes and lock files are those of today."""

_UV = "0.13.9"

_CONTAINERFILE = """\
FROM python:{python}-slim
COPY requirements.txt /opt/dvc/
RUN --mount=type=secret,id=package-index \\
    --mount=type=cache,id=pip,target=/var/cache/pip \\
    --mount=type=cache,id=uv,target=/var/cache/uv \\
    if [ -f /run/secrets/package-index ]; then . /run/secrets/package-index; fi; \\
    export PIP_CACHE_DIR=/var/cache/pip PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1; \\
    export UV_CACHE_DIR=/var/cache/uv UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_SYSTEM_CERTS=1; \\
    if [ -n "${{PIP_INDEX_URL:-}}" ]; then \\
        export UV_DEFAULT_INDEX="${{UV_DEFAULT_INDEX:-$PIP_INDEX_URL}}"; fi; \\
    {{ python3 -m pip install --quiet --target /opt/uv "uv=={uv}" \\
    || {{ python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet "uv=={uv}"; }}; }} \\
    && /opt/uv/bin/uv venv --quiet --python "$(command -v python3)" /opt/dvc/venv \\
    && VIRTUAL_ENV=/opt/dvc/venv /opt/uv/bin/uv pip install --quiet --compile-bytecode \\
        --requirement /opt/dvc/requirements.txt
ENV PATH=/opt/dvc/venv/bin:$PATH
"""


def needed_packages(scheme: str) -> tuple[str, ...]:
    """The distributions that move data of a remote of this scheme."""
    plugin = PLUGINS.get(scheme)
    return ("dvc", plugin) if plugin else ("dvc",)


def has_dvc(packages: Mapping[str, str], scheme: str) -> bool:
    """Whether an image with these Python packages can move the data itself."""
    known = {_canonical(name): version for name, version in packages.items()}
    major = known.get("dvc", "0").partition(".")[0]
    return all(name in known for name in needed_packages(scheme)) and int(major or 0) >= OLDEST


def build(client: dagger.Client, scheme: str, secret: dagger.Secret) -> dagger.Container:
    """The image with DVC and the plug-in for ``scheme``, lazily."""
    text = _CONTAINERFILE.format(python=f"{sys.version_info.major}.{sys.version_info.minor}", uv=_UV)
    context = (
        client.directory()
        .with_new_file("Containerfile", text)
        .with_new_file("requirements.txt", "\n".join([*pinned(needed_packages(scheme)), ""]))
    )
    return context.docker_build(dockerfile="Containerfile", secrets=[secret])


def pinned(names: Iterable[str]) -> tuple[str, ...]:
    """``NAME==VERSION`` of these distributions and all that they need, as installed beside this Rondel.

    Of one that is not installed here there is no version: the name alone, and the index decides.
    """
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = [Requirement(name) for name in names]
    while queue:
        wanted = queue.pop()
        name = _canonical(wanted.name)
        if (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            found.setdefault(name, name)
            continue
        found[name] = f"{name}=={installed.version}"
        for text in installed.requires or ():
            needed = Requirement(text)
            extras = [{"extra": extra} for extra in wanted.extras] or [{"extra": ""}]
            if needed.marker is None or any(needed.marker.evaluate(extra) for extra in extras):
                queue.append(needed)
    return tuple(found[name] for name in sorted(found))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def build_failure(said: str) -> StageFailed:
    """The error for a data image that could not be built."""
    return StageFailed(
        "the image that moves data could not be built",
        why=said,
        hint="it has DVC and the plug-in of the remote; name one that is there already with "
        "data.image in [tool.rondel], or put dvc into the stages' image",
    )
