"""Checks whether the DVC remote has a version's data. Looks in the remote, not in the local cache."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rondel.data.inputs import object_path
from rondel.data.remote import find_remote
from rondel.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.data.remote import Remote


def missing_in_remote(
    root: Path, hashes: Mapping[str, str], environ: Mapping[str, str], *, url: str | None = None
) -> list[str]:
    """The paths that the remote does not have, including single files of folders.

    Raises DataError if the remote can't be checked.
    """
    wanted = {path: digest.removeprefix("md5:") for path, digest in hashes.items() if _is_dvc_hash(digest)}
    if not wanted:
        return []
    remote = find_remote(root, environ, url or environ.get("DVC_REMOTE_URL"))
    if remote.folder is not None:
        return _missing_in_folder(remote.folder, wanted)
    return _missing_by_dvc(root, remote, wanted)


def _is_dvc_hash(digest: str) -> bool:
    return digest.startswith("md5:") or ":" not in digest


def _missing_in_folder(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    missing = []
    for path, digest in wanted.items():
        stored = object_path(folder, f"md5:{digest}")
        if not stored.is_file():
            missing.append(path)
        elif digest.endswith(".dir"):
            for name, part in manifest(stored.read_bytes(), path).items():
                if not object_path(folder, f"md5:{part}").is_file():
                    missing.append(name)
    return missing


def _missing_by_dvc(root: Path, remote: Remote, wanted: Mapping[str, str]) -> list[str]:
    """Look in a remote of any kind with DVC's own object store."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    config = {"remote": {"rondel": {"url": remote.url, **remote.options}}, "core": {"remote": "rondel"}}
    try:
        with Repo(str(root), config=config) as repo:
            store = repo.cloud.get_remote_odb("rondel")
            stored = set(store.oids_exist(list(wanted.values())))
            missing = [path for path, digest in wanted.items() if digest not in stored]
            for path, digest in wanted.items():
                if digest in stored and digest.endswith(".dir"):
                    content = store.fs.cat_file(store.oid_to_path(digest))
                    parts = manifest(content, path)
                    stored_parts = set(store.oids_exist(list(parts.values())))
                    missing += [name for name, part in parts.items() if part not in stored_parts]
            return missing
    except (DvcException, OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"the DVC remote {remote.shown} can't be checked for the data",
            why=str(error),
            hint="check the credentials in the environment, or see `dvc push -v`",
        ) from error
    except Exception as error:
        # Each kind of remote raises the exceptions of its library (botocore, azure, paramiko).
        raise DataError(
            f"the DVC remote {remote.shown} does not answer", why=f"{type(error).__name__}: {error}"
        ) from error


def manifest(content: bytes, path: str) -> dict[str, str]:
    """The files of a folder in DVC's cache, path to hash. Raises DataError for a damaged list."""
    try:
        return {f"{path}/{row['relpath']}": str(row["md5"]) for row in json.loads(content)}
    except (ValueError, TypeError, KeyError):
        raise DataError(
            f"the file list of {path} in the remote is damaged", hint="push the data again"
        ) from None
