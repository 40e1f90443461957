"""Registration and promotion by a stage of a run."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from registry_project import git, logged_model, on
from signing_keys import keys

from rondel.context import StageContext
from rondel.errors import ConfigurationError, RecordError
from rondel.gates import RuleResult
from rondel.operations.runtime import StageRuntime
from rondel.pipeline import Pipeline, Stage
from rondel.record import (
    Capsule,
    Git,
    Image,
    MlflowRun,
    Run,
    RunFolder,
    StageRecord,
    StageRecorder,
    VerdictRecord,
)
from rondel.registry.aliases import find, set_alias
from rondel.registry.lineage import Lineage
from rondel.registry.verify import verify
from rondel.settings import Settings
from rondel.tracking.endpoint import connection_to

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rondel.registry.backends import Registry
    from rondel.tracking import (
        Endpoint,
    )


def context_of(project: Path, endpoint: Endpoint, stage: Stage, run: Run) -> StageContext:
    """A stage's context without an engine: what registration needs of one."""
    environment: Any = SimpleNamespace(
        tracking=connection_to(endpoint, experiment="flights"), run=run, settings=Settings(root=project)
    )
    recorder = StageRecorder(StageRecord(name=stage.name, kind=stage.kind), None, Silent())
    container: Any = None
    return StageContext(
        StageRuntime(environment, stage, given={}, recorder=recorder, container=container, visibility=None)
    )


class Silent:
    """An observer that draws nothing."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_arguments: None


async def register_stage(ctx: Any) -> None:
    await ctx.register("made")


def capsule_of(project: Path, run: Run, train: str, *, train_state: Any = "ran") -> Capsule:
    verdict = VerdictRecord(
        passed=True,
        model="made",
        rules=[asdict(RuleResult(rule="roc_auc >= 0.68", passed=True, outcome="passed", metric="roc_auc"))],
        metrics={"roc_auc": 0.71, "roc_auc[origin=JFK]": 0.65},
    )
    image = Image(reference="stage", digest="sha256:abc", packages={"numpy": "2.4.6"})
    return Capsule(
        schema_version=1,
        id=run.id,
        state="running",
        pipeline="ci/main.py",
        file="ci/main.py",
        created=run.created,
        git=Git(commit=git(project, "rev-parse", "HEAD"), branch="main"),
        stages=[
            StageRecord(
                name="train", kind="pure", state=train_state, image=image, mlflow=MlflowRun(run_id=train)
            ),
            StageRecord(
                name="evaluate", kind="pure", state="ran", needs=["train"], verdicts=[verdict], image=image
            ),
            StageRecord(name="unrelated", kind="pure", state="ran", verdicts=[VerdictRecord(passed=False)]),
            StageRecord(name="register-stage", kind="effect", state="running", needs=["evaluate"]),
        ],
    )


def test_a_stage_registers_what_its_run_made_and_the_version_can_be_verified(
    project: Path, mlflow: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = hashlib.md5(b"data", usedforsecurity=False).hexdigest()
    (project / "dvc.yaml").write_text("stages:\n  train:\n    cmd: train\n    outs: [model.skops]\n")
    (project / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  train:\n    cmd: train\n    outs:\n"
        f"    - {{path: model.skops, hash: md5, md5: {data}, size: 4}}\n"
    )
    secret, public = keys(tmp_path, "team")
    _, stranger = keys(tmp_path, "stranger")
    monkeypatch.setenv("RONDEL_SIGNING_KEY", str(secret))
    pipeline = Pipeline("flights")
    pipeline.stage(name="evaluate")(register_stage)
    stage = pipeline.effect(needs=["evaluate"])(register_stage)

    async def action(source: Registry) -> None:
        client = source.client
        experiment = await client.ensure_experiment("flights")
        train = await client.create_run(experiment, name="train", tags={})
        await logged_model(client, experiment, train.run_id)
        run = Run(
            id="20261123-194742-a1b2c3",
            root=project,
            folder=project / ".rondel" / "runs" / "20261123-194742-a1b2c3",
            created="2026-11-23T19:47:42Z",
        )
        RunFolder(run.folder).save(capsule_of(project, run, train.run_id))
        ctx = context_of(project, mlflow, stage, run)
        version = await ctx.register("made")
        assert (await ctx.register("made")).version == version.version
        found = await find(source, "made@challenger")
        made = Lineage.from_tags(found.tags)
        assert made.gate == "passed"
        assert made.outputs == {"model.skops": f"md5:{data}"}
        assert made.metrics["roc_auc[origin=JFK]"] == 0.65
        moved = await ctx.promote("made")
        assert (moved.alias, moved.new) == ("champion", version.version)

        lines = await verify(source, "made@champion", [public])
        assert any("signed by team.pub" in line for line in lines)
        assert "2 entries of the log are signed" in lines
        with pytest.raises(RecordError, match="cannot be trusted") as caught:
            await verify(source, "made@champion", [stranger])
        assert "none of the given keys signed" in (caught.value.why or "")
        # Whoever may write tags can add an entry that fits the chain, but cannot sign it.
        monkeypatch.delenv("RONDEL_SIGNING_KEY")
        await set_alias(source, "made", alias="champion", new="", who="mallory", action="unset")
        assert not (await source.alias_log("made")).problems
        monkeypatch.setenv("RONDEL_SIGNING_KEY", str(secret))
        await set_alias(source, "made", alias="champion", new=version.version, who="ann", action="promote")
        with pytest.raises(RecordError) as caught:
            await verify(source, "made@champion", [public])
        assert "none of the given keys signed entry 3 of the log" in (caught.value.why or "")
        body = {"name": "made", "version": version.version, "key": "rondel.run", "value": "another"}
        await client.call("POST", "model-versions/set-tag", body=body)
        with pytest.raises(RecordError) as caught:
            await verify(source, "made@champion", [public])
        assert "run: provenance.json" in (caught.value.why or "")
        handle = (await client.get_run(train.run_id)).handle
        await client.log_artifact(handle, f"rondel/made/{version.version}/sbom.cdx.json", b"{}")
        with pytest.raises(RecordError) as caught:
            await verify(source, "made@champion", [public])
        assert "sbom.cdx.json was changed" in (caught.value.why or "")

    try:
        on(mlflow, action)
    finally:
        (project / "dvc.yaml").unlink()
        (project / "dvc.lock").unlink()


def test_a_pure_stage_must_not_register(project: Path, mlflow: Endpoint) -> None:
    pipeline = Pipeline("flights")
    stage = pipeline.stage(register_stage)
    run = Run(id="20261123-194742-a1b2c4", root=project, folder=project, created="")

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="pure stage"):
            await context_of(project, mlflow, stage, run).register("made")

    anyio.run(main)
