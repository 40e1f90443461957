"""Builds a Containerfile: a plan's steps become nodes; independent stages are built concurrently.

A step's key is made of the step before it and of the content that it copies, so
an unchanged build runs nothing again, in this session or in another, and a file
that is not copied makes no difference.
"""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

import rondel.engine.evaluate.buildsteps  # noqa: F401 - registers what the steps do
from rondel.containerfile import (
    BuildStage,
    ContainerfileError,
    ContextSource,
    CopyStep,
    FetchStep,
    GitStep,
    ImageSource,
    Item,
    Outline,
    RunStep,
    Source,
    StageSource,
    Step,
    WorkdirStep,
    outline,
    read_ignore,
    select,
)
from rondel.engine.evaluate.buildgit import repository_tree
from rondel.engine.evaluate.buildmounts import BuildRequest, RunMounts
from rondel.engine.evaluate.download import download, file_name
from rondel.engine.evaluate.errors import ExecError
from rondel.engine.evaluate.execs import Command, exec_node
from rondel.engine.evaluate.imageconfig import from_image, to_image
from rondel.engine.evaluate.images import DIGEST_LABEL, Base, Images
from rondel.engine.evaluate.inplace import confirm_copy, runs_in_place
from rondel.engine.evaluate.operations import EMPTY, edited
from rondel.engine.images import platforms
from rondel.engine.images.model import ImageConfig
from rondel.engine.images.stage_plan import StagePlan, plan_stage
from rondel.engine.inplace import NeedsIsolation
from rondel.engine.values import (
    Container,
    FileMount,
    Fs,
    Mount,
    Node,
    Secret,
    digest_of,
)  # fmt: skip
from rondel.errors import EngineError
from rondel.files.patterns import Patterns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.engine.evaluate.session import Session
    from rondel.engine.store import TreeEntry, View
    from rondel.engine.values.container import Pairs


async def build(session: Session, request: BuildRequest) -> Container:
    """Build up to the last command, and return the target as a container.

    Raises ContainerfileError with the line of an impossible step, ExecError for a RUN that fails.
    """
    builder = await _Builder.of(session, request)
    return await builder.run()


@dataclass(frozen=True, slots=True)
class _Built:
    """A finished stage; ``fs`` None is the empty file system. ``last`` is its latest command, if any."""

    fs: Fs | None
    plan: StagePlan
    last: Node | None = None


class _Builder:
    def __init__(self, session: Session, request: BuildRequest, file: Outline, ignore: Patterns) -> None:
        self.session = session
        self.request = request
        self.outline = file
        self.ignore = ignore
        self.platform = request.platform or session.platform
        self._done = {stage.index: anyio.Event() for stage in file.needed}
        self._built: dict[int, _Built] = {}
        self._bases: list[Base] = []
        self.confirmed = 0  # files compared with this machine's, when commands run in place
        self.mounts = RunMounts(
            session, request.secrets, request.ssh, file.file, ignore, self._origin, self._content
        )

    @classmethod
    async def of(cls, session: Session, request: BuildRequest) -> _Builder:
        view = await session.view(request.context.fs)
        root = view.resolve(request.context.path).path
        text = _text(view, root, request.dockerfile)
        if text is None:
            place = _absolute(request.dockerfile)
            is_folder = view.lookup(posixpath.join(root, place.lstrip("/"))) is not None
            reason = (
                f"read {place}: is a directory" if is_folder else f"open {place}: no such file or directory"
            )
            raise EngineError(f'failed to read Dockerfile "{request.dockerfile}": {reason}')
        ignore = read_ignore(lambda name: _text(view, root, name), request.dockerfile)
        file = outline(
            text, file=request.dockerfile, target=request.target, build_args=request.args,
            platform=str(platforms.parse(request.platform or session.platform)),
            build_platform=str(platforms.parse(session.platform)),
        )  # fmt: skip
        return cls(session, request, file, ignore)

    async def run(self) -> Container:
        errors: list[Exception] = []

        async def one(stage: BuildStage) -> None:
            try:
                self._built[stage.index] = await self._stage(stage)
                self._done[stage.index].set()
            except (EngineError, OSError) as error:
                errors.append(error)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for stage in self.outline.needed:
                tasks.start_soon(one, stage)
        if errors:
            raise errors[0]
        done = self._built[self.outline.target]
        if runs_in_place(self.session) and not self.confirmed:
            raise NeedsIsolation(
                f"{self.outline.file}, which copies nothing by which to recognise this job's image,"
            )
        config = from_image(done.plan.config)
        if done.last is not None:  # after a command the working directory is set, as in the real engine
            config = replace(config, workdir=config.workdir or "/")
        return Container(
            platform=str(done.plan.config.platform), fs=done.fs or EMPTY, config=config, last_exec=done.last,
            origin=self._origin_of(done),
        )  # fmt: skip

    def _origin_of(self, done: _Built) -> Pairs:
        """Where the image came from: this machine, if it replaced any of the images."""
        config = done.plan.config.to_bytes().decode()
        digest = digest_of("image-build", done.fs.key if done.fs else "", config)
        own = [base for base in self._bases if base.source != "registry"]
        chosen = (own or self._bases)[:1]
        found = {name: text for base in chosen for name, text in base.origin}
        return tuple({**found, DIGEST_LABEL: f"blake2b:{digest}"}.items())

    async def _stage(self, stage: BuildStage) -> _Built:
        fs, config, scope = await self._base(stage)
        last = self._built[stage.base.index].last if isinstance(stage.base, StageSource) else None
        plan = plan_stage(self.outline, stage, config, scope)
        for step in plan.steps:
            try:
                fs = await self._step(fs, step)
                last = fs.node if isinstance(step, RunStep) and fs.node.op == "exec" else last
            except ExecError:
                line = f"{self.outline.file}:{step.line}"
                self.session.notify(f"{line}: {step.source if isinstance(step, RunStep) else ''} failed")
                raise
            except ContainerfileError:
                raise
            except EngineError as error:
                raise ContainerfileError(
                    f"{_source(step)}: {error.what}", file=self.outline.file, line=step.line,
                    hint=error.hint or error.why,
                ) from error  # fmt: skip
        return _Built(fs, plan, last)

    async def _base(self, stage: BuildStage) -> tuple[Fs | None, ImageConfig, Mapping[str, str] | None]:
        try:
            platform = platforms.parse(stage.platform or self.platform)
        except EngineError as error:
            raise stage.at.refusal(f"failed to parse platform {stage.platform}: {error.what}") from None
        if stage.base is None:
            return None, ImageConfig(platform=platform), None
        if isinstance(stage.base, StageSource):
            under = await self._wait(stage.base.index)
            return under.fs, under.plan.config, under.plan.scope
        assert isinstance(stage.base, ImageSource)  # noqa: S101 - the context is no base
        try:
            base = await self.session.part(Images).base(stage.base.reference, str(platform))
        except EngineError as error:
            raise ContainerfileError(
                error.what, file=self.outline.file, line=stage.at.line, hint=error.hint or error.why
            ) from error
        self._bases.append(base)
        return base.fs, to_image(base.config, base.platform), None

    async def _wait(self, index: int) -> _Built:
        await self._done[index].wait()
        return self._built[index]

    async def _step(self, fs: Fs | None, step: Step) -> Fs:
        if fs is not None and runs_in_place(self.session):
            return await self._confirm(fs, step)
        match step:
            case WorkdirStep():
                return edited("build.workdir", fs, step.path, step.user)
            case CopyStep():
                return await self._copy(fs, step)
            case FetchStep():
                return await self._fetch(fs, step)
            case GitStep():
                return await self._git(fs, step)
            case RunStep():
                return await self._run(fs, step)

    async def _confirm(self, fs: Fs, step: Step) -> Fs:
        """Nothing is built in place: whatever a step of this Containerfile copies must already be here."""
        if isinstance(step, CopyStep) and isinstance(step.origin, ContextSource):
            before = await self.session.snapshot(fs)
            after = await self.session.snapshot(await self._copy(fs, step))
            place = f"{self.outline.file}:{step.line}"
            self.confirmed += confirm_copy(self.session, before, after, place)
        return fs

    # --- files

    async def _origin(self, source: Source) -> tuple[Fs | None, str, bool]:
        """A source's file system, the directory in it, and whether it is the context."""
        match source:
            case ContextSource():
                return self.request.context.fs, self.request.context.path, True
            case StageSource(index):
                return (await self._wait(index)).fs, "/", False
            case ImageSource("scratch"):
                return None, "/", False  # nothing: a mount of it hides what is there
            case ImageSource(reference):
                base = await self.session.part(Images).base(reference, self.platform)
                self._bases.append(base)
                return base.fs, "/", False

    async def _copy(self, fs: Fs | None, step: CopyStep) -> Fs:
        origin, root, is_context = await self._origin(step.origin)
        ignore = self.ignore if is_context else Patterns()
        content = await self._content(origin, root, step, ignore)
        key = digest_of(
            "build.copy", fs.key if fs else "", content, step.destination, step.into_directory, step.chown,
            step.chmod, step.unpack, [[file.name, file.text] for file in step.files],
        )  # fmt: skip
        source = origin or edited("build.nothing", None)
        return edited("build.copy", fs, step, root, ignore, self.outline.file, key=key, inputs=(source,))

    async def _content(self, origin: Fs | None, root: str, step: CopyStep, ignore: Patterns) -> str:
        """The digest of what a step copies. The store keeps it, because layers never change."""
        snapshot = await self.session.snapshot(origin)
        selection = [step.sources, step.exclude, step.parents, step.into_directory, ignore.texts]
        known = digest_of("copied", snapshot.layers, root, selection)
        found = self.session.store.index.get("copied", known)
        if not isinstance(found, str):
            view = self.session.store.view(snapshot)
            found = await anyio.to_thread.run_sync(lambda: _digest(select(view, root, step, ignore)))
            self.session.store.index.put("copied", known, found)
        return str(found)

    async def _fetch(self, fs: Fs | None, step: FetchStep) -> Fs:
        fetched = await download(self.session, step.url, checksum=step.checksum or None)
        key = digest_of(
            "build.fetch", fs.key if fs else "", fetched.digest, step.destination, step.into_directory,
            step.chown, step.chmod, step.unpack, file_name(step.url),
        )  # fmt: skip
        return edited(
            "build.fetch", fs, step, fetched.digest, fetched.modified_ns, self.outline.file, key=key
        )

    async def _git(self, fs: Fs | None, step: GitStep) -> Fs:
        """ADD of a git repository: its reference is resolved once per build."""
        tree = await repository_tree(self.session, step, self.request.ssh)
        copy = CopyStep(
            line=step.line, text=step.text, sources=(step.folder or ".",), destination=step.destination,
            into_directory=True, chown=step.chown, chmod=step.chmod, exclude=step.exclude,
        )  # fmt: skip
        key = digest_of(
            "build.git", fs.key if fs else "", tree.key, step.folder, step.destination, step.chown,
            step.chmod, step.exclude,
        )  # fmt: skip
        return edited("build.copy", fs, copy, "/", Patterns(), self.outline.file, key=key, inputs=(tree,))

    # --- commands

    async def _run(self, fs: Fs | None, step: RunStep) -> Fs:
        mounts: list[Mount] = []
        secret_env: list[tuple[str, Secret]] = []
        uses: list[object] = []
        env = step.env
        for use in step.uses:
            used = await self.mounts.use(use, step)
            mounts += used.mounts
            secret_env += used.secret_env
            env += used.env
            uses.append(used.identity)
        if self.request.no_init:
            uses.append("no-init")
        if step.script is not None:
            script = edited("file.write", None, "/script", step.script.text, 0o755, "")
            mounts.append(FileMount(path=step.args[0], source=script, file="/script"))
        config = replace(
            from_image(ImageConfig(workdir=step.workdir, user=step.user)), env=env, workdir=step.workdir
        )
        container = Container(
            platform=self.platform, fs=fs, config=config, mounts=tuple(mounts), secret_env=tuple(secret_env)
        )
        key = digest_of(
            "build.run", fs.key if fs else "", step.args, step.env, step.workdir, step.user, step.network,
            uses, step.script.text if step.script else "",
        )  # fmt: skip
        command = Command(
            container=container, args=step.args, env=step.hidden_env,
            offline=step.network == "none", no_init=self.request.no_init,
        )  # fmt: skip
        made_fs = Fs(exec_node(command, key))
        # Run it now: other stages wait for its files, and a failure can name its line.
        await self.session.run(made_fs.node)
        return made_fs


def _absolute(name: str) -> str:
    return posixpath.normpath("/" + name)


def _text(view: View, root: str, name: str) -> str | None:
    """A text file of the context; a path never leads above the context."""
    entry = view.lookup(posixpath.join(root, posixpath.normpath("/" + name).lstrip("/")))
    return view.read(entry.path).decode("utf-8", "replace") if entry is not None and entry.is_file else None


def _source(step: Step) -> str:
    match step:
        case RunStep():
            return step.source
        case WorkdirStep():
            return f"WORKDIR {step.path}"
        case CopyStep() | FetchStep() | GitStep():
            return step.text


def _digest(items: Iterable[Item[TreeEntry]]) -> str:
    """The digest of a selection: targets, kinds, modes, owners and contents; no times."""
    digest = hashlib.sha256()
    for item in items:
        entry = item.entry
        head = f"{item.target}\0{entry.mode:o} {entry.uid} {entry.gid} {entry.link or ''}\0{item.explicit}\0"
        if item.explicit and not entry.is_dir:
            head += entry.name  # a destination that turns out to be a directory gets this name inside
        digest.update(head.encode("utf-8", "surrogateescape"))
        if entry.is_file:
            with entry.real.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
