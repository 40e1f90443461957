"""Opens an interactive shell in a stage's container, before or after its command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    import dagger

    from rondel.settings import Settings

_SHELL = "if command -v bash > /dev/null; then exec bash; else exec sh; fi"


def shell_is_due(settings: Settings, when: str, number: int) -> bool:
    """Whether ``--shell`` asks for a shell before or after this command; commands count from 0."""
    return settings.shell == when and number == settings.shell_at


def keeps_failures(settings: Settings) -> bool:
    """Whether a shell may open after a failed command, so that the engine has to keep its container."""
    return settings.shell == "after" or settings.interactive


async def open_shell(container: dagger.Container, observer: Any, text: str) -> None:
    """Open a shell on the terminal and wait until it ends; its changes are discarded.

    Raises ConfigurationError without a terminal.
    """
    import dagger

    pause = getattr(observer, "pause", None)
    if pause is not None:
        pause()
    print(f"\n{text}\n`exit` leaves the shell and discards its changes.", file=sys.stderr, flush=True)
    try:
        await container.terminal(cmd=["sh", "-c", _SHELL]).sync()
    except dagger.QueryError as error:
        why = str(error).splitlines()[0]
        # Dagger's CLI opens a terminal only in its TUI, which `dagger session` does not have.
        hint = (
            "use `rondel reproduce --shell before` (or after), which starts the TUI of Dagger's CLI"
            if "TUI" in why
            else "run this by hand in a terminal"
        )
        raise ConfigurationError("can't open a shell", why=why, hint=hint) from None
