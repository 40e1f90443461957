"""Which jobs a pipeline becomes."""

from __future__ import annotations

import pytest

from rondel.ci.wrappers.jobs import MARGIN_MINUTES, Job, jobs_of, levels_of
from rondel.errors import ConfigurationError
from rondel.pipeline import Pipeline


async def body(ctx: object) -> None:
    pass


def pipeline() -> Pipeline:
    """prepare → train (a matrix) → check; deploy waits for an approval, announce for it; monitor is scheduled."""
    made = Pipeline("p")
    prepare = made.stage(timeout=300, retries=1)(named("prepare"))
    train = made.stage(needs=[prepare], matrix={"depth": [1, 2]}, timeout=600)(named("train"))
    check = made.stage(needs=[train], timeout=60)(named("check"))
    deploy = made.effect(needs=[check], approval="production")(named("deploy"))
    made.effect(needs=[deploy])(named("announce"))
    made.effect(on="schedule")(named("monitor"))
    return made


def named(name: str):
    async def function(ctx: object) -> None:
        pass

    function.__name__ = name
    return function


CHANGES = {"prepare": ("prepare.py",), "train[depth=1]": ("train.py",)}


def test_a_single_job_runs_all_that_runs_by_itself() -> None:
    jobs = {
        job.name: job for job in jobs_of(pipeline().stages(), CHANGES, file="ci/main.py", layout="single")
    }
    assert list(jobs) == ["pipeline", "deploy", "announce", "monitor"]
    assert jobs["pipeline"].command == "dagger run python ci/main.py check"
    assert jobs["deploy"].command == "dagger run python ci/main.py deploy --only"
    assert jobs["deploy"].needs == ("pipeline",)
    assert jobs["deploy"].approval == "production"
    assert jobs["announce"].needs == ("deploy",)
    assert jobs["monitor"].scheduled
    assert jobs["monitor"].needs == ()


def test_a_job_for_each_stage_has_the_graphs_needs() -> None:
    jobs = {
        job.name: job for job in jobs_of(pipeline().stages(), CHANGES, file="ci/main.py", layout="stages")
    }
    assert {name: job.needs for name, job in jobs.items()} == {
        "prepare": (),
        "train": ("prepare",),
        "check": ("train",),
        "deploy": ("check",),
        "announce": ("deploy",),
        "monitor": (),
    }
    assert jobs["train"].command == "dagger run python ci/main.py train --only"
    assert levels_of(tuple(jobs.values()))["announce"] == 5


def test_a_job_starts_with_those_that_it_stands_on_and_that_stand_on_it() -> None:
    jobs = {
        job.name: job for job in jobs_of(pipeline().stages(), CHANGES, file="ci/main.py", layout="stages")
    }
    assert jobs["prepare"].changes == ("prepare.py", "train.py")
    assert jobs["train"].changes == ("prepare.py", "train.py")
    assert jobs["check"].changes == ("prepare.py", "train.py")


def test_names_are_quoted_for_the_shell() -> None:
    made = Pipeline("p")
    made.stage(named("eval model"))
    (job,) = jobs_of(made.stages(), {}, file="ci/my main.py", layout="single")
    assert job.command == "dagger run python 'ci/my main.py' 'eval model'"
    (job,) = jobs_of(made.stages(), {}, file="m.py", layout="stages")
    assert job.command == "dagger run python m.py 'eval model' --only"


def test_no_two_jobs_have_one_name() -> None:
    made = Pipeline("p")
    first = made.stage(named("first"))
    made.effect(needs=[first], approval="production")(named("pipeline"))
    with pytest.raises(ConfigurationError, match="the name of the job that runs the other stages"):
        jobs_of(made.stages(), {}, file="m.py", layout="single")
    assert len(jobs_of(made.stages(), {}, file="m.py", layout="stages")) == 2


def test_time_limits_count_retries_and_a_margin() -> None:
    jobs = {job.name: job for job in jobs_of(pipeline().stages(), {}, file="ci/main.py", layout="stages")}
    assert jobs["prepare"].minutes == 10 + 1 + MARGIN_MINUTES
    assert jobs["train"].minutes == 20 + 1 + MARGIN_MINUTES
    assert jobs["deploy"].minutes is None


def test_effects_never_overlap_with_themselves() -> None:
    jobs = jobs_of(pipeline().stages(), {}, file="ci/main.py", layout="single")
    resources = {job.name: job.resource for job in jobs}
    assert resources == {
        "pipeline": None,
        "deploy": "production",
        "announce": "announce",
        "monitor": "monitor",
    }


def test_results_and_folders_to_keep_are_every_jobs() -> None:
    jobs = jobs_of(
        pipeline().stages(), {}, file="m.py", layout="single", results=["dvc.lock"], kept=[".rondel/stages/"]
    )
    assert {(job.results, job.kept) for job in jobs} == {(("dvc.lock",), (".rondel/stages/",))}
    assert all(isinstance(job, Job) for job in jobs)


def test_a_stage_that_may_read_any_file_starts_its_job_for_every_change() -> None:
    changes = {"prepare": ("prepare.py",), "train[depth=1]": None, "deploy": ()}
    for layout in ("single", "stages"):
        jobs = jobs_of(pipeline().stages(), changes, file="ci/main.py", layout=layout)
        found = {job.name: job.changes for job in jobs}
        assert found["deploy"] == (), layout  # it stands on train
        assert found.get("pipeline", found.get("train")) == (), layout
        assert found.get("prepare", ()) == (), layout  # train needs what it hands over
