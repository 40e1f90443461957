"""The interpreter of the host image, as in a fresh ``python`` image."""

from __future__ import annotations

import os
import platform
import re
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rondel.engine.store import Draft


_PROGRAMS = re.compile(r"(python|pydoc|idle|2to3|pip)[0-9.]*(-config)?")


_DISTRIBUTION_PACKAGES = "/usr/lib/python3/dist-packages"


_SEEDS = ("pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that runs the engine, as the host image contains it."""

    prefix: str
    program: str
    stdlib: str
    packages: str

    @property
    def outside(self) -> bool:
        """Whether it is outside of the system's folders, and needs its own graft."""
        return not (self.prefix == "/usr" or self.prefix.startswith("/usr/"))


def python_version() -> str:
    """The host image's version of Python."""
    return platform.python_version()


def this_interpreter() -> Interpreter:
    """The base interpreter of the running one, without its virtual environment."""
    prefix = os.path.realpath(sys.base_prefix)
    short = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    if not program.startswith(f"{prefix}/"):
        program = f"{prefix}/bin/{short}"
    values = {"base": prefix, "platbase": prefix, "installed_base": prefix, "installed_platbase": prefix}
    stdlib = sysconfig.get_path("stdlib", "posix_prefix", values)
    packages = sysconfig.get_path("purelib", "posix_prefix", values)
    return Interpreter(prefix, program, stdlib, packages)


def fit_python(draft: Draft, interpreter: Interpreter) -> None:
    """Make the interpreter look as in a fresh ``python`` image: only with pip, and first on the PATH."""
    draft.remove(f"{interpreter.stdlib}/EXTERNALLY-MANAGED")
    packages = _system_packages()
    if interpreter.outside:
        packages = interpreter.packages
        for entry in draft.view.scandir(f"{interpreter.prefix}/bin"):
            if not _PROGRAMS.fullmatch(entry.name):
                draft.remove(entry.path)
        # Copies first, because the next step hides their sources.
        for entry in draft.view.scandir(packages):
            if _is_seed(entry.name):
                draft.copy_tree(draft.view, entry.path, entry.path, share=False)
        draft.opaque(packages)
    if not any(
        draft.view.lookup(f"{folder}/pip/__init__.py") for folder in (packages, _DISTRIBUTION_PACKAGES)
    ):
        _unpack_pip(draft, packages)
    short = f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = f'exec "{interpreter.program}"'
    for name, command in (
        ("python", ""),
        ("python3", ""),
        (short, ""),
        ("pip", " -m pip"),
        ("pip3", " -m pip"),
    ):
        if interpreter.outside and draft.view.lookup(f"{interpreter.prefix}/bin/{name}") is None:
            _script(draft, f"{interpreter.prefix}/bin/{name}", python + command)
        if interpreter.outside or draft.view.lookup(f"/usr/bin/{name}") is None:
            # Not a link: a virtual environment made with it would look for its library beside the link.
            _script(draft, f"/usr/local/bin/{name}", python + command)


def _script(draft: Draft, path: str, command: str) -> None:
    draft.write(path, f'#!/bin/sh\n{command} "$@"\n'.encode(), mode=0o755)


def _is_seed(name: str) -> bool:
    project = name.partition("-")[0].lower()
    return name in _SEEDS or (name.endswith(".dist-info") and project in ("pip", "setuptools", "wheel"))


def _system_packages() -> str:
    return sysconfig.get_path("purelib", sysconfig.get_default_scheme(), {"base": sys.base_prefix})


def _unpack_pip(draft: Draft, folder: str) -> None:
    """Install the pip that Python bundles for virtual environments, if it does."""
    wheels = [*Path(sysconfig.get_path("stdlib"), "ensurepip/_bundled").glob("pip-*.whl")]
    wheels += Path("/usr/share/python-wheels").glob("pip-*.whl")
    if not wheels:
        return
    with zipfile.ZipFile(max(wheels)) as archive:
        for member in archive.infolist():
            if not member.is_dir() and ".." not in member.filename.split("/"):
                draft.write(f"{folder}/{member.filename}", archive.read(member))
