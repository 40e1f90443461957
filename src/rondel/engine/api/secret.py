"""Secrets."""

from __future__ import annotations

from rondel.engine.api.registry import Context, Keyed, field
from rondel.engine.evaluate.execs import decode
from rondel.engine.evaluate.secrets import SessionSecrets, provider_of
from rondel.engine.values import Secret, digest_of
from rondel.errors import EngineError


@field("Query", "setSecret", memo=False, hidden=("plaintext",))
async def set_secret(ctx: Context, self: None, *, name: str, plaintext: str | None) -> Secret:
    """Store a secret's text for this session under a name; the same name again replaces it."""
    if plaintext is not None:
        ctx.session.secrets[name] = plaintext.encode("utf-8", "replace")
    return Secret(f"session://{name}", name)


@field("Query", "secret", memo=False)
async def secret(ctx: Context, self: None, *, uri: str, cache_key: str | None) -> Keyed:
    """A secret of a provider; its text is part of cache keys, unless it has a cache key of its own."""
    scheme, _ = provider_of(uri)
    if scheme == "session":
        raise EngineError('unsupported secret provider: "session"')
    made = Secret(uri)
    if cache_key:
        return Keyed(made, digest_of("secret", cache_key))
    return Keyed(made, digest_of("secret text", await ctx.session.part(SessionSecrets).key(made)), pin=True)


@field("Secret", "name")
async def name(ctx: Context, self: Secret) -> str:
    """The secret's name."""
    return self.name


@field("Secret", "uri")
async def uri(ctx: Context, self: Secret) -> str:
    """The secret's URI; empty for one that was set."""
    return "" if self.uri.startswith("session://") else self.uri


@field("Secret", "plaintext")
async def plaintext(ctx: Context, self: Secret) -> str:
    """The secret's text."""
    return decode(await ctx.session.part(SessionSecrets).plaintext(self))
