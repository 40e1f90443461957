"""Calls fields with their arguments; a call that makes an object runs once per session."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rondel.engine.api import coercion
from rondel.engine.api.objects import ROOT, FieldCall, Obj, element
from rondel.engine.api.registry import FIELDS, TYPES, Context, Field, Keyed, snake
from rondel.engine.api.resolvers import load_resolvers
from rondel.engine.api.schema import FieldDefinition, Schema, load
from rondel.engine.evaluate import NotServed, Session, SingleFlight
from rondel.engine.values import digest_of
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONG_TEXT = 4096
_FORGOTTEN = "unknown ID: its object is not in this store (any more)"


class Calls:
    """The objects of one session, and the calls that make them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.schema: Schema = load()
        self.single_flight = SingleFlight(session.tasks)
        self.objects: dict[str, Any] = {ROOT.call.digest: ROOT}
        self._kept: set[str] = {ROOT.call.digest}

    # -- calling

    async def call(self, obj: Obj, name: str, arguments: Mapping[str, Any]) -> Any:
        """Call a field with arguments by their schema names; missing ones get their defaults."""
        definition = self.schema.types[obj.type].fields[name]
        values = {
            key: arguments.get(key, coercion.plain(argument.default))
            for key, argument in definition.args.items()
        }
        return await self.invoke(obj, definition, values)

    async def invoke(self, obj: Obj, definition: FieldDefinition, values: Mapping[str, Any]) -> Any:
        """Call a field with coerced arguments; loads the objects of IDs in them.

        Returns an Obj, a list of Obj, or plain data.
        """
        served = FIELDS.get((obj.type, definition.name))
        if served is None:
            load_resolvers()
            served = FIELDS.get((obj.type, definition.name))
        if served is None:
            return self._attribute(obj, definition)
        given = {name: await self._load_ids(value) for name, value in values.items()}
        self._check_objects(served, given)
        own = {
            name: value
            for name, value in given.items()
            if name not in served.hidden and not _is_default(value, definition.args[name].default)
        }
        shown = {name: _for_id(value) for name, value in own.items()}
        digest = digest_of(obj.call.digest, definition.name, shown)
        below = self.schema.types.get(definition.base)
        if below is None or not below.composite:
            answer = await self._run(obj, served, self._key(obj, definition, own), given)
            return await self._scalar(answer)
        if served.memo and digest in self.objects:
            return self.objects[digest]

        async def make() -> Any:
            answer = await self._run(obj, served, self._key(obj, definition, own), given)
            parents = tuple(o.call for value in given.values() for o in _objects_in(value))
            call = FieldCall(obj.call, definition.name, shown, digest, None, parents)
            made = self._wrap(answer, definition, call, self._key(obj, definition, own))
            if served.memo and not (isinstance(answer, Keyed) and answer.fresh):
                self.objects[digest] = made
            return made

        return await (self.single_flight.do(digest, make) if served.memo else make())

    @staticmethod
    def _key(obj: Obj, definition: FieldDefinition, own: Mapping[str, Any]) -> str:
        return digest_of(obj.key, definition.name, {name: _for_key(value) for name, value in own.items()})

    async def _run(self, obj: Obj, served: Field, key: str, given: Mapping[str, Any]) -> Any:
        if served.run_pending:
            await self.session.run_pending(obj.value)
        context = Context(self.session, obj, key, self)
        raw = _whole if served.as_is else _raw
        return await served.resolver(context, obj.value, **{snake(n): raw(v) for n, v in given.items()})

    async def _scalar(self, answer: Any) -> Any:
        if isinstance(answer, Obj):
            return self.hand_out(answer)
        return list(answer) if isinstance(answer, tuple) else answer

    def _attribute(self, obj: Obj, definition: FieldDefinition) -> Any:
        """The value of a field without a resolver: an attribute of the same name, if there is one."""
        name = snake(definition.name)
        missing = object()
        value = getattr(obj.value, name, missing) if obj.value is not None else missing
        if value is missing:
            raise NotServed(f"{obj.type}.{definition.name}")
        base = self.schema.types.get(definition.base)
        if base is not None and base.composite:
            call = FieldCall(obj.call, definition.name, {}, digest_of(obj.call.digest, definition.name, {}))
            return self._wrap(value, definition, call, digest_of(obj.key, definition.name, {}))
        return list(value) if isinstance(value, tuple) else value

    def _wrap(self, answer: Any, definition: FieldDefinition, call: FieldCall, key: str) -> Any:
        """A resolver's result as an object or a list of objects."""
        if answer is None or isinstance(answer, Obj):
            return answer
        if isinstance(answer, Keyed):
            key = answer.key
            if answer.pin:
                call = replace(call, digest=digest_of(call.digest, key))
            answer = answer.value
        if isinstance(answer, list | tuple):
            return [
                item
                if isinstance(item, Obj)
                else element(self._type_of(item, definition), item, call, key, index)
                for index, item in enumerate(answer)
            ]
        return Obj(self._type_of(answer, definition), answer, call, key)

    def _type_of(self, value: Any, definition: FieldDefinition) -> str:
        name = TYPES.get(type(value), definition.base)
        if self.schema.types[name].kind != "OBJECT":
            raise EngineError(f"no type is registered for {type(value).__name__}")
        return name

    # -- IDs

    def hand_out(self, obj: Obj) -> str:
        """The object's ID; from now on, other sessions can load the object by it, too."""
        self.objects.setdefault(obj.call.digest, obj)
        if obj.call.digest not in self._kept:
            documents = self._documents(obj.call)
            with self.session.store.index.transaction():
                for digest, document in documents.items():
                    self.session.store.index.put("call", digest, document)
            self._kept |= documents.keys()
        return obj.id

    def _documents(self, last: FieldCall) -> dict[str, dict[str, Any]]:
        """The parts of a chain of calls that are not stored yet; long texts become blobs."""
        found: dict[str, dict[str, Any]] = {}
        waiting = [last]
        while waiting:
            call = waiting.pop()
            if call.digest in self._kept or call.digest in found:
                continue
            arguments = {name: self._put_away(value) for name, value in call.args.items()}
            found[call.digest] = document = {"f": call.field, "a": arguments, "i": call.index}
            if call.receiver is not None:
                document["r"] = call.receiver.digest
                waiting.append(call.receiver)
            waiting.extend(call.parents)
        return found

    def _put_away(self, value: Any) -> Any:
        """An argument in its stored form."""
        if isinstance(value, list):
            return [self._put_away(item) for item in value]
        if not isinstance(value, str) or len(value) < _LONG_TEXT:
            return value
        return {"#": self.session.store.blobs.put(value.encode("utf-8", "surrogatepass"))}

    async def load(self, identifier: str) -> Obj:
        """The object of an ID, of this session or another one of the same store.

        Raises BadArgument for an invalid ID, and EngineError for an unknown one.
        """
        if not identifier:
            raise coercion.BadArgument("cannot decode empty string as ID")
        type_name, _, digest = identifier.rpartition("@")
        if type_name not in self.schema.types:
            raise coercion.BadArgument("invalid ID string: it was not made by this engine")
        found = self.objects.get(digest)
        if found is None:
            found = await self._replay(digest)
        if not isinstance(found, Obj):
            raise EngineError("invalid ID: it refers to no object")
        return found

    async def _replay(self, digest: str) -> Obj:
        """Make the object of a stored chain of calls again."""
        chain: list[dict[str, Any]] = []
        current: str | None = digest
        while current is not None and current not in self.objects:
            document = self.session.store.index.get("call", current)
            if document is None:
                raise EngineError(_FORGOTTEN)
            chain.append(document)
            current = document.get("r")
        obj = self.objects[current or ROOT.call.digest]
        for document in reversed(chain):
            obj = await self._again(obj, document)
        self.objects[digest] = obj
        return obj  # type: ignore[no-any-return]

    async def _again(self, obj: Any, document: dict[str, Any]) -> Any:
        if document["i"] is not None:
            return obj[document["i"]]
        definition = self.schema.types[obj.type].fields[document["f"]]
        values = {name: argument.default for name, argument in definition.args.items()}
        for name, value in document["a"].items():
            values[name] = await self._from_id(value)
        return await self.invoke(obj, definition, values)

    async def _from_id(self, value: Any) -> Any:
        if isinstance(value, dict) and set(value) == {"@"}:
            return self.objects.get(value["@"]) or await self._replay(value["@"])
        if isinstance(value, dict) and set(value) == {"#"}:
            if not self.session.store.blobs.has(value["#"]):
                raise EngineError(_FORGOTTEN)
            return self.session.store.blobs.read(value["#"]).decode("utf-8", "surrogatepass")
        if isinstance(value, list):
            return [await self._from_id(item) for item in value]
        return value

    async def _load_ids(self, value: Any) -> Any:
        if isinstance(value, coercion.IdText):
            return await self.load(value)
        if isinstance(value, list) and any(isinstance(item, coercion.IdText) for item in value):
            return [await self._load_ids(item) for item in value]
        return value

    def _check_objects(self, served: Field, given: Mapping[str, Any]) -> None:
        for name, kinds in served.objects.items():
            schema_name = next(key for key in given if snake(key) in {name, f"{name}_"} or key == name)
            for obj in _objects_in(given[schema_name]):
                if not isinstance(obj.value, kinds):
                    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
                    names = " or ".join(dict.fromkeys(TYPES.get(kind, kind.__name__) for kind in wanted))
                    raise coercion.BadArgument(
                        f'argument "{schema_name}": expected "{names}" ID, got {obj.type}! ID'
                    )


def _objects_in(value: Any) -> list[Obj]:
    if isinstance(value, Obj):
        return [value]
    return [item for item in value if isinstance(item, Obj)] if isinstance(value, list) else []


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))


def _for_id(value: Any) -> Any:
    if isinstance(value, Obj):
        return {"@": value.call.digest}
    return [_for_id(item) for item in value] if isinstance(value, list) else value


def _for_key(value: Any) -> Any:
    if isinstance(value, Obj):
        return {"@": value.key}
    return [_for_key(item) for item in value] if isinstance(value, list) else value


def _whole(value: Any) -> Any:
    return value


def _raw(value: Any) -> Any:
    """An argument for the resolver: values for objects, snake_case members for input objects."""
    if isinstance(value, Obj):
        return value.value
    if isinstance(value, list):
        return [_raw(item) for item in value]
    return {snake(key): item for key, item in value.items()} if isinstance(value, dict) else value
