"""``http``: a file from a URL."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from rondel.engine.api.registry import Context, Keyed, field
from rondel.engine.evaluate.download import download, file_name
from rondel.engine.evaluate.operations import edit, edited
from rondel.engine.evaluate.secrets import SessionSecrets
from rondel.engine.values import File, Secret
from rondel.engine.values.service import ContainerService, HostService
from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.evaluate import Session
    from rondel.engine.store import Draft
    from rondel.engine.values import Node

_PERMISSIONS = 0o600


@edit("http-file")
async def _http_file(session: Session, draft: Draft, node: Node) -> None:
    name, digest, mode, modified = node.params
    put = partial(draft.write, name, session.store.blobs.path(digest), mode=mode, mtime_ns=modified)
    await anyio.to_thread.run_sync(put)


@field("Query", "http", auth_header=Secret, experimental_service_host=(ContainerService, HostService))
async def http(
    ctx: Context,
    self: None,
    *,
    url: str,
    name: str | None,
    permissions: int | None,
    checksum: str | None,
    auth_header: Secret | None,
    experimental_service_host: ContainerService | HostService | None,
) -> Keyed:
    """A file that is fetched once per session; its key depends on its content."""
    _ = self
    name = name if name is not None else file_name(url)
    if "/" in name or name in {"", ".", ".."}:
        raise EngineError(f'file name "{name}" must not contain a directory')
    authorization = ""
    if auth_header is not None:
        secret = await ctx.session.part(SessionSecrets).plaintext(auth_header)
        authorization = secret.decode("latin-1").strip()
    fetched = await download(
        ctx.session, url, checksum=checksum, authorization=authorization, service=experimental_service_host
    )
    mode = _PERMISSIONS if permissions is None else permissions & 0o777
    # The epoch if the server sends no time: the same content must be the same file.
    fs = edited("http-file", None, "/" + name, fetched.digest, mode, fetched.modified_ns or 0)
    return Keyed(File(fs, "/" + name), fs.key)
