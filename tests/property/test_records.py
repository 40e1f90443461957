from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondel.cache import compare, make_key
from rondel.errors import RecordError
from rondel.record import (
    CallRecord,
    Capsule,
    CommandRecord,
    Git,
    Image,
    KeyRecord,
    MlflowRun,
    StageRecord,
    VerdictRecord,
)
from rondel.record.codec import decode, encode

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
maybe = st.none() | texts
hashes = st.dictionaries(texts, texts, max_size=3)
numbers = st.floats(allow_nan=False, allow_infinity=False)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
parts = st.dictionaries(texts, st.dictionaries(texts, values, max_size=3), max_size=3)

stage_records = st.builds(
    StageRecord,
    name=texts,
    kind=st.sampled_from(["pure", "effect"]),
    state=st.sampled_from(["pending", "ran", "cached", "failed", "skipped", "cancelled"]),
    needs=st.lists(texts, max_size=2),
    started=maybe,
    seconds=st.floats(0, 1e6),
    key=st.none() | st.builds(KeyRecord, digest=texts, parts=parts),
    parameters=st.dictionaries(texts, values, max_size=2),
    inputs=hashes,
    outputs=hashes,
    uses=st.lists(
        st.builds(CallRecord, kind=texts, name=texts, details=st.dictionaries(texts, values)), max_size=2
    ),
    commands=st.lists(
        st.builds(CommandRecord, args=st.lists(texts), exit_code=st.none() | st.integers(-1, 255))
    ),
    metrics=st.dictionaries(texts, numbers, max_size=2),
    verdicts=st.lists(
        st.builds(VerdictRecord, passed=st.booleans(), metrics=st.dictionaries(texts, numbers))
    ),
    mlflow=st.none() | st.builds(MlflowRun, run_id=texts, url=maybe),
    image=st.none() | st.builds(Image, reference=texts, digest=maybe, recipe=hashes),
    exit_code=st.none() | st.integers(-1, 255),
    error=maybe,
)
capsules = st.builds(
    Capsule,
    schema_version=st.just(1),
    id=texts,
    state=st.sampled_from(["running", "succeeded", "failed", "interrupted"]),
    pipeline=texts,
    file=texts,
    created=texts,
    arguments=st.lists(texts, max_size=3),
    git=st.builds(Git, commit=maybe, dirty=st.booleans(), untracked=hashes),
    stages=st.lists(stage_records, max_size=3),
)


@given(capsules)
def test_a_capsule_survives_the_way_to_json_and_back(capsule: Capsule) -> None:
    data = encode(capsule)
    assert decode(data) == capsule
    assert encode(decode(data)) == data


@given(st.binary(max_size=200))
def test_bytes_that_are_no_capsule_are_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(RecordError):
        decode(data)


@given(capsules, st.data())
def test_a_capsule_with_a_field_of_another_type_is_refused(capsule: Capsule, data: st.DataObject) -> None:
    document = json.loads(encode(capsule))
    field = data.draw(st.sampled_from(["id", "state", "stages", "git", "arguments", "seconds"]))
    document[field] = {"not": ["this"]} if field != "git" else 7
    with pytest.raises(RecordError, match="damaged"):
        decode(json.dumps(document).encode())


@given(parts, parts)
def test_two_keys_are_equal_exactly_when_nothing_differs(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = make_key(one), make_key(other)
    assert (first.digest == second.digest) == (not compare(first, second))
    assert make_key(first.parts) == first


@given(parts, st.randoms())
def test_a_key_does_not_depend_on_the_order_of_its_parts(given_parts: dict[str, Any], random: Any) -> None:
    items = list(given_parts.items())
    random.shuffle(items)
    assert make_key(dict(items)) == make_key(given_parts)
