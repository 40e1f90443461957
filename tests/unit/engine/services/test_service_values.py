"""Names and commands of services."""

import re

import pytest

from rondel.engine.values.node import digest_of
from rondel.engine.values.service import PortForward, host_hash, service_command


def test_hostnames_are_short_letters_and_digits_and_tell_keys_apart():
    names = {host_hash(digest_of(number)) for number in range(1000)}
    assert len(names) == 1000
    assert all(re.fullmatch(r"[a-z][a-z0-9]{12}", name) for name in names)
    assert host_hash(digest_of(1)) == host_hash(digest_of(1))


@pytest.mark.parametrize(
    ("args", "use_entrypoint", "args_are_set", "command"),
    [
        ([], False, False, ("entry", "default")),
        ([], False, True, ("default",)),
        ([], True, True, ("entry", "default")),
        (["own"], False, False, ("own",)),
        (["own"], True, False, ("entry", "own")),
    ],
)
def test_what_a_service_runs(args, use_entrypoint, args_are_set, command):
    made = service_command(
        ["entry"], ["default"], args, use_entrypoint=use_entrypoint, args_are_set=args_are_set
    )
    assert made == command


def test_front_port_defaults_to_the_one_behind():
    assert PortForward(backend=80).front == 80
    assert PortForward(backend=80, frontend=8080).front == 8080
