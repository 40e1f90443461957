"""Registered models and their versions, read over the REST API of MLflow and GitLab."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.tracking.errors import TrackingRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.tracking.client import TrackingClient


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """A version of a registered model, as the server describes it."""

    model: str
    version: str
    run_id: str = ""
    source: str = ""
    created_ms: int = 0
    description: str = ""
    status: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredModel:
    """A registered model: its tags, and the version that each alias points at."""

    name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


def decode_version(data: Mapping[str, Any]) -> ModelVersion:
    """A model version from the server's JSON."""
    return ModelVersion(
        model=str(data["name"]),
        version=str(data["version"]),
        run_id=str(data.get("run_id") or ""),
        source=str(data.get("source") or ""),
        created_ms=int(data.get("creation_timestamp") or 0),
        description=str(data.get("description") or ""),
        status=str(data.get("status") or ""),
        tags=_tags(data),
        aliases=tuple(str(alias) for alias in data.get("aliases") or ()),
    )


def decode_model(data: Mapping[str, Any]) -> RegisteredModel:
    """A registered model from the server's JSON."""
    return RegisteredModel(
        name=str(data["name"]),
        description=str(data.get("description") or ""),
        tags=_tags(data),
        aliases={str(row["alias"]): str(row["version"]) for row in data.get("aliases") or ()},
    )


async def get_model(client: TrackingClient, name: str) -> RegisteredModel | None:
    """The registered model of that name, or None."""
    try:
        found = await client.call("GET", "registered-models/get", query={"name": name}, repeatable=True)
    except TrackingRefused as refusal:
        if refusal.missing:
            return None
        raise
    return decode_model(found["registered_model"])


async def get_version(client: TrackingClient, name: str, version: str) -> ModelVersion | None:
    """One version, or None."""
    query = {"name": name, "version": version}
    try:
        found = await client.call("GET", "model-versions/get", query=query, repeatable=True)
    except TrackingRefused as refusal:
        if refusal.missing:
            return None
        raise
    return decode_version(found["model_version"])


async def version_by_alias(client: TrackingClient, name: str, alias: str) -> ModelVersion | None:
    """The version that an alias points at, from one request; None for an unknown model or alias."""
    query = {"name": name, "alias": alias}
    try:
        found = await client.call("GET", "registered-models/alias", query=query, repeatable=True)
    except TrackingRefused as refusal:
        # MLflow answers INVALID_PARAMETER_VALUE for an unknown alias.
        if refusal.missing or refusal.code == "INVALID_PARAMETER_VALUE":
            return None
        raise
    return decode_version(found["model_version"])


def _tags(data: Mapping[str, Any]) -> dict[str, str]:
    return {str(row["key"]): str(row.get("value") or "") for row in data.get("tags") or ()}
