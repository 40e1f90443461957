"""Encodes capsules as JSON, decodes them, and makes the JSON Schema."""

from __future__ import annotations

from typing import Any

from rondel.errors import RecordError
from rondel.record.capsule import SCHEMA_VERSION, Capsule

LIMIT = 64 * 1024 * 1024


def encode(capsule: Capsule) -> bytes:
    """The capsule as indented JSON with a final newline; equal capsules give equal bytes."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(capsule), indent=1) + b"\n"


def decode(data: bytes, place: str = "capsule") -> Capsule:
    """Decode a capsule's JSON.

    Raises RecordError if it is not a capsule, has an unknown version or a field
    of the wrong type, or is larger than 64 MiB. Ignores unknown fields, so that
    capsules of later minor versions can be read.
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
            f"the capsule has version {version!r}, but this Rondel reads version {SCHEMA_VERSION}",
            hint="read it with the Rondel version that wrote it: host.rondel names it",
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
