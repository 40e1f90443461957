"""A container's settings: environment, working directory, user, labels, ports and the like."""

from __future__ import annotations

import posixpath
from dataclasses import replace

from rondel.engine.api.expansion import expand_path, expanded
from rondel.engine.api.registry import Context, Keyed, field
from rondel.engine.images.durations import duration, nanoseconds
from rondel.engine.values import Container, EnvVariable, Healthcheck, Label, Port, Secret, digest_of
from rondel.engine.values.container import with_pair, without_pair
from rondel.engine.values.envfile import EnvFile
from rondel.errors import EngineError

# -- environment


@field("Container", "withEnvVariable")
async def with_env_variable(
    ctx: Context, self: Container, *, name: str, value: str, expand: bool
) -> Container:
    """Set a variable. The first equals sign ends its name, as in an image, which stores ``name=value``."""
    text = expanded(self, value) if expand else value
    name, _, text = f"{name}={text}".partition("=")
    return self.with_config(replace(self.config, env=with_pair(self.config.env, name, text)))


@field("Container", "withoutEnvVariable")
async def without_env_variable(ctx: Context, self: Container, *, name: str) -> Container:
    """Remove a variable."""
    return self.with_config(replace(self.config, env=without_pair(self.config.env, name)))


@field("Container", "withEnvFileVariables", source=EnvFile)
async def with_env_file_variables(ctx: Context, self: Container, *, source: EnvFile) -> Container:
    """Set every variable of an env file."""
    env = self.config.env
    for name, value in source.evaluated(ctx.session.environ):
        env = with_pair(env, name, value)
    return self.with_config(replace(self.config, env=env))


@field("Container", "withVolatileVariable")
async def with_volatile_variable(ctx: Context, self: Container, *, name: str, value: str) -> Keyed:
    """Set a variable that commands see but whose value does not affect cached results."""
    changed = replace(self, volatile_env=with_pair(self.volatile_env, name, value), image_ref=None)
    return Keyed(changed, digest_of(ctx.obj.key, "volatile", name))


@field("Container", "withoutVolatileVariable")
async def without_volatile_variable(ctx: Context, self: Container, *, name: str) -> Container:
    """Remove a volatile variable."""
    return replace(self, volatile_env=without_pair(self.volatile_env, name), image_ref=None)


@field("Container", "envVariables", run_pending=True)
async def env_variables(ctx: Context, self: Container) -> list[EnvVariable]:
    """The plain variables."""
    return [EnvVariable(name, value) for name, value in self.config.env]


@field("Container", "envVariable", run_pending=True)
async def env_variable(ctx: Context, self: Container, *, name: str) -> str | None:
    """One plain variable's value."""
    return self.config.env_value(name)


@field("Container", "withSecretVariable", secret=Secret)
async def with_secret_variable(ctx: Context, self: Container, *, name: str, secret: Secret) -> Container:
    """Set a variable to a secret's text; it overrides a plain one of the same name."""
    others = tuple(pair for pair in self.secret_env if pair[0] != name)
    return replace(self, secret_env=(*others, (name, secret)), image_ref=None)


@field("Container", "withoutSecretVariable")
async def without_secret_variable(ctx: Context, self: Container, *, name: str) -> Container:
    """Remove a secret variable."""
    others = tuple(pair for pair in self.secret_env if pair[0] != name)
    return replace(self, secret_env=others, image_ref=None)


# -- working directory and user


@field("Container", "workdir", run_pending=True)
async def workdir(ctx: Context, self: Container) -> str:
    """The working directory; empty if none is set."""
    return self.config.workdir


@field("Container", "withWorkdir")
async def with_workdir(ctx: Context, self: Container, *, path: str, expand: bool) -> Container:
    """Set the working directory; a relative one starts at the current one."""
    path = expand_path(self, path, expand)
    if not path.startswith("/"):  # an absolute one stays as written
        path = "/" + posixpath.normpath(posixpath.join("/", self.config.workdir, path)).lstrip("/")
    return self.with_config(replace(self.config, workdir=path))


@field("Container", "withoutWorkdir")
async def without_workdir(ctx: Context, self: Container) -> Container:
    """Unset the working directory."""
    return self.with_config(replace(self.config, workdir=""))


@field("Container", "user", run_pending=True)
async def user(ctx: Context, self: Container) -> str:
    """The user; empty if none is set."""
    return self.config.user


@field("Container", "withUser")
async def with_user(ctx: Context, self: Container, *, name: str) -> Container:
    """Set the user of later commands: a name or number, and a group after a colon."""
    return self.with_config(replace(self.config, user=name))


@field("Container", "withoutUser")
async def without_user(ctx: Context, self: Container) -> Container:
    """Unset the user."""
    return self.with_config(replace(self.config, user=""))


# -- entrypoint and default arguments


@field("Container", "entrypoint", run_pending=True)
async def entrypoint(ctx: Context, self: Container) -> list[str]:
    """The entrypoint."""
    return list(self.config.entrypoint)


@field("Container", "withEntrypoint")
async def with_entrypoint(
    ctx: Context, self: Container, *, args: list[str], keep_default_args: bool
) -> Container:
    """Set the entrypoint; removes the default arguments, which belong to the old one."""
    cmd = self.config.cmd if keep_default_args else ()
    changed = self.with_config(replace(self.config, entrypoint=tuple(args), cmd=cmd))
    return replace(changed, default_args_set=self.default_args_set and keep_default_args)


@field("Container", "withoutEntrypoint")
async def without_entrypoint(ctx: Context, self: Container, *, keep_default_args: bool) -> Container:
    """Unset the entrypoint."""
    cmd = self.config.cmd if keep_default_args else ()
    changed = self.with_config(replace(self.config, entrypoint=(), cmd=cmd))
    return replace(changed, default_args_set=self.default_args_set and keep_default_args)


@field("Container", "defaultArgs", run_pending=True)
async def default_args(ctx: Context, self: Container) -> list[str]:
    """The default arguments."""
    return list(self.config.cmd)


@field("Container", "withDefaultArgs")
async def with_default_args(ctx: Context, self: Container, *, args: list[str]) -> Container:
    """Set the default arguments."""
    return replace(self.with_config(replace(self.config, cmd=tuple(args))), default_args_set=True)


@field("Container", "withoutDefaultArgs")
async def without_default_args(ctx: Context, self: Container) -> Container:
    """Unset the default arguments."""
    return replace(self.with_config(replace(self.config, cmd=())), default_args_set=False)


@field("Container", "withDefaultTerminalCmd")
async def with_default_terminal_cmd(
    ctx: Context,
    self: Container,
    *,
    args: list[str],
    experimental_privileged_nesting: bool,
    insecure_root_capabilities: bool,
) -> Container:
    """Set the command of a terminal."""
    return replace(self, terminal_cmd=tuple(args), image_ref=None)


# -- labels, annotations, ports, health


@field("Container", "labels", run_pending=True)
async def labels(ctx: Context, self: Container) -> list[Label]:
    """The labels."""
    return [Label(name, value) for name, value in self.config.labels]


@field("Container", "label", run_pending=True)
async def label(ctx: Context, self: Container, *, name: str) -> str | None:
    """One label's value; ``dev.rondel.image.*`` describe the image's origin (docs/reference/images.md)."""
    return dict((*self.origin, *self.config.labels)).get(name)


@field("Container", "withLabel")
async def with_label(ctx: Context, self: Container, *, name: str, value: str) -> Container:
    """Set a label."""
    return self.with_config(replace(self.config, labels=with_pair(self.config.labels, name, value)))


@field("Container", "withoutLabel")
async def without_label(ctx: Context, self: Container, *, name: str) -> Container:
    """Remove a label."""
    return self.with_config(replace(self.config, labels=without_pair(self.config.labels, name)))


@field("Container", "withAnnotation")
async def with_annotation(ctx: Context, self: Container, *, name: str, value: str) -> Container:
    """Set an annotation of the image's manifest."""
    return replace(self, annotations=with_pair(self.annotations, name, value), image_ref=None)


@field("Container", "withoutAnnotation")
async def without_annotation(ctx: Context, self: Container, *, name: str) -> Container:
    """Remove an annotation."""
    return replace(self, annotations=without_pair(self.annotations, name), image_ref=None)


@field("Container", "exposedPorts", run_pending=True)
async def exposed_ports(ctx: Context, self: Container) -> list[Port]:
    """The ports that a service of this container listens on."""
    return list(self.config.ports)


@field("Container", "withExposedPort")
async def with_exposed_port(
    ctx: Context,
    self: Container,
    *,
    port: int,
    protocol: str,
    description: str | None,
    experimental_skip_healthcheck: bool,
) -> Container:
    """Expose a port; the same port and protocol replaces an existing one."""
    new = Port(port, protocol, description, experimental_skip_healthcheck)
    ports = {(old.port, old.protocol): old for old in self.config.ports} | {(port, protocol): new}
    return self.with_config(replace(self.config, ports=tuple(ports.values())))


@field("Container", "withoutExposedPort")
async def without_exposed_port(ctx: Context, self: Container, *, port: int, protocol: str) -> Container:
    """Stop exposing a port."""
    ports = tuple(old for old in self.config.ports if (old.port, old.protocol) != (port, protocol))
    return self.with_config(replace(self.config, ports=ports))


@field("Container", "dockerHealthcheck", run_pending=True)
async def docker_healthcheck(ctx: Context, self: Container) -> Healthcheck | None:
    """The image's health check, which decides when a service is ready."""
    return self.config.active_healthcheck


def _normal(text: str | None) -> str:
    """A duration in Go's normal form."""
    return "0s" if text is None else duration(nanoseconds(text))


@field("Container", "withDockerHealthcheck")
async def with_docker_healthcheck(
    ctx: Context,
    self: Container,
    *,
    args: list[str],
    shell: bool | None,
    interval: str | None,
    timeout: str | None,
    start_period: str | None,
    start_interval: str | None,
    retries: int | None,
) -> Container:
    """Set the image's health check."""
    if shell and len(args) != 1:
        raise EngineError("WithHealthcheck args must be a single element when shell mode is set")
    if not args:
        raise EngineError("WithHealthcheck args is missing")
    check = Healthcheck(
        args=tuple(args),
        shell=bool(shell),
        interval=_normal(interval),
        timeout=_normal(timeout),
        start_period=_normal(start_period),
        start_interval=_normal(start_interval),
        retries=retries or 0,
    )
    return self.with_config(replace(self.config, healthcheck=check))


@field("Container", "withoutDockerHealthcheck")
async def without_docker_healthcheck(ctx: Context, self: Container) -> Container:
    """Remove the image's health check."""
    return self.with_config(replace(self.config, healthcheck=None))


# -- other settings


@field("Container", "platform", run_pending=True)
async def platform(ctx: Context, self: Container) -> str:
    """The platform."""
    return self.platform


@field("Container", "imageRef")
async def image_ref(ctx: Context, self: Container) -> str:
    """The reference, with digest, of the image that the container was just created from."""
    if self.image_ref is None:
        raise EngineError(
            "Image reference can only be retrieved immediately after the 'Container.From' call. "
            "Error in fetching imageRef as the container image is changed"
        )
    return self.image_ref


@field("Container", "withError")
@field("Directory", "withError")
async def with_error(ctx: Context, self: object, *, err: str) -> object:
    """Fail with the given text; an empty one does nothing."""
    if err:
        raise EngineError(err)
    return ctx.obj


@field("Container", "withRegistryAuth", secret=Secret)
async def with_registry_auth(
    ctx: Context, self: Container, *, address: str, username: str, secret: Secret
) -> Keyed:
    """Log in to a registry for pulls and pushes; does not affect cached results."""
    others = tuple(entry for entry in self.registry_auth if entry[0] != address)
    return Keyed(replace(self, registry_auth=(*others, (address, username, secret))), ctx.obj.key)


@field("Container", "withoutRegistryAuth")
async def without_registry_auth(ctx: Context, self: Container, *, address: str) -> Keyed:
    """Remove a registry's login."""
    kept = tuple(entry for entry in self.registry_auth if entry[0] != address)
    return Keyed(replace(self, registry_auth=kept), ctx.obj.key)


@field("Container", "experimentalWithGPU")
async def experimental_with_gpu(ctx: Context, self: Container, *, devices: list[str]) -> Container:
    """Request devices; commands share the machine's anyway, so nothing changes."""
    return self


@field("Container", "experimentalWithAllGPUs")
async def experimental_with_all_gpus(ctx: Context, self: Container) -> Container:
    """Request all devices; nothing changes, either."""
    return self
