"""From an :class:`ExecSpec` to a plan: looks up and prepares everything before anything starts."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rondel.engine.sandbox.bwrap import SETPRIV, TOOLS, Bind, BwrapMount, ContainerPlan, Kernel, Memory
from rondel.engine.sandbox.command import DEFAULT_PATH, NotStarted, find_command
from rondel.engine.sandbox.nested import assemble, new_place, split_nested
from rondel.engine.sandbox.overlays import ContainerOverlay, CopiedFile
from rondel.engine.sandbox.prepared import Prepared, Redirect, discard
from rondel.engine.sandbox.spec import (
    BindMount,
    ExecRefused,
    ExecSpec,
    Network,
    OverlayMount,
    SandboxError,
    SandboxMount,
    SecretFileMount,
    SnapshotFileMount,
    TmpfsMount,
    UnixSocketMount,
    VolumeMount,
)
from rondel.engine.sandbox.trace_scope import TraceScope, trace_scope_of
from rondel.engine.sandbox.tree import MountTree
from rondel.engine.sandbox.users import User, resolve_user
from rondel.engine.store import PathError, Snapshot, Store, View
from rondel.engine.store.files import make_beneath, write_new
from rondel.engine.store.layers import MOST_LAYERS
from rondel.engine.store.paths import clean, join

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.engine.sandbox.resources import SharedResources
    from rondel.engine.sandbox.tree import TreeNode

_OPTIONS_PAGE = 3800  # mount(2) takes all options in one page of 4096 bytes; the rest is for bwrap's own
_OLD_ROOT = len("/oldroot:")
_CONFIG_LIMIT = 1 << 20


@dataclass(slots=True)
class Preparation:
    """The preparation of one container. Use :func:`prepare`."""

    store: Store
    shared: SharedResources
    spec: ExecSpec
    folder: Path
    root: Snapshot
    mounted: dict[int, Snapshot]
    overlays: list[ContainerOverlay] = field(default_factory=list)
    files: list[CopiedFile] = field(default_factory=list)
    secrets: list[Path] = field(default_factory=list)
    mounts: list[BwrapMount | ContainerOverlay] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    sockets: set[str] = field(default_factory=set)
    volumes: set[str] = field(default_factory=set)
    assembled: list[Path] = field(default_factory=list)
    tree: MountTree = field(init=False)

    def run(self) -> Prepared | NotStarted:
        """Run all steps; NotStarted if the command cannot be executed."""
        spec = self.spec
        view = self._root_overlays()
        user = self._user(view)
        self._common()
        for number, mount in sorted(enumerate(spec.mounts), key=lambda item: clean(item[1].path)):
            self._mount(number, mount)
        named = {name: value for name, value in spec.env.items() if name and "=" not in name}
        env = {"PATH": DEFAULT_PATH, **named, "HOME": named.get("HOME") or user.home}
        cwd = self._directory(clean(spec.cwd or "/"), user)
        stdin = self._stdin(cwd)
        redirects = self._redirects(cwd)
        if not spec.args:
            raise ExecRefused("no command has been set")
        command = find_command(self.tree, spec.args[0], path=env["PATH"], cwd=cwd, user=user)
        if isinstance(command, NotStarted):
            if not spec.init and command.text.startswith("exec:"):
                return NotStarted(f"runc run failed: unable to start container process: {command.text}")
            return command
        switch = SETPRIV
        if not user.is_root and not self.shared.one_id:
            tools = self.shared.tools()
            self.mounts.append(Bind(TOOLS, str(tools.folder)))
            switch = tools.words
        plan = ContainerPlan(
            mounts=tuple(self._assembled(self._ordered())),
            command=command.path,
            args=spec.args,
            env=tuple(env.items()),
            cwd=cwd,
            hostname=spec.hostname,
            user=user,
            switch=switch,
            nested_user=self.shared.one_id,
            private_network=spec.network is Network.NONE,
            init=spec.init,
            terminal=spec.tty,
            insecure=spec.insecure,
        )
        scope = self._scope(plan) if spec.trace else None
        return Prepared(
            self.folder,
            plan,
            self.overlays,
            self.files,
            redirects,
            self.secrets,
            stdin,
            scope,
            self.assembled,
        )

    def _scope(self, plan: ContainerPlan) -> TraceScope:
        folder = clean(self.spec.trace)
        try:
            folder = self.tree.canonical(folder)
        except PathError as error:
            return TraceScope(folder=folder, unknown=f"{folder} cannot be watched: {error.text}", seen=False)
        return trace_scope_of(folder, plan.mounts, self.fixed | self.sockets)

    def _ordered(self) -> list[BwrapMount]:
        mounts = [mount.mount() if isinstance(mount, ContainerOverlay) else mount for mount in self.mounts]
        return sorted(mounts, key=lambda mount: mount.path.split("/") if mount.path != "/" else [])

    def _assembled(self, mounts: list[BwrapMount]) -> list[BwrapMount]:
        """The mounts, each volume together with those in it."""
        outer, nested = split_nested(mounts, self.volumes)
        for number, mount in enumerate(outer):
            if isinstance(mount, Bind) and mount.path in nested:
                place = new_place(self.shared.secrets_folder())
                self.assembled.append(place)
                outer[number] = assemble(place, mount, nested[mount.path])
        return outer

    # --- the root

    def _root_overlays(self) -> View:
        view = self.store.view(self.root)
        self.tree = MountTree(view)
        self._overlay("/", self.root, view, "/")
        grafts = sorted({path for lower in view.lowers for path in lower.grafts})
        for path in grafts:
            entry = view.lookup(path, follow=False)
            if entry is None or not entry.is_dir or not _shows_graft(view, path):
                continue
            self._overlay(path, self.root, view, path, graft=True)
        return view

    def _overlay(
        self,
        path: str,
        snapshot: Snapshot,
        view: View,
        base: str,
        *,
        name: str = "",
        graft: bool = False,
        readonly: bool = False,
    ) -> ContainerOverlay:
        folder = self.folder / f"{len(self.overlays)}"
        lowers = tuple(str(lower) for lower in view.real_lowers(base))
        if path == "/" and not lowers:
            bottom = self.folder / "e"
            bottom.mkdir(mode=0o755)
            lowers = (str(bottom),)
        made = ContainerOverlay(
            path, name or path, snapshot, view, base, lowers, folder, graft=graft, readonly=readonly
        )
        made.prepare()
        self.overlays.append(made)
        self.mounts.append(made)
        return made

    def _user(self, view: View) -> User:
        def text(path: str) -> str:
            try:
                return view.read(path, limit=_CONFIG_LIMIT).decode("utf-8", "replace")
            except PathError:
                return ""

        return resolve_user(self.spec.user, text("/etc/passwd"), text("/etc/group"))

    def _common(self) -> None:
        taken = {clean(mount.path) for mount in self.spec.mounts}
        for mount in self.shared.insecure_kernel if self.spec.insecure else self.shared.kernel:
            if mount.path in ("/dev", "/proc", "/sys"):
                self._point(mount.path, directory=True)
            self.mounts.append(mount)
        hosts = self.shared.hosts_file(self.spec)
        for path, source in (("/etc/hosts", hosts), ("/etc/resolv.conf", self.shared.resolver)):
            if source is not None and path not in taken:
                self.mounts.append(Bind(self._point(path, directory=False), str(source)))

    # --- mounts

    def _containing(self, path: str) -> ContainerOverlay | None:
        """The overlay that contains a canonical path; None if another mount covers it."""
        node, _ = self.tree.find(path)
        best = [over for over in self.overlays if path == over.path or path.startswith(_slash(over.path))]
        found = max(best, key=lambda over: len(over.path))
        if node.mount != "/" and len(node.mount) > len(found.path):
            return None
        return found

    def _point(self, path: str, *, directory: bool) -> str:
        """Make sure that a mount point exists; returns its canonical path."""
        canonical = self.tree.canonical(path)
        node, missing = self.tree.find(canonical)
        if missing:
            over = self._containing(canonical)
            if over is not None:
                over.stub(node.entry.path, missing, directory=directory)
        return canonical

    def _mount(self, number: int, mount: SandboxMount) -> None:
        if clean(mount.path) == "/":
            raise SandboxError("cannot mount at /", why="that is the container's root file system")
        try:
            source_is_file = isinstance(mount, SnapshotFileMount | SecretFileMount | UnixSocketMount) or (
                isinstance(mount, BindMount) and not mount.source.is_dir()
            )
            path = self._point(clean(mount.path), directory=not source_is_file)
            node, missing = self.tree.find(path)
        except PathError as error:
            raise SandboxError(f"cannot mount at {mount.path}", why=error.text) from error
        if not missing and node.entry.is_dir == source_is_file:
            kinds = ("file", "directory") if source_is_file else ("directory", "file")
            raise ExecRefused(f"cannot mount a {kinds[0]} at {mount.path}: there is a {kinds[1]}")
        if isinstance(mount, OverlayMount | SnapshotFileMount):
            self._mount_snapshot(number, path, mount)
            return
        if isinstance(mount, SecretFileMount):
            secret = self._secret(mount)
            self.tree.add(path, mount, secret=str(secret))
            self.fixed.add(path)
            self.mounts.append(Bind(path, str(secret)))
            return
        self.tree.add(path, mount)
        if isinstance(mount, UnixSocketMount):
            self.sockets.add(path)
        if isinstance(mount, TmpfsMount):
            self.mounts.append(Memory(path, mount.size, shared=True))
        elif isinstance(mount, BindMount):
            self.mounts.append(Bind(path, str(mount.source), readonly=mount.readonly))
        else:
            self.mounts.append(Bind(path, str(mount.source), readonly=False))
        if isinstance(mount, VolumeMount | BindMount):
            self.volumes.add(path)
        if isinstance(mount, VolumeMount) or (isinstance(mount, BindMount) and not mount.readonly):
            self.sources[path] = str(mount.source)

    def _mount_snapshot(self, number: int, path: str, mount: OverlayMount | SnapshotFileMount) -> None:
        snapshot = self.mounted[number]
        view = self.store.view(snapshot)
        node = view.node(mount.subpath)
        self.tree.add(path, mount, node)
        if isinstance(mount, OverlayMount):
            if not node.entry.is_dir:
                raise SandboxError(f"cannot mount {mount.subpath} at {path}: not a directory")
            lowers = view.real_lowers(node.entry.path)
            if not lowers:
                view = self._empty()
            self._overlay(path, snapshot, view, node.entry.path, name=mount.path, readonly=mount.readonly)
            return
        entry = node.entry
        if not entry.is_file:
            raise SandboxError(f"cannot mount {mount.subpath} at {path}: not a file")
        if mount.readonly and mount.owner is None and mount.mode is None:
            self.mounts.append(Bind(path, str(entry.real)))
            return
        copy = f"{self.folder}/f{number}"
        uid, gid = mount.owner or (entry.uid, entry.gid)
        mode = entry.mode if mount.mode is None else mount.mode
        write_new(copy, entry.real, mode=mode, uid=uid, gid=gid, mtime_ns=entry.mtime_ns)
        if not mount.readonly:
            made = CopiedFile(mount.path, snapshot, view, entry.path, copy)
            made.remember()
            self.files.append(made)
            self.sources[path] = copy
        self.mounts.append(Bind(path, copy, readonly=mount.readonly))

    def _empty(self) -> View:
        """A view of an empty directory: the empty snapshot has no layer that bwrap could mount."""
        from rondel.engine.store.view import Lower

        folder = self.folder / f"e{len(self.overlays)}"
        folder.mkdir(mode=0o755)
        return View([Lower(str(folder))])

    def _secret(self, mount: SecretFileMount) -> Path:
        path = self.shared.secrets_folder() / f"{self.folder.name}-{len(self.secrets)}"
        self.secrets.append(path)
        write_new(str(path), mount.value, mode=mount.mode, uid=mount.uid, gid=mount.gid)
        return path

    # --- the command's environment

    def _directory(self, path: str, user: User) -> str:
        """The working directory; created for the user if it is missing."""
        try:
            canonical = self.tree.canonical(path)
            node, missing = self.tree.find(canonical)
        except PathError as error:
            raise ExecRefused(f'chdir to cwd ("{path}") set in config.json failed: {error.text}') from error
        if not missing:
            if not node.entry.is_dir:
                raise ExecRefused(f'chdir to cwd ("{path}") set in config.json failed: not a directory')
            return canonical
        over = self._containing(canonical)
        if over is not None and not over.readonly:
            over.make(node.entry.path, missing, (user.uid, user.gid))
        elif over is None and node.mount in self.sources:
            try:
                make_beneath(self.sources[node.mount], node.inner, missing, (user.uid, user.gid))
            except OSError as error:
                why = os.strerror(error.errno or 0).lower()
                raise ExecRefused(f'chdir to cwd ("{path}") set in config.json failed: {why}') from error
        elif any(isinstance(m, TmpfsMount) and clean(m.path) == node.mount for m in self.spec.mounts):
            self.mounts.append(Kernel(canonical, "dir"))
        return canonical

    def _stdin(self, cwd: str) -> TreeNode | None:
        path = self.spec.redirect_stdin
        if path is None:
            return None
        try:
            node, missing = self.tree.find(path if path.startswith("/") else join(cwd, path))
        except PathError as error:
            raise ExecRefused(f"open redirect stdin file: open {path}: {error.text}") from error
        if missing:
            raise ExecRefused(f"open redirect stdin file: open {path}: no such file or directory")
        if not stat.S_ISREG(node.entry.mode):
            raise ExecRefused(f"open redirect stdin file: open {path}: not a regular file")
        return node

    def _redirects(self, cwd: str) -> list[Redirect]:
        found = []
        for stream, path in (("stdout", self.spec.redirect_stdout), ("stderr", self.spec.redirect_stderr)):
            if not path:
                continue
            failed = f"open redirect {stream} file: open {path}"
            try:
                canonical = self.tree.canonical(path if path.startswith("/") else join(cwd, path))
                node, missing = self.tree.find(canonical)
            except PathError as error:
                raise ExecRefused(f"{failed}: {error.text}") from error
            if len(missing) > 1:
                raise ExecRefused(f"{failed}: no such file or directory")
            if not missing and node.entry.is_dir:
                raise ExecRefused(f"{failed}: is a directory")
            over = self._containing(canonical)
            mount = node.mount
            if mount in self.fixed or (over is not None and over.readonly):
                raise ExecRefused(f"{failed}: read-only file system")
            if over is not None:
                found.append(Redirect(stream, over, None, over.inner(canonical)))
            elif mount in self.sources:
                found.append(Redirect(stream, None, self.sources[mount], canonical[len(mount) :].strip("/")))
            # Any other file is in memory and disappears with the container.
        return found


def _slash(path: str) -> str:
    return path if path.endswith("/") else f"{path}/"


def _shows_graft(view: View, path: str) -> bool:
    shown = {str(lower) for lower in view.real_lowers(path)}
    return any(lower.grafts.get(path) in shown for lower in view.lowers)


def room_for(store: Store, subpath: str) -> int:
    """How many layers that show this directory fit into one mount's options."""
    each = len(str(store.layers.path("0" * 10))) + len(subpath) + _OLD_ROOT
    own = 3 * (len(str(store.scratch)) + 32 + _OLD_ROOT)
    return max(2, min(MOST_LAYERS, (_OPTIONS_PAGE - own) // each))


async def prepare(store: Store, shared: SharedResources, spec: ExecSpec) -> Prepared | NotStarted:
    """Prepare a container: compact what it mounts, look everything up, create its folders.

    Raises ExecRefused for an unknown user or an impossible working directory or redirect;
    SandboxError for an impossible mount.
    """
    grafts = [path for layer in spec.root.layers[:1] for path in store.lower(layer).grafts]
    room = min(room_for(store, path) for path in ("/", *grafts))
    root = await store.compact(spec.root, most=room)
    mounted = {}
    for number, mount in enumerate(spec.mounts):
        if isinstance(mount, SnapshotFileMount):
            mounted[number] = mount.snapshot
        elif isinstance(mount, OverlayMount):
            mounted[number] = await store.compact(mount.snapshot, most=room_for(store, mount.subpath))
    folder = store.new_path()
    folder.mkdir(mode=0o700)
    preparation = Preparation(store, shared, spec, folder, root, mounted)
    prepared = None
    try:
        prepared = preparation.run()
    finally:
        if not isinstance(prepared, Prepared):
            discard(folder, preparation.secrets, preparation.assembled)
    return prepared
