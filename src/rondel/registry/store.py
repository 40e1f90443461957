"""The model registry as the commands need it, on MLflow and on GitLab's endpoint.

MLflow has aliases and tags that can be changed. GitLab has neither: versions
get their tags when they are made, later ones go to the version's run, and an
alias is what the log of moves says (:mod:`rondel.registry.alias_log`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from rondel.errors import TrackingUnavailable
from rondel.registry.alias_log import (
    LEDGER_EXPERIMENT,
    TAG_PREFIX,
    AliasLog,
    Entry,
    aliases,
    decode,
    gitlab_alias_log,
)
from rondel.registry.versions import ModelVersion, decode_model, decode_version, get_model, get_version
from rondel.tracking.problems import TrackingRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.tracking import TrackingClient

PAGE = 200


class LostRace(TrackingUnavailable):
    """Somebody else moved the alias at the same time, and theirs counts."""


class Registry(Protocol):
    """What a registry can do for us. Methods raise TrackingUnavailable when the server does not."""

    client: TrackingClient

    async def names(self) -> list[str]:
        """The registered models."""

    async def versions(self, model: str) -> list[ModelVersion]:
        """All versions, newest first; none when there is no such model."""

    async def version(self, model: str, version: str) -> ModelVersion | None:
        """One version with all its tags, or None."""

    async def aliases(self, model: str) -> dict[str, str]:
        """Which version each alias points at."""

    async def alias_log(self, model: str) -> AliasLog:
        """The log of moves."""

    async def create(
        self, model: str, *, source: str, run_id: str, model_id: str, tags: Mapping[str, str], card: str
    ) -> ModelVersion:
        """Make a version, and the model when it is the first."""

    async def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Add tags to a version."""

    async def append(self, model: str, entry: Entry) -> None:
        """Write an entry of the log. LostRace when another with its number counts."""

    async def point(self, model: str, alias: str, version: str) -> None:
        """Make the alias point at the version; an empty version removes the alias."""


def registry(client: TrackingClient) -> Registry:
    """The registry behind a client."""
    return GitlabRegistry(client) if client.endpoint.kind == "gitlab" else MlflowRegistry(client)


class MlflowRegistry:
    """The registry of an MLflow server."""

    def __init__(self, client: TrackingClient) -> None:
        self.client = client

    async def names(self) -> list[str]:
        """The registered models."""
        rows = await self._pages("registered-models/search", "registered_models", {})
        return [decode_model(row).name for row in rows]

    async def versions(self, model: str) -> list[ModelVersion]:
        """All versions, newest first."""
        query = {"filter": f"name = '{_quoted(model)}'"}
        rows = await self._pages("model-versions/search", "model_versions", query)
        return sorted(map(decode_version, rows), key=lambda found: int(found.version), reverse=True)

    async def version(self, model: str, version: str) -> ModelVersion | None:
        """One version, or None."""
        return await get_version(self.client, model, version)

    async def aliases(self, model: str) -> dict[str, str]:
        """Which version each alias points at."""
        found = await get_model(self.client, model)
        return dict(found.aliases) if found else {}

    async def alias_log(self, model: str) -> AliasLog:
        """The log of moves, from the model's tags."""
        found = await get_model(self.client, model)
        return decode(found.tags if found else {})

    async def create(
        self, model: str, *, source: str, run_id: str, model_id: str, tags: Mapping[str, str], card: str
    ) -> ModelVersion:
        """Make a version, and the model when it is the first."""
        await _ensure_model(self.client, model)
        body: dict[str, Any] = {
            "name": model,
            "source": source,
            "run_id": run_id,
            "description": card,
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        if model_id:
            body["model_id"] = model_id
        found = await self.client.call("POST", "model-versions/create", body=body)
        return decode_version(found["model_version"])

    async def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Add tags to a version, or change them."""
        for key, value in tags.items():
            body = {"name": version.model, "version": version.version, "key": key, "value": value}
            await self.client.call("POST", "model-versions/set-tag", body=body, repeatable=True)

    async def append(self, model: str, entry: Entry) -> None:
        """Write an entry and look whether it counts; see the alias_log's text for the rule."""
        body = {"name": model, "key": entry.claim, "value": entry.encode()}
        await self.client.call("POST", "registered-models/set-tag", body=body, repeatable=True)
        log = await self.alias_log(model)
        if entry not in log.entries:
            raise lost_race(model, log, entry)

    async def point(self, model: str, alias: str, version: str) -> None:
        """Make the alias point at the version; an empty version removes the alias."""
        if version:
            body = {"name": model, "alias": alias, "version": version}
            await self.client.call("POST", "registered-models/alias", body=body, repeatable=True)
        else:
            query = {"name": model, "alias": alias}
            await self.client.call("DELETE", "registered-models/alias", body=query, repeatable=True)

    async def _pages(self, path: str, key: str, query: dict[str, str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        token = ""
        while True:
            page = {**query, "max_results": PAGE, **({"page_token": token} if token else {})}
            found = await self.client.call("GET", path, query=page, repeatable=True)
            rows += found.get(key) or []
            token = str(found.get("next_page_token") or "")
            if not token:
                return rows


class GitlabRegistry:
    """The registry of GitLab's MLflow-compatible endpoint."""

    def __init__(self, client: TrackingClient) -> None:
        self.client = client

    async def names(self) -> list[str]:
        """The registered models."""
        found = await self.client.call("GET", "registered-models/search", repeatable=True)
        return [decode_model(row).name for row in found.get("registered_models") or []]

    async def versions(self, model: str) -> list[ModelVersion]:
        """The versions, newest first: those between 1.0.0 and the latest one.

        The endpoint cannot list versions; Rondel numbers them ``N.0.0``.
        """
        try:
            body = {"name": model}
            found = await self.client.call("GET", "registered-models/get", query=body, repeatable=True)
        except TrackingRefused as refusal:
            if refusal.missing:
                return []
            raise
        latest = found["registered_model"].get("latest_versions") or []
        number = max((_major(str(row["version"])) for row in latest), default=0)
        versions = []
        for major in range(number, 0, -1):
            version = await self.version(model, f"{major}.0.0")
            if version is not None:
                versions.append(version)
        return versions

    async def version(self, model: str, version: str) -> ModelVersion | None:
        """One version, or None; its tags are joined by those of its run, where later ones go."""
        found = await get_version(self.client, model, version)
        if found is None or not found.run_id:
            return found
        try:
            run = await self.client.get_run(found.run_id)
        except TrackingRefused as refusal:
            if refusal.missing:
                return found
            raise
        later = {
            key.removeprefix("model."): value for key, value in run.tags.items() if key.startswith("model.")
        }
        return ModelVersion(
            model=found.model,
            version=found.version,
            run_id=found.run_id,
            source=found.source,
            created_ms=found.created_ms,
            description=found.description,
            status=found.status,
            tags={**found.tags, **later},
            aliases=found.aliases,
        )

    async def aliases(self, model: str) -> dict[str, str]:
        """Which version each alias points at, by the log."""
        return aliases((await self.alias_log(model)).entries)

    async def alias_log(self, model: str) -> AliasLog:
        """The log of moves, from the tags of its run."""
        found = await gitlab_alias_log(self.client, model)
        return decode(found[1] if found else {})

    async def create(
        self, model: str, *, source: str, run_id: str, model_id: str, tags: Mapping[str, str], card: str
    ) -> ModelVersion:
        """Make a version with the next free number; its source and model id are told by tags alone."""
        del model_id, source
        await _ensure_model(self.client, model)
        newest = await self.versions(model)
        number = f"{(_major(newest[0].version) if newest else 0) + 1}.0.0"
        pairs = {**tags, "gitlab.version": number}
        body = {
            "name": model,
            "run_id": run_id,
            "description": card,
            "tags": [{"key": key, "value": value} for key, value in pairs.items()],
        }
        found = await self.client.call("POST", "model-versions/create", body=body)
        return decode_version(found["model_version"])

    async def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Add tags to the version's run; one that is there already stays as it is."""
        for key, value in tags.items():
            body = {"run_id": version.run_id, "key": f"model.{key}", "value": value}
            await self._set_run_tag(body)

    async def append(self, model: str, entry: Entry) -> None:
        """Write an entry: the server refuses a number that is there already, so one of two wins."""
        found = await gitlab_alias_log(self.client, model)
        if found is None:
            experiment = await self.client.ensure_experiment(LEDGER_EXPERIMENT)
            await self.client.create_run(experiment, name=model, tags={})
            found = await gitlab_alias_log(self.client, model)
            if found is None:
                raise TrackingUnavailable(
                    f"GitLab does not show the run that was made for the log of {model!r}"
                )
        body = {"run_id": found[0].run_id, "key": entry.tag, "value": entry.encode()}
        written = await self._set_run_tag(body)
        log = await self.alias_log(model)
        if not written and entry not in log.entries:
            raise lost_race(model, log, entry)

    async def point(self, model: str, alias: str, version: str) -> None:
        """Nothing to do: the log's entry is the alias."""

    async def _set_run_tag(self, body: Mapping[str, str]) -> bool:
        try:
            await self.client.call("POST", "runs/set-tag", body=body)
        except TrackingRefused as refusal:
            if refusal.status == 400:
                return False
            raise
        return True


def lost_race(model: str, log: AliasLog, entry: Entry) -> LostRace:
    """The error for a move whose entry does not count."""
    winner = next((each for each in log.entries if each.number == entry.number), None)
    by = f"{winner.who} moved {winner.alias} to version {winner.new}" if winner else "somebody else moved it"
    return LostRace(
        f"another move of {model!r} came first",
        why=f"{by} at the same time; yours did not take effect.",
        hint=f"see `rondel models history {model}`, then decide again",
    )


async def _ensure_model(client: TrackingClient, model: str) -> None:
    try:
        await client.call("POST", "registered-models/create", body={"name": model})
    except TrackingRefused as refusal:
        if not refusal.exists:
            raise


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 0


def _quoted(text: str) -> str:
    return text.replace("'", "\\'")


__all__ = ["TAG_PREFIX", "GitlabRegistry", "LostRace", "MlflowRegistry", "Registry", "lost_race", "registry"]
