from __future__ import annotations

import pytest

from rondel.engine.sandbox import ExecRefused
from rondel.engine.sandbox.users import ROOT, User, resolve_user

PASSWD = "root:x:0:0:root:/root:/bin/sh\n# comment\napp:x:1000:1000::/home/app:/bin/sh\nbroken:x:nan:1::/:\n1001:x:7:8::/odd:\n"
GROUP = "root:x:0:\napp:x:1000:\naudio:x:29:app,other\nvideo:x:44:app\nroot2:x:0:app\n"


def test_nobody_asked_for_is_root():
    assert resolve_user("", PASSWD, GROUP) == User(0, 0, (0,), "/root")
    assert resolve_user("", "", "").is_root


def test_names_bring_their_groups_and_home():
    assert resolve_user("app", PASSWD, GROUP) == User(1000, 1000, (0, 29, 44, 1000), "/home/app")


def test_an_explicit_group_leaves_the_others_out():
    assert resolve_user("app:audio", PASSWD, GROUP) == User(1000, 29, (29,), "/home/app")
    assert resolve_user("5:6", PASSWD, GROUP) == User(5, 6, (6,), "/")


def test_numbers_are_looked_up_and_may_be_unknown():
    assert resolve_user("1000", PASSWD, GROUP).home == "/home/app"
    assert resolve_user("4242", PASSWD, GROUP) == User(4242, 0, (0,), "/")
    assert resolve_user("1001", PASSWD, GROUP).uid == 7  # a name that looks like a number


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("ghost", "get user: unable to find user ghost: no matching entries in passwd file"),
        ("broken", "get user: unable to find user broken: no matching entries in passwd file"),
        ("app:ghosts", "get user: unable to find group ghosts: no matching entries in group file"),
        ("4294967296", "get user: uids and gids must be in range 0-2147483647"),
    ],
)
def test_unknown_and_impossible_ones_are_refused(user, text):
    with pytest.raises(ExecRefused, match=text):
        resolve_user(user, PASSWD, GROUP)


def test_only_plain_root_needs_no_switch():
    assert ROOT.is_root
    assert not User(0, 5).is_root
    assert not User(0, 0, (29,)).is_root
