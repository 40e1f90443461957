"""The chain of alias moves: what holds it together, and what breaks it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rondel.tracking.ledger import NO_HASH, Entry, aliases, decode


def chain(*moves: tuple[str, str, str]) -> list[Entry]:
    entries: list[Entry] = []
    for number, (alias, old, new) in enumerate(moves, start=1):
        entry = Entry(
            number=number,
            at="2026-11-23T20:00:00Z",
            who="ann",
            action="promote",
            alias=alias,
            old=old,
            new=new,
        )
        entries.append(entry.sealed(entries[-1].hash if entries else NO_HASH))
    return entries


def as_tags(entries: list[Entry]) -> dict[str, str]:
    return {entry.tag: entry.encode() for entry in entries} | {"other": "tag"}


MOVES = chain(("champion", "", "1"), ("champion", "1", "2"), ("challenger", "", "3"), ("champion", "2", "1"))


def test_a_whole_chain_is_read_back_and_gives_the_aliases() -> None:
    entries, wrong = decode(as_tags(MOVES))
    assert entries == MOVES
    assert not wrong
    assert aliases(entries) == {"champion": "1", "challenger": "3"}


def test_a_changed_entry_shows() -> None:
    tags = as_tags([*MOVES[:1], replace(MOVES[1], who="mallory"), *MOVES[2:]])
    assert decode(tags)[1] == ["entry 2 was changed after it was written"]


def test_an_entry_that_was_resealed_after_a_change_shows_in_the_next() -> None:
    forged = replace(MOVES[1], new="9").sealed(MOVES[0].hash)
    assert decode(as_tags([MOVES[0], forged, *MOVES[2:]]))[1] == [
        "entry 3 does not follow entry 2 as it is now"
    ]


def test_a_removed_entry_shows() -> None:
    assert decode(as_tags([MOVES[0], *MOVES[2:]]))[1] == ["entry 2 is missing"]


def test_an_unreadable_entry_shows() -> None:
    tags = as_tags(MOVES) | {MOVES[3].tag: "{"}
    assert decode(tags)[1] == ["rondel.log.000004 cannot be read"]


@given(
    st.integers(0, 3), st.sampled_from(["who", "at", "alias", "old", "new", "reason"]), st.text(max_size=8)
)
def test_no_field_can_be_changed_unseen(position: int, name: str, value: str) -> None:
    entry = MOVES[position]
    changed = replace(entry, **{name: value})
    tags = as_tags([*MOVES[:position], changed, *MOVES[position + 1 :]])
    assert bool(decode(tags)[1]) == (changed != entry)
