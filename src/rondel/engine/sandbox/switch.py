"""The tool that changes the user inside a container, brought along so that it works in any image.

bwrap cannot change to a second user. util-linux's ``setpriv`` can; it is started
by the host's own dynamic loader with the host's own libraries, since the image
may have another C library, or none.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

from rondel.engine.sandbox.spec import SandboxError

_PT_INTERP = 3


def prepare_tools(folder: Path) -> None:
    """Fill ``folder`` with ``setpriv``, its libraries, and ``loader``; SandboxError without setpriv."""
    setpriv = shutil.which("setpriv", path=f"{os.defpath}:/sbin:/usr/sbin:{os.environ.get('PATH', '')}")
    if setpriv is None:
        raise SandboxError(
            "this machine has no setpriv, so commands cannot run as another user than root",
            hint="install util-linux",
        )
    loader = interpreter(Path(setpriv).read_bytes())
    folder.mkdir(mode=0o755)
    _copy(setpriv, folder / "setpriv")
    if loader is None:  # linked statically: the "loader" is never asked for anything
        raise SandboxError(f"{setpriv} has no dynamic loader", hint="install util-linux's setpriv")
    _copy(loader, folder / "loader")
    listing = subprocess.run([loader, "--list", setpriv], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if arrow and rest.startswith("/"):
            _copy(rest.rpartition(" (")[0], folder / name)


def _copy(source: str, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o755)


def interpreter(program: bytes) -> str | None:
    """The dynamic loader that an ELF program asks for (its PT_INTERP segment)."""
    if program[:4] != b"\x7fELF" or program[4] != 2:
        return None
    order = "<" if program[5] == 1 else ">"
    start = struct.unpack_from(f"{order}Q", program, 32)[0]
    size, count = struct.unpack_from(f"{order}HH", program, 54)
    for number in range(count):
        at = start + number * size
        if struct.unpack_from(f"{order}I", program, at)[0] == _PT_INTERP:
            offset, length = (
                struct.unpack_from(f"{order}Q", program, at + 8)[0],
                struct.unpack_from(f"{order}Q", program, at + 32)[0],
            )
            return os.fsdecode(program[offset : offset + length].rstrip(b"\0"))
    return None
