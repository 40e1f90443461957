"""Whole runs on fakes that fail: cancellation, retries, time limits, signals, an engine that goes away."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from straight_pipeline import states, straight

from rondel.errors import (
    DataError,
    EngineUnavailable,
    GateFailed,
    Interrupted,
    StageFailed,
)
from rondel.pipeline import Pipeline
from rondel.record import StageRecord, load
from rondel.record.folder import short_path
from rondel.runner import attempt
from rondel.settings import Settings
from rondel.testing import FakeContexts, FakeServices, RecordingContext, run_with_fakes

if TYPE_CHECKING:
    from rondel.testing import FakeProject


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
    services = FakeServices(FakeContexts(answers={"dvc train": fail}))
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
    assert services.contexts.discarded == ["train"]
    assert services.ended == [("prepare", "ran"), ("train", "failed")]
    assert (result.capsule.state, result.capsule.exit_code) == ("failed", 10)


def test_a_problem_with_the_shell_does_not_hide_the_failure(
    project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failed(_self: RecordingContext, _error: BaseException) -> None:
        raise RuntimeError("the engine has no terminal")

    monkeypatch.setattr(RecordingContext, "failed", failed)
    services = FakeServices(FakeContexts(answers={"dvc train": fail}))
    result = run_with_fakes(straight(), "train", project=project, services=services)
    assert result.exit_code == 10
    assert "a command ended with exit code 7" in str(result.error)
    log = (result.folder.path / str(result.capsule.stage("train").log)).read_text()
    assert "can't open a shell in the failed container: the engine has no terminal" in log


def test_a_failed_attempt_keeps_the_earlier_success(project: FakeProject) -> None:
    first = run_with_fakes(straight(), "train", project=project)
    project.dvc["train"] = replace(project.dvc["train"], command="python broken.py")
    services = FakeServices(FakeContexts(answers={"dvc train": fail}))
    run_with_fakes(straight(), "train", project=project, services=services)
    again = run_with_fakes(straight(), "train", project=project)
    assert states(again) == {"prepare": "cached", "train": "ran"}, "what failed runs again"
    project.dvc["train"] = replace(project.dvc["train"], command="python train.py")
    back = run_with_fakes(straight(), "train", project=project)
    assert states(back) == {"prepare": "cached", "train": "cached"}
    assert first.capsule.id in back.capsule.stage("train").reason


def fork() -> tuple[Pipeline, FakeContexts]:
    """Three chains: one that fails once the last has begun, what needs it, and one that takes longer."""
    pipeline = Pipeline()
    begun: list[str] = []

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
        begun.append("slow")
        await anyio.sleep(0.05)

    async def fail_then(ctx: RecordingContext) -> None:
        while not begun:
            await anyio.sleep(0.001)
        await fail(ctx)

    return pipeline, FakeContexts(answers={"sh false": fail_then, "sh slow": wait})


def test_a_failure_cancels_what_runs_and_skips_what_needs_it(project: FakeProject) -> None:
    pipeline, environment = fork()
    services = FakeServices(environment)
    result = run_with_fakes(pipeline, "after", "slow", project=project, services=services)
    assert states(result) == {"broken": "failed", "after": "skipped", "slow": "cancelled"}
    assert sorted(environment.discarded) == ["broken", "slow"]
    assert ("slow", "cancelled") in services.ended
    assert services.closed == 1


def test_keep_going_lets_independent_stages_end(project: FakeProject) -> None:
    pipeline, environment = fork()
    settings = Settings(root=project.root, keep_going=True, jobs=4)
    services = FakeServices(environment)
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

    services = FakeServices(FakeContexts(answers={"dvc train": third_time}))
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

    services = FakeServices(FakeContexts(answers={"gate m": refuse}))
    result = run_with_fakes(pipeline, "evaluate", project=project, services=services)
    assert result.exit_code == 11
    assert services.begun == ["evaluate"]


def test_an_effect_always_runs_and_only_once(project: FakeProject) -> None:
    pipeline = Pipeline()

    @pipeline.effect
    async def register(ctx: Any) -> None:
        await ctx.sh("register")

    services = FakeServices(FakeContexts(answers={"sh register": fail}))
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

    services = FakeServices(FakeContexts(answers={"dvc train": forever}))
    result = run_with_fakes(pipeline, "train", project=project, services=services)
    assert isinstance(result.error, StageFailed)
    assert "exceeded its time limit of 0.01 s" in result.error.render()
    assert services.contexts.discarded == ["train"]


def test_a_time_out_of_the_stage_s_own_code_is_not_its_time_limit(project: FakeProject) -> None:
    pipeline = Pipeline()

    @pipeline.stage(timeout=60)
    async def asks(ctx: Any) -> None:
        raise TimeoutError("the server said nothing")

    result = run_with_fakes(pipeline, "asks", project=project)
    assert "raised TimeoutError: the server said nothing" in str(result.error)


def test_a_conflict_is_a_data_error_and_the_success_is_not_remembered(project: FakeProject) -> None:
    services = FakeServices(FakeContexts(conflicts={"prepare"}))
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
    assert f"at {short_path(Path(__file__))}:" in text
    assert '{}["no such key"]' in text


def test_an_engine_that_goes_away_before_the_signal_comes_is_an_interrupt(project: FakeProject) -> None:
    """As a Dagger CLI does it at ^C: it breaks the session off, and then passes the signal on."""
    from dagger import TransportError

    gone = TransportError("Unexpected response from engine: Server error '502 Bad Gateway'")

    async def broken_off(ctx: RecordingContext) -> None:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        raise gone

    services = FakeServices(FakeContexts(answers={"dvc prepare": broken_off}))
    result = run_with_fakes(straight(), "train", project=project, services=services)
    assert isinstance(result.error, Interrupted)
    record = result.capsule.stage("prepare")
    assert (record.state, record.seconds > 0) == ("cancelled", True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_stages_and_the_capsule_says_so(project: FakeProject, number: int) -> None:
    async def interrupt(ctx: RecordingContext) -> None:
        os.kill(os.getpid(), number)
        await anyio.sleep_forever()

    services = FakeServices(FakeContexts(answers={"dvc prepare": interrupt}))
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


def test_a_record_of_a_stage_that_never_started_is_not_marked_as_running(project: FakeProject) -> None:
    services = FakeServices(FakeContexts(answers={"dvc prepare": fail}))
    result = run_with_fakes(straight(), "train", project=project, services=services)
    record: StageRecord = result.capsule.stage("train")
    assert (record.state, record.started, record.log) == ("skipped", None, None)


@pytest.mark.parametrize("answered", [True, False], ids=["answered by the launcher", "broken off"])
def test_an_engine_that_went_away_is_reported_as_such(
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


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("fatal: not a git repository (or any of the parent directories): .git", "git=True"),
        ("git.exc.InvalidGitRepositoryError: /work", "git=True"),
        ("sh: 1: git: not found", "the image has no git"),
    ],
)
def test_a_stage_without_the_repository_gets_a_hint(project: FakeProject, said: str, hint: str) -> None:
    async def lacks(ctx: RecordingContext) -> None:
        ctx.recorder.output(f"{said}\n" + "a line\n" * 50)
        raise StageFailed("the command ended with exit code 128")

    services = FakeServices(FakeContexts(answers={"dvc train": lacks}))
    result = run_with_fakes(straight(), "train", project=project, services=services)
    assert result.error is not None
    assert hint in str(result.error.hint)
    assert "RONDEL_GIT_COMMIT" in str(result.error.hint)
