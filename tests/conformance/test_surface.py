"""What the engine serves is what the installed client calls: same fields, same arguments."""

from __future__ import annotations

import inspect

import dagger
import pytest
from dagger.client import gen

from rondel.engine.api.registry import FIELDS, TYPES, snake
from rondel.engine.api.resolvers import load_resolvers
from rondel.engine.api.schema import load

load_resolvers()
# `node` and `load…FromID` have other names in the client.
SERVED = sorted(key for key in FIELDS if not key[1].startswith("load") and key[1] != "node")


def client_class(type_name: str) -> type:
    return getattr(gen, type_name)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("type_name", "field"), SERVED, ids=lambda part: part)
def test_a_served_field_has_the_clients_signature(type_name: str, field: str) -> None:
    definition = load().types[type_name].fields[field]
    methods = {name.replace("_", ""): method for name, method in vars(client_class(type_name)).items()}
    method = methods.get(field.lower())
    assert method is not None, f"the client has no {type_name}.{snake(field)}"
    parameters = set(inspect.signature(method).parameters) - {"self"}
    assert parameters == {snake(name) for name in definition.args}


def test_every_resolver_takes_the_schemas_arguments() -> None:
    for (type_name, name), served in FIELDS.items():
        definition = load().types[type_name].fields[name]
        parameters = inspect.signature(served.resolver).parameters.values()
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            continue
        taken = {p.name for p in parameters} - {"ctx", "self"}
        wanted = {snake(argument) for argument in definition.args}
        assert wanted <= taken, f"{type_name}.{name} does not take {wanted - taken}"


def test_registered_types_are_the_schemas() -> None:
    assert {load().types[name].kind for name in TYPES.values()} == {"OBJECT"}


def test_what_pipelines_use_is_served() -> None:
    schema = load()
    whole = [
        "Container",
        "Directory",
        "File",
        "Host",
        "Secret",
        "CacheVolume",
        "EnvFile",
        "Changeset",
        "Service",
    ]
    # Modules.
    elsewhere = {"asModule", "asModuleSource"}
    for type_name in whole:
        attributes = {
            attribute for kind, name in TYPES.items() if name == type_name for attribute in dir(kind)
        }
        missing = [
            field
            for field in schema.types[type_name].fields
            if field not in {"id", *elsewhere}
            and (type_name, field) not in FIELDS
            and snake(field) not in attributes
        ]
        assert missing == [], f"{type_name}: {missing}"
    assert dagger.__name__ == "dagger"
