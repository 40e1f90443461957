# ruff: noqa: N802, N815
"""A stub of GitLab's MLflow-compatible endpoint. It is a stub: no GitLab was at hand to test against.

It answers as GitLab's source does (lib/api/ml/mlflow): experiments, runs, models
and versions; no aliases that can be set, no tags on models and versions after
they were made, SemVer versions through the tag ``gitlab.version``, tags on
runs that refuse a name that is there already, 401 without a token.
"""

from __future__ import annotations

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    import ssl

PREFIX = "/api/v4/projects/7/ml/mlflow"
TOKEN = "glpat-stub"
_SEMVER = re.compile(r"^\d+\.\d+\.\d+(-[\w.]+)?$")


class Refusal(Exception):
    def __init__(self, status: int, code: str = "") -> None:
        super().__init__(code)
        self.status, self.code = status, code


class GitlabStub:
    """The stub's server and its state. ``calls`` lists what was asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.fail: list[int] = []
        self.lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            server_version = "GitLabStub/1 (not GitLab)"

            def log_message(self, *_: Any) -> None:
                pass

            def _answer(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                given = dict(parse_qsl(parts.query)) | (json.loads(body) if body.startswith(b"{") else {})
                status, answer = stub.answer(
                    self.command, parts.path, given, self.headers.get("Authorization")
                )
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        scheme = "http" if tls is None else "https"
        self.uri = f"{scheme}://127.0.0.1:{self.server.server_port}{PREFIX}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, path: str, given: dict[str, Any], auth: str | None) -> tuple[int, Any]:
        if not path.startswith(f"{PREFIX}/api/2.0/mlflow/"):
            return 404, {"error": "404 Not Found"}
        name = path.removeprefix(f"{PREFIX}/api/2.0/mlflow/")
        with self.lock:
            self.calls.append(f"{method} {name}")
            if self.fail:
                return self.fail.pop(0), {"message": "stubbed failure"}
            if auth != f"Bearer {TOKEN}":
                return 401, {"message": "401 Unauthorized"}
            handler = getattr(self, f"{method}_{name.replace('/', '_').replace('-', '_')}", None)
            if handler is None:
                return 404, {"error": "404 Not Found"}
            try:
                return 200, handler(given)
            except Refusal as refusal:
                return refusal.status, {"error_code": refusal.code} if refusal.code else {"message": "400"}

    def GET_experiments_get_by_name(self, given: dict[str, Any]) -> Any:
        name = given["experiment_name"]
        if name not in self.experiments:
            raise Refusal(404, "RESOURCE_DOES_NOT_EXIST")
        return {"experiment": {"experiment_id": self.experiments[name], "name": name}}

    def POST_experiments_create(self, given: dict[str, Any]) -> Any:
        if given["name"] in self.experiments:
            raise Refusal(400, "RESOURCE_ALREADY_EXISTS")
        self.experiments[given["name"]] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[given["name"]]}

    def POST_runs_create(self, given: dict[str, Any]) -> Any:
        run_id = f"run-{len(self.runs) + 1}"
        self.runs[run_id] = {
            "info": {
                "run_id": run_id,
                "experiment_id": str(given["experiment_id"]),
                "run_name": given.get("run_name", ""),
                "start_time": given.get("start_time", 0),
                "status": "RUNNING",
                "artifact_uri": f"{self.uri.removesuffix('/ml/mlflow')}/packages/ml_models/{run_id}/files",
            },
            "data": {
                "tags": {row["key"]: row["value"] for row in given.get("tags", ())},
                "metrics": {},
                "params": {},
            },
        }
        return {"run": self._shown(run_id)}

    def GET_runs_get(self, given: dict[str, Any]) -> Any:
        return {"run": self._shown(given["run_id"])}

    def POST_runs_search(self, given: dict[str, Any]) -> Any:
        wanted = str(given["experiment_ids"][0])
        return {
            "runs": [
                self._shown(run_id)
                for run_id, run in self.runs.items()
                if run["info"]["experiment_id"] == wanted
            ]
        }

    def POST_runs_update(self, given: dict[str, Any]) -> Any:
        self._run(given["run_id"])["info"]["status"] = given["status"]
        return {"run_info": self._run(given["run_id"])["info"]}

    def POST_runs_log_batch(self, given: dict[str, Any]) -> Any:
        data = self._run(given["run_id"])["data"]
        for kind in ("metrics", "params", "tags"):
            for row in given.get(kind, ()):
                data[kind].setdefault(row["key"], row["value"])
        return {}

    def POST_runs_set_tag(self, given: dict[str, Any]) -> Any:
        tags = self._run(given["run_id"])["data"]["tags"]
        if given["key"] in tags:
            raise Refusal(400)
        tags[given["key"]] = given["value"]
        return {}

    def POST_registered_models_create(self, given: dict[str, Any]) -> Any:
        if given["name"] in self.models:
            raise Refusal(400, "RESOURCE_ALREADY_EXISTS")
        self.models[given["name"]] = {
            "name": given["name"],
            "description": given.get("description", ""),
            "tags": given.get("tags", []),
            "versions": {},
        }
        return {"registered_model": self._model(given["name"])}

    def GET_registered_models_get(self, given: dict[str, Any]) -> Any:
        return {"registered_model": self._model(given["name"])}

    def GET_registered_models_search(self, _given: dict[str, Any]) -> Any:
        return {"registered_models": [self._model(name) for name in self.models]}

    def GET_registered_models_alias(self, given: dict[str, Any]) -> Any:
        return {"model_version": self._version(given["name"], given["alias"])}

    def POST_model_versions_create(self, given: dict[str, Any]) -> Any:
        self._model(given["name"])
        tags = {row["key"]: row["value"] for row in given.get("tags", ())}
        versions = self.models[given["name"]]["versions"]
        version = tags.pop("gitlab.version", None) or f"{len(versions) + 1}.0.0"
        if not _SEMVER.match(version) or version in versions:
            raise Refusal(400, "INVALID_PARAMETER_VALUE")
        versions[version] = {
            "name": given["name"],
            "version": version,
            "creation_timestamp": int(time.time() * 1000),
            "description": given.get("description", ""),
            "run_id": given.get("run_id") or f"candidate-{version}",
            "source": "",
            "status": "READY",
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
            "aliases": [],
        }
        return {"model_version": versions[version]}

    def GET_model_versions_get(self, given: dict[str, Any]) -> Any:
        return {"model_version": self._version(given["name"], given["version"])}

    def PATCH_model_versions_update(self, given: dict[str, Any]) -> Any:
        found = self._version(given["name"], given["version"])
        found["description"] = given["description"]
        return {"model_version": found}

    def _model(self, name: str) -> Any:
        if name not in self.models:
            raise Refusal(404, "RESOURCE_DOES_NOT_EXIST")
        found = self.models[name]
        versions = list(found["versions"].values())
        return {
            "name": name,
            "description": found["description"],
            "tags": found["tags"],
            "latest_versions": versions[-1:],
        }

    def _version(self, name: str, version: str) -> Any:
        self._model(name)
        if version not in self.models[name]["versions"]:
            raise Refusal(404, "RESOURCE_DOES_NOT_EXIST")
        return self.models[name]["versions"][version]

    def _run(self, run_id: str) -> Any:
        if run_id not in self.runs:
            raise Refusal(404, "RESOURCE_DOES_NOT_EXIST")
        return self.runs[run_id]

    def _shown(self, run_id: str) -> Any:
        run = self._run(run_id)
        data = {
            kind: [{"key": key, "value": value} for key, value in rows.items()]
            for kind, rows in run["data"].items()
        }
        return {"info": run["info"], "data": data}
