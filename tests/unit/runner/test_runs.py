"""Whole runs on fakes: order, keys, effects, the capsule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from straight_pipeline import states, straight

from rondel.errors import (
    ConfigurationError,
)
from rondel.pipeline import Pipeline
from rondel.record import Capsule, load
from rondel.settings import Settings
from rondel.testing import FakeContexts, FakeServices, RecordingContext, RecordingObserver, run_with_fakes

if TYPE_CHECKING:
    from rondel.testing import FakeProject


def test_stages_run_in_order_and_the_capsule_says_so(project: FakeProject) -> None:
    services = FakeServices()
    result = run_with_fakes(straight(), "train", project=project, services=services)
    assert result.exit_code == 0
    assert states(result) == {"prepare": "ran", "train": "ran"}
    assert services.contexts.committed == ["prepare", "train"]
    assert services.ended == [("prepare", "ran"), ("train", "ran")]
    assert (services.opened, services.closed) == (1, 1)
    _, saved = load(project.root)
    assert saved == result.capsule
    assert saved.state == "succeeded"
    assert saved.finished is not None
    record = saved.stage("train")
    assert record.needs == ["prepare"]
    assert [(use.kind, use.name) for use in record.uses] == [("dvc", "train")]
    assert record.key is not None
    assert record.key.parts["parameters"] == {"train.max_iter": 100, "train.rate": 0.1}
    assert record.mlflow is not None
    assert record.started is not None
    assert record.finished is not None
    assert (result.folder.path / str(record.log)).read_text().count("▸ dvc train") == 1


def test_a_second_run_does_nothing_and_starts_nothing(project: FakeProject) -> None:
    run_with_fakes(straight(), "train", project=project)
    services = FakeServices()
    result = run_with_fakes(straight(), "train", project=project, services=services)
    assert states(result) == {"prepare": "cached", "train": "cached"}
    assert services.opened == 0
    assert load(project.root)[1] == result.capsule
    assert result.capsule.state == "succeeded"


def test_a_changed_parameter_runs_only_what_uses_it_and_says_why(project: FakeProject) -> None:
    run_with_fakes(straight(), "train", project=project)
    settings = Settings(root=project.root, params=(("train.max_iter", "400"),))
    result = run_with_fakes(straight(), "train", project=project, settings=settings)
    assert states(result) == {"prepare": "cached", "train": "ran"}
    assert result.capsule.stage("train").reason == "parameter train.max_iter changed from 100 to 400"
    assert result.capsule.overrides == {"train.max_iter": "400"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p.recipe.update(containerfile="2"), "the image's containerfile changed"),
        (lambda p: p.lost.add("prepare"), "the outputs of prepare are not in place"),
        (
            lambda p: p.dvc.update(prepare=replace(p.dvc["prepare"], files={"raw.csv": "md5:2"})),
            "input raw.csv changed",
        ),
        (
            lambda p: p.dvc.update(prepare=replace(p.dvc["prepare"], command="other")),
            "command of dvc prepare changed",
        ),
    ],
)
def test_what_makes_a_stage_run_again_is_named(project: FakeProject, change: Any, reason: str) -> None:
    run_with_fakes(straight(), "prepare", project=project)
    change(project)
    result = run_with_fakes(straight(), "prepare", project=project)
    assert states(result) == {"prepare": "ran"}
    assert result.capsule.stage("prepare").reason == reason


def test_no_cache_runs_everything(project: FakeProject) -> None:
    run_with_fakes(straight(), "train", project=project)
    settings = Settings(root=project.root, cache=False)
    result = run_with_fakes(straight(), "train", project=project, settings=settings)
    assert states(result) == {"prepare": "ran", "train": "ran"}


def test_the_machine_counts_only_for_an_image_made_from_it(project: FakeProject) -> None:
    run_with_fakes(straight(), "prepare", project=project)
    project.machine["distribution"] = "another"
    # The fake ground's image does not come from the host.
    assert states(run_with_fakes(straight(), "prepare", project=project)) == {"prepare": "cached"}


def test_independent_stages_run_at_once(project: FakeProject) -> None:
    pipeline = Pipeline()
    pipeline.dvc("prepare")
    pipeline.dvc("train")
    there = {"prepare": anyio.Event, "train": anyio.Event}
    events: dict[str, anyio.Event] = {}

    async def meet(ctx: RecordingContext) -> None:
        for name, make in there.items():
            events.setdefault(name, make())
        events[ctx.stage.name].set()
        with anyio.fail_after(5):
            for event in events.values():
                await event.wait()

    services = FakeServices(FakeContexts(answers={"dvc prepare": meet, "dvc train": meet}))
    result = run_with_fakes(pipeline, "prepare", "train", project=project, services=services)
    assert states(result) == {"prepare": "ran", "train": "ran"}


def test_jobs_limits_how_many_run_at_once(project: FakeProject) -> None:
    pipeline = Pipeline()
    pipeline.dvc("prepare")
    pipeline.dvc("train")
    running: list[int] = [0, 0]

    async def count(ctx: RecordingContext) -> None:
        running[0] += 1
        running[1] = max(running)
        await anyio.sleep(0.01)
        running[0] -= 1

    services = FakeServices(FakeContexts(answers={"dvc prepare": count, "dvc train": count}))
    settings = Settings(root=project.root, jobs=1)
    run_with_fakes(pipeline, "prepare", "train", project=project, services=services, settings=settings)
    assert running[1] == 1


def test_the_capsule_is_true_while_a_stage_runs(project: FakeProject) -> None:
    seen: list[Capsule] = []

    async def look(ctx: RecordingContext) -> None:
        seen.append(load(project.root)[1])

    services = FakeServices(FakeContexts(answers={"dvc train": look}))
    run_with_fakes(straight(), "train", project=project, services=services)
    (capsule,) = seen
    assert capsule.state == "running"
    assert [record.state for record in capsule.stages] == ["ran", "running"]


def test_secrets_do_not_reach_log_or_capsule(project: FakeProject) -> None:
    async def leak(ctx: RecordingContext) -> None:
        ctx.recorder.output("token is hunter2hunter2\n")
        ctx.recorder.command(["curl", "-H", "Bearer hunter2hunter2"])
        raise RuntimeError("could not use hunter2hunter2")

    services = FakeServices(FakeContexts(answers={"dvc train": leak}))
    settings = Settings(root=project.root, secrets=("TOKEN",))
    result = run_with_fakes(
        straight(),
        "train",
        project=project,
        services=services,
        settings=settings,
        environ={"TOKEN": "hunter2hunter2"},
    )
    assert result.capsule.secrets == ["TOKEN"]
    for file in (path for path in project.root.rglob("*") if path.is_file()):
        assert b"hunter2" not in file.read_bytes(), file
    assert "hunter2" not in str(result.error)


def test_the_champion_is_part_of_a_gates_key(project: FakeProject) -> None:
    pipeline = Pipeline()

    @pipeline.stage
    async def evaluate(ctx: Any) -> None:
        await ctx.gate("roc_auc > champion.roc_auc", model="m")

    run_with_fakes(pipeline, "evaluate", project=project)
    assert states(run_with_fakes(pipeline, "evaluate", project=project)) == {"evaluate": "cached"}
    project.champions["m"] = "3"
    result = run_with_fakes(pipeline, "evaluate", project=project)
    assert result.capsule.stage("evaluate").reason == "champion of m changed from None to 3"


def test_the_metrics_are_part_of_a_gates_key(project: FakeProject) -> None:
    pipeline = Pipeline()

    @pipeline.stage
    async def judge(ctx: Any) -> None:
        await ctx.gate("roc_auc > 0.9", metrics="metrics.json")

    project.files["metrics.json"] = "md5:a"
    run_with_fakes(pipeline, "judge", project=project)
    assert states(run_with_fakes(pipeline, "judge", project=project)) == {"judge": "cached"}
    project.files["metrics.json"] = "md5:b"
    result = run_with_fakes(pipeline, "judge", project=project)
    assert result.capsule.stage("judge").reason == "input metrics.json changed"


def test_a_shell_stage_depends_on_the_whole_workspace(project: FakeProject) -> None:
    pipeline = Pipeline()

    @pipeline.stage
    async def script(ctx: Any) -> None:
        await ctx.sh("python script.py")

    run_with_fakes(pipeline, "script", project=project)
    project.files["ci/main.py"] = "md5:b"
    result = run_with_fakes(pipeline, "script", project=project)
    assert result.capsule.stage("script").reason == "input ci/main.py changed"


def test_an_output_that_the_user_changed_is_made_again(project: FakeProject) -> None:
    async def output(ctx: RecordingContext) -> None:
        ctx.recorder.outputs({"model.txt": "md5:m", "data/far.parquet": "md5:f"})

    services = FakeServices(FakeContexts(answers={"dvc train": output}))
    pipeline = Pipeline()
    pipeline.dvc("train")
    run_with_fakes(pipeline, "train", project=project, services=services)
    assert states(run_with_fakes(pipeline, "train", project=project)) == {"train": "cached"}
    project.files["model.txt"] = "md5:changed"
    result = run_with_fakes(pipeline, "train", project=project)
    assert result.capsule.stage("train").reason == "output model.txt was changed"


def test_an_observer_sees_each_state_once(project: FakeProject) -> None:
    observer = RecordingObserver()
    run_with_fakes(straight(), "train", project=project, observer=observer)
    assert [event for event in observer.events if not event[1].startswith("step")] == [
        ("prepare", "running"),
        ("prepare", "ran"),
        ("train", "running"),
        ("train", "ran"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.max_itr=3", "did you mean 'train.max_iter'"),
        ("train.max_iter=[1", "not valid YAML"),
        ("train.max_iter=!!int ", "not valid YAML"),
        ("train.max_iter=2024-99-99", "quote it"),
    ],
)
def test_a_wrong_parameter_starts_nothing(project: FakeProject, text: str, message: str) -> None:
    name, _, value = text.partition("=")
    settings = Settings(root=project.root, params=((name, value),))
    services = FakeServices()
    with pytest.raises(ConfigurationError, match=message):
        run_with_fakes(straight(), "train", project=project, services=services, settings=settings)
    assert services.opened == 0
    assert not (project.root / ".rondel").exists()


def test_an_unknown_dvc_stage_and_a_bad_rule_are_reported_together(project: FakeProject) -> None:
    pipeline = Pipeline()

    @pipeline.stage
    async def evaluate(ctx: Any) -> None:
        await ctx.dvc("trian")
        await ctx.gate("roc_auc >>= 3")

    with pytest.raises(ConfigurationError) as caught:
        run_with_fakes(pipeline, "evaluate", project=project)
    text = caught.value.render()
    assert "2 mistakes" in text
    assert "did you mean 'train'?" in text
    line = evaluate.calls[1].place
    assert line is not None
    assert f"test_runs.py:{line.line}" in text


def test_only_a_stage_with_the_repository_runs_for_a_new_commit(project: FakeProject) -> None:
    pipeline = Pipeline()
    pipeline.dvc("prepare", git=True)
    pipeline.dvc("train")
    project.head = "1" * 40
    run_with_fakes(pipeline, "prepare", "train", project=project)
    project.head = "2" * 40
    result = run_with_fakes(pipeline, "prepare", "train", project=project)
    assert states(result) == {"prepare": "ran", "train": "cached"}
    assert result.capsule.stage("prepare").reason == "input git commit changed"
