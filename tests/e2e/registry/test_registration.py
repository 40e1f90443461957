"""Registration: versions, what they are made from, and how they are shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from registry_project import git, lineage, logged_model, new_version, on, promoted

from rondel.errors import ConfigurationError
from rondel.registry.aliases import find, load_alias_log
from rondel.registry.commands import list_models, show
from rondel.registry.lineage import Lineage
from rondel.registry.register import ModelSource, find_model, register, twin_runs
from rondel.tracking import Endpoint, RunHandle, StageFacts
from rondel.tracking.runs import stage_tags

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.registry.backends import Registry


def test_a_version_is_registered_with_its_lineage_once_a_run(project: Path, endpoint: Endpoint) -> None:
    async def action(source: Registry) -> None:
        experiment = await source.client.ensure_experiment("flights")
        handle = await source.client.create_run(experiment, name="train", tags={})
        origin = ModelSource(uri=handle.artifact_uri, run_id=handle.run_id)
        first = await register(source, "once", origin, lineage(project, "r1"), who="ann")
        again = await register(source, "once", origin, lineage(project, "r1"), who="ann")
        assert again.version == first.version
        assert len(await source.versions("once")) == 1
        found = await find(source, "once@challenger")
        assert found.version == first.version
        assert Lineage.from_tags(found.tags) == lineage(project, "r1")
        assert "# once" in found.description
        assert "| origin=JFK | 0.65 |" in found.description
        assert [entry.action for entry in (await load_alias_log(source, "once")).entries] == ["register"]

    on(endpoint, action)


def test_a_run_that_repeats_a_crashed_one_takes_up_its_version(project: Path, mlflow: Endpoint) -> None:
    async def action(source: Registry) -> None:
        experiment = await source.client.ensure_experiment("flights")
        handle = await source.client.create_run(experiment, name="train", tags={})
        origin = ModelSource(uri=handle.artifact_uri, run_id=handle.run_id)
        # The first attempt dies before its alias; its results lie uncommitted in the tree of the second.
        first = await register(source, "again", origin, lineage(project, "r1"), who="ann", alias=None)
        second = await register(source, "again", origin, lineage(project, "r2", git_dirty=True), who="ann")
        assert second.version == first.version
        assert await source.aliases("again") == {"challenger": first.version}
        judged = lineage(project, "r3", evaluation={"data test.parquet": "md5:other"})
        third = await register(source, "again", origin, judged, who="ann")
        assert third.version != first.version

    on(mlflow, action)


def test_models_are_listed_and_shown(project: Path, endpoint: Endpoint) -> None:
    async def action(source: Registry) -> None:
        version = await new_version(source, project, "shown", "r1", ci_job="https://ci.example/42")
        await promoted(source, project, "shown")
        assert any(line.startswith("shown ") for line in await list_models(source, None))
        lines = await list_models(source, "shown")
        assert lines[0].split()[:3] == ["MODEL", "VERSION", "ALIASES"]
        assert lines[1].split()[:5] == ["shown", version, "challenger,", "champion", "passed"]
        assert "roc_auc=0.71" in lines[1]
        text = "\n".join(await show(source, "shown@champion"))
        for words in (
            f"shown version {version}",
            git(project, "rev-parse", "HEAD"),
            "data/prepared.parquet  md5:",
            "train.max_iter  200",
            "https://ci.example/42",
        ):
            assert words in text
        document = json.loads("\n".join(await show(source, "shown", as_json=True)))
        assert document["lineage"]["run"] == "r1"
        with pytest.raises(ConfigurationError) as caught:
            await show(source, "shwon")
        assert "'shown'" in (caught.value.hint or "")
        with pytest.raises(ConfigurationError, match="no alias 'nobody'"):
            await show(source, "shown@nobody")

    on(endpoint, action)


def test_the_model_that_a_run_logged_is_found(project: Path, mlflow: Endpoint) -> None:
    async def action(source: Registry) -> None:
        client = source.client
        experiment = await client.ensure_experiment("logged")
        empty = await client.create_run(experiment, name="prepare", tags={})
        run = await client.create_run(experiment, name="train", tags={})
        made = [await logged_model(client, experiment, run.run_id, name) for name in ("model", "other")]
        body = {"experiment_id": experiment, "name": "model", "source_run_id": run.run_id}
        await client.call("POST", "logged-models", body=body)  # one whose process died before it was whole
        source_ = await find_model(client, [run, empty], artifact="model")
        assert source_ == ModelSource(uri=f"models:/{made[0]}", run_id=run.run_id, model_id=made[0])
        version = await register(source, "logged", source_, lineage(project, "r1"), who="ann")
        assert (await find(source, "logged@challenger")).version == version.version
        from rondel.errors import DataError

        unknown = RunHandle(run_id="0" * 32, url="")  # of another server
        with pytest.raises(DataError, match="no model to register"):
            await find_model(client, [empty, unknown])

    on(mlflow, action)


def test_a_model_that_dvc_restored_is_found_in_the_run_that_first_made_it(
    project: Path, mlflow: Endpoint
) -> None:
    async def action(source: Registry) -> None:
        client = source.client
        experiment = await client.ensure_experiment("restored")
        made = {"models/m.skops": "md5:" + "a" * 32}
        runs = {}
        for name, outputs in (("first", made), ("other", {"models/m.skops": "md5:b"}), ("restored", made)):
            facts = StageFacts(name="train", outputs=outputs)
            runs[name] = await client.create_run(experiment, name="train", tags=stage_tags(facts))
        ids = {}
        for name in ("first", "other"):
            ids[name] = await logged_model(client, experiment, runs[name].run_id)
        twins = await twin_runs(client, experiment, "train", made)
        assert [run.run_id for run in twins] == [runs["first"].run_id, runs["restored"].run_id]
        assert (await find_model(client, twins)).model_id == ids["first"]
        assert await twin_runs(client, experiment, "evaluate", made) == []
        assert await twin_runs(client, experiment, "train", {}) == []

    on(mlflow, action)
