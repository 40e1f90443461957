"""Users of an image: names and numbers from its own passwd and group files.

The rules are Docker's: a number that passwd does not contain is fine and gets group 0
and home ``/``; an unknown name is an error; an explicit group replaces the supplementary
ones. A user's primary group is also among the supplementary ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.engine.sandbox.spec import ExecRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST = 2**31 - 1
_NUMBER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class User:
    """The user that a command runs as."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"

    @property
    def is_root(self) -> bool:
        """Whether no change of user is necessary."""
        return self.uid == 0 and self.gid == 0 and not any(self.groups)


ROOT = User()


def _rows(text: str, width: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= width and not line.startswith("#"):
            yield fields


def resolve_user(user: str, passwd: str, group: str) -> User:
    """The user that ``name``, ``uid``, ``name:group`` or ``uid:gid`` means; "" is root.

    ``passwd`` and ``group`` are the files' texts, empty if they are missing.
    Raises ExecRefused with Docker's message for an unknown name.
    """
    name, colon, group_name = user.partition(":")
    uid, gid, login, home = _user(name or "0", passwd, asked=user)
    if colon and group_name:
        gid = _group(group_name, group)
        return User(uid, gid, (gid,), home)
    rows = _rows(group, 4) if login else ()
    further = {int(row[2]) for row in rows if row[2].isdecimal() and login in row[3].split(",")}
    return User(uid, gid, tuple(sorted({gid} | further)), home)


def _user(name: str, passwd: str, *, asked: str) -> tuple[int, int, str, str]:
    number = int(name) if _NUMBER.fullmatch(name) else None
    for row in _rows(passwd, 6):
        if not (row[2].isdecimal() and row[3].isdecimal()):
            continue
        if row[0] == name or (number is not None and int(row[2]) == number):
            return int(row[2]), int(row[3]), row[0], row[5] or "/"
    if number is None:
        name = asked.partition(":")[0]
        raise ExecRefused(f"get user: unable to find user {name}: no matching entries in passwd file")
    _check_range(number)
    return number, 0, "", "/"


def _group(name: str, group: str) -> int:
    number = int(name) if _NUMBER.fullmatch(name) else None
    for row in _rows(group, 3):
        if row[2].isdecimal() and (row[0] == name or (number is not None and int(row[2]) == number)):
            return int(row[2])
    if number is None:
        raise ExecRefused(f"get user: unable to find group {name}: no matching entries in group file")
    _check_range(number)
    return number


def _check_range(number: int) -> None:
    if not 0 <= number <= _LARGEST:
        raise ExecRefused(f"get user: uids and gids must be in range 0-{_LARGEST}")
