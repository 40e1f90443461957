"""The environment that all stages of a run share: image, workspace, DVC cache and remote, MLflow.

The workspace is read once, when the first stage needs it, so that all stages
of a run see the same files, plus the results of earlier stages.
"""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rondel.data.run_tree import run_tree
from rondel.environment import WORK
from rondel.environment.data_container import DataContainer, path_patterns
from rondel.environment.host_environment import build_script, host_environment
from rondel.environment.image import ImageBuilder
from rondel.environment.log_addresses import log_rewrites
from rondel.environment.output_stream import OutputStream
from rondel.environment.remote_config import (
    CACHE,
    GLOBAL,
    REMOTE_HOST,
    SITE,
    RemoteConfig,
    config_text,
    remote_config,
    usable_cache_type,
)
from rondel.environment.repository import with_git_variables, with_repository
from rondel.git.repository import read_repository
from rondel.record import Image

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import dagger

    from rondel.cache import SharedParts
    from rondel.data import DvcProject
    from rondel.data.remote import Remote
    from rondel.data.visibility import Visibility
    from rondel.data.webdav import WebdavServer
    from rondel.environment.host_environment import HostEnvironment
    from rondel.pipeline import Stage
    from rondel.record import MlflowRun, Run, StageRecorder
    from rondel.settings import Settings
    from rondel.tracking import TrackingConnection

CACHE_VOLUME = "rondel-dvc-cache"
DVC_METAFILES = (".dvc/config", "**/.dvcignore", "**/dvc.yaml", "**/dvc.lock", "**/*.dvc", "**/params.yaml")
"""DVC's own files, and the one that templates in ``dvc.yaml`` refer to by default."""


@asynccontextmanager
async def open_environment(
    *, run: Run, settings: Settings, client: Any, tracking: TrackingConnection | None, observer: Any
) -> AsyncIterator[RunEnvironment]:
    """The environment of one run; the server of a local remote ends with the block.

    Raises ConfigurationError for an undefined remote, and DataError if a local
    one can't be served.
    """
    from anyio import to_thread

    from rondel.data.remote import find_remote
    from rondel.data.webdav import WebdavServer

    remote = find_remote(run.root, os.environ, settings.remote)
    server = (
        WebdavServer(remote.folder) if remote.folder is not None and (run.root / ".dvc").is_dir() else None
    )
    environment = RunEnvironment(
        run, settings, client, tracking, observer=observer, remote=remote, server=server
    )
    try:
        yield environment
    finally:
        environment.output_stream.close()
        if server is not None:
            from anyio import CancelScope

            with CancelScope(shield=True):
                await to_thread.run_sync(server.stop)


class RunEnvironment:
    """The environment that all stages of a run share; makes their containers."""

    def __init__(
        self,
        run: Run,
        settings: Settings,
        client: dagger.Client,
        tracking: TrackingConnection | None,
        *,
        observer: Any,
        remote: Remote,
        server: WebdavServer | None,
    ) -> None:
        import anyio

        self.run = run
        self.settings = settings
        self.client = client
        self.tracking = tracking
        self.remote = remote
        self.output_stream = OutputStream.from_environ(os.environ, run.id, observer.note)
        self.observer = observer
        self._server = server
        self._lock = anyio.Lock()
        self._base: dagger.Container | None = None
        self._image = Image(reference=f"{settings.containerfile}:{settings.target}")
        self._shared_parts: SharedParts | None = None
        self.read_at = time.time()
        """When the workspace was read; stages may not see later changes."""
        self._workspace: dagger.Directory | None = None
        self._excludes: list[str] = []
        self._remote_config: RemoteConfig | None = None
        self._host_environment: HostEnvironment | None = None
        self._data: DataContainer | None = None

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment with variables and credentials."""
        return os.environ

    @property
    def remote_defined(self) -> bool:
        """Whether the project configures a default remote, so that `dvc push` works here."""
        from rondel.data.remote import default_remote

        return default_remote(self.run.root, self.environ) is not None

    @property
    def remote_own(self) -> bool:
        """Whether the remote is the default folder inside this clone."""
        from rondel.data.remote import DEFAULT_FOLDER

        return self.remote.folder == self.run.root / DEFAULT_FOLDER

    @property
    def data(self) -> DataContainer:
        """The container that moves data."""
        assert self._data is not None  # noqa: S101 - `container_for` made it
        return self._data

    @property
    def shared_parts(self) -> SharedParts:
        """The key parts that all stages share, with the recipe of the image as it was built."""
        assert self._shared_parts is not None  # noqa: S101 - `container_for` made them
        return self._shared_parts

    @property
    def push(self) -> bool:
        """Whether results are pushed."""
        from rondel.data.remote import pushes

        return pushes(self.remote, self.settings.push, ci=self.settings.ci)

    async def container_for(
        self,
        stage: Stage,
        *,
        recorder: StageRecorder,
        mlflow_run: MlflowRun | None,
        visibility: Visibility | None,
    ) -> dagger.Container:
        """The container of one attempt at ``stage``; the first call builds the image and reads the workspace.

        ``visibility`` limits which results the stage sees; with None it sees them all.
        Raises StageFailed if the image can't be built, ConfigurationError for an unset secret.
        """
        from anyio import to_thread

        async with self._lock:
            if self._base is None:
                recorder.step("the image")
                self._shared_parts = await to_thread.run_sync(self._read_shared_parts)
                builder = ImageBuilder(
                    self.run.root, self.settings, self.client, self.output_stream, self.observer
                )
                built, image = await builder.build(recorder)
                self._image = replace(image, recipe=dict(self._shared_parts.image))
                await self._prepare()
                self._base = built
                self._data = await self._data_container(built, recorder)
        assert self._remote_config is not None  # noqa: S101 - set together with the base
        assert self._host_environment is not None  # noqa: S101
        remote = self._remote_config
        recorder.hide([*remote.secrets.values(), *remote.hidden, *self._host_environment.secrets.values()])
        if self.tracking is not None:
            recorder.hide([*self.tracking.secrets.values(), *self.tracking.pure_secrets.values()])
        folder = self.remote.shown if self._server is not None else None
        recorder.rewrite(log_rewrites(self.tracking, remote.hosts, folder))
        recorder.image(self._image)
        container = self._container(stage, mlflow_run, visibility)
        if stage.git and (repository := await to_thread.run_sync(read_repository, self.run.root)):
            container = with_repository(container, self.client, repository)
        return container

    def _read_shared_parts(self) -> SharedParts:
        from rondel.cache import read_shared_parts
        from rondel.cache.shared_parts import relative_hasher
        from rondel.files.hashes import HashCache

        hashed = relative_hasher(self.run.root, HashCache(self.run.root).of)
        return read_shared_parts(self.settings, self.environ, hashed)

    def lock_texts(self, project: DvcProject, own: Mapping[str, str]) -> dict[str, str]:
        """The project's lock files as a stage sees them; ``own`` are lock files with its own entries."""
        from rondel.data.dvc_lock import merge_lock, stage_blocks
        from rondel.data.run_tree import lock_text, run_tree

        found: dict[str, str] = {}
        for lock in {stage.lock_file for stage in project.stages.values()}:
            text = lock_text(self.run.root, run_tree(self.run.folder), lock)
            if lock in own:
                text = merge_lock(text, own[lock], stage_blocks(own[lock]))
            if text is not None:
                found[lock] = text
        return found

    async def _data_container(self, built: dagger.Container, recorder: StageRecorder) -> DataContainer:
        """The data container: from the stages' image if it has DVC, else from a separate image.

        Raises StageFailed if that can't be built.
        """
        import dagger

        from rondel.environment import data_image

        scheme = "webdav" if self.remote.folder is not None else self.remote.scheme
        image = built
        if self.settings.data_image:
            image = self.client.container().from_(self.settings.data_image)
        elif (self.run.root / ".dvc").is_dir() and not data_image.has_dvc(self._image.packages, scheme):
            recorder.step("the image that moves data")
            secret = self.client.set_secret("package-index", build_script(os.environ))
            image = data_image.build(self.client, scheme, secret)
            try:
                await self.output_stream.follow_build(recorder.output, image.sync)
            except dagger.QueryError as error:
                raise data_image.build_failure(str(error)) from error
        return DataContainer(
            self._with_host_environment(image),
            lambda container: self._with_dvc(container.with_workdir(WORK)),
            offline=self._with_dvc_cache(image),
        )

    def dvc_metafiles(self, locks: Mapping[str, str]) -> dagger.Directory:
        """The files that say which data DVC has, with these texts of lock files."""
        found = self.client.host().directory(
            str(self.run.root), include=list(DVC_METAFILES), exclude=self._excludes, no_cache=True
        )
        for path, text in {".dvc/config.local": config_text(None), **locks}.items():
            found = found.with_new_file(path, text)
        return found

    def _with_dvc_cache(self, container: dagger.Container) -> dagger.Container | None:
        """``container`` with DVC's cache and no remote; None if DVC would link data to the cache."""
        cache_type = usable_cache_type(self._cache_type())
        if cache_type not in {None, "copy"}:
            return None
        return (
            container.with_mounted_cache(CACHE, self.client.cache_volume(CACHE_VOLUME))
            .with_mounted_temp(SITE)
            .with_env_variable("DVC_GLOBAL_CONFIG_DIR", GLOBAL)
            .with_env_variable("DVC_SITE_CACHE_DIR", SITE)
            .with_env_variable("DVC_NO_ANALYTICS", "1")
        )

    async def refresh(self) -> None:
        """Read the workspace again for later attempts and stages, because the user edited it."""
        async with self._lock:
            if self._workspace is not None:
                self.read_at = time.time()
                host = self.client.host()
                self._workspace = host.directory(str(self.run.root), exclude=self._excludes, no_cache=True)

    async def _prepare(self) -> None:
        from anyio import to_thread

        from rondel.data import load_project, workspace_excludes
        from rondel.data.push_tracked import push_tracked_data

        def read() -> tuple[str, ...]:
            return workspace_excludes(load_project(self.run.root))

        self._excludes = list(await to_thread.run_sync(read))
        if self._server is not None and self.remote.folder is not None:
            handed = await to_thread.run_sync(
                push_tracked_data, load_project(self.run.root), self.remote.folder, self.environ
            )
            if handed:
                self.observer.note(f"copied to the local DVC remote (like `dvc push`): {', '.join(handed)}")
        self.read_at = time.time()  # the engine reads it a little later
        self._workspace = self.client.host().directory(str(self.run.root), exclude=self._excludes)
        served = None
        if self._server is not None:
            served = await to_thread.run_sync(self._server.ready)
        self._remote_config = remote_config(
            self.remote, served, cache_type=usable_cache_type(self._cache_type())
        )
        bound = [*self._remote_config.hosts, *([self._mlflow_host()] if self.tracking else [])]
        self._host_environment = host_environment(self.settings, os.environ, bound)

    def _cache_type(self) -> str | None:
        from rondel.data.remote import dvc_config

        return dvc_config(self.run.root, os.environ).get("cache", {}).get("type")

    def _mlflow_host(self) -> str:
        from rondel.tracking import CONTAINER_HOST

        return CONTAINER_HOST

    def _container(
        self, stage: Stage, mlflow_run: MlflowRun | None, visibility: Visibility | None
    ) -> dagger.Container:
        """The image with workspace, DVC, MLflow and host environment."""
        assert self._base is not None  # noqa: S101 - `container_for` made them
        assert self._workspace is not None  # noqa: S101
        hidden = visibility.excludes() if visibility else []
        container = self._base.with_directory(WORK, self._workspace, exclude=hidden)
        tree = run_tree(self.run.folder)
        if tree.is_dir():
            # Stages that end while this one starts add to the tree: list what it sees, not what it doesn't.
            seen = [*path_patterns(sorted(visibility.shown)), "**/.gitignore"] if visibility else []
            # The tree grows during the run, and Dagger reads a host folder only once in a session.
            made = self.client.host().directory(str(tree), exclude=[".rondel"], include=seen, no_cache=True)
            container = container.with_directory(WORK, made)
        for lock, text in (visibility.locks if visibility else {}).items():
            container = container.with_new_file(f"{WORK}/{lock}", text)
        container = self._with_dvc(container.with_workdir(WORK))
        container = self._with_tracking(container, stage, mlflow_run)
        container = with_git_variables(container, self.run, mlflow_run)
        return self._with_host_environment(container)

    def _with_dvc(self, container: dagger.Container) -> dagger.Container:
        remote = self._remote_config
        if remote is None or not (self.run.root / ".dvc").is_dir():
            return container
        config = self.client.set_secret("rondel-dvc-config", remote.config)
        container = (
            container.with_mounted_cache(CACHE, self.client.cache_volume(CACHE_VOLUME))
            # Share DVC's cache of contents, but not its run cache, which ignores images and projects.
            .with_mounted_temp(f"{CACHE}/runs")
            .with_mounted_temp(SITE)
            .with_mounted_secret(f"{WORK}/.dvc/config.local", config)
            .with_env_variable("DVC_GLOBAL_CONFIG_DIR", GLOBAL)  # ignore the image's own configuration
            .with_env_variable("DVC_SITE_CACHE_DIR", SITE)
            .with_env_variable("DVC_NO_ANALYTICS", "1")
        )
        for name, value in remote.environment.items():
            container = container.with_env_variable(name, value)
        for name, value in remote.secrets.items():
            container = container.with_secret_variable(name, self.client.set_secret(name, value))
        for place, path in remote.secret_files.items():
            secret = self.client.set_secret(f"rondel-{place}", path.read_text(encoding="utf-8"))
            container = container.with_mounted_secret(place, secret)
        for name, port in remote.hosts.items():
            container = container.with_service_binding(name, self._host_port(port))
        return container

    def _with_tracking(
        self, container: dagger.Container, stage: Stage, mlflow_run: MlflowRun | None
    ) -> dagger.Container:
        tracking = self.tracking
        if tracking is None:
            return container
        for name, value in tracking.env.items():
            container = container.with_env_variable(name, value)
        for name, value in (tracking.pure_secrets if stage.pure else tracking.secrets).items():
            secret = self.client.set_secret(f"{name}-{stage.kind}", value)
            container = container.with_secret_variable(name, secret)
        for place, path in tracking.files.items():
            container = container.with_file(place, self.client.host().file(str(path)))
        if mlflow_run is not None:
            container = container.with_env_variable("MLFLOW_RUN_ID", mlflow_run.run_id)
        if tracking.needs_host_service:
            container = container.with_service_binding(self._mlflow_host(), self._host_port(tracking.port))
        return container

    def _with_host_environment(self, container: dagger.Container) -> dagger.Container:
        host = self._host_environment
        assert host is not None  # noqa: S101 - `container_for` made it
        for name, value in host.environment.items():
            container = container.with_env_variable(name, value)
        for name, value in host.secrets.items():
            container = container.with_secret_variable(name, self.client.set_secret(name, value))
        for place, path in host.files.items():
            container = container.with_file(place, self.client.host().file(str(path)))
        # Unique to each run, so that the engine's cache can't skip a stage that Rondel decided to run.
        return container.with_env_variable("RONDEL_RUN_ID", self.run.id).with_env_variable("USER", "rondel")

    def _host_port(self, port: int) -> dagger.Service:
        import dagger

        return self.client.host().service([dagger.PortForward(backend=port, frontend=port)], host="127.0.0.1")


__all__ = ["REMOTE_HOST", "WORK", "RunEnvironment", "open_environment"]
