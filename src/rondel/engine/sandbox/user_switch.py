"""The program that changes the user inside a container, copied from the host so that it works in any image.

bwrap cannot change to a second user. util-linux's ``setpriv`` can; the host's own dynamic
loader starts it with the host's own libraries, since the image may have another C library
or none. On a machine without ``setpriv``, the host's Python does the same with a short script.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rondel.engine.sandbox.bwrap import SETPRIV, TOOLS
from rondel.engine.sandbox.spec import SandboxError

_PT_INTERP = 3
# Does what setpriv does with these options, and prints the same messages.
_SCRIPT = """\
import posix, sys

_, uid, gid, groups, _, name, *rest = sys.argv
uid, gid = int(uid.partition("=")[2]), int(gid.partition("=")[2])
posix.setgroups([int(number) for number in groups.partition("=")[2].split(",") if number])
posix.setresgid(gid, gid, gid)
posix.setresuid(uid, uid, uid)
folders = posix.environ.get(b"PATH", b"/usr/bin:/bin").decode(errors="surrogateescape").split(":")
error = None
for path in [name] if "/" in name else [f"{folder or '.'}/{name}" for folder in folders]:
    try:
        posix.execve(path, [name, *rest], posix.environ)
    except OSError as raised:
        if error is None or raised.errno not in (2, 20):
            error = raised
sys.stderr.write(f"setpriv: failed to execute {name}: {posix.strerror(error.errno)}\\n")
sys.exit(127 if error.errno == 2 else 126)
"""


@dataclass(frozen=True, slots=True)
class Tools:
    """A folder to mount at TOOLS, and the words that start the program there."""

    folder: Path
    words: tuple[str, ...] = SETPRIV


def prepare_tools(folder: Path) -> Tools:
    """Copy ``setpriv``, its libraries and ``loader`` into ``folder``; or Python instead.

    Raises SandboxError if neither can be copied.
    """
    setpriv = shutil.which("setpriv", path=f"{os.defpath}:/sbin:/usr/sbin:{os.environ.get('PATH', '')}")
    if setpriv is not None and _bring(setpriv, folder, "setpriv"):
        return Tools(folder)
    if _bring(os.path.realpath(sys.executable), folder, "python"):
        _bring_modules(folder)
        (folder / "switch.py").write_text(_SCRIPT)
        return Tools(folder, (f"{TOOLS}/python", "-I", "-S", f"{TOOLS}/switch.py"))
    raise SandboxError(
        "this machine has no setpriv, so commands cannot run as another user than root",
        hint="install util-linux",
    )


def _bring(program: str, folder: Path, name: str) -> bool:
    """Copy a program, its loader and its libraries; False for one without a loader."""
    loader = interpreter(Path(program).read_bytes())
    if loader is None:  # linked statically: its "loader" is never executed
        return False
    folder.mkdir(mode=0o755, exist_ok=True)
    _copy(program, folder / name)
    _copy(loader, folder / "loader")
    listing = subprocess.run([loader, "--list", program], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        library, arrow, rest = line.strip().partition(" => ")
        if arrow and rest.startswith("/"):
            _copy(rest.rpartition(" (")[0], folder / library)
    return True


def _bring_modules(folder: Path) -> None:
    """Copy the modules that Python needs to start: it looks for them in ``lib`` beside the program."""
    library = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    (library / "encodings").mkdir(parents=True)
    (library / "lib-dynload").mkdir()
    own = Path(os.__file__).parent
    started = {"os", "codecs", "io", "abc", "stat", "posixpath", "genericpath", "_collections_abc"}
    for path in [*(own / f"{name}.py" for name in sorted(started)), *(own / "encodings").glob("*.py")]:
        _copy(str(path), library / path.relative_to(own))


def _copy(source: str, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o755)


def interpreter(program: bytes) -> str | None:
    """The dynamic loader that an ELF program requests (its PT_INTERP segment)."""
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
