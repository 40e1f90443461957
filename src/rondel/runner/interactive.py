"""``--interactive``: asks what to do after a stage failed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rondel.pipeline import Stage
    from rondel.runner.journal import Journal

Choice = Literal["retry", "skip", "stop"]

_ANSWERS: dict[str, Choice | Literal["shell"]] = {
    "s": "shell",
    "shell": "shell",
    "r": "retry",
    "retry": "retry",
    "k": "skip",
    "skip": "skip",
    "q": "stop",
    "stop": "stop",
}


def check_terminal() -> None:
    """Raise ConfigurationError without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigurationError("--interactive needs a terminal", hint="omit it in scripts and in CI")


class Intervention:
    """Shows a failure, opens a shell, and asks what to do next; one stage at a time."""

    def __init__(self, journal: Journal, read: Callable[[str], str] | None = None) -> None:
        import anyio

        self._journal = journal
        self._read = read or _read
        self._lock = anyio.Lock()

    async def ask(self, stage: Stage, error: str, ctx: Any) -> Choice:
        """Ask what to do after ``stage`` failed. An effect can't be retried."""
        async with self._lock:
            self._journal.pause()
            print(f"\n{error}", file=sys.stderr, flush=True)
            opened = ctx is not None and await self._shell(ctx)
            offers = ["[s]hell"] if opened else []
            offers += ["[r]etry"] if stage.pure else []
            question = f"{stage.name} failed: {', '.join([*offers, 's[k]ip what needs it', '[q] stop'])}? "
            while True:
                answer = await self._answer(question)
                if answer == "shell" and opened:
                    await self._shell(ctx)
                elif answer == "retry" and stage.pure:
                    return "retry"
                elif answer in {"skip", "stop"}:
                    return answer  # type: ignore[return-value]

    async def _answer(self, question: str) -> str | None:
        from anyio import to_thread

        try:
            text = await to_thread.run_sync(self._read, question, abandon_on_cancel=True)
        except EOFError:
            return "stop"
        return _ANSWERS.get(text.strip().lower())

    async def _shell(self, ctx: Any) -> bool:
        try:
            return bool(await ctx.shell())
        except Exception as error:  # noqa: BLE001 - printed; the user still chooses what to do next
            text = str(error).strip() or type(error).__name__
            prefix = "" if isinstance(error, ConfigurationError) else "can't open a shell: "
            print(f"{prefix}{text}", file=sys.stderr)
            return False


def _read(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
