"""Resolvers: how they are registered, and what they are given."""

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
    """A served field and how it is called."""

    resolver: Resolver
    objects: dict[str, type | tuple[type, ...]]
    memo: bool = True
    settle: bool = False
    hidden: frozenset[str] = frozenset()
    as_is: bool = False


@dataclass(frozen=True, slots=True)
class Keyed:
    """A value with its own key, for content that comes from outside the query.

    ``pin`` makes the key part of the object's ID; ``fresh`` has the same call made anew next time.
    """

    value: Any
    key: str
    pin: bool = False
    fresh: bool = False


class Caller(Protocol):
    """Calls fields; the executor does."""

    async def call(self, obj: Obj, name: str, arguments: dict[str, Any]) -> Any:
        """The answer of one field: an object, a list of objects, or a scalar."""
        ...

    async def load(self, identifier: str) -> Obj:
        """The object of an ID."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a resolver knows besides its arguments."""

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
"""What is answered to whoever asks for it."""

FIELDS: dict[tuple[str, str], Field] = {}
TYPES: dict[type, str] = {}


def register_type(kind: type, name: str) -> None:
    """Say which type of the schema a Python type stands for."""
    TYPES[kind] = name


def field(
    type_name: str,
    *names: str,
    memo: bool = True,
    settle: bool = False,
    hidden: tuple[str, ...] = (),
    as_is: bool = False,
    **objects: type | tuple[type, ...],
) -> Callable[[Resolver], Resolver]:
    """Register a resolver for fields of a type.

    ``hidden`` arguments (secret text) are part of neither IDs nor keys, and never kept.
    With ``as_is`` the resolver gets objects instead of their values. Raises ValueError for a field
    that has a resolver already: which of two would answer were up to the order of imports.
    """

    def register(resolver: Resolver) -> Resolver:
        for name in names:
            if (type_name, name) in FIELDS:
                raise ValueError(f"{type_name}.{name} has a resolver already")
            FIELDS[type_name, name] = Field(resolver, objects, memo, settle, frozenset(hidden), as_is)
        return resolver

    return register


_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def snake(name: str) -> str:
    """A schema name as a Python argument: ``useEntrypoint`` is ``use_entrypoint``, ``from`` ``from_``."""
    text = _CAPITAL.sub(r"_\1", name).lower()
    return text + "_" if keyword.iskeyword(text) else text
