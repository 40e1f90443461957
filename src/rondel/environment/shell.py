"""A shell for people in a stage's container: before its command, or in what the command left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    import dagger

    from rondel.settings import Settings

_SHELL = "if command -v bash > /dev/null; then exec bash; else exec sh; fi"


def wanted(settings: Settings, when: str, number: int) -> bool:
    """Whether the shell is to be opened at this point of the stage's command of that number (from 0)."""
    return settings.shell == when and number == settings.shell_at


def keeps_failures(settings: Settings) -> bool:
    """Whether what a failed command leaves may be looked at, so that the engine has to keep it."""
    return settings.shell == "after" or settings.interactive


async def open_shell(container: dagger.Container, observer: Any, text: str) -> None:
    """Open a shell on the terminal and wait until it ends; what is done in it stays in it.

    Raises ConfigurationError where there is no terminal.
    """
    import dagger

    pause = getattr(observer, "pause", None)
    if pause is not None:
        pause()
    print(
        f"\n{text}\n`exit` leaves the shell; nothing that is done in it is kept.", file=sys.stderr, flush=True
    )
    try:
        await container.terminal(cmd=["sh", "-c", _SHELL]).sync()
    except dagger.QueryError as error:
        said = str(error).splitlines()[0]
        # Dagger's CLI opens a terminal inside of its own display only, which `dagger session` has not.
        hint = (
            "`rondel reproduce --shell before` (or after) opens one, in the display of Dagger's CLI"
            if "TUI" in said
            else "run this by hand in a terminal"
        )
        raise ConfigurationError("no shell can be opened", why=said, hint=hint) from None


def dagger_any() -> dagger.ReturnType:
    """The expectation that a command may end as it likes."""
    import dagger

    return dagger.ReturnType.ANY
