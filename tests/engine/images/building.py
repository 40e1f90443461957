"""Queries that build a Containerfile."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def built(root: Path, leaf: str, arguments: str = "") -> str:
    return f'{{host{{directory(path:"{root}",noCache:true){{dockerBuild{arguments}{{{leaf}}}}}}}}}'


def out(*commands: str) -> str:
    script = " && ".join(commands).replace("\\", "\\\\").replace('"', '\\"')
    return f'withExec(args:["sh","-c","{script}"]){{stdout}}'
