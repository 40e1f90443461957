"""How a job runs its stages, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rondel.engines.choice import EngineChoice
from rondel.engines.discovery import EngineEndpoint
from rondel.engines.execution_mode import COSTS, Probe, execution_mode
from rondel.errors import EngineUnavailable

CLI = Path("/usr/local/bin/dagger")
EMBEDDED = Probe(choice=EngineChoice("embedded"), namespaces="as root")
DOCKER = Probe(choice=EngineChoice("dagger"), cli=CLI, reach=EngineEndpoint(by="runtime", name="docker"))
NAMED = replace(DOCKER, reach=EngineEndpoint(by="runner host", name="tcp://engine:1"), named="tcp://engine:1")


def test_a_dagger_engine_is_named_with_what_leads_to_it() -> None:
    mode = execution_mode(DOCKER)
    assert (mode.name, mode.trouble) == ("dagger", "")
    assert mode.why == ("docker answers, and can start one", f"its CLI is {CLI}")
    assert execution_mode(NAMED).why[0] == "_EXPERIMENTAL_DAGGER_RUNNER_HOST names tcp://engine:1"


def test_an_engine_that_does_not_answer_is_trouble() -> None:
    mode = execution_mode(replace(NAMED, silent="nothing answers at tcp://engine:1: Connection refused"))
    assert mode.trouble == "nothing answers at tcp://engine:1: Connection refused"
    assert "ten minutes" in mode.hint


def test_a_session_that_is_there_is_used() -> None:
    mode = execution_mode(replace(EMBEDDED, choice=EngineChoice("session")))
    assert mode.name == "dagger"
    assert "DAGGER_SESSION_PORT" in mode.why[0]


def test_the_embedded_engine_says_why_there_is_no_other() -> None:
    assert execution_mode(EMBEDDED).why == (
        "there is no Dagger CLI on the PATH",
        "it can create containers: as root",
    )
    assert execution_mode(replace(EMBEDDED, cli=CLI)).why[0].startswith(f"{CLI} finds no engine")
    assert execution_mode(replace(EMBEDDED, asked="RONDEL_ENGINE")).why[0] == "set by RONDEL_ENGINE"


def test_an_engine_that_is_named_without_a_cli_is_worth_a_hint() -> None:
    assert (
        "install one into the job's image" in execution_mode(replace(EMBEDDED, named="tcp://engine:1")).hint
    )


def test_without_namespaces_stages_run_in_place_unless_that_is_forbidden() -> None:
    probe = replace(EMBEDDED, namespaces="", forbidden="unshare: Operation not permitted")
    mode = execution_mode(probe)
    assert (mode.name, mode.trouble) == ("in place", "")
    assert mode.why[-1] == "it can't create containers: unshare: Operation not permitted"
    never = execution_mode(replace(probe, in_place=False))
    assert (never.name, never.trouble) == ("none", "no engine can run here")
    assert "user namespaces" in never.hint


def test_the_error_of_an_engine_is_passed_on() -> None:
    error = EngineUnavailable("there is no Dagger CLI on the PATH", why="asked for", hint="install one")
    mode = execution_mode(replace(EMBEDDED, choice=error))
    assert (mode.name, mode.trouble, mode.why, mode.hint) == (
        "none",
        error.what,
        ("asked for",),
        "install one",
    )


def test_each_mode_but_none_has_costs() -> None:
    assert [name for name, costs in COSTS.items() if not costs] == ["none"]
