"""Registration, promotion and rollback against a real MLflow server, and against the GitLab stub.

The same behaviour is asked of both; what only one can do has tests of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from rondel.context.registering import Registering
from rondel.errors import ConfigurationError, GateFailed, RecordError, TrackingUnavailable
from rondel.gates import RuleResult
from rondel.pipeline import Pipeline, Stage
from rondel.record import (
    Capsule,
    Git,
    Image,
    MlflowRun,
    Run,
    RunFolder,
    StageRecord,
    StageRecorder,
    VerdictRecord,
)
from rondel.registry import (
    Lineage,
    LostRace,
    ModelSource,
    Registry,
    find,
    find_model,
    move,
    register,
    registry,
    whole_ledger,
)
from rondel.registry.commands import history, list_models, show
from rondel.registry.promote import promote, rollback
from rondel.registry.register import twin_runs
from rondel.registry.verify import verify
from rondel.settings import Settings
from rondel.tracking import (
    Endpoint,
    RunHandle,
    StageFacts,
    TrackingClient,
    champion_version,
    fetch_champion,
    server,
)
from rondel.tracking.endpoint import parse, tracking
from rondel.tracking.runs import stage_tags

sys.path += [str(Path(__file__).parents[1] / "unit" / folder) for folder in ("tracking", "registry")]
from gitlab_stub import TOKEN, GitlabStub
from signing_keys import keys
from tls import TlsProxy, certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if name not in {"CI", "MLFLOW_TRACKING_URI", "DVC_REMOTE_URL"}
}


def git(root: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(autouse=True)
def shorter_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine nobody is a second late."""
    monkeypatch.setattr(sys.modules["rondel.registry.move"], "SETTLE_SECONDS", 0.2)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit and a data file that lies in the local remote."""
    root = tmp_path_factory.mktemp("project")
    git(root, "init", "-q", "-b", "main")
    (root / "pyproject.toml").write_text('[project]\nname = "flights"\n')
    git(root, "add", "pyproject.toml")
    git(root, "commit", "-q", "-m", "Begin")
    data = hashlib.md5(b"data", usedforsecurity=False).hexdigest()
    stored = root / ".rondel" / "remote" / "files" / "md5" / data[:2] / data[2:]
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"data")
    return root


@pytest.fixture(scope="module")
def mlflow(project: Path) -> Iterator[Endpoint]:
    lease = server.acquire(project, ENVIRON)
    yield Endpoint(uri=lease.ready_now().uri)
    lease.release()
    server.stop(project)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Another real server, behind TLS with a CA of the team's own."""
    root = tmp_path_factory.mktemp("tls")
    lease = server.acquire(root, ENVIRON)
    pem = certificate(root)
    proxy = TlsProxy(pem, Endpoint(uri=lease.ready_now().uri).port)
    yield parse(proxy.uri, {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(pem)})
    proxy.close()
    lease.release()
    server.stop(root)


@pytest.fixture(params=["mlflow", "tls", "gitlab"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    if request.param != "gitlab":
        yield request.getfixturevalue(request.param)
        return
    stub = GitlabStub()
    yield parse(stub.uri, {"MLFLOW_TRACKING_TOKEN": TOKEN})
    stub.close()


@asynccontextmanager
async def opened(endpoint: Endpoint) -> AsyncIterator[Registry]:
    async with TrackingClient(endpoint) as client:
        yield registry(client)


def on(endpoint: Endpoint, action: Callable[[Registry], Any]) -> Any:
    async def main() -> Any:
        async with opened(endpoint) as source:
            return await action(source)

    return anyio.run(main)


def lineage(project: Path, run: str, **changes: Any) -> Lineage:
    data = hashlib.md5(b"data", usedforsecurity=False).hexdigest()
    good = Lineage(
        run=run,
        pipeline="ci/main.py",
        git_commit=git(project, "rev-parse", "HEAD"),
        image="sha256:abc",
        capsule=f".rondel/runs/{run}",
        outputs={"data/prepared.parquet": f"md5:{data}"},
        params={"train.max_iter": 200},
        metrics={"roc_auc": 0.71, "roc_auc[origin=JFK]": 0.65},
        gate="passed",
        gate_rules=("passed: roc_auc >= 0.68 (0.71 is >= 0.68)",),
    )
    return replace(good, **changes)


async def new_version(source: Registry, project: Path, model: str, run: str, **changes: Any) -> str:
    experiment = await source.client.ensure_experiment("flights")
    handle = await source.client.create_run(experiment, name="train", tags={})
    origin = ModelSource(uri=handle.artifact_uri or "m", run_id=handle.run_id)
    version = await register(source, model, origin, lineage(project, run, **changes), who="ann")
    return version.version


async def logged_model(client: TrackingClient, experiment: str, run: str, name: str = "model") -> str:
    """A model as MLflow's client logs one; its id."""
    body = {"experiment_id": experiment, "name": name, "source_run_id": run}
    answer = await client.call("POST", "logged-models", body=body)
    model_id = str(answer["model"]["info"]["model_id"])
    await client.call("PATCH", f"logged-models/{model_id}", body={"model_id": model_id, "status": 2})
    return model_id


async def promoted(source: Registry, project: Path, model: str, **options: Any) -> Any:
    return await promote(source, model, root=project, environ=ENVIRON, who="ann", **options)


def test_a_version_is_registered_with_its_lineage_once_a_run(project: Path, endpoint: Endpoint) -> None:
    async def action(source: Registry) -> None:
        experiment = await source.client.ensure_experiment("flights")
        handle = await source.client.create_run(experiment, name="train", tags={})
        origin = ModelSource(uri=handle.artifact_uri, run_id=handle.run_id)
        first = await register(source, "once", origin, lineage(project, "r1"), who="ann")
        again = await register(source, "once", origin, lineage(project, "r1"), who="ann")
        assert again.version == first.version
        assert len(await source.versions("once")) == 1
        found = await find(source, "once@challenger")
        assert found.version == first.version
        assert Lineage.from_tags(found.tags) == lineage(project, "r1")
        assert "# once" in found.description
        assert "| origin=JFK | 0.65 |" in found.description
        assert [entry.action for entry in (await whole_ledger(source, "once")).entries] == ["register"]

    on(endpoint, action)


def test_a_run_that_repeats_a_crashed_one_takes_up_its_version(project: Path, mlflow: Endpoint) -> None:
    async def action(source: Registry) -> None:
        experiment = await source.client.ensure_experiment("flights")
        handle = await source.client.create_run(experiment, name="train", tags={})
        origin = ModelSource(uri=handle.artifact_uri, run_id=handle.run_id)
        # The first attempt dies before its alias; its results lie uncommitted in the tree of the second.
        first = await register(source, "again", origin, lineage(project, "r1"), who="ann", alias=None)
        second = await register(source, "again", origin, lineage(project, "r2", git_dirty=True), who="ann")
        assert second.version == first.version
        assert await source.aliases("again") == {"challenger": first.version}
        judged = lineage(project, "r3", evaluation={"data test.parquet": "md5:other"})
        third = await register(source, "again", origin, judged, who="ann")
        assert third.version != first.version

    on(mlflow, action)


def test_promotion_and_rollback_go_through_the_log(project: Path, endpoint: Endpoint) -> None:
    async def action(source: Registry) -> None:
        versions = []
        for run in ("r1", "r2", "r3"):
            versions.append(await new_version(source, project, "steps", run))
            moved = await promoted(source, project, "steps")
            assert (moved.alias, moved.new) == ("champion", versions[-1])
        again = await promoted(source, project, "steps")
        assert again.entry is None
        champion = await fetch_champion(source.client, "steps")
        assert champion is not None
        assert champion.version == versions[2]
        assert champion.metrics == {"roc_auc": 0.71, "roc_auc[origin=JFK]": 0.65}
        assert (await rollback(source, "steps", who="bob", reason="late")).new == versions[1]
        assert (await rollback(source, "steps", who="bob")).new == versions[0]
        with pytest.raises(ConfigurationError, match="cannot go back 1 step"):
            await rollback(source, "steps", who="bob")
        await promoted(source, project, f"steps/{versions[2]}")
        assert (await rollback(source, "steps", who="bob")).new == versions[0]
        log = await whole_ledger(source, "steps")
        second = next(
            entry for entry in log.entries if entry.alias == "champion" and entry.new == versions[1]
        )
        assert await history(source, "steps", at=second.at) == [versions[1]]
        assert (await history(source, "steps", at="2020-01-01"))[0].startswith("none")
        lines = await history(source, "steps")
        assert any("bob" in line and "rollback" in line and "late" in line for line in lines)
        assert not any(line.startswith("note:") for line in lines)

    on(endpoint, action)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gate": "failed"}, "gate was not passed"),
        ({"gate": "none"}, "never went through a gate"),
        ({"git_dirty": True}, "uncommitted changes"),
        ({"git_commit": ""}, "commit is not recorded"),
        ({"git_commit": "0" * 40}, "is not in this repository"),
        ({"outputs": {"data/lost.parquet": "md5:" + "0" * 32}}, "not in the remote: data/lost.parquet"),
        ({"outputs": {}}, "hashes of its data"),
        ({"image": ""}, "image"),
    ],
)
def test_a_version_that_breaks_a_condition_does_not_become_champion(
    project: Path, mlflow: Endpoint, changes: dict[str, Any], words: str
) -> None:
    async def action(source: Registry) -> None:
        model = "bad-" + hashlib.sha256(json.dumps(changes).encode()).hexdigest()[:8]
        version = await new_version(source, project, model, "r1", **changes)
        with pytest.raises(GateFailed, match="must not become champion") as caught:
            await promoted(source, project, model)
        assert words in (caught.value.why or "")
        with pytest.raises(ConfigurationError, match="needs a reason"):
            await promoted(source, project, model, force=True)
        assert "champion" not in await source.aliases(model)
        moved = await promoted(source, project, model, force=True, reason="fire")
        assert moved.new == version
        entry = (await whole_ledger(source, model)).entries[-1]
        assert entry.forced
        assert entry.reason.startswith("fire [overridden: ")

    on(mlflow, action)


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(project: Path, endpoint: Endpoint) -> None:
    async def action(source: Registry) -> None:
        first = await new_version(source, project, "race", "r1")
        second = await new_version(source, project, "race", "r2")
        outcomes: dict[str, str] = {}
        told: list[str] = []

        async def one(version: str) -> None:
            try:
                await move(source, "race", alias="champion", new=version, who=f"v{version}", action="promote")
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
        log = await whole_ledger(source, "race")
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
            await move(source, "window", alias="champion", new=second, who="bob", action="promote")

        held: Any = Held(source, other)
        try:
            await move(held, "window", alias="champion", new=first, who="ann", action="promote")
            ours = True
        except LostRace:
            ours = False
        log = await whole_ledger(source, "window")
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
                headers = {"Content-Type": "application/json"}
                answer = real.request(request.method, request.url, content=request.read(), headers=headers)
                return httpx.Response(answer.status_code, content=answer.content)

        async with TrackingClient(mlflow, transport=httpx.MockTransport(handler)) as broken:
            with pytest.raises(TrackingUnavailable, match="in the log but may not have taken effect"):
                await promoted(registry(broken), project, "dies")
        assert (await source.aliases("dies"))["champion"] == first
        assert any(line.startswith("note: champion") for line in await history(source, "dies"))
        moved = await promoted(source, project, "dies")
        assert (moved.old, moved.new) == (first, second)
        assert (await source.aliases("dies"))["champion"] == second
        assert (await rollback(source, "dies", who="ann")).new == first

    on(mlflow, action)


def test_a_log_that_was_tampered_with_stops_everything(project: Path, mlflow: Endpoint) -> None:
    async def action(source: Registry) -> None:
        await new_version(source, project, "forged", "r1")
        await promoted(source, project, "forged")
        log = await whole_ledger(source, "forged")
        changed = replace(log.entries[0], who="mallory")
        body = {"name": "forged", "key": log.entries[0].claim, "value": changed.encode()}
        await source.client.call("POST", "registered-models/set-tag", body=body)
        for attempt in (
            promoted(source, project, "forged/1"),
            rollback(source, "forged", who="ann"),
            history(source, "forged"),
        ):
            with pytest.raises(RecordError, match="damaged"):
                await attempt

    on(mlflow, action)


def test_an_alias_that_was_moved_by_hand_is_shown_and_taken_as_it_is(project: Path, mlflow: Endpoint) -> None:
    async def action(source: Registry) -> None:
        first = await new_version(source, project, "hand", "r1")
        await promoted(source, project, "hand")
        second = await new_version(source, project, "hand", "r2")
        body = {"name": "hand", "alias": "champion", "version": second}
        await source.client.call("POST", "registered-models/alias", body=body)
        assert any("moved outside" in line for line in await history(source, "hand"))
        moved = await rollback(source, "hand", who="ann")
        assert (moved.old, moved.new) == (second, first)

    on(mlflow, action)


def test_models_are_listed_and_shown(project: Path, endpoint: Endpoint) -> None:
    async def action(source: Registry) -> None:
        assert await list_models(source, None) or True
        version = await new_version(source, project, "shown", "r1", ci_job="https://ci.example/42")
        await promoted(source, project, "shown")
        lines = await list_models(source, "shown")
        assert lines[0].split()[:3] == ["MODEL", "VERSION", "ALIASES"]
        assert lines[1].split()[:5] == ["shown", version, "challenger,", "champion", "passed"]
        assert "roc_auc=0.71" in lines[1]
        text = "\n".join(await show(source, "shown@champion"))
        for words in (
            f"shown version {version}",
            git(project, "rev-parse", "HEAD"),
            "data/prepared.parquet  md5:",
            "train.max_iter  200",
            "https://ci.example/42",
        ):
            assert words in text
        document = json.loads("\n".join(await show(source, "shown", as_json=True)))
        assert document["lineage"]["run"] == "r1"
        with pytest.raises(ConfigurationError) as caught:
            await show(source, "shwon")
        assert "'shown'" in (caught.value.hint or "")
        with pytest.raises(ConfigurationError, match="no version"):
            await show(source, "shown@nobody")

    on(endpoint, action)


def test_the_champion_that_was_promoted_is_the_gates_champion(project: Path, mlflow: Endpoint) -> None:
    async def action(source: Registry) -> str:
        version = await new_version(source, project, "gated", "r1")
        await promoted(source, project, "gated")
        return version

    version = on(mlflow, action)
    assert champion_version(project, ENVIRON, "gated") == version


def test_the_model_that_a_run_logged_is_found(project: Path, mlflow: Endpoint) -> None:
    async def action(source: Registry) -> None:
        client = source.client
        experiment = await client.ensure_experiment("logged")
        empty = await client.create_run(experiment, name="prepare", tags={})
        run = await client.create_run(experiment, name="train", tags={})
        made = [await logged_model(client, experiment, run.run_id, name) for name in ("model", "other")]
        body = {"experiment_id": experiment, "name": "model", "source_run_id": run.run_id}
        await client.call("POST", "logged-models", body=body)  # one whose process died before it was whole
        source_ = await find_model(client, [run, empty], artifact="model")
        assert source_ == ModelSource(uri=f"models:/{made[0]}", run_id=run.run_id, model_id=made[0])
        version = await register(source, "logged", source_, lineage(project, "r1"), who="ann")
        assert (await find(source, "logged@challenger")).version == version.version
        from rondel.errors import DataError

        unknown = RunHandle(run_id="0" * 32, url="")  # of another server
        with pytest.raises(DataError, match="no model to register"):
            await find_model(client, [empty, unknown])

    on(mlflow, action)


class Context(Registering):
    """A stage's context without an engine: what registration needs of one."""

    def __init__(self, project: Path, endpoint: Endpoint, stage: Stage, run: Run) -> None:
        self.stage, self.run = stage, run
        self.settings = Settings(root=project)
        self._ground: Any = SimpleNamespace(tracking=tracking(endpoint, experiment="flights"))
        self._container: Any = None
        record = StageRecord(name=stage.name, kind=stage.kind)
        self._recorder = StageRecorder(record, None, Silent())


class Silent:
    """An observer that draws nothing."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_arguments: None


async def register_stage(ctx: Any) -> None:
    await ctx.register("made")


def capsule_of(project: Path, run: Run, train: str, *, train_state: Any = "ran") -> Capsule:
    verdict = VerdictRecord(
        passed=True,
        model="made",
        rules=[asdict(RuleResult(rule="roc_auc >= 0.68", passed=True, outcome="passed", metric="roc_auc"))],
        metrics={"roc_auc": 0.71, "roc_auc[origin=JFK]": 0.65},
    )
    image = Image(reference="stage", digest="sha256:abc", packages={"numpy": "2.4.6"})
    return Capsule(
        schema_version=1,
        id=run.id,
        state="running",
        pipeline="ci/main.py",
        file="ci/main.py",
        created=run.created,
        git=Git(commit=git(project, "rev-parse", "HEAD"), branch="main"),
        stages=[
            StageRecord(
                name="train", kind="pure", state=train_state, image=image, mlflow=MlflowRun(run_id=train)
            ),
            StageRecord(
                name="evaluate", kind="pure", state="ran", needs=["train"], verdicts=[verdict], image=image
            ),
            StageRecord(name="unrelated", kind="pure", state="ran", verdicts=[VerdictRecord(passed=False)]),
            StageRecord(name="register-stage", kind="effect", state="running", needs=["evaluate"]),
        ],
    )


def test_a_stage_registers_what_its_run_made_and_the_version_can_be_verified(
    project: Path, mlflow: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = hashlib.md5(b"data", usedforsecurity=False).hexdigest()
    (project / "dvc.yaml").write_text("stages:\n  train:\n    cmd: train\n    outs: [model.skops]\n")
    (project / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  train:\n    cmd: train\n    outs:\n"
        f"    - {{path: model.skops, hash: md5, md5: {data}, size: 4}}\n"
    )
    secret, public = keys(tmp_path, "team")
    _, stranger = keys(tmp_path, "stranger")
    monkeypatch.setenv("RONDEL_SIGNING_KEY", str(secret))
    pipeline = Pipeline("flights")
    pipeline.stage(name="evaluate")(register_stage)
    stage = pipeline.effect(needs=["evaluate"])(register_stage)

    async def action(source: Registry) -> None:
        client = source.client
        experiment = await client.ensure_experiment("flights")
        train = await client.create_run(experiment, name="train", tags={})
        await logged_model(client, experiment, train.run_id)
        run = Run(
            id="20261123-194742-a1b2c3",
            root=project,
            folder=project / ".rondel" / "runs" / "20261123-194742-a1b2c3",
            created="2026-11-23T19:47:42Z",
        )
        RunFolder(run.folder).save(capsule_of(project, run, train.run_id))
        ctx = Context(project, mlflow, stage, run)
        version = await ctx.register("made")
        assert (await ctx.register("made")).version == version.version
        found = await find(source, "made@challenger")
        made = Lineage.from_tags(found.tags)
        assert made.gate == "passed"
        assert made.outputs == {"model.skops": f"md5:{data}"}
        assert made.metrics["roc_auc[origin=JFK]"] == 0.65
        moved = await ctx.promote("made")
        assert (moved.alias, moved.new) == ("champion", version.version)

        lines = await verify(source, "made@champion", [public])
        assert any("signed by team.pub" in line for line in lines)
        with pytest.raises(RecordError, match="cannot be trusted") as caught:
            await verify(source, "made@champion", [stranger])
        assert "none of the given keys signed it" in (caught.value.why or "")
        body = {"name": "made", "version": version.version, "key": "rondel.run", "value": "another"}
        await client.call("POST", "model-versions/set-tag", body=body)
        with pytest.raises(RecordError) as caught:
            await verify(source, "made@champion", [public])
        assert "run: provenance.json" in (caught.value.why or "")
        handle = (await client.get_run(train.run_id)).handle
        await client.log_artifact(handle, f"rondel/made/{version.version}/sbom.cdx.json", b"{}")
        with pytest.raises(RecordError) as caught:
            await verify(source, "made@champion", [public])
        assert "sbom.cdx.json was changed" in (caught.value.why or "")

    try:
        on(mlflow, action)
    finally:
        (project / "dvc.yaml").unlink()
        (project / "dvc.lock").unlink()


def test_a_pure_stage_must_not_register(project: Path, mlflow: Endpoint) -> None:
    pipeline = Pipeline("flights")
    stage = pipeline.stage(register_stage)
    run = Run(id="20261123-194742-a1b2c4", root=project, folder=project, created="")

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="pure stage"):
            await Context(project, mlflow, stage, run).register("made")

    anyio.run(main)


def test_a_model_that_dvc_restored_is_found_in_the_run_that_first_made_it(
    project: Path, mlflow: Endpoint
) -> None:
    async def action(source: Registry) -> None:
        client = source.client
        experiment = await client.ensure_experiment("restored")
        made = {"models/m.skops": "md5:" + "a" * 32}
        runs = {}
        for name, outputs in (("first", made), ("other", {"models/m.skops": "md5:b"}), ("restored", made)):
            facts = StageFacts(name="train", outputs=outputs)
            runs[name] = await client.create_run(experiment, name="train", tags=stage_tags(facts))
        ids = {}
        for name in ("first", "other"):
            ids[name] = await logged_model(client, experiment, runs[name].run_id)
        twins = await twin_runs(client, experiment, "train", made)
        assert [run.run_id for run in twins] == [runs["first"].run_id, runs["restored"].run_id]
        assert (await find_model(client, twins)).model_id == ids["first"]
        assert await twin_runs(client, experiment, "evaluate", made) == []
        assert await twin_runs(client, experiment, "train", {}) == []

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
            headers = {"Content-Type": "application/json"}
            answer = real.request(request.method, request.url, content=request.read(), headers=headers)
        if hit:  # it was done, and nobody heard of it
            return timed_out(request)
        return httpx.Response(answer.status_code, content=answer.content)

    async def action(source: Registry) -> None:
        first = await new_version(source, project, model, "r1")
        await promoted(source, project, model)
        second = await new_version(source, project, model, "r2")
        before = (await whole_ledger(source, model)).entries
        async with TrackingClient(mlflow, transport=httpx.MockTransport(handler)) as broken:
            with pytest.raises(TrackingUnavailable) as caught:
                await promoted(registry(broken), project, model)
        assert caught.value.exit_code == 22
        assert caught.value.hint, caught.value.render()
        assert mlflow.uri in caught.value.render()
        assert (await whole_ledger(source, model)).entries[: len(before)] == before
        assert (await source.aliases(model))["champion"] in {first, second}

        await promoted(source, project, model)
        assert (await source.aliases(model))["champion"] == second
        assert (await whole_ledger(source, model)).entries[-1].new == second
        assert (await rollback(source, model, who="ann")).new == first

    on(mlflow, action)
