"""Checks whether a container's command can start, and reports failures in Go's words.

The real engine starts commands with Go's ``os/exec``, and pipelines match its messages.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.engine.sandbox.spec import ExecRefused
from rondel.engine.store import Output
from rondel.engine.store.errors import PathError
from rondel.engine.store.paths import join

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.engine.sandbox.tree import MountTree, TreeNode
    from rondel.engine.sandbox.users import User

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ELF = b"\x7fELF"
_EXEC_FAILED = re.compile(rb"^(?:bwrap: execvp|setpriv: failed to execute) (.*?): (.*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Executable:
    """A command that can start: the path to execute, absolute or relative to the working directory."""

    path: str


@dataclass(frozen=True, slots=True)
class NotStarted:
    """A command that cannot start, with Go's error text."""

    text: str


def find_command(tree: MountTree, name: str, *, path: str, cwd: str, user: User) -> Executable | NotStarted:
    """Look up a command as Go does: a name with a slash as it is, others along ``path``."""
    if not name:
        return NotStarted("fork/exec : no such file or directory")
    if "/" in name:
        return _checked(tree, name, cwd, user)
    for folder in path.split(":"):
        candidate = f"{folder or '.'}/{name}"
        node = _node(tree, candidate, cwd)
        if node is not None and node.entry.is_file and may_execute(node, user):
            return _checked(tree, candidate, cwd, user)
    return NotStarted(f'exec: "{name}": executable file not found in $PATH')


def may_execute(node: TreeNode, user: User) -> bool:
    """Whether the file's mode lets the user execute it."""
    entry = node.entry
    if user.uid == 0:
        return bool(entry.mode & 0o111)
    if entry.uid == user.uid:
        return bool(entry.mode & stat.S_IXUSR)
    if entry.gid == user.gid or entry.gid in user.groups:
        return bool(entry.mode & stat.S_IXGRP)
    return bool(entry.mode & stat.S_IXOTH)


def _node(tree: MountTree, path: str, cwd: str) -> TreeNode | None:
    try:
        node, missing = tree.find(path if path.startswith("/") else join(cwd, path))
    except PathError:
        return None
    return None if missing else node


def _checked(tree: MountTree, path: str, cwd: str, user: User) -> Executable | NotStarted:
    def refused(text: str) -> NotStarted:
        return NotStarted(f"fork/exec {path}: {text}")

    try:
        node, missing = tree.find(path if path.startswith("/") else join(cwd, path))
    except PathError as error:
        return refused(error.text)
    if missing:
        return refused("no such file or directory")
    if not node.entry.is_file or not may_execute(node, user):
        return refused("permission denied")
    try:
        with os.fdopen(node.open(), "rb") as file:
            head = file.read(256)
    except OSError:  # in a mount whose content is not on disk: only the kernel can tell
        return Executable(path)
    if head.startswith(_ELF):
        return Executable(path)
    if not head.startswith(b"#!"):
        return refused("exec format error")
    interpreter = os.fsdecode(head[2:].split(b"\n", 1)[0].strip().split(b" ", 1)[0].split(b"\t", 1)[0])
    if _node(tree, interpreter, cwd) is None:
        return refused("no such file or directory")
    return Executable(path)


# What only the kernel can tell


def too_long(command: str) -> ExecRefused:
    """The error when arguments exceed the kernel's limits: 128 KiB for one, some MiB for all together."""
    return ExecRefused(
        f"fork/exec {command}: argument list too long",
        why="an argument or a variable is larger than 128 KiB, or all together than the kernel takes",
        hint="pass it in a file: withNewFile, or the command's stdin",
    )


def refused_by_kernel(text: str, command: str) -> bool:
    """Whether bwrap failed because the kernel refused to execute the command, such as for a missing loader.

    Raises ExecRefused if the arguments were too long.
    """
    if text.endswith(os.strerror(errno.E2BIG)):
        raise too_long(command)
    return _EXEC_FAILED.match(text.encode()) is not None


def in_go_words(outputs: Mapping[str, Output], exit_code: int) -> Mapping[str, Output]:
    """Replace bwrap's or setpriv's error text for a command that the kernel refused with Go's."""
    match = _EXEC_FAILED.match(outputs["stderr"].data.strip()) if exit_code in (1, 126, 127) else None
    if match is None or outputs["stdout"].size:
        return outputs
    text = b"fork/exec " + match[1] + b": " + match[2].lower() + b"\n"
    return {"stdout": Output(), "stderr": Output.of(text), "combined": Output.of(text)}
