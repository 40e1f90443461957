"""The two doors, HTTP and GraphQL: whatever comes, an answer comes back, and the engine lives."""

import contextlib
import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUICK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
LONG = settings(QUICK, max_examples=5000, derandomize=False)

NAMES = st.sampled_from(
    ["container", "from", "withExec", "stdout", "directory", "withNewFile", "file", "contents", "host", "id",
     "__typename", "__schema", "types", "name", "node", "secret", "setSecret", "nope", "withEnvVariable", "entries"]
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(
        st.none().map(lambda _: "null"),
        st.booleans().map(lambda value: "true" if value else "false"),
        st.integers().map(str),
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.text(max_size=20).map(json.dumps),
        st.sampled_from(["$x", "TCP", '"""block"""', '"\\u0000"', '"../../etc/passwd"']),
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]"),
    max_leaves=5,
)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["path", "args", "address", "contents", "name", "id", "plaintext", "value", "zzz"]),
    VALUES,
    max_size=3,
).map(lambda pairs: "(" + ",".join(f"{k}:{v}" for k, v in pairs.items()) + ")" if pairs else "")
SELECTIONS = st.recursive(
    st.tuples(NAMES, ARGUMENTS).map("".join),
    lambda inner: st.tuples(NAMES, ARGUMENTS, st.lists(inner, min_size=1, max_size=3)).map(
        lambda t: t[0] + t[1] + "{" + " ".join(t[2]) + "}"
    ),
    max_leaves=8,
)
# Nothing in here may reach a command, an export or the network: fuzzing must not do things.
QUERIES = st.one_of(
    st.lists(SELECTIONS, min_size=1, max_size=3).map(lambda parts: "{" + " ".join(parts) + "}"),
    st.text(max_size=200),
    st.integers(1, 3000).map(lambda depth: "{a" * depth + "}" * depth),
    st.integers(1, 3000).map(lambda depth: "{a(b:" + "[" * depth + "]" * depth + ")}"),
    st.integers(1, 500).map(
        lambda count: "{" + " ".join(f"a{n}:defaultPlatform" for n in range(count)) + "}"
    ),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    from .conftest import Running

    folder = tmp_path_factory.mktemp("fuzz")
    made = Running(folder, folder / "store")
    assert made.query("{defaultPlatform}")["data"]
    yield made
    assert made.query("{defaultPlatform}")["data"], "the engine must have survived"
    assert made.close() == 0


def ask_anything(running, query, variables):
    status, body = running.post(
        json.dumps({"query": query, "variables": variables}).encode("utf-8", "surrogatepass"), timeout=20
    )
    assert status in {200, 400, 422}, (status, body[:300])
    answer = json.loads(body)
    assert "data" in answer
    assert answer["data"] is not None or answer["errors"]
    assert b"internal error" not in body, body[:500]


def send_anything(running, data, authorised):
    with socket.create_connection(running.address, timeout=10) as door, contextlib.suppress(OSError):
        if authorised:
            head = f"POST /query HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {running.authorization}\r\n"
            door.sendall(head.encode())
        door.sendall(data)
        door.shutdown(socket.SHUT_WR)
        while door.recv(65536):
            pass
    status, _ = running.post(b'{"query":"{defaultPlatform}"}', timeout=10)
    assert status == 200


VARIABLES = st.one_of(
    st.none(), st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=3)
)
BYTES = st.one_of(
    st.binary(max_size=500),
    st.lists(
        st.sampled_from(
            [
                b"GET /query HTTP/1.1\r\n",
                b"POST /query HTTP/1.1\r\n",
                b"Content-Length: 99999999999\r\n",
                b"Host: x\r\n",
                b"Content-Length: -1\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"\r\n",
                b"FFFFFFFFFFFFFFFFF\r\n",
                b"0\r\n\r\n",
                b"Content-Type: application/json\r\n",
                b'{"query":',
                b"\x00",
                b"Upgrade: h2c\r\n",
                b"PRI * HTTP/2.0\r\n\r\n",
            ]
        ),
        max_size=8,
    ).map(b"".join),
)


@QUICK
@given(QUERIES, VARIABLES)
def test_any_query_gets_an_answer(running, query, variables):
    ask_anything(running, query, variables)


@QUICK
@given(BYTES, st.booleans())
def test_any_bytes_leave_the_engine_alive(running, data, authorised):
    send_anything(running, data, authorised)


@pytest.mark.soak
@LONG
@given(QUERIES, VARIABLES)
def test_any_query_gets_an_answer_for_long(running, query, variables):
    ask_anything(running, query, variables)


@pytest.mark.soak
@LONG
@given(BYTES, st.booleans())
def test_any_bytes_leave_the_engine_alive_for_long(running, data, authorised):
    send_anything(running, data, authorised)
