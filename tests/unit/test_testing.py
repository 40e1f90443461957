"""``rondel.testing`` runs what the real context runs: the reference pipeline, whole."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from ci.main import pipeline as reference
from rondel import Pipeline, StageContext
from rondel.gates import Verdict
from rondel.operations.dvc.commands import DvcOutcome
from rondel.registry.promote import AliasChange
from rondel.registry.versions import ModelVersion
from rondel.settings import Settings
from rondel.testing import (
    FakeClient,
    FakeContexts,
    FakeProject,
    FakeServices,
    RecordingContext,
    run_with_fakes,
)

TOP = Path(__file__).resolve().parents[2]


def methods(kind: type) -> dict[str, Any]:
    return {
        name: value
        for name, value in inspect.getmembers(kind)
        if not name.startswith("_") and callable(getattr(value, "_call", value))
    }


def test_the_reference_pipeline_runs_from_data_to_release(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, name="flights", approve_by="ann")
    project = FakeProject.like(TOP, tmp_path)
    result = run_with_fakes(reference, "release", project=project, settings=settings)
    assert result.error is None
    done = {record.name: [(use.kind, use.name) for use in record.uses] for record in result.capsule.stages}
    assert done == {
        "prepare": [("dvc", "prepare")],
        "train": [("dvc", "train")],
        "evaluate": [("dvc", "evaluate"), ("gate", "flight-delay")],
        "register": [("register", "flight-delay")],
        "release": [("promote", "flight-delay")],
    }
    approval = result.capsule.stage("release").approval
    assert approval is not None
    assert (approval.environment, approval.by, approval.how) == ("production", "ann", "flag")


def test_every_method_of_the_context_is_there_with_the_same_arguments() -> None:
    real, fake = methods(StageContext), methods(RecordingContext)
    assert {"dvc", "mlflow", "sh", "gate", "register", "promote", "container"} <= set(real)
    assert set(real) <= set(fake)
    for name, method in real.items():
        ours = fake[name]
        if hasattr(method, "_call"):  # an operation: the very same method
            assert ours is method
        else:
            assert list(inspect.signature(ours).parameters) == list(inspect.signature(method).parameters)


def test_each_operation_returns_a_value_of_the_type_that_the_real_one_returns(tmp_path: Path) -> None:
    pipeline = Pipeline("types")
    returned: dict[str, Any] = {}

    @pipeline.effect
    async def everything(ctx: StageContext) -> None:
        returned["sh"] = await ctx.sh("make report", outputs=["report.html"])
        returned["container"] = ctx.container().with_exec(["true"])
        returned["dvc"] = await ctx.dvc("train")
        returned["gate"] = await ctx.gate("auc >= 0.5", metrics={"auc": 0.7}, model="m")
        returned["register"] = await ctx.register("m")
        returned["promote"] = await ctx.promote("m@challenger", to="champion")
        returned["mlflow"] = await ctx.mlflow("main", alpha=1)

    project = FakeProject(tmp_path, points={"main": {"alpha": "float"}})
    project.dvc["train"] = FakeProject.like(TOP, tmp_path).dvc["train"]
    result = run_with_fakes(pipeline, "everything", project=project)
    assert result.error is None
    types = {name: type(value) for name, value in returned.items()}
    assert types == {
        "sh": str,
        "container": FakeClient,
        "dvc": DvcOutcome,
        "gate": Verdict,
        "register": ModelVersion,
        "promote": AliasChange,
        "mlflow": type(None),
    }
    assert result.capsule.stage("everything").uses[0].details == {"outputs": ["report.html"]}


def test_an_answer_is_what_a_method_returns(tmp_path: Path) -> None:
    pipeline = Pipeline("answers")
    seen: list[str] = []

    @pipeline.stage
    async def ask(ctx: StageContext) -> None:
        seen.append(await ctx.sh("nproc"))

    async def two(_: RecordingContext) -> str:
        return "2\n"

    services = FakeServices(FakeContexts(answers={"sh nproc": two}))
    run_with_fakes(pipeline, "ask", project=FakeProject(tmp_path), services=services)
    assert seen == ["2\n"]


def test_wrong_arguments_fail_as_they_do_in_a_real_run(tmp_path: Path) -> None:
    pipeline = Pipeline("wrong")

    @pipeline.effect
    async def register(ctx: Any) -> None:
        await ctx.register("m", aliases=["challenger"])

    result = run_with_fakes(pipeline, "register", project=FakeProject(tmp_path))
    assert result.error is not None
    assert "unexpected keyword argument 'aliases'" in result.error.what
    with pytest.raises(TypeError, match="aliases"):
        StageContext.register._call("m", aliases=["challenger"])  # type: ignore[call-arg]
