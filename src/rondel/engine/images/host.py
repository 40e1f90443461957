"""The host image: this machine's own system and Python, where no registry can be reached.

Its root is an owned copy of what a container may know of /etc and of the package
database, with empty folders for the rest. /usr and the interpreter's prefix are
not copied: they are grafts, shown through overlays of their own. No home
directory, no /root, no password hashes, keys or credentials are in it, and of a
home that holds the interpreter nothing but the interpreter.

The interpreter is shown as in a fresh ``python`` image: with pip, setuptools and
wheel, and without what else its owner has installed into it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from rondel.engine.images import platforms
from rondel.engine.images.model import ImageConfig
from rondel.engine.store import Draft, Snapshot, Store
from rondel.engine.store.files import remove_tree, write_new

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = 2  # of what is made below; part of the layer's key
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LARGEST_FILE = 4 * 1024 * 1024
_FIRST_USER = 1000
_NOBODY = 65534

_ETC_HIDDEN = frozenset(
    """
    .pwd.lock apt/auth.conf apt/auth.conf.d boto.cfg ceph cloud containers cron.d cron.daily cron.hourly
    cron.monthly cron.weekly crontab curlrc cups docker environment environment.d fstab gitconfig
    google gshadow gshadow- gss hostname hosts ipsec.d ipsec.secrets krb5.keytab kubernetes ldap letsencrypt
    machine-id mtab my.cnf mysql netplan netrc NetworkManager npmrc openvpn passwd passwd- group group-
    postgresql ppp rancher resolv.conf salt samba security/opasswd shadow shadow- ssh ssl/private
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
_PROGRAMS = re.compile(r"(python|pydoc|idle|2to3|pip)[0-9.]*(-config)?")
_DISTRIBUTION_PACKAGES = "/usr/lib/python3/dist-packages"
_SEEDS = ("pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that runs the engine, as the host image shows it."""

    prefix: str
    program: str
    stdlib: str
    packages: str

    @property
    def outside(self) -> bool:
        """Whether it is not part of the system, and has to be brought along."""
        return not (self.prefix == "/usr" or self.prefix.startswith("/usr/"))


@dataclass(frozen=True, slots=True)
class HostImage:
    """The host image in a store. ``digest`` stands for distribution, packages and interpreter."""

    snapshot: Snapshot
    digest: str
    config: ImageConfig


def python_version() -> str:
    """The version of the Python that the host image has."""
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


async def host_image(store: Store) -> HostImage:
    """The host image, made at the first call on a machine as it is now (a second or two without root)."""
    interpreter = this_interpreter()
    digest, key = await anyio.to_thread.run_sync(_identity, store, interpreter)
    # What pip installs lands beside the interpreter, and has to be found.
    path = f"{interpreter.prefix}/bin:{_PATH}" if interpreter.outside else _PATH
    config = ImageConfig(platform=platforms.default(), env=(f"PATH={path}",))
    known = _known(store, key)
    if known is None:
        async with store.lock(f"host-image {key}"):
            known = _known(store, key)
            if known is None:
                known = await _build(store, interpreter)
                store.index.put("host-image", key, list(known.layers))
    return HostImage(known, digest, config)


def _known(store: Store, key: str) -> Snapshot | None:
    layers = store.index.get("host-image", key)
    if layers is None:
        return None
    snapshot = Snapshot(tuple(layers))
    return snapshot if store.alive(snapshot) else None


# --- identity


def _identity(store: Store, interpreter: Interpreter) -> tuple[str, str]:
    """The image's digest, and the key of its layers, which also depends on this machine's /etc."""
    digest = hashlib.sha256()
    tools = [(item.name, item.stat().st_size) for folder in ("bin", "sbin") for item in _listing(folder)]
    facts = {
        "version": _VERSION,
        "machine": platform.machine(),
        "release": _text("/etc/os-release"),
        "packages": installed_packages(),
        "python": [sys.version, interpreter.prefix],
        "tools": sorted(tools),
    }
    digest.update(json.dumps(facts, sort_keys=True).encode())
    identity = f"sha256:{digest.hexdigest()}"
    for path, status in _etc():
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    digest.update(repr((_has_all_ids(), _hidden(store, interpreter))).encode())
    return identity, digest.hexdigest()


def installed_packages() -> list[str]:
    """The distribution's packages and versions, sorted; empty where its database is not known."""
    found = []
    for block in _text("/var/lib/dpkg/status").split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in block.splitlines()
            if line.startswith(("Package: ", "Version: ", "Arch"))
        )
        if "Package" in fields:
            found.append(" ".join(fields.get(name, "") for name in ("Package", "Version", "Architecture")))
    for path in ("/lib/apk/db/installed", "/usr/lib/apk/db/installed"):
        found += [
            " ".join(line[2:] for line in block.splitlines() if line[:2] in ("P:", "V:"))
            for block in _text(path).split("\n\n")
        ]
    for path in ("/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite"):
        with contextlib.suppress(OSError):
            status = os.stat(path)
            found.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    with contextlib.suppress(OSError):
        found += os.listdir("/var/lib/pacman/local")
    return sorted(filter(None, found))


def _listing(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(f"/usr/local/{folder}") as found:
            return [item for item in found if item.is_file()]
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def _has_all_ids() -> bool:
    """Whether the host's own directories belong to IDs that exist here, so that they can be written over."""
    return os.stat("/usr").st_uid == os.geteuid()


# --- the root's own tree


async def _build(store: Store, interpreter: Interpreter) -> Snapshot:
    grafts = _grafts(interpreter)
    hidden = _hidden(store, interpreter)
    root, folders = store.new_path(), store.new_path()
    try:
        await anyio.to_thread.run_sync(_make_root, root, grafts, interpreter)
        snapshot = Snapshot((await store.publish(root, grafts=grafts),))
        if not _has_all_ids():
            await anyio.to_thread.run_sync(_make_folders, folders, grafts)
            snapshot = snapshot.over(await store.publish(folders))
    finally:
        for path in (root, folders):
            await anyio.to_thread.run_sync(remove_tree, path)
    async with store.draft(snapshot) as draft:
        await anyio.to_thread.run_sync(_fit_python, draft, interpreter)
        for private in hidden:
            draft.remove(private)
        return await draft.commit()


def _grafts(interpreter: Interpreter) -> dict[str, str]:
    """Which host directories are shown as they are, by their path in the container."""
    grafts = {"/usr": "/usr"}
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = f"/{name}"
        if os.path.isdir(path) and not os.path.islink(path):
            grafts[path] = path
    if interpreter.outside:
        grafts[interpreter.prefix] = interpreter.prefix
    return grafts


def _hidden(store: Store, interpreter: Interpreter) -> list[str]:
    """What lies in a grafted directory and is nobody's business: the store, and the project's folder."""
    private = {str(store.root), os.getcwd(), os.path.realpath(os.getcwd())}
    return sorted(
        path
        for path in private
        if any(path.startswith(f"{graft}/") for graft in _grafts(interpreter))
        and not interpreter.prefix.startswith(path)
    )


def _make_root(root: Path, grafts: dict[str, str], interpreter: Interpreter) -> None:
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
        (root / "root").chmod(0o755)  # other users of a container need the interpreter, too
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
    for relative, status in _etc():
        source, copy = f"/etc/{relative}", target / relative
        if stat.S_ISDIR(status.st_mode):
            copy.mkdir(mode=0o755, exist_ok=True)
        elif stat.S_ISLNK(status.st_mode):
            copy.symlink_to(os.readlink(source))
        else:
            with contextlib.suppress(OSError):
                write_new(str(copy), Path(source), mode=status.st_mode & 0o755, mtime_ns=status.st_mtime_ns)
    for name in ("passwd", "group"):
        (target / name).write_text(system_accounts(_text(f"/etc/{name}")))
    for name, text in (("hostname", "dagger\n"), ("hosts", ""), ("resolv.conf", ""), ("machine-id", "")):
        (target / name).write_text(text)
    for name in ("passwd", "group", "hostname", "hosts", "resolv.conf", "machine-id"):
        (target / name).chmod(0o644)
    (target / "mtab").symlink_to("../proc/self/mounts")


def _etc() -> Iterator[tuple[str, os.stat_result]]:
    """What of /etc a container may see, parents first: what everybody may read, but no credentials."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            names = sorted(os.listdir(f"/etc/{folder}"))
        except OSError:
            continue
        for name in names:
            relative = f"{folder}{name}"
            status = os.lstat(f"/etc/{relative}")
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
    """Whether a file's name says that it is a key or a list of credentials."""
    return name.endswith((".key", ".keytab", ".p12", ".pfx", ".jks")) or name.startswith(
        (".netrc", "id_", ".git")
    )


def system_accounts(text: str) -> str:
    """The accounts of passwd or group that belong to the system, and none of people."""
    lines = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdecimal():
            number = int(fields[2])
            if number < _FIRST_USER or number == _NOBODY:
                # Members of groups are people as well.
                lines.append(":".join([*fields[:3], ""]) if len(fields) == 4 else line)
    return "".join(f"{line}\n" for line in lines)


def _copy_database(source: Path, target: Path) -> None:
    """The package manager's database; in it links for files that never change, so copies of its own."""

    def no_locks(_: str, names: list[str]) -> set[str]:
        return {name for name in names if name.startswith("lock") or name.endswith(("-old", ".lock"))}

    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(shutil.Error):  # files that nobody but root may read
        shutil.copytree(source, target, symlinks=True, ignore=no_locks)


def _make_folders(target: Path, grafts: dict[str, str]) -> None:
    """All directories of the grafts, without their files, owned by the engine.

    The host's own belong to IDs that do not exist in an ordinary user's
    namespace, where nobody could make or remove anything in them.
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
            except PermissionError:
                continue
            for item in inner:
                if not os.access(item.path, os.R_OK | os.X_OK):
                    continue
                copy = f"{target}{path}{item.path[len(source) :]}"
                os.mkdir(copy, 0o755)
                os.chmod(copy, stat.S_IMODE(item.stat().st_mode) | 0o700)
                waiting.append(item.path)


# --- Python


def _fit_python(draft: Draft, interpreter: Interpreter) -> None:
    """Show the interpreter as a fresh ``python`` image does: it alone, with pip, first on the PATH."""
    draft.remove(f"{interpreter.stdlib}/EXTERNALLY-MANAGED")
    packages = _system_packages()
    if interpreter.outside:
        packages = interpreter.packages
        for entry in draft.view.scandir(f"{interpreter.prefix}/bin"):
            if not _PROGRAMS.fullmatch(entry.name):
                draft.remove(entry.path)
        # Copies first; then all that is below is hidden.
        for entry in draft.view.scandir(packages):
            if _is_seed(entry.name):
                draft.copy_tree(draft.view, entry.path, entry.path, share=False)
        draft.opaque(packages)
    if not any(draft.view.lookup(f"{place}/pip/__init__.py") for place in (packages, _DISTRIBUTION_PACKAGES)):
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
            # Not a link: a virtual environment made by it would look for its library beside the link.
            _script(draft, f"/usr/local/bin/{name}", python + command)


def _script(draft: Draft, path: str, command: str) -> None:
    draft.write(path, f'#!/bin/sh\n{command} "$@"\n'.encode(), mode=0o755)


def _is_seed(name: str) -> bool:
    project = name.partition("-")[0].lower()
    return name in _SEEDS or (name.endswith(".dist-info") and project in ("pip", "setuptools", "wheel"))


def _system_packages() -> str:
    return sysconfig.get_path("purelib", sysconfig.get_default_scheme(), {"base": sys.base_prefix})


def _unpack_pip(draft: Draft, folder: str) -> None:
    """Install the pip that Python brings along for virtual environments, if it does."""
    wheels = [*Path(sysconfig.get_path("stdlib"), "ensurepip/_bundled").glob("pip-*.whl")]
    wheels += Path("/usr/share/python-wheels").glob("pip-*.whl")
    if not wheels:
        return
    with zipfile.ZipFile(max(wheels)) as archive:
        for member in archive.infolist():
            if not member.is_dir() and ".." not in member.filename.split("/"):
                draft.write(f"{folder}/{member.filename}", archive.read(member))
