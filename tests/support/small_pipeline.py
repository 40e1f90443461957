"""A pipeline of one stage, and the command line in its project."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PIPELINE = """
from rondel import Pipeline, StageContext

pipeline = Pipeline()


@pipeline.stage
async def train(ctx: StageContext) -> None:
    await ctx.sh("true")


if __name__ == "__main__":
    pipeline.main()
"""


def rondel(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``rondel`` there, outside of CI."""
    kept = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [sys.executable, "-c", "import sys; from rondel.cli import main; sys.exit(main())", *words],
        cwd=root,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
