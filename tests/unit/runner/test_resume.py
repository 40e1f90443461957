"""Resuming and intervening on fakes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from rondel.errors import ConfigurationError, RecordError, StageFailed
from rondel.pipeline import Pipeline, Selection
from rondel.record import Capsule, RunFolder, load
from rondel.runner.interactive import Intervention
from rondel.runner.prepare import prepare_run
from rondel.runner.resume import resume, resumed_settings, run_to_resume
from rondel.runner.run import run_plan
from rondel.settings import Settings, load_settings
from rondel.testing import (
    FakeContexts,
    FakeServices,
    RecordingContext,
    RecordingObserver,
    plan_of,
    run_with_fakes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.runner.run import Result
    from rondel.testing import FakeProject


def pipeline() -> Pipeline:
    made = Pipeline("p")
    prepare = made.dvc("prepare")

    @made.effect(needs=[prepare])
    async def announce(ctx: RecordingContext) -> None:
        await ctx.sh("announce")

    made.dvc("train", needs=[announce])
    return made


async def fail(_: RecordingContext) -> None:
    raise StageFailed("broken")


def first_run(project: FakeProject, broken: str = "dvc train") -> Capsule:
    services = FakeServices(contexts=FakeContexts(answers={broken: fail}))
    run_with_fakes(pipeline(), "train", project=project, services=services)
    return load(project.root)[1]


def go_on(
    project: FakeProject,
    name: str = "latest",
    *,
    force: bool = False,
    params: tuple[tuple[str, str], ...] = (),
    targets: tuple[str, ...] = (),
    flags: Mapping[str, Any] | None = None,
) -> tuple[Result, FakeServices]:
    capsule = run_to_resume(project.root, name)
    given = load_settings(project.root, {**(flags or {}), **({"params": params} if params else {})})
    settings, selection = resumed_settings(given, capsule, targets)
    services = FakeServices()
    prepared = prepare_run(
        pipeline(),
        selection,
        replace(settings, force=force),
        {},
        file="ci/main.py",
        resumed=capsule,
        project=project,
    )
    return run_plan(prepared, RecordingObserver(), lambda: ("embedded", services.open)), services


def states(result: Result) -> dict[str, str]:
    return {record.name: record.state for record in result.capsule.stages}


def test_what_succeeded_is_taken_over_and_effects_are_not_repeated(project: FakeProject) -> None:
    failed = first_run(project)
    result, services = go_on(project)
    assert states(result) == {"prepare": "cached", "announce": "cached", "train": "ran"}
    assert services.begun == ["train"]
    assert result.capsule.resumes == failed.id
    assert result.capsule.stage("announce").reason == f"succeeded in run {failed.id}"
    with pytest.raises(RecordError, match="newest run succeeded"):
        run_to_resume(project.root, "latest")
    with pytest.raises(RecordError, match="nothing to resume"):
        run_to_resume(project.root, result.capsule.id)


def test_a_stage_that_succeeded_in_a_failed_run_is_cached_when_only_it_is_asked_for(
    project: FakeProject,
) -> None:
    failed = first_run(project)
    result, services = go_on(project, targets=("announce",))
    assert states(result) == {"prepare": "cached", "announce": "cached"}
    assert result.capsule.stage("announce").reason == f"succeeded in run {failed.id}"
    assert services.opened == 0


def test_a_forgotten_success_is_taken_from_the_record(project: FakeProject) -> None:
    first_run(project)
    for file in (project.root / ".rondel/stages").rglob("*.json"):
        file.unlink()
    result, services = go_on(project)
    assert services.begun == ["train"]
    assert result.capsule.stage("prepare").state == "cached"


def test_results_in_the_run_folder_are_looked_up_by_key(project: FakeProject) -> None:
    capsule = first_run(project)
    stages = [replace(record, aside=record.name == "prepare") for record in capsule.stages]
    found = resume(replace(capsule, stages=stages), plan_of(pipeline(), "train"), project, {})
    assert (found.kept, set(found.done)) == ({"prepare"}, {"announce"})


def test_changed_inputs_are_named_and_refused(project: FakeProject) -> None:
    first_run(project)
    project.dvc["prepare"] = replace(project.dvc["prepare"], files={"raw.csv": "md5:other"})
    with pytest.raises(ConfigurationError) as caught:
        go_on(project)
    assert "prepare: input raw.csv changed from md5:1 to md5:other" in str(caught.value)
    result, services = go_on(project, force=True)
    assert states(result) == {"prepare": "ran", "announce": "cached", "train": "ran"}
    assert services.begun == ["prepare", "train"]


def test_the_failed_stage_itself_may_have_changed(project: FakeProject) -> None:
    first_run(project)
    result, _ = go_on(project, params=(("train.rate", "0.5"),))
    assert states(result)["train"] == "ran"


def test_an_effect_that_failed_half_way_is_not_repeated_either(project: FakeProject) -> None:
    first_run(project, broken="sh announce")
    for force in (False, True):
        with pytest.raises(ConfigurationError, match="announce is an effect stage that had begun"):
            go_on(project, force=force)


def asked(
    project: FakeProject, flags: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> Capsule:
    """A run that failed, which these flags and variables had asked for."""
    settings = load_settings(project.root, flags, environ)
    services = FakeServices(contexts=FakeContexts(answers={"dvc train": fail}))
    run_with_fakes(pipeline(), "train", project=project, services=services, settings=settings)
    return load(project.root)[1]


def test_the_selection_of_the_run_is_used_unless_there_is_another(project: FakeProject) -> None:
    capsule = asked(project, {"from_": "prepare"})
    settings = load_settings(project.root)
    assert resumed_settings(settings, capsule, ())[1] == Selection(targets=("train",), from_="prepare")
    assert resumed_settings(settings, capsule, ("prepare",))[1] == Selection(targets=("prepare",))
    own = load_settings(project.root, {"from_": "train"})
    assert resumed_settings(own, capsule, ())[1] == Selection(from_="train")


ASKED: dict[str, Any] = {
    "cache": False,
    "keep_going": True,
    "push": False,
    "commit": True,
    "approve_by": "bob",
    "params": (("train.rate", "0.5"), ("train.max_iter", "7")),
}


def test_options_of_the_run_are_taken_over(project: FakeProject) -> None:
    capsule = asked(project, ASKED)
    settings, _ = resumed_settings(load_settings(project.root), capsule, ())
    assert {name: getattr(settings, name) for name in ASKED} == ASKED
    assert settings.sources["cache"] == f"run {capsule.id}"


def test_a_run_that_is_resumed_twice_keeps_its_options(project: FakeProject) -> None:
    (project.root / "pyproject.toml").write_text("[tool.rondel]\nkeep-going = true\ncache = false\n")
    asked(project, {"cache": True, "params": ASKED["params"]})
    for _ in range(2):
        services = FakeServices(contexts=FakeContexts(answers={"dvc train": fail}))
        capsule = run_to_resume(project.root, "latest")
        settings, selection = resumed_settings(load_settings(project.root), capsule, ())
        assert settings.cache
        assert settings.params == ASKED["params"]
        run_with_fakes(pipeline(), *selection.targets, project=project, settings=settings, services=services)


@pytest.mark.parametrize("name", ASKED)
def test_options_of_this_command_override_those_of_the_run(project: FakeProject, name: str) -> None:
    other = {
        "cache": True,
        "keep_going": False,
        "push": True,
        "commit": False,
        "approve_by": "eve",
        "params": (("train.rate", "0.9"),),
    }[name]
    capsule = asked(project, ASKED)
    settings, _ = resumed_settings(load_settings(project.root, {name: other}), capsule, ())
    if name == "params":
        assert dict(settings.params) == {"train.rate": "0.9", "train.max_iter": "7"}
    else:
        assert getattr(settings, name) == other
    rest = ASKED.keys() - {name}
    assert {each: getattr(settings, each) for each in rest} == {each: ASKED[each] for each in rest}


def test_a_variable_of_the_run_counts_where_none_is_set_now(project: FakeProject) -> None:
    capsule = asked(project, {}, {"DVC_REMOTE_URL": "s3://bucket", "RONDEL_KEEP_GOING": "1"})
    settings, _ = resumed_settings(load_settings(project.root), capsule, ())
    assert (settings.remote, settings.keep_going) == ("s3://bucket", True)
    here = load_settings(project.root, {}, {"DVC_REMOTE_URL": "s3://other", "RONDEL_KEEP_GOING": "0"})
    settings, _ = resumed_settings(here, capsule, ())
    assert (settings.remote, settings.keep_going) == ("s3://other", False)


def test_a_variable_that_is_always_set_does_not_beat_the_flag_of_the_run(project: FakeProject) -> None:
    capsule = asked(project, {"cache": False}, {"RONDEL_CACHE": "1"})
    settings, _ = resumed_settings(load_settings(project.root, {}, {"RONDEL_CACHE": "1"}), capsule, ())
    assert not settings.cache


def test_the_projects_configuration_is_that_of_now(project: FakeProject) -> None:
    file = project.root / "pyproject.toml"
    file.write_text('[tool.rondel]\nkeep-going = true\nremote = "s3://then"\n')
    capsule = asked(project, {})
    file.write_text('[tool.rondel]\nremote = "s3://now"\n')
    settings, _ = resumed_settings(load_settings(project.root), capsule, ())
    assert (settings.keep_going, settings.remote) == (False, "s3://now")


def test_machine_options_are_not_taken_over(project: FakeProject) -> None:
    machine = {"engine": "dagger", "jobs": 7}
    capsule = asked(project, machine, {"RONDEL_ENGINE_CACHE_SIZE": "1G", "RONDEL_ENGINE_HOST_IMAGE": "never"})
    settings, _ = resumed_settings(load_settings(project.root), capsule, ())
    assert (settings.engine, settings.jobs, settings.cache_size, settings.host_image) == (
        "auto",
        0,
        None,
        "auto",
    )


def test_approvals_and_commits_are_not_taken_over_from_another_clone(project: FakeProject) -> None:
    capsule = replace(asked(project, ASKED), id="20261123-000000-ffffff")
    settings, _ = resumed_settings(load_settings(project.root), capsule, ())
    assert (settings.approve_by, settings.commit, settings.cache) == (None, False, False)


def test_a_record_of_impossible_values_is_an_error(project: FakeProject) -> None:
    capsule = asked(project, ASKED)
    capsule = replace(capsule, options={**capsule.options, "approve_by": 7})
    (project.root / ".rondel/runs" / capsule.id / "capsule.json").unlink()
    RunFolder.of(project.root, capsule.id).save(capsule)
    with pytest.raises(RecordError, match="records an option that can't be read"):
        resumed_settings(load_settings(project.root), capsule, ())


def test_without_cache_what_succeeded_is_taken_over_and_the_rest_runs(project: FakeProject) -> None:
    # All of it succeeded once, so that only --no-cache makes train run.
    run_with_fakes(pipeline(), "train", project=project)
    failed = asked(project, {"cache": False})
    result, services = go_on(project)
    assert states(result) == {"prepare": "cached", "announce": "cached", "train": "ran"}
    assert services.begun == ["train"]
    assert result.capsule.stage("prepare").reason == f"succeeded in run {failed.id}"
    assert "--no-cache" in result.capsule.arguments


# -- intervening


class Answers:
    """Types these answers; EOF after the last."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []

    def __call__(self, question: str) -> str:
        self.questions.append(question)
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)


def interactive(
    project: FakeProject, monkeypatch: pytest.MonkeyPatch, answers: Answers, *targets: str, outcomes: Any
) -> tuple[Result, FakeServices]:
    monkeypatch.setattr(
        "rondel.runner.execute.Intervention", lambda journal: Intervention(journal, read=answers)
    )
    services = FakeServices(contexts=FakeContexts(answers=outcomes))
    settings = Settings(root=project.root, interactive=True, jobs=1)
    return (
        run_with_fakes(pipeline(), *targets, project=project, services=services, settings=settings),
        services,
    )


def fails_once() -> Any:
    calls: list[int] = []

    async def answer(ctx: RecordingContext) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise StageFailed("broken the first time")
        await anyio.sleep(0)

    return answer


def test_retry_reads_the_workspace_again(project: FakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers("nonsense", "r")
    result, services = interactive(
        project, monkeypatch, answers, "prepare", outcomes={"dvc prepare": fails_once()}
    )
    assert result.exit_code == 0
    assert result.capsule.stage("prepare").attempts == 2
    assert services.contexts.refreshed == 1
    assert len(answers.questions) == 2
    assert services.ended == [("prepare", "failed"), ("prepare", "ran")]


@pytest.mark.parametrize("answer", ["q", "stop", None])
def test_stop_and_the_end_of_input_end_the_run(
    project: FakeProject, monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    answers = Answers(*([answer] if answer else []))
    result, _ = interactive(project, monkeypatch, answers, "train", outcomes={"dvc prepare": fail})
    assert result.exit_code == StageFailed.exit_code
    assert states(result) == {"prepare": "failed", "announce": "skipped", "train": "skipped"}


def test_retry_is_offered_without_a_shell(
    project: FakeProject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def shell(_self: RecordingContext) -> bool:
        raise RuntimeError("the container is gone")

    monkeypatch.setattr(RecordingContext, "shell", shell)
    result, _ = interactive(
        project, monkeypatch, Answers("r"), "prepare", outcomes={"dvc prepare": fails_once()}
    )
    assert result.exit_code == 0
    assert "can't open a shell: the container is gone" in capsys.readouterr().err


def test_an_effect_is_never_offered_again(project: FakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers("r", "k")
    result, services = interactive(project, monkeypatch, answers, "train", outcomes={"sh announce": fail})
    assert all("retry" not in question for question in answers.questions)
    assert len(answers.questions) == 2
    assert services.begun.count("announce") == 1
    assert states(result) == {"prepare": "ran", "announce": "failed", "train": "skipped"}


def test_without_a_run_there_is_nothing_to_resume(project: FakeProject) -> None:
    with pytest.raises(RecordError, match="there is no run yet"):
        run_to_resume(project.root, "latest")


def test_a_running_run_is_not_resumed(project: FakeProject) -> None:
    capsule = first_run(project)
    folder = RunFolder.of(project.root, capsule.id)
    folder.save(replace(capsule, state="running"))
    lock = folder.lock()
    for name in ("latest", capsule.id):
        with pytest.raises(RecordError, match="is still running"):
            run_to_resume(project.root, name)
    lock.close()
    assert run_to_resume(project.root, "latest").id == capsule.id
