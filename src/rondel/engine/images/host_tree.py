"""The root tree of the host image: what is copied from this machine, without its secrets."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.engine.store.files import write_new

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rondel.engine.images.host_python import Interpreter


_LARGEST_FILE = 4 * 1024 * 1024


_FIRST_USER = 1000


_NOBODY = 65534


# Private files, files that each container gets anew, and those of jobs that run in place (rondel).
_ETC_HIDDEN = frozenset(
    """
    .pwd.lock apt/auth.conf apt/auth.conf.d boto.cfg ceph cloud containers cron.d cron.daily cron.hourly
    cron.monthly cron.weekly crontab curlrc cups docker environment environment.d fstab gitconfig
    google gshadow gshadow- gss hostname hosts ipsec.d ipsec.secrets krb5.keytab kubernetes ldap letsencrypt
    machine-id mtab my.cnf mysql netplan netrc NetworkManager npmrc openvpn passwd passwd- group group-
    postgresql ppp rancher resolv.conf rondel salt samba security/opasswd shadow shadow- ssh ssl/private
    subgid subgid- subuid subuid- sudoers sudoers.d swanctl systemd/network vault.d wgetrc wireguard
    """.split()  # noqa: SIM905 — read as prose
)


_CREDENTIALS = re.compile(rb"://[^/\s@]+@|password|passwd|token|secret", re.IGNORECASE)


_PACKAGE_DATABASES = ("var/lib/dpkg", "var/lib/rpm", "var/lib/pacman/local")


_EMPTY_FOLDERS = (
    "boot", "dev", "home", "media", "mnt", "opt", "proc", "run", "run/lock", "srv", "sys", "var", "var/cache",
    "var/cache/apt", "var/cache/apt/archives", "var/cache/apt/archives/partial", "var/lib", "var/lib/apt",
    "var/lib/apt/lists", "var/lib/apt/lists/partial", "var/lib/misc", "var/log", "var/log/apt", "var/mail",
    "var/opt", "var/spool",
)  # fmt: skip


def make_root(root: Path, grafts: dict[str, str], interpreter: Interpreter) -> None:
    """The root of the tree: skeleton, /etc, and the parents of the grafts."""
    root.mkdir(mode=0o755)
    root.chmod(0o755)
    for name in _EMPTY_FOLDERS:
        (root / name).mkdir(mode=0o755)
    for name in ("tmp", "var/tmp"):
        (root / name).mkdir()
        (root / name).chmod(0o1777)
    (root / "root").mkdir(mode=0o700)
    for name, target in (("var/run", "/run"), ("var/lock", "/run/lock")):
        (root / name).symlink_to(target)
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.islink(f"/{name}"):
            (root / name).symlink_to(os.readlink(f"/{name}"))
    for path in grafts:
        (root / path[1:]).mkdir(mode=0o755, parents=True, exist_ok=True)
    if interpreter.prefix.startswith("/root/"):
        (root / "root").chmod(0o755)  # a container's other users need the interpreter, too
    if os.path.abspath(sys.base_prefix) != interpreter.prefix and interpreter.outside:
        alias = root / os.path.abspath(sys.base_prefix)[1:]
        alias.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            alias.symlink_to(interpreter.prefix)
    _make_etc(root / "etc")
    for name in _PACKAGE_DATABASES:
        if os.path.isdir(f"/{name}"):
            _copy_database(Path(f"/{name}"), root / name)


def _make_etc(target: Path) -> None:
    target.mkdir(mode=0o755)
    for relative, status in etc_files():
        source, copy = f"/etc/{relative}", target / relative
        if stat.S_ISDIR(status.st_mode):
            copy.mkdir(mode=0o755, exist_ok=True)
        elif stat.S_ISLNK(status.st_mode):
            with contextlib.suppress(FileNotFoundError):
                copy.symlink_to(os.readlink(source))
        else:
            with contextlib.suppress(OSError):
                write_new(str(copy), Path(source), mode=status.st_mode & 0o755, mtime_ns=status.st_mtime_ns)
    for name in ("passwd", "group"):
        (target / name).write_text(system_accounts(text_of(f"/etc/{name}")))
    for name, text in (("hostname", "dagger\n"), ("hosts", ""), ("resolv.conf", ""), ("machine-id", "")):
        (target / name).write_text(text)
    for name in ("passwd", "group", "hostname", "hosts", "resolv.conf", "machine-id"):
        (target / name).chmod(0o644)
    (target / "mtab").symlink_to("../proc/self/mounts")


def etc_files() -> Iterator[tuple[str, os.stat_result]]:
    """The files of /etc that a container may see, parents first: world-readable, and no credentials.

    The machine is in use at the same time: files that disappear are skipped.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            names = sorted(os.listdir(f"/etc/{folder}"))
        except OSError:
            continue
        for name in names:
            relative = f"{folder}{name}"
            try:
                status = os.lstat(f"/etc/{relative}")
            except OSError:
                continue
            if relative in _ETC_HIDDEN or not _presentable(relative, status):
                continue
            yield relative, status
            if stat.S_ISDIR(status.st_mode):
                waiting.append(f"{relative}/")


def _presentable(relative: str, status: os.stat_result) -> bool:
    if stat.S_ISLNK(status.st_mode):
        return True
    if stat.S_ISDIR(status.st_mode):
        return bool(status.st_mode & stat.S_IXOTH)
    if (
        not stat.S_ISREG(status.st_mode)
        or not status.st_mode & stat.S_IROTH
        or status.st_size > _LARGEST_FILE
    ):
        return False
    if relative == "pip.conf":
        with contextlib.suppress(OSError):
            return not _CREDENTIALS.search(Path(f"/etc/{relative}").read_bytes())
    return not name_is_private(relative.rpartition("/")[2])


def name_is_private(name: str) -> bool:
    """Whether a file's name suggests a key or a list of credentials."""
    return name.endswith((".key", ".keytab", ".p12", ".pfx", ".jks")) or name.startswith(
        (".netrc", "id_", ".git")
    )


def system_accounts(text: str) -> str:
    """The system's accounts in passwd or group, without those of people."""
    lines = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdecimal():
            number = int(fields[2])
            if number < _FIRST_USER or number == _NOBODY:
                # Members of groups may be people, too.
                lines.append(":".join([*fields[:3], ""]) if len(fields) == 4 else line)
    return "".join(f"{line}\n" for line in lines)


def _copy_database(source: Path, target: Path) -> None:
    """Copy the package manager's database; files that never change become links."""

    def no_locks(_: str, names: list[str]) -> set[str]:
        return {name for name in names if name.startswith("lock") or name.endswith(("-old", ".lock"))}

    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(shutil.Error):  # files that only root may read
        shutil.copytree(source, target, symlinks=True, ignore=no_locks)


def make_folders(target: Path, grafts: dict[str, str]) -> None:
    """Create all directories of the grafts, without their files, owned by the engine.

    The host's own belong to IDs that do not exist in an ordinary user's namespace, so that
    containers could not change anything in them.
    """
    target.mkdir(mode=0o755)
    target.chmod(0o755)
    for path, source in grafts.items():
        (target / path[1:]).mkdir(mode=0o755, parents=True, exist_ok=True)
        waiting = [source]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(folder) as found:
                    inner = [item for item in found if item.is_dir(follow_symlinks=False)]
            except (PermissionError, FileNotFoundError):
                continue
            for item in inner:
                if not os.access(item.path, os.R_OK | os.X_OK):
                    continue
                try:
                    mode = stat.S_IMODE(item.stat().st_mode)
                except FileNotFoundError:
                    continue
                copy = f"{target}{path}{item.path[len(source) :]}"
                os.mkdir(copy, 0o755)
                os.chmod(copy, mode | 0o700)
                waiting.append(item.path)


def text_of(path: str) -> str:
    """A file of the host as text; empty if it cannot be read."""
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""
