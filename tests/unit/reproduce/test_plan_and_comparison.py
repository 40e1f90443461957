from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from rondel.errors import RecordError
from rondel.record import Capsule, CommandRecord, Git, Image, StageRecord, VerdictRecord
from rondel.reproduce.comparison import cause_of, compare_outcomes, outcome
from rondel.reproduce.plan import (
    base_image,
    choose_stage,
    describe_plan,
    image_differences,
    make_plan,
    shell_position,
)
from rondel.reproduce.run import ReproduceOptions, _lead_to_server, child_environment, recorded_server
from rondel.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


def record(name: str = "train", **fields: Any) -> StageRecord:
    return replace(StageRecord(name=name, kind="pure", state="failed", exit_code=7), **fields)


def capsule(*stages: StageRecord, **fields: Any) -> Capsule:
    made = Capsule(
        schema_version=1,
        id="20261123-200000-aaaaaa",
        state="failed",
        pipeline="p",
        file="ci/main.py",
        created="2026-11-23T20:00:00Z",
        git=Git(commit="a" * 40),
        stages=list(stages or (record(),)),
    )
    return replace(made, **fields)


def test_the_failed_stage_is_chosen() -> None:
    run = capsule(record("a", state="ran"), record("b"), record("c", state="cancelled"))
    assert choose_stage(run, None).name == "b"
    assert choose_stage(run, "a").name == "a"
    assert choose_stage(capsule(record("a", state="ran"), record("c", state="running")), None).name == "c"
    assert choose_stage(capsule(record("a", state="ran"), record("b", state="ran")), None).name == "b"


def test_a_parameter_of_another_stage_gets_a_warning() -> None:
    run = capsule(record("train", state="ran", parameters={"train.depth": 3}), record("evaluate"))
    (warning,) = make_plan(run, "evaluate", params=[("train.depth", "2"), ("unknown", "1")]).warnings
    assert warning.startswith("train.depth changes nothing for evaluate: it is a parameter of train")
    assert not make_plan(run, "train", params=[("train.depth", "2")]).warnings


def test_a_failed_gate_has_no_exit_code() -> None:
    failed = record("evaluate", exit_code=0, verdicts=[VerdictRecord(passed=False)])
    assert outcome(failed) == "failed at its gate"
    assert outcome(record(exit_code=7)) == "failed with exit code 7"
    assert outcome(record(exit_code=None)) == "failed"


def test_a_capsule_cannot_hide_parts_of_the_plan() -> None:
    run = capsule(
        git=Git(commit="a" * 40, branch="main\x1b[8m\x1b[99A"),
        environment={"MODE": "x\r  runs      nothing\u202e", "OTHER": "caf\u00e9 \x9b2K\n"},
    )
    made = make_plan(run, "train", named=["MODE", "OTHER"])
    shown = "\n".join(describe_plan(run, made, python="python", remote="", place="there"))
    assert all(each.isprintable() or each == "\n" for each in shown)
    assert r"of main\x1b[99A" in shown
    assert "caf\u00e9" in shown
    assert sum(line.startswith("  runs ") for line in shown.splitlines()) == 1


def test_effects_and_unknown_stages_are_refused() -> None:
    with pytest.raises(RecordError, match="effect stage"):
        choose_stage(capsule(record("deploy", kind="effect")), None)
    with pytest.raises(RecordError, match="has no stage 'trian'"):
        choose_stage(capsule(), "trian")
    with pytest.raises(RecordError, match="no stage of run"):
        choose_stage(capsule(record(state="cached")), None)


def test_the_plan_repeats_parameters_and_safe_variables() -> None:
    run = capsule(
        overrides={"train.rate": "2", "train.n": "3"},
        environment={
            "TZ": "CET",
            "TRAIN_MODE": "odd",
            "CI": "true",
            "RONDEL_PUSH": "1",
            "LD_PRELOAD": "/tmp/evil.so",
            "PATH": "/tmp",
            "PYTHONPATH": "/tmp",
            "PYTHONHASHSEED": "0",
            "GIT_SSH_COMMAND": "evil",
        },
        options={"environment": ["TRAIN_MODE", "OTHER"], "secrets": ["TOKEN"]},
        secrets=["AWS_ACCESS_KEY_ID", "TOKEN"],
    )
    made = make_plan(
        run, "train", params=[("train.rate", "5")], engine="embedded", named=["TRAIN_MODE", "LD_PRELOAD"]
    )
    assert made.arguments[:5] == ("ci/main.py", "train", "--only", "--no-cache", "--no-push")
    assert "train.rate=5" in made.arguments
    assert "train.n=3" in made.arguments
    assert "train.rate=2" not in made.arguments
    assert made.environment == {"TZ": "CET", "TRAIN_MODE": "odd", "PYTHONHASHSEED": "0"}
    assert "OTHER" in made.unset
    assert made.declared == ("TOKEN",)
    assert any("LD_PRELOAD" in text for text in made.warnings)
    shown = "\n".join(describe_plan(run, made, python="python", remote="s3://bucket", place="there"))
    assert "python ci/main.py train --only" in shown
    assert "AWS_ACCESS_KEY_ID, TOKEN" in shown
    assert "TRAIN_MODE=odd" in shown


def test_machine_settings_of_a_capsule_are_not_applied() -> None:
    # Capsules of earlier versions have the engine's options among the variables.
    machine = {
        "RONDEL_ENGINE": "dagger",
        "RONDEL_ENGINE_HOST_IMAGE": "never",
        "RONDEL_ENGINE_CACHE_SIZE": "1G",
        "RONDEL_ENGINE_MIRRORS": "docker.io=https://mirror",
        "RONDEL_RUNS_MEGABYTES": "1",
        "RONDEL_COMMIT": "1",
        "HTTPS_PROXY": "http://proxy:3128",
    }
    run = capsule(
        environment={**machine, "RONDEL_NAME": "flights"},
        arguments=["train", "--engine", "dagger", "--jobs", "1"],
        options={"engine": "dagger", "jobs": 1, "environment": ["HTTPS_PROXY"]},
    )
    made = make_plan(run, "train")
    assert made.environment == {"RONDEL_NAME": "flights"}
    assert "HTTPS_PROXY" not in made.unset
    assert not {"--engine", "--jobs"} & set(made.arguments)
    assert made.warnings == ("the run's variable HTTPS_PROXY is not set here",)


def test_variables_for_own_runs_do_not_reach_a_reproduction() -> None:
    here = {"RONDEL_COMMIT": "1", "RONDEL_PUSH": "1", "RONDEL_ENGINE_CACHE_SIZE": "5G", "RONDEL_VERBOSE": "1"}
    run = capsule(environment={"RONDEL_ENGINE_CACHE_SIZE": "1G"})
    child = child_environment(here, make_plan(run, "train"), {}, run, ReproduceOptions())
    assert {name: value for name, value in child.items() if name.startswith("RONDEL_")} == {
        "RONDEL_ENGINE_CACHE_SIZE": "5G",
        "RONDEL_VERBOSE": "1",
        "RONDEL_REPRODUCES": run.id,
    }


def test_a_capsule_sets_no_variable_that_the_project_here_does_not_name() -> None:
    chosen = {"PERL5LIB": "/tmp", "JAVA_TOOL_OPTIONS": "-javaagent:evil", "MODE": "odd", "TZ": "CET"}
    made = make_plan(
        capsule(environment=chosen, options={"environment": list(chosen)}), "train", named=["MODE"]
    )
    assert made.environment == {"MODE": "odd", "TZ": "CET"}
    assert {text for text in made.warnings if "PERL5LIB" in text or "JAVA_TOOL_OPTIONS" in text} == {
        "the run's variable PERL5LIB is not set here",
        "the run's variable JAVA_TOOL_OPTIONS is not set here",
    }


def test_the_plan_shows_everything_and_first_what_runs_on_this_machine() -> None:
    names = [f"a{number:02}.txt" for number in range(9)]
    run = capsule(
        environment={f"VALUE_{number}": "x" for number in range(9)},
        git=Git(commit="a" * 40, untracked={"new.py": "1"}),
    )
    made = make_plan(run, "train", named=[f"VALUE_{number}" for number in range(9)])
    changed = [*names, "src/helper.py", "ci/main.py"]
    lines = describe_plan(
        run,
        made,
        python="python",
        remote="",
        place="there",
        tracking="https://mlflow.example",
        changed=changed,
    )
    shown = dict(line.strip().split(maxsplit=1) for line in lines if not line.strip().startswith("note:"))
    assert shown["changed"] == ", ".join(["ci/main.py", "src/helper.py", *names])
    assert shown["variables"] == ", ".join(f"VALUE_{number}=x" for number in range(9))
    assert shown["MLflow"] == "https://mlflow.example"


@pytest.mark.parametrize(
    ("configured", "recorded", "brought", "address", "login"),
    [
        ("https://ours.example", "https://theirs.example", None, "https://ours.example", True),
        (None, "https://theirs.example", None, "https://theirs.example", False),
        (None, None, "https://theirs.example", "https://theirs.example", False),
        ("https://ours.example", None, "https://theirs.example", "https://ours.example", True),
    ],
)
def test_only_a_server_that_is_configured_here_gets_the_login(
    tmp_path: Path,
    configured: str | None,
    recorded: str | None,
    brought: str | None,
    address: str,
    login: bool,
) -> None:
    """``brought`` is the address in the pyproject.toml that the capsule changes in its worktree."""
    (tmp_path / "pyproject.toml").write_text(
        "[tool.rondel]\nname = 'p'\n" + (f"tracking.uri = '{brought}'\n" if brought else "")
    )
    run = capsule(environment={"MLFLOW_TRACKING_URI": recorded} if recorded else {})
    child = {"MLFLOW_TRACKING_TOKEN": "secret", "MLFLOW_TRACKING_PASSWORD": "secret"}
    _lead_to_server(tmp_path, tmp_path, configured or recorded_server(run), configured, child)
    assert load_settings(tmp_path, {}, child).tracking_uri == address
    assert ("MLFLOW_TRACKING_TOKEN" in child, "MLFLOW_TRACKING_PASSWORD" in child) == (login, login)


def test_omitted_files_get_a_warning() -> None:
    made = make_plan(capsule(git=Git(commit="a" * 40, omitted={".env": "it holds secrets"})), "train")
    assert made.warnings == ("the capsule does not contain .env: it holds secrets",)


CAUSE = "ValueError: no such file /home/a/x/data.csv in run 20261123-200000-aaaaaa at 0x7f00aa (took 12.5 s)"


def test_changing_parts_do_not_make_errors_differ() -> None:
    there = record(cause=CAUSE)
    here = record(
        cause=CAUSE.replace("/home/a/", "/work/b/c/")
        .replace("aaaaaa", "bbbbbb")
        .replace("12.5 s", "3 s")
        .replace("7f00aa", "12cd")
    )
    assert cause_of(there) == cause_of(here)
    assert "ValueError: no such file <path>/data.csv" in str(cause_of(there))
    assert compare_outcomes(capsule(there), capsule(here), "train").same
    other = record(cause=CAUSE.replace("ValueError", "KeyError"))
    comparison = compare_outcomes(capsule(there), capsule(other), "train")
    assert not comparison.same
    assert "KeyError" in comparison.differs[0]


def test_a_record_without_its_cause_is_compared_by_its_exit_code() -> None:
    assert compare_outcomes(capsule(record(cause=None)), capsule(record(cause=CAUSE)), "train").same


def test_outcomes_are_compared() -> None:
    assert compare_outcomes(capsule(), capsule(), "train").same
    assert compare_outcomes(capsule(), capsule(record(exit_code=9)), "train").differs == (
        "exit code 7 before, 9 now",
    )
    ran = record(state="ran", exit_code=0, outputs={"m": "md5:1"}, metrics={"auc": 1.0})
    assert compare_outcomes(capsule(ran), capsule(ran), "train").same
    assert not compare_outcomes(capsule(), capsule(ran), "train").same
    assert compare_outcomes(capsule(), capsule(ran), "train").after == "succeeded"
    other = replace(ran, outputs={"m": "md5:2"})
    comparison = compare_outcomes(capsule(ran), capsule(other), "train")
    assert comparison.differs == ("output m: md5:1 before, md5:2 now",)
    assert not comparison.parity.inputs
    changed = replace(other, parameters={"rate": 2})
    assert compare_outcomes(capsule(ran), capsule(changed), "train").parity.inputs


def test_a_shell_opens_at_the_failed_command() -> None:
    def of(*codes: int | None) -> StageRecord:
        return record(commands=[CommandRecord(args=["x"], exit_code=code) for code in codes])

    for when in ("before", "after"):
        assert shell_position(of(0, 0, 3), when) == 2
        assert shell_position(of(0, None), when) == 1
        assert shell_position(of(1, 1, 0), when) == 0
    assert (shell_position(of(0, 0), "before"), shell_position(of(0, 0), "after")) == (0, 1)
    assert (shell_position(of(), "before"), shell_position(of(), "after")) == (0, 0)


def test_the_base_image_from_a_registry_is_pinned_by_digest() -> None:
    base = f"ghcr.io/team/base:1@sha256:{'0' * 64}"
    image = Image(reference="Containerfile:stage", source="registry", base=base)
    assert base_image(capsule(record(image=image)), "train") == base
    for other in (
        replace(image, source="host", base=f"host@sha256:{'0' * 64}"),
        replace(image, base=None),
        replace(image, base="ghcr.io/team/base:1"),
        replace(image, base=f"base\nRUN rm -rf /@sha256:{'0' * 64}"),
    ):
        assert base_image(capsule(record(image=other)), "train") is None


def test_each_difference_of_a_rebuilt_image_is_reported() -> None:
    image = Image(
        reference="C:stage",
        digest="d1",
        source="registry",
        base="python@1",
        recipe={"f": "1"},
        packages={"numpy": "2.0"},
    )
    assert image_differences(record(image=image), record(image=image)) == []
    rebuilt = replace(image, digest="d2")
    assert "same recipe" in image_differences(record(image=image), record(image=rebuilt))[0]
    one, other = replace(image, digest="sha256:1"), replace(image, digest="sha256:2")
    assert "sha256:1… then" in image_differences(record(image=one), record(image=other))[0]
    other = replace(image, digest="blake2b:1")
    assert "another kind of engine" in image_differences(record(image=one), record(image=other))[0]
    other = replace(rebuilt, source="host", recipe={"f": "2"}, packages={"numpy": "2.1", "x": "1"})
    found = image_differences(record(image=image), record(image=other))
    assert found == [
        "the image's source was registry, and is host",
        "recipe f: 1 then, 2 now",
        "package numpy: 2.0 then, 2.1 now",
        "package x: absent then, 1 now",
    ]
