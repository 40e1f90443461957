"""Where capsules come from. GitLab and Jenkins are recording servers here, asked by the real clients."""

from __future__ import annotations

import base64
import io
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from recording_server import Recording, recording_server

from rondel.ci.providers.gitlab import capsules as gitlab
from rondel.ci.providers.jenkins import capsules as jenkins
from rondel.errors import RecordError, RondelError
from rondel.record import Capsule, RunFolder, StageRecord
from rondel.record.archive import export
from rondel.reproduce.capsule_source import find_capsule, source_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDER, ID = "20261122-200000-aaaaaa", "20261123-200000-bbbbbb"


def saved(root: Path, run: str = ID, state: Any = "failed") -> RunFolder:
    folder = RunFolder.of(root, run)
    folder.save(
        Capsule(
            schema_version=1,
            id=run,
            state=state,
            pipeline="p",
            file="ci/main.py",
            created="2026-11-23T20:00:00Z",
            stages=[StageRecord(name="train", kind="pure", state="failed", log="logs/train.log")],
        )
    )
    folder.log("train").parent.mkdir()
    folder.log("train").write_text("it failed\n")
    return folder


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def as_artifacts(folder: RunFolder, prefix: str = "") -> dict[str, bytes]:
    return {
        f"{prefix}.rondel/runs/{folder.path.name}/{path.relative_to(folder.path)}": path.read_bytes()
        for path in folder.path.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def server() -> Iterator[Recording]:
    with recording_server() as recording:
        yield recording


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("https://gitlab.example.org/team/sub/project/-/jobs/123", "gitlab"),
        ("https://ci.example.org/jenkins/job/team/job/train/42/", "jenkins"),
        ("https://ci.example.org/job/train/42/console", "jenkins"),
        ("https://files.example.org/run.capsule", "url"),
        ("http://mlflow.example.org/#/experiments/1/runs/" + "a" * 32, "mlflow"),
        ("a" * 32, "mlflow"),
        ("20261123", "run"),
    ],
)
def test_the_form_says_what_is_meant(name: str, kind: str) -> None:
    assert source_kind(name) == kind


def test_a_file_and_a_run_here(root: Path, tmp_path: Path) -> None:
    folder = saved(root)
    export(folder, tmp_path / "run.capsule")
    assert find_capsule(root, None).is_local
    assert find_capsule(root, ID).is_local
    assert not find_capsule(root, str(saved(tmp_path / "other").path)).is_local
    found = find_capsule(root, str(tmp_path / "run.capsule"))
    assert (found.capsule.id, found.kind, found.is_local) == (ID, "file", False)
    assert found.folder.log("train").read_text() == "it failed\n"


def test_a_run_that_waits_or_goes_on_has_not_failed(root: Path) -> None:
    saved(root, OLDER)
    saved(root, "20261124-200000-cccccc", "waiting")
    with saved(root, "20261125-200000-dddddd", "running").lock():
        assert find_capsule(root, None).capsule.id == OLDER
    assert find_capsule(root, None).capsule.id == "20261125-200000-dddddd"  # it was killed


def test_an_address_is_fetched(root: Path, tmp_path: Path, server: Recording) -> None:
    export(saved(tmp_path), tmp_path / "run.capsule")
    server.answers["/run.capsule"] = (200, (tmp_path / "run.capsule").read_bytes())
    assert find_capsule(root, f"{server.url}/run.capsule").capsule.id == ID
    with pytest.raises(RecordError, match="the server answers 404"):
        find_capsule(root, f"{server.url}/other.capsule")
    server.answers["/page"] = (200, b"<html>log in first</html>")
    with pytest.raises(RecordError, match="not a capsule"):
        find_capsule(root, f"{server.url}/page")
    with pytest.raises(RecordError, match="cannot be fetched"):
        find_capsule(root, "http://127.0.0.1:9/run.capsule")
    assert len(list((root / ".rondel/capsules").iterdir())) == 1


JOB = "/api/v4/projects/team%2Fproject/jobs/7/artifacts"


@pytest.mark.parametrize(
    ("environ", "header"),
    [
        ({"GITLAB_TOKEN": "personal-token"}, ("private-token", "personal-token")),
        (
            {"CI_JOB_TOKEN": "token-of-the-job", "CI_SERVER_URL": "{server}"},
            ("job-token", "token-of-the-job"),
        ),
    ],
)
def test_a_gitlab_job(
    root: Path, tmp_path: Path, server: Recording, environ: dict[str, str], header: tuple[str, str]
) -> None:
    files = {**as_artifacts(saved(tmp_path, OLDER)), **as_artifacts(saved(tmp_path)), "public/x.html": b"x"}
    server.answers[JOB] = (200, zipped(files))
    environ = {name: value.format(server=server.url) for name, value in environ.items()}
    found = find_capsule(root, f"{server.url}/team/project/-/jobs/7", environ)
    assert (found.capsule.id, found.kind) == (ID, "gitlab")
    assert found.folder.log("train").read_text() == "it failed\n"
    path, headers = server.requests[-1]
    assert path == JOB
    assert headers[header[0]] == header[1]


@pytest.mark.parametrize(
    ("page", "environ"),
    [
        ("team/project/-/jobs/7", {"CI_JOB_TOKEN": "a-secret", "CI_SERVER_URL": "https://g.example.org"}),
        ("team/project/-/jobs/7", {"GITLAB_TOKEN": "a-secret", "GITLAB_URL": "https://g.example.org"}),
        (
            "jenkins/job/team/job/train/42/",
            {"JENKINS_USER": "me", "JENKINS_TOKEN": "a-secret", "JENKINS_URL": "https://j.example.org/"},
        ),
        (
            f"#/experiments/1/runs/{'a' * 32}",
            {"MLFLOW_TRACKING_URI": "https://m.example.org", "MLFLOW_TRACKING_TOKEN": "a-secret"},
        ),
    ],
)
def test_a_login_goes_to_no_other_server(
    root: Path, tmp_path: Path, server: Recording, page: str, environ: dict[str, str]
) -> None:
    files = zipped(as_artifacts(saved(tmp_path)))
    server.answers |= {JOB: (200, files), BUILD: (200, files)}
    with suppress(RondelError):  # there is no MLflow run
        find_capsule(root, f"{server.url}/{page}", environ)
    assert server.requests
    hidden = ("a-secret", base64.b64encode(b"me:a-secret").decode())
    assert not any(text in str(server.requests) for text in hidden)


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (401, b'{"message": "401 Unauthorized"}', "refuses the token"),
        (404, b'{"message": "404 Not Found"}', "artifacts cannot be fetched"),
        (500, b"broken", "artifacts cannot be fetched"),
        (200, b"no zip at all", "cannot be read"),
        (200, zipped({"public/index.html": b"x"}), "contain no capsule"),
        (200, zipped({f".rondel/runs/{ID}/capsule.json": b"{}"}), "capsule"),
        (200, zipped({f".rondel/runs/{ID}/../../../evil": b"x"}), "capsule"),
    ],
)
def test_what_gitlab_cannot_give_is_explained(
    root: Path, server: Recording, status: int, body: bytes, text: str
) -> None:
    server.answers[JOB] = (status, body)
    with pytest.raises(RecordError, match=text):
        find_capsule(root, f"{server.url}/team/project/-/jobs/7", {})
    assert list((root / ".rondel/capsules").rglob("*")) == []


BUILD = "/jenkins/job/team/job/train/42/artifact/*zip*/archive.zip"


def test_a_jenkins_build(root: Path, tmp_path: Path, server: Recording) -> None:
    server.answers[BUILD] = (200, zipped(as_artifacts(saved(tmp_path), prefix="archive/")))
    environ = {"JENKINS_USER": "somebody", "JENKINS_TOKEN": "api-token"}
    found = find_capsule(root, f"{server.url}/jenkins/job/team/job/train/42/", environ)
    assert (found.capsule.id, found.kind) == (ID, "jenkins")
    asked = [headers for path, headers in server.requests if path == BUILD]
    login = base64.b64encode(b"somebody:api-token").decode()
    assert asked[0]["authorization"] == f"Basic {login}"


def test_what_jenkins_cannot_give_is_explained(root: Path, server: Recording) -> None:
    with pytest.raises(RecordError, match="does not exist, or has no artifacts"):
        find_capsule(root, f"{server.url}/jenkins/job/team/job/train/42/", {})
    server.answers[BUILD] = (403, b"no")
    with pytest.raises(RecordError, match="refuses the login"):
        find_capsule(root, f"{server.url}/jenkins/job/team/job/train/42/", {})
    with pytest.raises(RecordError, match="cannot be reached"):
        find_capsule(root, "http://127.0.0.1:9/job/train/42/", {})


def test_an_exported_file_among_the_artifacts_is_taken(root: Path, tmp_path: Path, server: Recording) -> None:
    export(saved(tmp_path), tmp_path / "run.capsule")
    data = (tmp_path / "run.capsule").read_bytes()
    server.answers[JOB] = (200, zipped({"out/run.capsule": data}))
    assert find_capsule(root, f"{server.url}/team/project/-/jobs/7", {}).capsule.id == ID


def test_addresses_are_taken_apart() -> None:
    assert gitlab.split("https://g.org/a/b/c/-/jobs/5", {}) == ("https://g.org", "a/b/c", 5)
    below = {"GITLAB_URL": "https://g.org/gitlab/"}
    assert gitlab.split("https://g.org/gitlab/a/b/-/jobs/5", below) == ("https://g.org/gitlab", "a/b", 5)
    assert jenkins.split("https://j.org/ci/job/a/job/b%20c/7/console") == (
        "https://j.org/ci",
        "/job/a/job/b%20c",
        7,
    )
    with pytest.raises(RecordError, match="not the address of a GitLab job"):
        gitlab.split("https://g.org/a/b", {})
    with pytest.raises(RecordError, match="not the address of a Jenkins build"):
        jenkins.split("https://j.org/a/b")


def test_a_run_that_the_mlflow_server_does_not_have_is_said_with_where_to_look(tmp_path: Path) -> None:
    with recording_server() as server:
        answer = b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run not found"}'
        server.answers["/api/2.0/mlflow/runs/get"] = (404, answer)
        with pytest.raises(RecordError, match=f"has no run {'a' * 32}") as caught:
            find_capsule(tmp_path, "a" * 32, {"MLFLOW_TRACKING_URI": server.url})
    assert "MLFLOW_TRACKING_URI" in (caught.value.hint or "")


def test_a_file_that_is_not_there_is_not_taken_for_a_run(tmp_path: Path) -> None:
    for name in (str(tmp_path / "run.capsule"), "run.capsule"):
        with pytest.raises(RecordError, match="there is no file"):
            find_capsule(tmp_path, name, {})
