"""Turns the ``--mount`` options of RUN into mounts and variables of its container."""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rondel.containerfile import (
    BindUse,
    CacheUse,
    ContainerfileError,
    CopyStep,
    RunStep,
    SecretUse,
    Source,
    SshUse,
    TmpfsUse,
    Use,
)
from rondel.engine.evaluate.operations import edited
from rondel.engine.values import (
    CacheMount,
    CacheVolume,
    Directory,
    DirectoryMount,
    FileMount,
    Fs,
    Mount,
    Secret,
    SecretMount,
    Socket,
    SocketMount,
    TempMount,
    digest_of,
)
from rondel.files.patterns import Patterns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.containerfile.steps import Pairs
    from rondel.engine.evaluate.session import Session

Origin = Callable[[Source], Awaitable[tuple[Fs | None, str, bool]]]
Content = Callable[[Fs | None, str, CopyStep, Patterns], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """The arguments of ``dockerBuild``."""

    context: Directory
    dockerfile: str = "Dockerfile"
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    ssh: Socket | None = None
    platform: str = ""
    no_init: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """One ``--mount``. ``identity`` is its part of the command's key."""

    identity: object
    mounts: tuple[Mount, ...] = ()
    secret_env: tuple[tuple[str, Secret], ...] = ()
    env: Pairs = ()


@dataclass(frozen=True, slots=True)
class RunMounts:
    """Makes the mounts of one build. The builder provides ``origin`` and ``content``."""

    session: Session
    secrets: Mapping[str, Secret]
    ssh: Socket | None
    file: str
    ignore: Patterns
    origin: Origin
    content: Content

    async def use(self, use: Use, step: RunStep) -> Used:
        """What one ``--mount`` becomes."""
        match use:
            case CacheUse():
                return await self._cache(use)
            case TmpfsUse():
                mount = TempMount(path=use.target, size=use.size or None)
                return Used(mounts=(mount,), identity=["tmpfs", use.target, use.size])
            case SecretUse():
                return self._secret(use, step)
            case SshUse():
                return self._ssh(use, step)
            case BindUse():
                return await self._bind(use, step)

    async def _cache(self, use: CacheUse) -> Used:
        initial, path = None, "/"
        if use.source is not None:
            initial, root, _ = await self.origin(use.source)
            path = posixpath.join(root, use.subpath.lstrip("/"))
        owner = f"{use.uid}:{use.gid}" if use.uid or use.gid else ""
        # The API's `cacheVolume` with this key is the same volume, as with a Dagger engine.
        key = f"/{use.id}" if use.mode == 0o755 else f"/{use.id} {use.mode:o}"
        volume = CacheVolume(key, use.sharing, owner)
        mount = CacheMount(
            path=use.target, volume=volume, initial=initial, initial_path=path, mode=use.mode,
            readonly=use.readonly,
        )  # fmt: skip
        return Used(mounts=(mount,), identity=["cache", use.target, volume.identity, use.readonly])

    def _secret(self, use: SecretUse, step: RunStep) -> Used:
        identity = ["secret", use.id, use.target, use.env]
        secret = self.secrets.get(use.id)
        if secret is None:
            if use.required:
                there = "was not provided" if self.secrets else "no secret mappings were provided"
                raise ContainerfileError(
                    f'secret "{use.id}" is required but {there}', file=self.file, line=step.line,
                    hint="pass it: dockerBuild(secrets: [...]) with a secret of that name",
                )  # fmt: skip
            return Used(identity=[*identity, "absent"])
        mounts: tuple[Mount, ...] = ()
        if use.target is not None:
            owner = f"{use.uid}:{use.gid}"
            mounts = (SecretMount(path=use.target, secret=secret, mode=use.mode, owner=owner),)
        return Used(mounts=mounts, secret_env=((use.env, secret),) if use.env else (), identity=identity)

    def _ssh(self, use: SshUse, step: RunStep) -> Used:
        number = [other for other in step.uses if isinstance(other, SshUse)].index(use)
        target = use.target or f"/run/buildkit/ssh_agent.{number}"
        env: Pairs = (("SSH_AUTH_SOCK", target),) if number == 0 else ()
        identity = ["ssh", use.id, target]
        agent = self.ssh
        if agent is None:
            if use.required:
                raise ContainerfileError(
                    f'ssh mount "{use.id}" is required but no ssh socket mappings were provided',
                    file=self.file, line=step.line,
                    hint="pass the agent's socket: dockerBuild(ssh: host.unixSocket(path: $SSH_AUTH_SOCK))",
                )  # fmt: skip
            return Used(env=env, identity=[*identity, "absent"])
        mount = SocketMount(path=target, socket=agent, owner=f"{use.uid}:{use.gid}")
        return Used(mounts=(mount,), env=env, identity=identity)

    async def _bind(self, use: BindUse, step: RunStep) -> Used:
        origin, root, is_context = await self.origin(use.source)
        whole = CopyStep(
            line=step.line, text=step.source, sources=(use.subpath.lstrip("/") or ".",), destination="/"
        )
        ignore = self.ignore if is_context else Patterns()
        content = await self.content(origin, root, whole, ignore)
        path = posixpath.normpath(posixpath.join(root, use.subpath.lstrip("/")))
        if ignore:
            key = digest_of("build.bound", content)
            source = origin or edited("build.nothing", None)
            shown = replace(whole, destination="/s")
            origin = edited("build.copy", None, shown, root, ignore, self.file, key=key, inputs=(source,))
            path = "/s"
        if origin is None:
            origin = edited("build.nothing", None)
        entry = (await self.session.view(origin)).resolve(path)
        identity = ["bind", use.target, content]
        mount: Mount
        if entry.is_dir:
            mount = DirectoryMount(
                path=use.target, source=origin, subpath=entry.path, readonly=not use.writable
            )
        else:
            mount = FileMount(path=use.target, source=origin, file=entry.path, readonly=not use.writable)
        return Used(mounts=(mount,), identity=identity)
