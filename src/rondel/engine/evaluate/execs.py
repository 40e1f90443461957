"""Commands: builds a command from a container's settings and a call's arguments, and runs it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.engine import sandbox
from rondel.engine.evaluate import sockets
from rondel.engine.evaluate.errors import ERROR_OUTPUT_LIMIT, ExecError, shortened
from rondel.engine.evaluate.live_output import TAG, TRACE
from rondel.engine.evaluate.operations import operation
from rondel.engine.evaluate.owners import owner_in
from rondel.engine.evaluate.secrets import SessionSecrets
from rondel.engine.evaluate.session import Session
from rondel.engine.sandbox.spec import NetworkAttachment
from rondel.engine.values import (
    CacheMount,
    Container,
    DirectoryMount,
    FileMount,
    Fs,
    Mount,
    Node,
    SecretMount,
    SocketMount,
    TempMount,
)
from rondel.errors import EngineError
from rondel.files.text import whole

if TYPE_CHECKING:
    from rondel.engine.store import OperationResult, Output, Snapshot, Store

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One call of ``withExec``; ``args`` is complete, including entrypoint and expansion.

    ``refusal`` says why the call is invalid; requesting its result raises it.
    """

    container: Container
    args: tuple[str, ...]
    stdin: str = ""
    redirect_stdin: str = ""
    redirect_stdout: str = ""
    redirect_stderr: str = ""
    expect: str = "SUCCESS"
    no_init: bool = False
    insecure: bool = False
    env: tuple[tuple[str, str], ...] = ()
    extra_mounts: tuple[sandbox.SandboxMount, ...] = field(default=())
    offline: bool = False
    refusal: EngineError | None = None


def exec_node(command: Command, key: str) -> Node:
    """The node of a command; ``key`` contains everything that decides its result."""
    container = command.container
    sources = [m.source for m in container.mounts if isinstance(m, DirectoryMount | FileMount)]
    sources += [m.initial for m in container.mounts if isinstance(m, CacheMount)]
    inputs = tuple(fs for fs in (container.fs, *sources) if fs is not None)
    return Node("exec", key, inputs, command, forces=True)


def after(command: Command, node: Node) -> Container:
    """The container after a command."""
    mounts: list[Mount] = []
    for mount in command.container.mounts:
        if isinstance(mount, DirectoryMount) and not mount.readonly:
            mounts.append(DirectoryMount(path=mount.path, source=Fs(node, mount.path), subpath=mount.subpath))
        elif isinstance(mount, FileMount) and not mount.readonly:
            mounts.append(FileMount(path=mount.path, source=Fs(node, mount.path), file=mount.file))
        else:
            mounts.append(mount)
    return replace(command.container, fs=Fs(node), mounts=tuple(mounts), last_exec=node, image_ref=None)


ServiceBinder = Callable[[Session, Container], AbstractAsyncContextManager[NetworkAttachment]]
_binders: list[ServiceBinder] = []


def bind_services(binder: ServiceBinder) -> ServiceBinder:
    """Register the function that starts bound services around a command.

    It returns an async context manager: on entry the services run, and its value says how
    the command reaches them. It is called for every command, also without bindings, because
    running services can be reached by their host names.
    """
    _binders[:] = [binder]
    return binder


@operation("exec")
async def run_exec(session: Session, node: Node) -> OperationResult:
    """Run a command. Raises ExecError if its exit code is not an expected one."""
    command: Command = node.params
    if command.refusal is not None:
        raise command.refusal
    if not command.args:
        raise EngineError("no command has been set")
    async with AsyncExitStack() as stack:
        attachment = NetworkAttachment()
        for binder in _binders:
            attachment = await stack.enter_async_context(binder(session, command.container))
        spec = await exec_spec(session, command, attachment, stack)
        try:
            tag = spec.env.get(TAG, "")
            listener = session.live.listener(tag, node.key)
            outcome = await session.sandbox.run(_traced(session, spec), listener=listener)
        except sandbox.ExecRefused as refused:
            raise ExecError(str(refused), cmd=command.args, exit_code=refused.exit_code_seen) from None
    if outcome.opened is not None:
        session.live.opened(tag, node.key, outcome.opened)
    _check(session, command, outcome)
    return session.result(
        outcome.snapshot,
        mounts=dict(outcome.mounts),
        exit_code=outcome.exit_code,
        stdout=outcome.stdout,
        stderr=outcome.stderr,
        combined=outcome.combined,
    )


def _traced(session: Session, spec: sandbox.ExecSpec) -> sandbox.ExecSpec:
    """The command with the traced folder as a field of the spec; the command does not see the variable."""
    folder = spec.env.get(TRACE, "")
    env = {name: value for name, value in spec.env.items() if name != TRACE}
    return replace(spec, env=env, trace=folder if session.live.on else "")


def accepted(expect: str, code: int) -> bool:
    """Whether an exit code is an expected one; 128 to 191, ends by signals, never are."""
    if expect == "SUCCESS":
        return code == 0
    ordinary = code <= 127 or code >= 192
    return ordinary and (expect == "ANY" or code != 0)


def _check(session: Session, command: Command, outcome: sandbox.Outcome) -> None:
    if accepted(command.expect, outcome.exit_code):
        return
    raise ExecError(
        f"exit code: {outcome.exit_code}",
        cmd=command.args,
        exit_code=outcome.exit_code,
        stdout=error_text(session.store, outcome.stdout).strip(),
        stderr=error_text(session.store, outcome.stderr).strip(),
    )


def error_text(store: Store, output: Output) -> str:
    """The end of an output, as an error contains it."""
    return decode(shortened(store.tail(output, ERROR_OUTPUT_LIMIT), output.size))


def decode(data: bytes) -> str:
    """Decode output: each byte that is not UTF-8 becomes one U+FFFD, as in Go's JSON encoder."""
    return whole(data.decode("utf-8", "surrogateescape"))


async def exec_spec(
    session: Session, command: Command, attachment: NetworkAttachment, stack: AsyncExitStack
) -> sandbox.ExecSpec:
    """The command for the sandbox: snapshots, environment, mounts, secrets.

    ``stack`` holds the volumes until the command's end.
    """
    container = command.container
    root = await session.snapshot(container.fs)
    secrets = session.part(SessionSecrets)
    env, hidden = await _environment(secrets, command)
    # Secrets come after other mounts at the same path, sockets last.
    ranked = sorted(container.mounts, key=lambda m: (isinstance(m, SecretMount), isinstance(m, SocketMount)))
    # Volumes are locked last: evaluating the inputs above may run commands that use the same ones.
    given = [
        m if isinstance(m, CacheMount) else await _mount(session, root, m, hidden, stack) for m in ranked
    ]
    await _hold_volumes(session, container, stack)
    mounts = [await _volume(session, root, m) if isinstance(m, CacheMount) else m for m in given]
    return sandbox.ExecSpec(
        root=root,
        args=command.args,
        env={**attachment.env, **env},
        cwd=container.config.workdir or "/",
        user=container.config.user,
        mounts=(*(m for m in mounts if m is not None), *command.extra_mounts),
        stdin=command.stdin.encode("utf-8", "replace") if command.stdin else None,
        redirect_stdin=command.redirect_stdin or None,
        redirect_stdout=command.redirect_stdout or None,
        redirect_stderr=command.redirect_stderr or None,
        secrets=tuple(hidden),
        hosts=attachment.hosts,
        network=sandbox.Network.NONE if command.offline else attachment.network,
        init=not command.no_init,
        insecure=command.insecure,
    )


async def _environment(secrets: SessionSecrets, command: Command) -> tuple[Mapping[str, str], list[bytes]]:
    container = command.container
    env = (
        {"PATH": DEFAULT_PATH} | dict(container.config.env) | dict(container.volatile_env) | dict(command.env)
    )
    hidden: list[bytes] = []
    for name, secret in container.secret_env:
        try:
            value = await secrets.plaintext(secret)
        except EngineError as error:
            raise EngineError(f'secret env "{name}": {error}') from None
        env[name] = value.decode("utf-8", "surrogateescape")
        hidden.append(value)
    return {**_in_both_cases(env), **env}, hidden


def _in_both_cases(env: Mapping[str, str]) -> dict[str, str]:
    """Proxy variables in both cases: programs differ in which one they read."""
    both = [(name, name.upper()) for name in map(str.lower, _PROXIES)]
    pairs = [*both, *((upper, lower) for lower, upper in both)]
    return {other: env[name] for name, other in pairs if name in env}


async def _mount(
    session: Session,
    root: Snapshot,
    mount: Mount,
    hidden: list[bytes],
    stack: AsyncExitStack,
) -> sandbox.SandboxMount | None:
    """One mount, except volumes, in the sandbox's form; values of secrets are added to ``hidden``."""
    match mount:
        case DirectoryMount():
            snapshot = await session.snapshot(mount.source)
            return sandbox.OverlayMount(
                path=mount.path, snapshot=snapshot, subpath=mount.subpath, readonly=mount.readonly
            )
        case FileMount():
            snapshot = await session.snapshot(mount.source)
            return sandbox.SnapshotFileMount(
                path=mount.path, snapshot=snapshot, subpath=mount.file, readonly=mount.readonly
            )
        case TempMount():
            return sandbox.TmpfsMount(path=mount.path, size=mount.size or 0)
        case SecretMount():
            try:
                value = await session.part(SessionSecrets).plaintext(mount.secret)
            except EngineError as error:
                raise EngineError(f'secret mount "{mount.path}": {error}') from None
            hidden.append(value)
            uid, gid = _owner(session, root, mount.owner)
            return sandbox.SecretFileMount(path=mount.path, value=value, mode=mount.mode, uid=uid, gid=gid)
        case SocketMount():
            source = sockets.check(Path(mount.socket.path))
            if mount.owner:
                offered = sockets.owned(session.store, source, _owner(session, root, mount.owner))
                source = await stack.enter_async_context(offered)
            return sandbox.UnixSocketMount(path=mount.path, source=source)
    return None


async def _volume(
    session: Session, root: Snapshot, mount: CacheMount
) -> sandbox.VolumeMount | sandbox.BindMount:
    volume = mount.volume
    source = await session.snapshot(mount.initial) if mount.initial else None
    owner = _owner(session, root, volume.owner) if volume.owner else None
    folder = await session.store.volumes.prepare(
        volume.identity, source=source, subpath=mount.initial_path, owner=owner, mode=mount.mode
    )
    if mount.readonly:
        return sandbox.BindMount(path=mount.path, source=folder, readonly=True)
    return sandbox.VolumeMount(path=mount.path, source=folder)


async def _hold_volumes(session: Session, container: Container, stack: AsyncExitStack) -> None:
    """Lock the volumes that a command mounts.

    Each volume is locked once, even if it is mounted at several paths, and all in a fixed
    order: otherwise two commands could wait for each other for ever.
    """
    mounts = [mount for mount in container.mounts if isinstance(mount, CacheMount)]
    for mount in mounts:
        if mount.initial:
            await session.snapshot(mount.initial)
    volumes = {mount.volume.identity: mount.volume for mount in mounts}
    for identity in sorted(volumes):
        exclusive = volumes[identity].sharing in {"LOCKED", "PRIVATE"}
        await stack.enter_async_context(session.store.volumes.use(identity, exclusive=exclusive))


def _owner(session: Session, root: Snapshot, owner: str) -> tuple[int, int]:
    return owner_in(session.store.view(root), owner) if owner else (0, 0)


def absolute(container: Container, path: str) -> str:
    """A container path; relative ones start at the working directory."""
    joined = posixpath.normpath(posixpath.join("/", container.config.workdir, path))
    return "/" + joined.lstrip("/")
