"""Resolvers: each field has one."""

import pytest

from rondel.engine.api.registry import FIELDS, field
from rondel.engine.api.resolvers import load_resolvers


def test_a_field_cannot_have_two_resolvers():
    load_resolvers()
    known = FIELDS["Container", "from"]

    with pytest.raises(ValueError, match=r"Container\.from has a resolver already"):

        @field("Container", "from")
        async def other(ctx, self):
            return self

    assert FIELDS["Container", "from"] is known
