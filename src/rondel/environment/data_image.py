"""The image of the data container: the stages' image if it has DVC, else a separate one.

The team's image may lack DVC or the plug-in for the remote. Then Rondel builds
an image with only these, in the versions that are installed beside Rondel.
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
"""The package that DVC needs for a remote, by the URL's scheme."""

OLDEST = 3
"""The first major version of DVC with today's hashes and lock files."""

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
    """The packages that a remote of this scheme needs."""
    plugin = PLUGINS.get(scheme)
    return ("dvc", plugin) if plugin else ("dvc",)


def has_dvc(packages: Mapping[str, str], scheme: str) -> bool:
    """Whether an image with these Python packages can move data itself."""
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
    """``NAME==VERSION`` of these packages and all their dependencies, as installed beside Rondel.

    Only the name of a package that is not installed here: the index chooses the version.
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


def build_failure(output: str) -> StageFailed:
    """The error for a data image that fails to build."""
    return StageFailed(
        "can't build the image that moves data",
        why=output,
        hint="set data.image in [tool.rondel] to an image with DVC and the remote's plug-in, "
        "or install dvc in the stages' image",
    )
