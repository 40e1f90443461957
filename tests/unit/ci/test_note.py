"""The note on a merge request, against a server that records what it is asked, and answers as GitLab does."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from rondel.ci.model import CiContext
from rondel.ci.note import marker, post_note

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("gitlab", reason="this test needs python-gitlab, of the extra ci")


class RecordingGitLab:
    """A recording server with the two calls of GitLab's notes API that are used."""

    def __init__(self) -> None:
        self.notes: dict[int, str] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.refuse = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self, value: Any, code: int = 200) -> None:
                data = json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _body(self) -> str:
                length = int(self.headers.get("Content-Length") or 0)
                return str(json.loads(self.rfile.read(length))["body"])

            def _note(self, number: int) -> dict[str, Any]:
                return {"id": number, "body": outer.notes[number]}

            def _handle(self) -> None:
                path = self.path.partition("?")[0]
                outer.asked.append((self.command, path, self.headers.get("PRIVATE-TOKEN")))
                if outer.refuse:
                    self._answer({"message": "no"}, outer.refuse)
                elif self.command == "GET":
                    self._answer([self._note(number) for number in outer.notes])
                elif self.command == "POST":
                    number = len(outer.notes) + 1
                    outer.notes[number] = self._body()
                    self._answer(self._note(number), 201)
                else:
                    number = int(path.rpartition("/")[2])
                    outer.notes[number] = self._body()
                    self._answer(self._note(number))

            do_GET = do_POST = do_PUT = _handle  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def gitlab() -> Iterator[RecordingGitLab]:
    server = RecordingGitLab()
    yield server
    server.close()


def context(gitlab: RecordingGitLab, /, **changes: Any) -> CiContext:
    facts = {"provider": "gitlab", "server": gitlab.url, "project": "42", "merge_request": 5, "name": "train"}
    return CiContext(**{**facts, **changes})


def test_a_note_is_written_and_then_rewritten(gitlab: RecordingGitLab) -> None:
    gitlab.notes[1] = "somebody's own note"
    job = context(gitlab)
    environ = {"RONDEL_GITLAB_TOKEN": "glpat-secret"}
    assert post_note(job, environ, "first") == "added a note to the merge request"
    assert post_note(job, environ, "second") == "updated the note on the merge request"
    assert gitlab.notes == {1: "somebody's own note", 2: f"{marker(job)}\nsecond"}
    assert {token for _, _, token in gitlab.asked} == {"glpat-secret"}
    assert {path.removesuffix("/2") for _, path, _ in gitlab.asked} == {
        "/api/v4/projects/42/merge_requests/5/notes"
    }


def test_each_job_has_its_own_note(gitlab: RecordingGitLab) -> None:
    for name in ("train", "evaluate"):
        post_note(context(gitlab, name=name), {"GITLAB_TOKEN": "t"}, name)
    assert len(gitlab.notes) == 2


@pytest.mark.parametrize(
    ("changes", "environ"),
    [
        ({}, {}),
        ({"merge_request": None}, {"GITLAB_TOKEN": "t"}),
        ({"fork": True}, {"GITLAB_TOKEN": "t"}),
        ({"provider": "jenkins"}, {"GITLAB_TOKEN": "t"}),
    ],
)
def test_nothing_is_asked_without_reason(
    gitlab: RecordingGitLab, changes: dict[str, Any], environ: dict[str, str]
) -> None:
    assert post_note(context(gitlab, **changes), environ, "text") is None
    assert gitlab.asked == []


def test_a_refusal_is_told_and_is_no_error(gitlab: RecordingGitLab) -> None:
    gitlab.refuse = 403
    said = post_note(context(gitlab), {"GITLAB_TOKEN": "glpat-secret"}, "text")
    assert said is not None
    assert said.startswith("no note on the merge request: ")
    assert "glpat-secret" not in said


def test_a_server_that_is_away_is_told_and_is_no_error(gitlab: RecordingGitLab) -> None:
    job = context(gitlab, server="http://127.0.0.1:9")
    said = post_note(job, {"GITLAB_TOKEN": "t"}, "text")
    assert said is not None
    assert said.startswith("no note")


def test_no_jobs_name_ends_the_comment_that_the_note_is_found_by() -> None:
    sign = marker(CiContext(provider="gitlab", name="a ---> b"))
    assert sign.index("-->") == len(sign) - 3
