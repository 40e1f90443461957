"""Objects of the API: a value, and the call that made it.

An ID is the digest of the chain of calls. The chain is stored when an ID is handed out, so
that another session of the same store can make the object again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rondel.engine.values import digest_of


@dataclass(frozen=True, slots=True, eq=False)
class FieldCall:
    """One call of a field. ``args`` is JSON, in which objects are ``{"@": digest}``."""

    receiver: FieldCall | None
    field: str
    args: dict[str, Any]
    digest: str
    index: int | None = None
    parents: tuple[FieldCall, ...] = ()
    bound: bool = False

    def path(self) -> list[str]:
        """The fields from the root to here."""
        names: list[str] = []
        call: FieldCall | None = self
        while call is not None and call.field:
            if call.index is None:
                names.append(call.field)
            call = call.receiver
        return names[::-1]


@dataclass(frozen=True, slots=True, eq=False)
class Obj:
    """An object: its type's name in the schema, its value, its call, its key."""

    type: str
    value: Any
    call: FieldCall
    key: str

    @property
    def id(self) -> str:
        """The object's ID."""
        return f"{self.type}@{self.call.digest}"


ROOT = Obj("Query", None, FieldCall(None, "", {}, digest_of("root")), digest_of("root"))


def element(obj_type: str, value: Any, call: FieldCall, key: str, index: int) -> Obj:
    """One element of the list that a call returned."""
    digest = digest_of(call.digest, index)
    return Obj(obj_type, value, FieldCall(call, call.field, {}, digest, index), digest_of(key, index))
