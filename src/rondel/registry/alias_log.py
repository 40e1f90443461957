"""The log of alias moves: append-only, hash-chained, kept as tags beside the models it is about.

On an MLflow server the entries are tags of the registered model. GitLab's
endpoint cannot change a model's tags, but it takes tags on runs, and refuses
one that is there already: there the entries are tags of one run a model, and
what an alias points at is what the newest entry says.

Entry N is the tag ``rondel.log.N.HASH`` (six digits, and the first eight of the
entry's hash); the hash is the SHA-256 of the entry's canonical JSON, which
holds the hash of the entry before. An MLflow server overwrites a tag without a
word, so the hash in the name keeps two machines from destroying each other's
entry: of two entries with one number the one that the next entry follows counts,
before there is a next one that with the smaller hash, and the other is told
that it lost. On GitLab the tag is ``rondel.log.N``, which the
server lets only one of them write.
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
LEDGER_EXPERIMENT = "rondel-registry"
NO_HASH = "0" * 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One move of an alias. ``at`` is ISO 8601 in UTC; ``old`` or ``new`` is empty where there was none."""

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

    def sealed(self, previous: str) -> Entry:
        """The entry as it follows the one with the hash ``previous``."""
        fields = {**asdict(self), "previous": previous}
        return Entry(**{**fields, "hash": digest(fields)})

    @property
    def tag(self) -> str:
        """The name of the tag that holds it, where tags are refused that are there already."""
        return f"{TAG_PREFIX}{self.number:06d}"

    @property
    def claim(self) -> str:
        """The name of the tag that holds it, where tags would be overwritten."""
        return f"{self.tag}.{self.hash[:8]}"

    def encode(self) -> str:
        """The tag's value."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(fields: Mapping[str, Any]) -> str:
    """The hash of an entry: SHA-256 of its JSON with sorted keys, without the hash itself."""
    kept = {name: value for name, value in fields.items() if name != "hash"}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasLog:
    """A log as it was read: the entries that count, those that lost a race, and what is wrong with it."""

    entries: tuple[Entry, ...] = ()
    lost: tuple[Entry, ...] = ()
    wrong: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """The hash that the next entry follows."""
        return self.entries[-1].hash if self.entries else NO_HASH

    def next(self, **fields: Any) -> Entry:
        """The entry after the last one, sealed."""
        return Entry(number=len(self.entries) + 1, **fields).sealed(self.head)


def decode(tags: Mapping[str, str]) -> AliasLog:
    """The log in these tags; pure."""
    claims: dict[int, list[Entry]] = {}
    wrong: list[str] = []
    for tag in sorted(name for name in tags if name.startswith(TAG_PREFIX)):
        try:
            entry = Entry(**json.loads(tags[tag]))
        except (ValueError, TypeError):
            wrong.append(f"{tag} cannot be read")
            continue
        if tag not in {entry.tag, entry.claim}:
            wrong.append(f"{tag} holds entry {entry.number}")
        claims.setdefault(entry.number, []).append(entry)
    counted: list[Entry] = []
    lost: list[Entry] = []
    wanted = ""  # the hash that the entry after this one follows
    for number in sorted(claims, reverse=True):
        ranked = sorted(claims[number], key=lambda entry: (entry.hash != wanted, entry.hash))
        counted.insert(0, ranked[0])
        lost += ranked[1:]
        wanted = ranked[0].previous
    entries = tuple(counted)
    return AliasLog(entries=entries, lost=tuple(lost), wrong=(*wrong, *broken(entries)))


def broken(entries: Sequence[Entry]) -> list[str]:
    """Where a chain of entries does not hold: a gap, a changed entry, one that follows another's hash."""
    wrong = []
    previous = NO_HASH
    for position, entry in enumerate(entries, start=1):
        if entry.number != position:
            wrong.append(f"entry {position} is missing")
            break
        if entry.hash != digest(asdict(entry)):
            wrong.append(f"entry {entry.number} was changed after it was written")
        if entry.previous != previous:
            wrong.append(f"entry {entry.number} does not follow entry {entry.number - 1} as it is now")
        previous = entry.hash
    return wrong


def aliases(entries: Iterable[Entry]) -> dict[str, str]:
    """What each alias points at after these moves."""
    found: dict[str, str] = {}
    for entry in entries:
        if entry.new:
            found[entry.alias] = entry.new
        else:
            found.pop(entry.alias, None)
    return found


async def gitlab_alias_log(client: TrackingClient, model: str) -> tuple[RunHandle, dict[str, str]] | None:
    """The run that holds a model's log on GitLab, with its tags; None before the first entry.

    Two runs may have been made at once by two machines: the older one counts.
    """
    experiment = await client.get_experiment(LEDGER_EXPERIMENT)
    if experiment is None:
        return None
    found = [run for run in await client.search_runs(experiment, limit=1000) if run.name == model]
    if not found:
        return None
    oldest = min(found, key=lambda run: (run.start_ms, run.handle.run_id))
    return oldest.handle, dict(oldest.tags)


async def gitlab_aliases(client: TrackingClient, model: str) -> dict[str, str]:
    """The aliases of a model on GitLab's endpoint, by its log.

    Raises TrackingUnavailable when the chain does not hold: then no version can be trusted.
    """
    alias_log = await gitlab_alias_log(client, model)
    if alias_log is None:
        return {}
    log = decode(alias_log[1])
    if log.wrong:
        raise TrackingUnavailable(
            f"the log of model {model!r} on {client.endpoint.uri} is damaged",
            why="\n".join(log.wrong),
            hint="see `rondel models history`; somebody changed the tags of its run",
        )
    return aliases(log.entries)
