"""The registry of resolvers, and what a resolver receives."""

from __future__ import annotations

import keyword
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rondel.engine.api.objects import Obj
    from rondel.engine.evaluate import Session
    from rondel.engine.store import Snapshot, View
    from rondel.engine.values import Fs

Resolver = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Field:
    """A served field and how to call it."""

    resolver: Resolver
    objects: dict[str, type | tuple[type, ...]]
    memo: bool = True
    run_pending: bool = False
    hidden: frozenset[str] = frozenset()
    as_is: bool = False


@dataclass(frozen=True, slots=True)
class Keyed:
    """A value with an explicit key, for content that comes from outside the query.

    ``pin`` makes the key part of the object's ID; ``fresh`` repeats the same call next time.
    """

    value: Any
    key: str
    pin: bool = False
    fresh: bool = False


class Caller(Protocol):
    """Calls fields; implemented by the executor."""

    async def call(self, obj: Obj, name: str, arguments: dict[str, Any]) -> Any:
        """The result of one field: an object, a list of objects, or a scalar."""
        ...

    async def load(self, identifier: str) -> Obj:
        """The object of an ID."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a resolver receives besides its arguments."""

    session: Session
    obj: Obj
    key: str
    caller: Caller

    async def snapshot(self, fs: Fs | None) -> Snapshot:
        """The evaluated snapshot of a file system."""
        return await self.session.snapshot(fs)

    async def view(self, fs: Fs | None) -> View:
        """The evaluated tree of a file system."""
        return await self.session.view(fs)

    async def call(self, obj: Obj, field_name: str, /, **arguments: Any) -> Any:
        """Call another field as a query would; arguments by their schema names, objects as Obj."""
        return await self.caller.call(obj, field_name, arguments)

    async def root(self, field_name: str, /, **arguments: Any) -> Any:
        """Call a field of the query root."""
        from rondel.engine.api.objects import ROOT

        return await self.caller.call(ROOT, field_name, arguments)


NO_NESTING = (
    "experimentalPrivilegedNesting is not served by Rondel's embedded engine: run this under a Dagger engine"
)
"""The error for privileged nesting."""

FIELDS: dict[tuple[str, str], Field] = {}
TYPES: dict[type, str] = {}


def register_type(kind: type, name: str) -> None:
    """Register the schema type of a Python type."""
    TYPES[kind] = name


def field(
    type_name: str,
    *names: str,
    memo: bool = True,
    run_pending: bool = False,
    hidden: tuple[str, ...] = (),
    as_is: bool = False,
    **objects: type | tuple[type, ...],
) -> Callable[[Resolver], Resolver]:
    """Register a resolver for fields of a type.

    ``hidden`` arguments (secret text) are part of neither IDs nor keys, and are never stored.
    With ``as_is`` the resolver receives objects instead of their values. Raises ValueError for a
    field that already has a resolver: otherwise the order of imports would decide between them.
    """

    def register(resolver: Resolver) -> Resolver:
        for name in names:
            if (type_name, name) in FIELDS:
                raise ValueError(f"{type_name}.{name} has a resolver already")
            FIELDS[type_name, name] = Field(resolver, objects, memo, run_pending, frozenset(hidden), as_is)
        return resolver

    return register


_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def snake(name: str) -> str:
    """A schema name as a Python argument: ``useEntrypoint`` is ``use_entrypoint``, ``from`` ``from_``."""
    text = _CAPITAL.sub(r"_\1", name).lower()
    return text + "_" if keyword.iskeyword(text) else text
