"""The log of alias changes: append-only, hash-chained, stored as tags on the model registry.

On an MLflow server the entries are tags of the registered model. GitLab's
endpoint can't change a model's tags, but it accepts tags on runs and refuses to
overwrite one. There, each model has one run whose tags are the log, and the
newest entry defines what an alias points at.

The tag of entry N is ``rondel.log.N.HASH``, with six digits for N and the first
eight characters of the entry's hash. The hash is the SHA-256 of the entry's
canonical JSON, which contains the hash of the previous entry. An MLflow server
overwrites tags silently; the hash in the name keeps two machines from
overwriting each other's entry. If two entries have the same number, the one
that the next entry follows is valid. Without a next entry, the one with the
smaller hash is valid. The other one lost the race, and its writer gets an error.

The chain shows that an entry was changed, removed or inserted by accident, or by who did not
write the entries after it again. Who may write tags can make a whole new chain: only
signatures protect from that, and no chain shows that its newest entries were cut off.
On GitLab the tag is ``rondel.log.N``, which the server lets only one machine
write.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rondel.errors import TrackingUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rondel.tracking.client import RunHandle, TrackingClient

TAG_PREFIX = "rondel.log."
LOG_EXPERIMENT = "rondel-registry"
NO_HASH = "0" * 64


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasLogEntry:
    """One change of an alias. ``at`` is ISO 8601 in UTC; ``old`` and ``new`` are empty for no version.

    ``signature`` is that of the hash, by the key of whoever changed the alias; empty without one.
    """

    number: int
    at: str
    who: str
    action: str
    alias: str
    old: str
    new: str
    reason: str = ""
    forced: bool = False
    run: str = ""
    previous: str = NO_HASH
    hash: str = ""
    signature: str = ""

    def chained_to(self, previous: str) -> AliasLogEntry:
        """The entry with its own hash, following the entry whose hash is ``previous``."""
        fields = {**asdict(self), "previous": previous}
        return AliasLogEntry(**{**fields, "hash": digest(fields)})

    @property
    def tag(self) -> str:
        """The name of the entry's tag on a server that refuses to overwrite tags."""
        return f"{TAG_PREFIX}{self.number:06d}"

    @property
    def hashed_tag(self) -> str:
        """The name of the entry's tag on a server that overwrites tags."""
        return f"{self.tag}.{self.hash[:8]}"

    def encode(self) -> str:
        """The tag's value."""
        fields = {name: value for name, value in asdict(self).items() if name != "signature" or value}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(fields: Mapping[str, Any]) -> str:
    """The hash of an entry: SHA-256 of its JSON with sorted keys, without hash and signature."""
    kept = {name: value for name, value in fields.items() if name not in {"hash", "signature"}}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasLog:
    """A model's log: the valid entries, those that lost a race, and the problems of the chain."""

    entries: tuple[AliasLogEntry, ...] = ()
    lost: tuple[AliasLogEntry, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """The hash of the last entry."""
        return self.entries[-1].hash if self.entries else NO_HASH

    def next(self, **fields: Any) -> AliasLogEntry:
        """A new entry that follows the last one."""
        return AliasLogEntry(number=len(self.entries) + 1, **fields).chained_to(self.head)


def decode_log(tags: Mapping[str, str]) -> AliasLog:
    """The log in these tags."""
    candidates: dict[int, list[AliasLogEntry]] = {}
    problems: list[str] = []
    for tag in sorted(name for name in tags if name.startswith(TAG_PREFIX)):
        try:
            entry = AliasLogEntry(**json.loads(tags[tag]))
        except (ValueError, TypeError):
            problems.append(f"{tag} cannot be read")
            continue
        if tag not in {entry.tag, entry.hashed_tag}:
            problems.append(f"{tag} contains entry {entry.number}")
        candidates.setdefault(entry.number, []).append(entry)
    valid: list[AliasLogEntry] = []
    lost: list[AliasLogEntry] = []
    followed = ""  # the hash that the next entry follows
    for number in sorted(candidates, reverse=True):
        winner, *others = sorted(candidates[number], key=lambda entry: (entry.hash != followed, entry.hash))
        valid.insert(0, winner)
        lost += others
        followed = winner.previous
    entries = tuple(valid)
    return AliasLog(entries=entries, lost=tuple(lost), problems=(*problems, *chain_problems(entries)))


def chain_problems(entries: Sequence[AliasLogEntry]) -> list[str]:
    """What breaks the chain: a missing entry, a changed one, or one that follows another hash."""
    problems = []
    previous = NO_HASH
    for position, entry in enumerate(entries, start=1):
        if entry.number != position:
            problems.append(f"entry {position} is missing")
            break
        if entry.hash != digest(asdict(entry)):
            problems.append(f"entry {entry.number} was changed after it was written")
        if entry.previous != previous:
            problems.append(f"entry {entry.number} does not follow the present entry {entry.number - 1}")
        previous = entry.hash
    return problems


def aliases_after(entries: Iterable[AliasLogEntry]) -> dict[str, str]:
    """What each alias points at after these changes."""
    found: dict[str, str] = {}
    for entry in entries:
        if entry.new:
            found[entry.alias] = entry.new
        else:
            found.pop(entry.alias, None)
    return found


async def gitlab_log_run(client: TrackingClient, model: str) -> tuple[RunHandle, dict[str, str]] | None:
    """The run that holds a model's log on GitLab, with its tags; None before the first entry.

    Two machines may have created a run at the same time: the older one is valid.
    """
    experiment = await client.get_experiment(LOG_EXPERIMENT)
    if experiment is None:
        return None
    found = [run for run in await client.search_runs(experiment, limit=1000) if run.name == model]
    if not found:
        return None
    oldest = min(found, key=lambda run: (run.start_ms, run.handle.run_id))
    return oldest.handle, dict(oldest.tags)


async def gitlab_aliases(client: TrackingClient, model: str) -> dict[str, str]:
    """The aliases of a model on GitLab's endpoint, from its log.

    Raises TrackingUnavailable for a broken chain: its aliases can't be trusted.
    """
    found = await gitlab_log_run(client, model)
    if found is None:
        return {}
    log = decode_log(found[1])
    if log.problems:
        raise TrackingUnavailable(
            f"the log of model {model!r} on {client.endpoint.uri} is damaged",
            why="\n".join(log.problems),
            hint="someone edited the tags of its run; see `rondel models history`",
        )
    return aliases_after(log.entries)
