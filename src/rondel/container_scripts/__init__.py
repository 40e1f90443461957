"""Programs that run inside a container, by another interpreter.

They import nothing of Rondel, and run on every Python from 3.8 on, which an image may have.
"""

from importlib import resources


def script(name: str) -> str:
    """The source of a program of this package."""
    return resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")
