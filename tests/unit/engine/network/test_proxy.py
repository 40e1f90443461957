"""The relay's proxy: reading requests, choosing the way, hiding loopback."""

import pytest

from rondel.engine.sandbox.relay.proxy import (
    BadRequestError,
    Rules,
    Upstream,
    _is_loopback,
    for_upstream,
    parse,
)


def test_connect_names_host_and_port():
    request = parse(b"CONNECT pypi.org:443 HTTP/1.1\r\nHost: pypi.org\r\n\r\n")
    assert (request.scheme, request.host, request.port, request.head) == ("https", "pypi.org", 443, b"")


def test_connect_to_a_literal_ipv6_address():
    request = parse(b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\n\r\n")
    assert (request.host, request.port) == ("2001:db8::1", 8443)


def test_plain_request_becomes_origin_form_without_proxy_headers():
    request = parse(
        b"GET http://user@deb.example/dists/x?y=1 HTTP/1.1\r\nHost: deb.example\r\n"
        b"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nConnection: keep-alive\r\n"
        b"Accept: */*\r\n\r\n"
    )
    assert (request.scheme, request.host, request.port) == ("http", "deb.example", 80)
    assert request.head == (
        b"GET /dists/x?y=1 HTTP/1.1\r\nHost: deb.example\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )


def test_plain_request_without_a_path():
    assert parse(b"GET http://h:81?q HTTP/1.1\r\n\r\n").head.startswith(b"GET /?q HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET ftp://h/ HTTP/1.1\r\n\r\n",
        b"CONNECT h HTTP/1.1\r\n\r\n",
        b"CONNECT h:0 HTTP/1.1\r\n\r\n",
        b"CONNECT h:99999 HTTP/1.1\r\n\r\n",
        b"CONNECT :443 HTTP/1.1\r\n\r\n",
        "CONNECT h:４４３ HTTP/1.1\r\n\r\n".encode(),
        b"CONNECT h:443 SPDY/3\r\n\r\n",
        b"GET http://h:80:80/ HTTP/1.1 x\r\n\r\n",
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_proxy_request_is_refused(head):
    with pytest.raises(BadRequestError):
        parse(head)


def test_upstream_gets_the_request_with_its_own_credentials():
    head = b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic old\r\n\r\n"
    assert for_upstream(head, Upstream("p", 3128, "Basic new")) == (
        b"CONNECT h:443 HTTP/1.1\r\nProxy-Authorization: Basic new\r\nHost: h\r\n\r\n"
    )
    assert b"old" not in for_upstream(head, Upstream("p", 3128))


@pytest.mark.parametrize(
    ("host", "upstream"),
    [("pypi.org", True), ("corp.example", False), ("a.corp.example", False), ("notcorp.example", True)],
)
def test_no_proxy_names_and_suffixes_go_straight(host, upstream):
    rules = Rules({"https": Upstream("p", 3128)}, (".corp.example",))
    assert (rules.upstream_for("https", host) is not None) is upstream
    assert rules.upstream_for("http", host) is None


def test_star_in_no_proxy_bypasses_everything():
    assert Rules({"https": Upstream("p", 1)}, ("*",)).upstream_for("https", "x") is None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.66.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"])
def test_loopback_is_recognised_in_every_dress(address):
    assert _is_loopback(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.1"])
def test_other_addresses_are_not_loopback(address):
    assert not _is_loopback(address)
