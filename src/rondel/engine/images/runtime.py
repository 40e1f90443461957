"""The image store of a container runtime on this machine, through its own ``load`` and ``save``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "RONDEL_ENGINE_RUNTIME"
_NAMES = ("docker", "podman", "nerdctl", "finch")
_LOADED = re.compile(r"Loaded image[^:\n]*: *(\S+)")


class RuntimeFailed(EngineError):
    """There is no container runtime, or it refuses."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A container runtime's command line program."""

    program: str
    environ: Mapping[str, str]

    async def answers(self) -> None:
        """Raise RuntimeFailed if the program exists, but its daemon does not answer."""
        await self._run("info")

    async def load(self, archive: Path, name: str) -> None:
        """Load the image of an archive into the runtime's store, under a name. Raises RuntimeFailed."""
        said = await self._run("load", "--input", str(archive))
        loaded = _LOADED.findall(said)
        if not loaded:
            raise RuntimeFailed(f"unexpected output from {self.program} load: {said.strip()!r}")
        if loaded[-1] != name:
            await self._run("tag", loaded[-1], name)

    async def save(self, name: str, archive: Path) -> None:
        """Save the image with a name as an archive. Raises RuntimeFailed, also if there is no such image."""
        await self._run("save", "--output", str(archive), name)

    async def _run(self, verb: str, *args: str) -> str:
        try:
            done = await anyio.run_process(
                [self.program, verb, *args], check=False, stdin=subprocess.DEVNULL, env=self.environ
            )
        except OSError as error:
            raise RuntimeFailed(f"{self.program} cannot be started: {error.strerror}") from error
        if done.returncode:
            raise RuntimeFailed(
                f"{Path(self.program).name} {verb} failed: exit status {done.returncode}",
                why=done.stderr.decode(errors="replace").strip()[-2000:] or None,
            )
        return done.stdout.decode(errors="replace")


async def find_runtime(environ: Mapping[str, str]) -> Runtime:
    """The runtime that the environment names, else the first that answers. Raises RuntimeFailed."""
    named = environ.get(VARIABLE)
    silent = []
    for name in (named,) if named else _NAMES:
        program = shutil.which(name, path=environ.get("PATH", os.defpath))
        if program is None:
            continue
        runtime = Runtime(program, environ)
        if named:
            return runtime
        try:
            await runtime.answers()
        except RuntimeFailed as error:
            silent.append(error.render())
        else:
            return runtime
    raise RuntimeFailed(
        "no container runtime answers" if silent
        else f"no container runtime is installed: {named or ', '.join(_NAMES)}",
        why="\n".join(silent) or None,
        hint=f"start one, or name it ({VARIABLE}); or use export and import, publish and from",
    )  # fmt: skip
