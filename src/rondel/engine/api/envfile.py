"""Env files."""

from __future__ import annotations

from rondel.engine.api.registry import Context, field, register_type
from rondel.engine.evaluate import edited
from rondel.engine.values import EnvVariable, File
from rondel.engine.values.envfile import EnvFile

register_type(EnvFile, "EnvFile")


@field("Query", "envFile")
async def env_file(ctx: Context, self: None, **_: object) -> EnvFile:
    """An empty env file."""
    return EnvFile()


@field("File", "asEnvFile")
async def as_env_file(ctx: Context, self: File, **_: object) -> EnvFile:
    """The variables of a file."""
    view = await ctx.view(self.fs)
    return EnvFile.parse(view.read(self.path).decode("utf-8", "replace"))


@field("EnvFile", "withVariable")
async def with_variable(ctx: Context, self: EnvFile, *, name: str, value: str) -> EnvFile:
    """Set a variable."""
    changed = self.with_variable(name, value)
    changed.check()
    return changed


@field("EnvFile", "withoutVariable")
async def without_variable(ctx: Context, self: EnvFile, *, name: str) -> EnvFile:
    """Remove a variable."""
    return self.without_variable(name)


@field("EnvFile", "namespace")
async def namespace(ctx: Context, self: EnvFile, *, prefix: str) -> EnvFile:
    """The variables under a prefix."""
    return self.namespace(prefix)


@field("EnvFile", "variables")
async def variables(ctx: Context, self: EnvFile, *, raw: bool | None) -> list[EnvVariable]:
    """All variables by name, evaluated or as written."""
    pairs = sorted(self.raw) if raw else self.evaluated(ctx.session.environ)
    return [EnvVariable(name, value) for name, value in pairs]


@field("EnvFile", "get")
async def get(ctx: Context, self: EnvFile, *, name: str, raw: bool | None) -> str:
    """One variable's value; empty if it does not exist."""
    return dict(self.raw).get(name, "") if raw else self.value(name, ctx.session.environ)


@field("EnvFile", "exists")
async def exists(ctx: Context, self: EnvFile, *, name: str) -> bool:
    """Whether a variable exists."""
    return name in dict(self.raw)


@field("EnvFile", "asFile")
async def as_file(ctx: Context, self: EnvFile) -> File:
    """The variables as a file named ``.env``."""
    return File(edited("file.write", None, "/.env", self.as_text(), 0o644, ""), "/.env")
