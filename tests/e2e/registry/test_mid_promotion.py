"""What happens between the steps of a promotion: another one, a server that dies, errors of all kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from registry_project import new_version, on, promoted

from rondel.errors import TrackingUnavailable
from rondel.registry.aliases import load_alias_log, set_alias
from rondel.registry.backends import LostRace, Registry, registry_of
from rondel.registry.commands import history
from rondel.registry.promote import rollback
from rondel.tracking import Endpoint, TrackingClient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(project: Path, endpoint: Endpoint) -> None:
    async def action(source: Registry) -> None:
        first = await new_version(source, project, "race", "r1")
        second = await new_version(source, project, "race", "r2")
        outcomes: dict[str, str] = {}
        told: list[str] = []

        async def one(version: str) -> None:
            try:
                await set_alias(
                    source, "race", alias="champion", new=version, who=f"v{version}", action="promote"
                )
                outcomes[version] = "won"
            except LostRace as error:
                told.append(error.what)
                outcomes[version] = "lost"

        async with anyio.create_task_group() as group:
            group.start_soon(one, first)
            group.start_soon(one, second)
        assert all("came first" in what for what in told)
        # They may also have come one after the other; then both moves are in the log.
        champion = (await source.aliases("race"))["champion"]
        log = await load_alias_log(source, "race")
        assert log.entries[-1].new == champion
        assert outcomes[champion] == "won"
        moves = [entry for entry in log.entries if entry.alias == "champion"]
        assert len(moves) == list(outcomes.values()).count("won")

    on(endpoint, action)


class Held:
    """A registry whose next ``append`` waits until another move is complete."""

    def __init__(self, source: Registry, between: Callable[[], Any]) -> None:
        self._source, self._between = source, between
        self.client = source.client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def append(self, model: str, entry: Any) -> None:
        await self._between()
        await self._source.append(model, entry)


def test_a_move_between_our_reading_and_writing_is_noticed(project: Path, endpoint: Endpoint) -> None:
    """The window that a server without transactions leaves, held open on purpose."""

    async def action(source: Registry) -> None:
        first = await new_version(source, project, "window", "r1")
        second = await new_version(source, project, "window", "r2")

        async def other() -> None:
            await set_alias(source, "window", alias="champion", new=second, who="bob", action="promote")

        held: Any = Held(source, other)
        try:
            await set_alias(held, "window", alias="champion", new=first, who="ann", action="promote")
            ours = True
        except LostRace:
            ours = False
        log = await load_alias_log(source, "window")
        assert log.entries[-1].new == (first if ours else second)
        assert (await source.aliases("window"))["champion"] == log.entries[-1].new
        if source.client.endpoint.kind == "gitlab":
            assert not ours
        else:
            assert [entry.new for entry in log.lost] == [second if ours else first]

    on(endpoint, action)


def test_a_server_that_dies_in_mid_promotion_loses_nothing(project: Path, mlflow: Endpoint) -> None:
    async def action(source: Registry) -> None:
        first = await new_version(source, project, "dies", "r1")
        await promoted(source, project, "dies")
        second = await new_version(source, project, "dies", "r2")

        def handler(request: httpx.Request) -> httpx.Response:
            dead = request.url.path.endswith("registered-models/alias") and request.method == "POST"
            if dead:
                raise httpx.ConnectError("gone", request=request)
            with httpx.Client() as real:
                headers = {
                    name: request.headers[name]
                    for name in ("content-type", "authorization")
                    if name in request.headers
                }
                answer = real.request(request.method, request.url, content=request.read(), headers=headers)
                return httpx.Response(answer.status_code, content=answer.content)

        async with TrackingClient(mlflow, transport=httpx.MockTransport(handler)) as broken:
            with pytest.raises(TrackingUnavailable, match="is logged but may not be applied"):
                await promoted(registry_of(broken), project, "dies")
        assert (await source.aliases("dies"))["champion"] == first
        assert any(line.startswith("note: champion") for line in await history(source, "dies"))
        moved = await promoted(source, project, "dies")
        assert (moved.old, moved.new) == (first, second)
        assert (await source.aliases("dies"))["champion"] == second
        assert (await rollback(source, "dies", who="ann")).new == first

    on(mlflow, action)


FAULTS: dict[str, Callable[[httpx.Request], httpx.Response]] = {
    "401": lambda _: httpx.Response(401, text="who are you?"),
    "403": lambda _: httpx.Response(403, text="not you"),
    "404": lambda _: httpx.Response(404, text="<html>moved</html>"),
    "500": lambda _: httpx.Response(500, text="the database is locked"),
    "503": lambda _: httpx.Response(503, text="<html>maintenance</html>"),
}


def timed_out(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("too slow", request=request)


@pytest.mark.parametrize(
    ("at", "fault"),
    [
        ("registered-models/get", "401"),
        ("registered-models/get", "time-out"),
        ("registered-models/set-tag", "403"),
        ("registered-models/set-tag", "404"),
        ("registered-models/set-tag", "500"),
        ("registered-models/set-tag", "answer lost"),
        ("registered-models/alias", "401"),
        ("registered-models/alias", "503"),
        ("registered-models/alias", "time-out"),
        ("registered-models/alias", "answer lost"),
    ],
)
def test_whatever_a_server_answers_in_mid_promotion_nothing_is_lost_and_the_same_command_heals_it(
    project: Path, mlflow: Endpoint, fault: str, at: str
) -> None:
    model = f"faults-{fault.replace(' ', '-')}-{at.partition('/')[2]}"

    def handler(request: httpx.Request) -> httpx.Response:
        hit = request.url.path.endswith(at) and (request.method == "POST" or at.endswith("get"))
        if hit and fault in FAULTS:
            return FAULTS[fault](request)
        if hit and fault == "time-out":
            return timed_out(request)
        with httpx.Client() as real:
            headers = {
                name: request.headers[name]
                for name in ("content-type", "authorization")
                if name in request.headers
            }
            answer = real.request(request.method, request.url, content=request.read(), headers=headers)
        if hit:  # it was done, and nobody heard of it
            return timed_out(request)
        return httpx.Response(answer.status_code, content=answer.content)

    async def action(source: Registry) -> None:
        first = await new_version(source, project, model, "r1")
        await promoted(source, project, model)
        second = await new_version(source, project, model, "r2")
        before = (await load_alias_log(source, model)).entries
        async with TrackingClient(mlflow, transport=httpx.MockTransport(handler)) as broken:
            with pytest.raises(TrackingUnavailable) as caught:
                await promoted(registry_of(broken), project, model)
        assert caught.value.exit_code == 22
        assert caught.value.hint, caught.value.render()
        assert mlflow.uri in caught.value.render()
        assert (await load_alias_log(source, model)).entries[: len(before)] == before
        assert (await source.aliases(model))["champion"] in {first, second}

        await promoted(source, project, model)
        assert (await source.aliases(model))["champion"] == second
        assert (await load_alias_log(source, model)).entries[-1].new == second
        assert (await rollback(source, model, who="ann")).new == first

    on(mlflow, action)
