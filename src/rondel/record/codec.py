"""Capsules as JSON and back, and the JSON Schema of that JSON."""

from __future__ import annotations

from typing import Any

from rondel.errors import RecordError
from rondel.record.capsule import SCHEMA_VERSION, Capsule

LIMIT = 64 * 1024 * 1024


def encode(capsule: Capsule) -> bytes:
    """The capsule as readable JSON that ends in a newline; equal capsules give equal bytes."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(capsule), indent=1) + b"\n"


def decode(data: bytes, place: str = "capsule") -> Capsule:
    """Read a capsule's JSON.

    Raises RecordError for what is no capsule, is of a version that this
    Rondel does not read, has a field of the wrong type, or is absurdly large.
    Unknown fields are ignored, so that a later minor addition stays readable.
    """
    import msgspec

    if len(data) > LIMIT:
        raise RecordError(f"the capsule is larger than {LIMIT >> 20} MiB", place=place)
    try:
        version = msgspec.json.decode(data, type=dict[str, Any]).get("schema_version")
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise RecordError("this is not a capsule", why=str(error), place=place) from None
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"the capsule has version {version!r}, and this Rondel reads version {SCHEMA_VERSION}",
            hint="read it with the Rondel that wrote it: its version stands in host.rondel",
            place=place,
        )
    try:
        return msgspec.json.decode(data, type=Capsule)
    except (msgspec.ValidationError, RecursionError) as error:
        raise RecordError("the capsule is damaged", why=str(error), place=place) from None


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of version 1, as published in ``docs/reference``."""
    import msgspec

    made = msgspec.json.schema(Capsule)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Rondel capsule, version {SCHEMA_VERSION}",
        **made,
    }
