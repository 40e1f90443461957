"""Which way a job got, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rondel.ci.way import COSTS, Sight, way_of
from rondel.errors import EngineUnavailable
from rondel.runner.engine import EngineChoice
from rondel.runner.reach import Reach

CLI = Path("/usr/local/bin/dagger")
EMBEDDED = Sight(choice=EngineChoice("embedded"), namespaces="as root")
DOCKER = Sight(choice=EngineChoice("dagger"), cli=CLI, reach=Reach(by="runtime", name="docker"))
NAMED = replace(DOCKER, reach=Reach(by="runner host", name="tcp://engine:1"), named="tcp://engine:1")


def test_a_dagger_engine_is_named_with_what_leads_to_it() -> None:
    way = way_of(DOCKER)
    assert (way.name, way.trouble) == ("dagger", "")
    assert way.why == ("docker answers, and can start one", f"its CLI is {CLI}")
    assert way_of(NAMED).why[0] == "_EXPERIMENTAL_DAGGER_RUNNER_HOST names tcp://engine:1"


def test_an_engine_that_does_not_answer_is_trouble() -> None:
    way = way_of(replace(NAMED, silent="nothing answers at tcp://engine:1: Connection refused"))
    assert way.trouble == "nothing answers at tcp://engine:1: Connection refused"
    assert "ten minutes" in way.hint


def test_a_session_that_is_there_is_used() -> None:
    way = way_of(replace(EMBEDDED, choice=EngineChoice("session")))
    assert way.name == "dagger"
    assert "DAGGER_SESSION_PORT" in way.why[0]


def test_the_embedded_engine_says_why_there_is_no_other() -> None:
    assert way_of(EMBEDDED).why == (
        "there is no Dagger CLI on the PATH",
        "containers of its own work: as root",
    )
    assert way_of(replace(EMBEDDED, cli=CLI)).why[0].startswith(f"{CLI} would find no engine")
    assert way_of(replace(EMBEDDED, asked="RONDEL_ENGINE")).why[0] == "asked for by RONDEL_ENGINE"


def test_an_engine_that_is_named_without_a_cli_is_worth_a_hint() -> None:
    assert "install one into the job's image" in way_of(replace(EMBEDDED, named="tcp://engine:1")).hint


def test_without_namespaces_stages_run_in_place_unless_that_is_forbidden() -> None:
    sight = replace(EMBEDDED, namespaces="", forbidden="unshare: Operation not permitted")
    way = way_of(sight)
    assert (way.name, way.trouble) == ("in place", "")
    assert way.why[-1] == "containers of its own do not: unshare: Operation not permitted"
    never = way_of(replace(sight, in_place=False))
    assert (never.name, never.trouble) == ("none", "no engine can run here")
    assert "user namespaces" in never.hint


def test_what_cannot_be_had_is_passed_on() -> None:
    error = EngineUnavailable("there is no Dagger CLI on the PATH", why="asked for", hint="install one")
    way = way_of(replace(EMBEDDED, choice=error))
    assert (way.name, way.trouble, way.why, way.hint) == ("none", error.what, ("asked for",), "install one")


def test_each_way_but_none_has_its_price() -> None:
    assert [name for name, costs in COSTS.items() if not costs] == ["none"]
