"""Keeps secrets out of records: capsules, logs, and the code that is kept beside them.

Engines mask secrets in what commands print. This is the second line: what goes
into a run's folder is searched for every value that is known to be secret,
also in texts that no engine has seen (arguments, errors, a diff).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.secrets.names import is_secret_file

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.record.capsule import Capsule
    from rondel.secrets.masker import Masker


def redact(capsule: Capsule, masker: Masker) -> Capsule:
    """The capsule with every text in it masked, keys of mappings included."""
    if not masker:
        return capsule
    import msgspec

    plain = msgspec.to_builtins(capsule)
    return msgspec.convert(_walk(plain, masker), type(capsule))


def _walk(value: Any, masker: Masker) -> Any:
    if isinstance(value, str):
        return masker.text(value)
    if isinstance(value, dict):
        return {masker.text(key): _walk(each, masker) for key, each in value.items()}
    if isinstance(value, list):
        return [_walk(each, masker) for each in value]
    return value


def reason_to_omit(path: str, content: bytes | Path, masker: Masker) -> str:
    """Why a record must not hold a file, given its content or where it is; an empty text if it may."""
    if is_secret_file(path):
        return "its name says that it holds secrets"
    if masker.found_in(content) if isinstance(content, bytes) else masker.found_in_file(content):
        return "it holds the value of a secret"
    return ""
