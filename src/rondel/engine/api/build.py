"""``Directory.dockerBuild``."""

from __future__ import annotations

from typing import Any

from rondel.containerfile import NotUnderstood
from rondel.engine.api.registry import Context, Keyed, field
from rondel.engine.evaluate import ExecError
from rondel.engine.evaluate.build import build
from rondel.engine.evaluate.buildmounts import BuildRequest
from rondel.engine.evaluate.imageconfig import to_image
from rondel.engine.values import Directory, Secret, Socket, digest_of
from rondel.errors import EngineError


@field("Directory", "dockerBuild", secrets=Secret, ssh=Socket)
async def docker_build(
    ctx: Context,
    self: Directory,
    *,
    dockerfile: str,
    platform: str | None,
    build_args: list[dict[str, Any]],
    target: str,
    secrets: list[Secret],
    no_init: bool,
    ssh: Socket | None = None,
) -> Keyed:
    """Build a Containerfile now; the result is the finished container."""
    request = BuildRequest(
        context=self,
        dockerfile=dockerfile or "Dockerfile",
        target=target,
        args={pair["name"]: pair["value"] for pair in build_args},
        secrets={secret.name or secret.uri: secret for secret in secrets},
        ssh=ssh,
        platform=platform or "",
        no_init=no_init,
    )
    try:
        made = await build(ctx.session, request)
    except ExecError as error:
        raise ExecError(
            f"failed to clone built container state: {error.what}",
            cmd=error.cmd, exit_code=error.exit, stdout=error.stdout, stderr=error.stderr,
        ) from None  # fmt: skip
    except NotUnderstood as error:
        ctx.session.notify(error.render())
        raise EngineError(error.answer) from None
    await ctx.snapshot(made.fs)
    config = to_image(made.config, made.platform).to_bytes().decode()
    return Keyed(made, digest_of("docker-build", made.fs.key if made.fs else "", config))
