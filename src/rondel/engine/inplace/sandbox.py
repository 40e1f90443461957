"""A sandbox without isolation: commands run in the job's own container, one at a time."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import anyio
import anyio.to_thread

from rondel.engine.inplace.placement import Placement, PlacingError, clear_up, touched
from rondel.engine.sandbox.command import DEFAULT_PATH
from rondel.engine.sandbox.output import Spool
from rondel.engine.sandbox.spec import (
    BindMount,
    ExecRefused,
    ExecSpec,
    JoinNetwork,
    Opened,
    Outcome,
    OverlayMount,
    SandboxError,
    SecretFileMount,
    SnapshotFileMount,
    TmpfsMount,
    UnixSocketMount,
    VolumeMount,
)
from rondel.engine.sandbox.users import User, resolve_user
from rondel.engine.store import Output, Snapshot
from rondel.errors import EngineError
from rondel.secrets.masker import Masker

if TYPE_CHECKING:
    from collections.abc import Callable

    from rondel.engine.store import Store

_NOT_SHOWN = ("proc", "sys", "dev", "tmp", "run", "lost+found")
_MARK = "RONDEL_IN_PLACE"
_MEMORY = Path("/dev/shm")  # noqa: S108 - the engine makes a private folder in it
_PR_SET_CHILD_SUBREAPER = 36
_CHUNK = 65536
_NOT_TRACED = Opened(
    unknown="commands run in place, on the machine's own files, which other processes may open meanwhile"
)

NOT_IN_PLACE = (
    "this machine does not let the engine make containers, so commands run in place, in the job's own "
    "container; allow user namespaces, run with CAP_SYS_ADMIN, or use a Dagger engine (--engine dagger)"
)


class NeedsIsolation(EngineError):
    """An operation that needs an isolated container."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} needs an isolated container, which this machine does not allow", hint=NOT_IN_PLACE
        )


class InPlaceSandbox:
    """Runs commands directly on the machine; has the methods of the sandbox that evaluation uses."""

    def __init__(self, store: Store, workdir: Path) -> None:
        """First cleans up after a killed session of this container."""
        self.store = store
        self._workdir = os.path.realpath(workdir)
        self._journal = store.root / "in-place.json"
        self._token = secrets.token_hex(8)
        self._base: Snapshot | None = None
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        clear_up(self._journal)

    async def base(self) -> Snapshot:
        """The machine's own files as a file system; nothing is copied."""
        if self._base is None:
            folder = self.store.new_path()
            grafts = await anyio.to_thread.run_sync(_skeleton, folder, str(self.store.root))
            self._base = Snapshot((await self.store.publish(folder, grafts=grafts),))
        return self._base

    async def run(self, spec: ExecSpec, *, listener: Callable[[str, bytes], None] | None = None) -> Outcome:
        """Run a command to its end and collect what it wrote. If cancelled, it kills all it started."""
        if isinstance(spec.network, JoinNetwork):
            raise NeedsIsolation("a private network")
        async with self.store.lock("in-place"):
            aside = self.store.new_path()
            await anyio.Path(aside).mkdir()
            placement = Placement(self._journal, aside, private=self._workdir)
            hidden: list[Path] = []
            try:
                try:
                    await anyio.to_thread.run_sync(self._place, placement, spec, hidden)
                except OSError as error:
                    raise PlacingError(
                        f"{error.filename} cannot be put in place: {error.strerror}",
                        hint=f"run the job as root; or: {NOT_IN_PLACE}",
                    ) from error
                outputs, code = await self._execute(spec, listener)
                return await self._collect(placement, spec, outputs, code)
            finally:
                with anyio.CancelScope(shield=True):
                    _kill_marked(self._token)
                    await anyio.to_thread.run_sync(placement.undo)
                    for path in hidden:
                        path.unlink(missing_ok=True)

    async def start(self, spec: ExecSpec, **_: object) -> None:
        """Services and terminals need an isolated container. Raises NeedsIsolation."""
        raise NeedsIsolation(f"running {spec.args[0] if spec.args else 'a service'} beside other commands")

    # --- before the command

    def _place(self, placement: Placement, spec: ExecSpec, hidden: list[Path]) -> None:
        base = self._base.layers if self._base is not None else ()
        if not spec.root.layers or spec.root.layers[:1] != base:
            raise NeedsIsolation("another image, or the empty one,")
        view = self.store.view(spec.root)
        layers = [self.store.layers.path(layer) for layer in spec.root.layers[1:]]
        placement.put_changes(view, touched(layers))
        for mount in sorted(spec.mounts, key=lambda mount: mount.path):
            match mount:
                case OverlayMount():
                    placement.empty(mount.path)
                    source = self.store.view(mount.snapshot)
                    for entry in source.scandir(mount.subpath):
                        placement.put(source, entry.path, f"{mount.path}/{entry.name}")
                case SnapshotFileMount():
                    placement.put(self.store.view(mount.snapshot), mount.subpath, mount.path)
                    placement.foreign.add(os.path.realpath(mount.path))
                case VolumeMount() | UnixSocketMount() | BindMount():
                    placement.link(mount.path, mount.source)
                case TmpfsMount():
                    placement.empty(mount.path, mode=0o1777)
                case SecretFileMount():
                    hidden.append(_in_memory(mount))
                    placement.link(mount.path, hidden[-1])
        if spec.hosts:
            lines = "".join(f"{address}\t{name}\n" for address, name in spec.hosts)
            placement.append("/etc/hosts", lines)

    # --- the command

    async def _execute(
        self, spec: ExecSpec, listener: Callable[[str, bytes], None] | None
    ) -> tuple[dict[str, Output], int]:
        user = resolve_user(spec.user, _text("/etc/passwd"), _text("/etc/group"))
        home = spec.env.get("HOME") or user.home
        env = {"PATH": DEFAULT_PATH, **spec.env, "HOME": home, _MARK: self._token}
        if not spec.args:
            raise ExecRefused("no command has been set")
        command = _command(spec.args[0], env["PATH"], spec.cwd)
        if isinstance(command, str):
            text = Output.of(command.encode())
            return {"stdout": Output(), "stderr": text, "combined": text}, 1
        spools = {name: Spool(self.store.blobs) for name in ("stdout", "stderr", "combined")}
        try:
            code = await self._watch(spec, env, user, spools, listener)
            return {name: spool.finish() for name, spool in spools.items()}, code
        except BaseException:
            for spool in spools.values():
                spool.drop()
            raise

    async def _watch(
        self,
        spec: ExecSpec,
        env: dict[str, str],
        user: User,
        spools: dict[str, Spool],
        listener: Callable[[str, bytes], None] | None,
    ) -> int:
        identity: dict[str, Any] = {}
        if (user.uid, user.gid) not in {(os.geteuid(), os.getegid()), (0, 0)}:
            identity = {"user": user.uid, "group": user.gid, "extra_groups": list(user.groups)}
        prefix = [found, "--pdeathsig", "KILL", "--"] if (found := shutil.which("setpriv")) else []
        os.makedirs(spec.cwd or "/", exist_ok=True)
        masker = Masker(spec.secrets, shortest=1)
        with _stdin(spec) as stdin:
            try:
                process = await anyio.open_process(
                    [*prefix, *spec.args],
                    cwd=spec.cwd or "/",
                    env=env,
                    stdin=stdin,
                    start_new_session=True,
                    **identity,
                )
            except OSError as error:
                raise SandboxError(f"{spec.args[0]} could not be started", why=str(error)) from error
        async with process, anyio.create_task_group() as tasks:

            async def read(name: str) -> None:
                scrubber = masker.stream()

                def take(data: bytes) -> None:
                    if data:
                        spools[name].write(data)
                        spools["combined"].write(data)
                        if listener is not None:
                            listener(name, data)

                with suppress(anyio.EndOfStream):
                    while True:
                        take(scrubber.feed(await getattr(process, name).receive(_CHUNK)))
                take(scrubber.flush())

            try:
                tasks.start_soon(read, "stdout")
                tasks.start_soon(read, "stderr")
                code = int(await process.wait())
                _kill_marked(self._token)  # processes that it left in the background end with it
            except BaseException:
                _kill_marked(self._token)
                raise
        return code if code >= 0 else 128 - code

    # --- after the command

    async def _collect(
        self, placement: Placement, spec: ExecSpec, outputs: dict[str, Output], code: int
    ) -> Outcome:
        for name, path in (("stdout", spec.redirect_stdout), ("stderr", spec.redirect_stderr)):
            if path:
                data = self.store.read(outputs[name])
                await anyio.to_thread.run_sync(
                    _redirect, placement, os.path.join(spec.cwd or "/", path), data
                )
        mounts: dict[str, Snapshot] = {}
        for mount in spec.mounts:
            if isinstance(mount, OverlayMount) and not mount.readonly:
                async with self.store.draft(mount.snapshot) as draft:
                    placement.take(draft, mount.path, mount.subpath)
                    mounts[mount.path] = await draft.commit()
            elif isinstance(mount, SnapshotFileMount):
                mounts[mount.path] = mount.snapshot
        async with self.store.draft(spec.root) as draft:
            placement.take(draft)
            snapshot = await draft.commit()
        opened = _NOT_TRACED if spec.trace else None
        return Outcome(exit_code=code, snapshot=snapshot, mounts=mounts, opened=opened, **outputs)


def _skeleton(folder: Path, store: str) -> dict[str, str]:
    """The machine's root as a layer: links are copied, folders become grafts."""
    folder.mkdir()
    grafts = {}
    for entry in os.scandir("/"):
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), folder / entry.name)
        elif entry.is_dir(follow_symlinks=False) and entry.name not in _NOT_SHOWN:
            if store == entry.path or (os.path.ismount(entry.path) and entry.path == store):
                continue
            (folder / entry.name).mkdir()
            grafts[entry.path] = entry.path
    return grafts


def _in_memory(mount: SecretFileMount) -> Path:
    """A secret as a file that is never written to disk."""
    if not os.access(_MEMORY, os.W_OK):
        raise PlacingError("there is no /dev/shm for secret files", hint=NOT_IN_PLACE)
    path = _MEMORY / f"rondel-{secrets.token_hex(8)}"
    held = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(held, "wb") as file:
        file.write(mount.value)
        with suppress(OSError):
            os.fchown(held, mount.uid, mount.gid)
        os.fchmod(held, mount.mode)
    return path


def _command(name: str, path: str, cwd: str) -> Path | str:
    """The command's file, or Go's error text if it cannot be started."""
    if "/" not in name:
        found = shutil.which(name, path=path)
        return Path(found) if found else f'exec: "{name}": executable file not found in $PATH'
    file = Path(cwd or "/", name)
    try:
        mode = file.stat().st_mode
    except OSError:
        return f"fork/exec {name}: no such file or directory"
    good = stat.S_ISREG(mode) and os.access(file, os.X_OK)
    return file if good else f"fork/exec {name}: permission denied"


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _stdin(spec: ExecSpec) -> BinaryIO:
    if isinstance(spec.stdin, bytes):
        held = os.memfd_create("stdin")
        file = os.fdopen(held, "w+b")
        file.write(spec.stdin)
        file.seek(0)
        return cast("BinaryIO", file)
    path = spec.stdin or (
        os.path.join(spec.cwd or "/", spec.redirect_stdin) if spec.redirect_stdin else os.devnull
    )
    try:
        return open(path, "rb")
    except OSError as error:
        raise ExecRefused(f"open {path}: {(error.strerror or '').lower()}") from error


def _redirect(placement: Placement, path: str, data: bytes) -> None:
    if not os.path.isdir(os.path.dirname(path)):
        raise ExecRefused(f"open {path}: no such file or directory")
    real = placement.prepare(path)
    held = os.open(real, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(held, "wb") as file:
        file.write(data)


def _kill_marked(token: str) -> None:
    """Kill every process that a command left."""
    mark = f"{_MARK}={token}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    os.kill(int(folder.name), signal.SIGKILL)
