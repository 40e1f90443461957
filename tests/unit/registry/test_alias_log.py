"""The hash chain of the alias log, intact and damaged."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rondel.registry.alias_log import NO_HASH, AliasLogEntry, aliases_after, decode_log


def chain(*moves: tuple[str, str, str]) -> list[AliasLogEntry]:
    entries: list[AliasLogEntry] = []
    for number, (alias, old, new) in enumerate(moves, start=1):
        entry = AliasLogEntry(
            number=number,
            at="2026-11-23T20:00:00Z",
            who="ann",
            action="promote",
            alias=alias,
            old=old,
            new=new,
        )
        entries.append(entry.chained_to(entries[-1].hash if entries else NO_HASH))
    return entries


def as_tags(entries: list[AliasLogEntry]) -> dict[str, str]:
    return {entry.tag: entry.encode() for entry in entries} | {"other": "tag"}


MOVES = chain(("champion", "", "1"), ("champion", "1", "2"), ("challenger", "", "3"), ("champion", "2", "1"))


def test_an_intact_chain_is_read_back_and_gives_the_aliases() -> None:
    log = decode_log(as_tags(MOVES))
    assert list(log.entries) == MOVES
    assert not log.problems
    assert aliases_after(log.entries) == {"champion": "1", "challenger": "3"}


def test_a_changed_entry_is_detected() -> None:
    tags = as_tags([*MOVES[:1], replace(MOVES[1], who="mallory"), *MOVES[2:]])
    assert decode_log(tags).problems == ("entry 2 was changed after it was written",)


def test_a_forged_entry_with_a_valid_hash_is_detected_by_the_next_one() -> None:
    forged = replace(MOVES[1], new="9").chained_to(MOVES[0].hash)
    assert decode_log(as_tags([MOVES[0], forged, *MOVES[2:]])).problems == (
        "entry 3 does not follow the present entry 2",
    )


def test_a_removed_entry_is_detected() -> None:
    assert decode_log(as_tags([MOVES[0], *MOVES[2:]])).problems == ("entry 2 is missing",)


def test_an_unreadable_entry_is_detected() -> None:
    tags = as_tags(MOVES) | {MOVES[3].tag: "{"}
    assert decode_log(tags).problems == ("rondel.log.000004 cannot be read",)


@given(
    st.integers(0, 3), st.sampled_from(["who", "at", "alias", "old", "new", "reason"]), st.text(max_size=8)
)
def test_a_change_of_any_field_is_detected(position: int, name: str, value: str) -> None:
    entry = MOVES[position]
    changed = replace(entry, **{name: value})
    tags = as_tags([*MOVES[:position], changed, *MOVES[position + 1 :]])
    assert bool(decode_log(tags).problems) == (changed != entry)


def test_one_of_two_entries_with_the_same_number_is_valid_and_the_other_lost() -> None:
    first = replace(MOVES[3], who="bob").chained_to(MOVES[2].hash)
    tags = {entry.hashed_tag: entry.encode() for entry in [*MOVES, first]}
    log = decode_log(tags)
    assert not log.problems
    winner, loser = sorted([MOVES[3], first], key=lambda entry: entry.hash)
    assert log.entries[-1] == winner
    assert log.lost == (loser,)


def test_an_entry_that_is_inserted_later_is_not_valid() -> None:
    forged = MOVES[1]
    attempt = 0
    while forged.hash >= MOVES[1].hash:
        attempt += 1
        forged = replace(MOVES[1], new="9", reason=str(attempt)).chained_to(MOVES[0].hash)
    log = decode_log({entry.hashed_tag: entry.encode() for entry in [*MOVES, forged]})
    assert list(log.entries) == MOVES
    assert log.lost == (forged,)
    assert not log.problems
