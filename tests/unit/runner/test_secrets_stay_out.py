"""Secrets in every place that a run reads or writes stay out of its folder and its archive."""

from __future__ import annotations

import base64
import html
import io
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from rondel.errors import StageFailed
from rondel.pipeline import Pipeline
from rondel.record.archive import pack
from rondel.settings import Settings
from rondel.testing import FakeContexts, FakeServices, run_with_fakes

if TYPE_CHECKING:
    from rondel.testing import FakeProject, RecordingContext

DECLARED = "declared-s3cr3t"
NAMED = "glpat-by-its-name-0001"
LOGIN = "p%40ss-in-a-url"
FOUND_LATER = "found-while-running"
AWKWARD = "awk\"ward & l'ong\\value"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nAASCBKcwggSjAgEA\n-----END KEY-----\n"
VALUES = (DECLARED, NAMED, LOGIN, "p@ss-in-a-url", FOUND_LATER)
FORMS = (
    repr(AWKWARD)[1:-1],
    json.dumps(AWKWARD)[1:-1],
    html.escape(AWKWARD),
    quote(AWKWARD, safe=""),
    AWKWARD.encode().hex(),
    base64.b64encode(AWKWARD.encode()).decode().rstrip("="),
    *PEM.split(),
)


def test_no_value_of_a_secret_is_in_what_a_run_leaves(project: FakeProject) -> None:
    async def leak(ctx: RecordingContext) -> None:
        ctx.recorder.hide([FOUND_LATER])
        for value in (*VALUES, *FORMS):
            ctx.recorder.output(f"printed {value}")
            ctx.recorder.command(["curl", "-H", value], exit_code=1)
            ctx.recorder.use("sh", f"curl -H {value}", {"header": value, value: 1})
            ctx.recorder.parameters({"p": value, value: "p"})
            ctx.recorder.inputs({value: "md5:1"})
        raise StageFailed(f"told {' '.join((*VALUES, *FORMS))}", why=f"because of {NAMED}")

    pipeline = Pipeline("leaky")
    pipeline.dvc("prepare")
    result = run_with_fakes(
        pipeline,
        "prepare",
        project=project,
        services=FakeServices(contexts=FakeContexts(answers={"dvc prepare": leak})),
        settings=Settings(
            root=project.root,
            secrets=("DECLARED",),
            environment=("DECLARED", "PLAIN"),
            tracking_uri=f"https://user:{LOGIN}@mlflow.example.org",
            experiment=f"experiment {NAMED}",
            sources={"experiment": NAMED},
        ),
        environ={
            "DECLARED": DECLARED,
            "AWKWARD_PASSWORD": AWKWARD,
            "DEPLOY_KEY": PEM,
            "GITLAB_TOKEN": NAMED,
            "MLFLOW_TRACKING_URI": f"https://user:{LOGIN}@mlflow.example.org",
            "MLFLOW_TRACKING_PASSWORD": "p@ss-in-a-url",
            "PLAIN": f"a plain one with {DECLARED} in it",
        },
    )
    assert result.exit_code == StageFailed.exit_code
    out = io.BytesIO()
    pack(result.folder, out)
    written = {str(path): path.read_bytes() for path in result.folder.path.rglob("*") if path.is_file()}
    assert any("capsule.json" in name for name in written)
    assert any("prepare.log" in name for name in written)
    for name, content in {**written, "the archive": out.getvalue()}.items():
        for value in (*VALUES, "MIIEvQIBADANBgkq", "AASCBKcwggSjAgEA", *FORMS[:6]):
            assert value.encode() not in content, (name, value)
    assert result.capsule.secrets == ["DECLARED", "MLFLOW_TRACKING_PASSWORD"]
    assert "DECLARED" not in result.capsule.environment
