"""Whole runs on fakes: order, cancellation, failures, retries, time limits, signals, the capsule."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from rondel.errors import (
    ConfigurationError,
    DataError,
    EngineUnavailable,
    GateFailed,
    Interrupted,
    StageFailed,
)
from rondel.pipeline import Pipeline
from rondel.record import Capsule, StageRecord, load
from rondel.record.folder import shown
from rondel.runner import attempt
from rondel.settings import Settings
from rondel.testing import FakeGround, FakeServices, RecordingContext, RecordingObserver, run_with_fakes

if TYPE_CHECKING:
    from rondel.runner.run import Result
    from rondel.testing import FakeProject


def states(result: Result) -> dict[str, str]:
    return {record.name: record.state for record in result.capsule.stages}


def straight() -> Pipeline:
    pipeline = Pipeline("straight")
    prepare = pipeline.dvc("prepare")
    pipeline.dvc("train", needs=[prepare])
    return pipeline


def test_stages_run_in_order_and_the_capsule_says_so(project: FakeProject) -> None:
    services = FakeServices()
    result = run_with_fakes(straight(), "train", project=project, services=services)
    assert result.exit_code == 0
    assert states(result) == {"prepare": "ran", "train": "ran"}
    assert services.ground.settled == ["prepare", "train"]
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

    services = FakeServices(FakeGround(answers={"dvc prepare": meet, "dvc train": meet}))
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

    services = FakeServices(FakeGround(answers={"dvc prepare": count, "dvc train": count}))
    settings = Settings(root=project.root, jobs=1)
    run_with_fakes(pipeline, "prepare", "train", project=project, services=services, settings=settings)
    assert running[1] == 1


class ExecError(Exception):
    """Looks as dagger.ExecError does."""

    def __init__(self) -> None:
        super().__init__("process ended")
        self.command = ["sh", "-c", "python train.py --fast"]
        self.exit_code = 7
        self.stdout = "epoch 1\n"
        self.stderr = "ValueError: no such column\n"


async def fail(ctx: RecordingContext) -> None:
    raise ExecError


def test_a_failed_command_is_explained(project: FakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    services = FakeServices(FakeGround(answers={"dvc train": fail}))
    result = run_with_fakes(straight(), "train", project=project, services=services)
    assert isinstance(result.error, StageFailed)
    assert result.exit_code == 10
    text = result.error.render()
    assert "stage 'train': a command ended with exit code 7" in text
    assert "command: sh -c 'python train.py --fast'" in text
    assert "│ ValueError: no such column" in text
    assert f"\n  log: .rondel/runs/{result.folder.path.name}/logs/train.log\n" in text
    assert f"\n  capsule: .rondel/runs/{result.folder.path.name}/capsule.json" in text
    assert states(result) == {"prepare": "ran", "train": "failed"}
    record = result.capsule.stage("train")
    assert record.exit_code == 7
    assert record.commands[-1].args == ["sh", "-c", "python train.py --fast"]
    assert "no such column" in (result.folder.path / str(record.log)).read_text()
    assert services.ground.abandoned == ["train"]
    assert services.ended == [("prepare", "ran"), ("train", "failed")]
    assert (result.capsule.state, result.capsule.exit_code) == ("failed", 10)


def test_what_goes_wrong_with_the_shell_hides_nothing_of_the_failure(
    project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failed(_self: RecordingContext, _error: BaseException) -> None:
        raise RuntimeError("the engine has no terminal")

    monkeypatch.setattr(RecordingContext, "failed", failed)
    services = FakeServices(FakeGround(answers={"dvc train": fail}))
    result = run_with_fakes(straight(), "train", project=project, services=services)
    assert result.exit_code == 10
    assert "a command ended with exit code 7" in str(result.error)
    log = (result.folder.path / str(result.capsule.stage("train").log)).read_text()
    assert "no shell where it failed: the engine has no terminal" in log


def test_a_failed_stage_runs_again_the_next_time(project: FakeProject) -> None:
    run_with_fakes(straight(), "train", project=project)
    project.dvc["train"] = replace(project.dvc["train"], command="python broken.py")
    services = FakeServices(FakeGround(answers={"dvc train": fail}))
    run_with_fakes(straight(), "train", project=project, services=services)
    project.dvc["train"] = replace(project.dvc["train"], command="python train.py")
    result = run_with_fakes(straight(), "train", project=project)
    assert states(result) == {"prepare": "cached", "train": "ran"}


def fork() -> tuple[Pipeline, FakeGround]:
    """Three chains: one that fails at once, what needs it, and one that takes longer."""
    pipeline = Pipeline()

    @pipeline.stage
    async def broken(ctx: Any) -> None:
        await ctx.sh("false")

    @pipeline.stage(needs=[broken])
    async def after(ctx: Any) -> None:
        await ctx.sh("true")

    @pipeline.stage
    async def slow(ctx: Any) -> None:
        await ctx.sh("slow")

    async def wait(ctx: RecordingContext) -> None:
        await anyio.sleep(0.05)

    return pipeline, FakeGround(answers={"sh false": fail, "sh slow": wait})


def test_a_failure_cancels_what_runs_and_skips_what_needs_it(project: FakeProject) -> None:
    pipeline, ground = fork()
    services = FakeServices(ground)
    result = run_with_fakes(pipeline, "after", "slow", project=project, services=services)
    assert states(result) == {"broken": "failed", "after": "skipped", "slow": "cancelled"}
    assert sorted(ground.abandoned) == ["broken", "slow"]
    assert ("slow", "cancelled") in services.ended
    assert services.closed == 1


def test_keep_going_lets_independent_stages_end(project: FakeProject) -> None:
    pipeline, ground = fork()
    settings = Settings(root=project.root, keep_going=True, jobs=4)
    services = FakeServices(ground)
    result = run_with_fakes(pipeline, "after", "slow", project=project, services=services, settings=settings)
    assert states(result) == {"broken": "failed", "after": "skipped", "slow": "ran"}
    assert result.capsule.stage("after").reason == "broken failed"
    assert result.exit_code == 10


def test_a_pure_stage_is_tried_again(project: FakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "FIRST_PAUSE", 0.001)
    pipeline = Pipeline()
    pipeline.dvc("train", retries=2)
    tries: list[int] = []

    async def third_time(ctx: RecordingContext) -> None:
        tries.append(1)
        ctx.recorder.metrics({"lost" if len(tries) < 3 else "kept": 1.0})
        if len(tries) < 3:
            raise ExecError

    services = FakeServices(FakeGround(answers={"dvc train": third_time}))
    result = run_with_fakes(pipeline, "train", project=project, services=services)
    assert states(result) == {"train": "ran"}
    record = result.capsule.stage("train")
    assert record.attempts == 3
    assert record.metrics == {"kept": 1.0}
    assert [state for _, state in services.ended] == ["failed", "failed", "ran"]


def test_a_failed_gate_is_not_tried_again(project: FakeProject) -> None:
    pipeline = Pipeline()

    @pipeline.stage(retries=3)
    async def evaluate(ctx: Any) -> None:
        await ctx.gate("roc_auc > 0.9", model="m")

    async def refuse(ctx: RecordingContext) -> None:
        raise GateFailed("roc_auc is 0.7")

    services = FakeServices(FakeGround(answers={"gate m": refuse}))
    result = run_with_fakes(pipeline, "evaluate", project=project, services=services)
    assert result.exit_code == 11
    assert services.begun == ["evaluate"]


def test_an_effect_always_runs_and_only_once(project: FakeProject) -> None:
    pipeline = Pipeline()

    @pipeline.effect
    async def register(ctx: Any) -> None:
        await ctx.sh("register")

    services = FakeServices(FakeGround(answers={"sh register": fail}))
    assert states(run_with_fakes(pipeline, "register", project=project, services=services)) == {
        "register": "failed"
    }
    assert services.begun == ["register"]
    for _ in range(2):
        assert states(run_with_fakes(pipeline, "register", project=project)) == {"register": "ran"}


def test_a_stage_that_takes_too_long_fails(project: FakeProject) -> None:
    pipeline = Pipeline()
    pipeline.dvc("train", timeout=0.01)

    async def forever(ctx: RecordingContext) -> None:
        await anyio.sleep_forever()

    services = FakeServices(FakeGround(answers={"dvc train": forever}))
    result = run_with_fakes(pipeline, "train", project=project, services=services)
    assert isinstance(result.error, StageFailed)
    assert "took longer than its 0.01 s" in result.error.render()
    assert services.ground.abandoned == ["train"]


def test_a_time_out_of_the_stage_s_own_code_is_not_its_time_limit(project: FakeProject) -> None:
    pipeline = Pipeline()

    @pipeline.stage(timeout=60)
    async def asks(ctx: Any) -> None:
        raise TimeoutError("the server said nothing")

    result = run_with_fakes(pipeline, "asks", project=project)
    assert "raised TimeoutError: the server said nothing" in str(result.error)


def test_a_conflict_is_a_data_error_and_the_success_is_not_remembered(project: FakeProject) -> None:
    services = FakeServices(FakeGround(conflicts={"prepare"}))
    result = run_with_fakes(straight(), "prepare", project=project, services=services)
    assert isinstance(result.error, DataError)
    assert result.exit_code == 23
    assert states(run_with_fakes(straight(), "prepare", project=project)) == {"prepare": "ran"}


def test_an_exception_in_a_stage_names_its_line(project: FakeProject) -> None:
    pipeline = Pipeline()

    @pipeline.stage
    async def broken(ctx: Any) -> None:
        {}["no such key"]

    result = run_with_fakes(pipeline, "broken", project=project)
    text = str(result.error)
    assert "stage 'broken' raised KeyError: 'no such key'" in text
    assert f"at {shown(Path(__file__))}:" in text
    assert '{}["no such key"]' in text


def test_an_engine_that_goes_away_before_the_signal_comes_is_an_interrupt(project: FakeProject) -> None:
    """As a Dagger CLI does it at ^C: it breaks the session off, and then passes the signal on."""
    from dagger import TransportError

    gone = TransportError("Unexpected response from engine: Server error '502 Bad Gateway'")

    async def broken_off(ctx: RecordingContext) -> None:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        raise gone

    services = FakeServices(FakeGround(answers={"dvc prepare": broken_off}))
    result = run_with_fakes(straight(), "train", project=project, services=services)
    assert isinstance(result.error, Interrupted)
    record = result.capsule.stage("prepare")
    assert (record.state, record.seconds > 0) == ("cancelled", True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_stages_and_the_capsule_says_so(project: FakeProject, number: int) -> None:
    async def interrupt(ctx: RecordingContext) -> None:
        os.kill(os.getpid(), number)
        await anyio.sleep_forever()

    services = FakeServices(FakeGround(answers={"dvc prepare": interrupt}))
    result = run_with_fakes(straight(), "train", project=project, services=services)
    assert isinstance(result.error, Interrupted)
    assert result.exit_code == 130
    assert result.capsule.state == "interrupted"
    assert states(result) == {"prepare": "cancelled", "train": "skipped"}
    assert services.ended == [("prepare", "cancelled")]
    assert services.closed == 1
    assert load(project.root)[1] == result.capsule


def test_services_that_do_not_come_up_leave_a_capsule(project: FakeProject) -> None:
    class Broken(FakeServices):
        def open(self, *_: Any) -> Any:
            raise EngineUnavailable("no engine")

    result = run_with_fakes(straight(), "train", project=project, services=Broken())
    assert result.exit_code == 21
    assert load(project.root)[1].error == "no engine"
    assert states(result) == {"prepare": "skipped", "train": "skipped"}


def test_the_capsule_is_true_while_a_stage_runs(project: FakeProject) -> None:
    seen: list[Capsule] = []

    async def look(ctx: RecordingContext) -> None:
        seen.append(load(project.root)[1])

    services = FakeServices(FakeGround(answers={"dvc train": look}))
    run_with_fakes(straight(), "train", project=project, services=services)
    (capsule,) = seen
    assert capsule.state == "running"
    assert [record.state for record in capsule.stages] == ["ran", "running"]


def test_secrets_do_not_reach_log_or_capsule(project: FakeProject) -> None:
    async def leak(ctx: RecordingContext) -> None:
        ctx.recorder.output("token is hunter2hunter2\n")
        ctx.recorder.command(["curl", "-H", "Bearer hunter2hunter2"])
        raise RuntimeError("could not use hunter2hunter2")

    services = FakeServices(FakeGround(answers={"dvc train": leak}))
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

    services = FakeServices(FakeGround(answers={"dvc train": output}))
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
        ("train.max_iter=2024-99-99", "put it in quotes"),
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


def test_an_unknown_dvc_stage_and_a_bad_rule_are_told_together(project: FakeProject) -> None:
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
    line = evaluate.uses[1].place
    assert line is not None
    assert f"test_runs.py:{line.line}" in text


def test_a_record_of_a_stage_that_never_started_is_not_marked_as_running(project: FakeProject) -> None:
    services = FakeServices(FakeGround(answers={"dvc prepare": fail}))
    result = run_with_fakes(straight(), "train", project=project, services=services)
    record: StageRecord = result.capsule.stage("train")
    assert (record.state, record.started, record.log) == ("skipped", None, None)


@pytest.mark.parametrize("answered", [True, False], ids=["answered by the launcher", "broken off"])
def test_an_engine_that_went_away_is_no_failure_of_the_stage(
    project: FakeProject, answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gql
    from dagger import QueryError, TransportError
    from dagger._exceptions import QueryErrorValue

    told = QueryErrorValue("the embedded engine went away", extensions={"_type": "ENGINE_UNAVAILABLE"})
    gone = QueryError([told], gql.gql("{version}")) if answered else TransportError("connection reset")
    pipeline = Pipeline("gone")

    @pipeline.stage(retries=1)
    async def work(ctx: RecordingContext) -> None:
        raise gone

    monkeypatch.setattr(attempt, "SIGNAL_SECONDS", 0.0)
    result = run_with_fakes(pipeline, "work", project=project, services=FakeServices())
    assert isinstance(result.error, EngineUnavailable)
    assert result.exit_code == 21
    assert "the engine went away while it ran" in result.error.what
