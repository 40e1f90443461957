"""What leads out of a private network, as decided from the host's environment."""

import base64
import itertools

from rondel.engine.evaluate.egress import (
    loopback_name_servers,
    no_proxy,
    proxy_environment,
    upstream_proxies,
)
from rondel.engine.evaluate.services.health import backoff


def test_upstream_proxies_come_from_either_spelling_with_their_login():
    found = upstream_proxies({"HTTP_PROXY": "proxy:3128", "https_proxy": "http://me:p%40ss@proxy.corp:8080/"})
    assert found["http"] == ["proxy", 3128, ""]
    assert found["https"][:2] == ["proxy.corp", 8080]
    assert base64.b64decode(found["https"][2].removeprefix("Basic ")) == b"me:p@ss"


def test_proxies_that_are_not_http_are_left_out():
    assert upstream_proxies({"https_proxy": "socks5://h:1", "http_proxy": ""}) == {}


def test_no_proxy_is_a_list():
    assert no_proxy({"no_proxy": "localhost, .corp ,,10.0.0.1"}) == ["localhost", ".corp", "10.0.0.1"]


def test_container_variables_name_the_proxy_and_spare_services():
    env = proxy_environment("198.18.0.1:3128", ["db", "web"], loopback=False)
    assert env["HTTPS_PROXY"] == env["https_proxy"] == "http://198.18.0.1:3128"
    assert env["NO_PROXY"].split(",") == ["localhost", "127.0.0.1", "::1", "db", "web"]


def test_commands_reach_the_hosts_loopback_through_the_proxy():
    assert proxy_environment("x:1", ["db"], loopback=True)["no_proxy"] == "db"


def test_only_name_servers_on_loopback_need_a_link():
    text = "# x\nnameserver 127.0.0.53\nnameserver 10.0.0.2\noptions edns0\nnameserver\n"
    assert loopback_name_servers(text) == ["127.0.0.53"]


def test_backoff_grows_to_its_limit():
    waits = list(itertools.islice(backoff(0.01, 1.0), 20))
    assert waits[0] == 0.01
    assert waits == sorted(waits)
    assert waits[-1] == 1.0
