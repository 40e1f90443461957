"""``ctx.notify``: a message to a chat channel. An operation that Rondel does not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from rondel.errors import ConfigurationError
from rondel.operations.operation import Call, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rondel.operations.project import Project
    from rondel.operations.runtime import StageRuntime
    from rondel.pipeline import Stage


@dataclass(frozen=True, kw_only=True)
class Notify(Operation[None]):
    """A message to a channel."""

    kind = "notify"
    effect = True

    channel: str
    text: str = ""

    @classmethod
    def call(cls, channel: str, *, text: str) -> Self:
        """Send ``text`` to ``channel``."""
        return cls(channel=channel, text=text)

    @classmethod
    def from_call(cls, call: Call) -> Self:
        """The message of a call."""
        return cls(channel=call.name, text=call.details.get("text", ""))

    @property
    def name(self) -> str:
        """The channel."""
        return self.channel

    @property
    def details(self) -> Mapping[str, Any]:
        """The text."""
        return {"text": self.text}

    def check(self, stage: Stage, project: Project) -> Iterator[ConfigurationError]:
        """The channel is written as one."""
        if not self.channel.startswith("#"):
            yield ConfigurationError(
                f"stage {stage.name!r} notifies {self.channel!r}, which is not a channel",
                hint=f"#{self.channel}",
                place=str(self.place or stage.place),
            )

    def describe(self, project: Project, given: Mapping[str, Any]) -> Sequence[str]:
        """The channel and the text."""
        return [f"notify {self.channel}: {self.text}"]

    async def run(self, runtime: StageRuntime) -> None:
        """Send the message from the stage's container."""
        await runtime.container.with_exec(["notify", self.channel, self.text]).sync()
