"""Promotion and rollback: conditions, the log of moves, and what others did by hand."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from registry_project import ENVIRON, new_version, on, promoted

from rondel.errors import ConfigurationError, GateFailed, RecordError
from rondel.registry.aliases import load_alias_log
from rondel.registry.champion import champion_version, fetch_champion
from rondel.registry.commands import history, rollback_model
from rondel.registry.promote import rollback

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.registry.backends import Registry
    from rondel.tracking import Endpoint


def test_promotion_and_rollback_go_through_the_log(project: Path, endpoint: Endpoint) -> None:
    async def action(source: Registry) -> None:
        versions = []
        for run in ("r1", "r2", "r3"):
            versions.append(await new_version(source, project, "steps", run))
            moved = await promoted(source, project, "steps")
            assert (moved.alias, moved.new) == ("champion", versions[-1])
        again = await promoted(source, project, "steps")
        assert again.entry is None
        champion = await fetch_champion(source.client, "steps")
        assert champion is not None
        assert champion.version == versions[2]
        assert champion.metrics == {"roc_auc": 0.71, "roc_auc[origin=JFK]": 0.65}
        assert (await rollback(source, "steps", who="bob", reason="late")).new == versions[1]
        assert (await rollback(source, "steps", who="bob")).new == versions[0]
        with pytest.raises(ConfigurationError, match="cannot go back 1 step"):
            await rollback(source, "steps", who="bob")
        with pytest.raises(ConfigurationError, match="'v1' cannot be an alias"):
            await promoted(source, project, "steps", to="v1")
        await promoted(source, project, f"steps/{versions[2]}")
        assert (await rollback(source, "steps", who="bob")).new == versions[0]
        await promoted(source, project, f"steps/{versions[2]}", to="blue")
        await promoted(source, project, f"steps/{versions[0]}", to="blue")
        back = await rollback_model(source, "steps@blue", root=project)
        assert back == [f"steps@blue is now version {versions[2]}; it was version {versions[0]}"]
        with pytest.raises(ConfigurationError, match="names a version"):
            await rollback_model(source, "steps/1", root=project)
        log = await load_alias_log(source, "steps")
        second = next(
            entry for entry in log.entries if entry.alias == "champion" and entry.new == versions[1]
        )
        assert await history(source, "steps", at=second.at) == [versions[1]]
        assert (await history(source, "steps", at="2020-01-01"))[0].startswith("none")
        lines = await history(source, "steps")
        assert any("bob" in line and "rollback" in line and "late" in line for line in lines)
        assert not any(line.startswith("note:") for line in lines)

    on(endpoint, action)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gate": "failed"}, "gate was not passed"),
        ({"gate": "none"}, "never went through a gate"),
        ({"git_dirty": True}, "uncommitted changes"),
        ({"git_commit": ""}, "commit is not recorded"),
        ({"git_commit": "0" * 40}, "is not in this repository"),
        ({"outputs": {"data/lost.parquet": "md5:" + "0" * 32}}, "not in the remote: data/lost.parquet"),
        ({"outputs": {}}, "hashes of its data"),
        ({"image": ""}, "image"),
    ],
)
def test_a_version_that_breaks_a_condition_does_not_become_champion(
    project: Path, mlflow: Endpoint, changes: dict[str, Any], words: str
) -> None:
    async def action(source: Registry) -> None:
        model = "bad-" + hashlib.sha256(json.dumps(changes).encode()).hexdigest()[:8]
        version = await new_version(source, project, model, "r1", **changes)
        with pytest.raises(GateFailed, match="must not become champion") as caught:
            await promoted(source, project, model)
        assert words in (caught.value.why or "")
        with pytest.raises(ConfigurationError, match="needs a reason"):
            await promoted(source, project, model, force=True)
        assert "champion" not in await source.aliases(model)
        moved = await promoted(source, project, model, force=True, reason="fire")
        assert moved.new == version
        entry = (await load_alias_log(source, model)).entries[-1]
        assert entry.forced
        assert entry.reason.startswith("fire [overridden: ")

    on(mlflow, action)


def test_a_log_that_was_tampered_with_stops_everything(project: Path, mlflow: Endpoint) -> None:
    async def action(source: Registry) -> None:
        await new_version(source, project, "forged", "r1")
        await promoted(source, project, "forged")
        log = await load_alias_log(source, "forged")
        changed = replace(log.entries[0], who="mallory")
        body = {"name": "forged", "key": log.entries[0].hashed_tag, "value": changed.encode()}
        await source.client.call("POST", "registered-models/set-tag", body=body)
        for attempt in (
            promoted(source, project, "forged/1"),
            rollback(source, "forged", who="ann"),
            history(source, "forged"),
        ):
            with pytest.raises(RecordError, match="damaged"):
                await attempt

    on(mlflow, action)


def test_an_alias_that_was_moved_by_hand_is_shown_and_taken_as_it_is(project: Path, mlflow: Endpoint) -> None:
    async def action(source: Registry) -> None:
        first = await new_version(source, project, "hand", "r1")
        await promoted(source, project, "hand")
        second = await new_version(source, project, "hand", "r2")
        body = {"name": "hand", "alias": "champion", "version": second}
        await source.client.call("POST", "registered-models/alias", body=body)
        assert any("set without Rondel" in line for line in await history(source, "hand"))
        moved = await rollback(source, "hand", who="ann")
        assert (moved.old, moved.new) == (second, first)

    on(mlflow, action)


def test_the_champion_that_was_promoted_is_the_gates_champion(project: Path, mlflow: Endpoint) -> None:
    async def action(source: Registry) -> str:
        version = await new_version(source, project, "gated", "r1")
        await promoted(source, project, "gated")
        return version

    version = on(mlflow, action)
    assert champion_version(project, ENVIRON, "gated") == version
