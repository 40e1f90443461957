"""Programs that run inside a container, with the Python that is there.

They don't import Rondel, and run on every Python from 3.8 on, because images may have an old one.
"""

from importlib import resources


def script(name: str) -> str:
    """The source code of a program in this package."""
    return resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")
