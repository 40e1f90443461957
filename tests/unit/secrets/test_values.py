"""Values to hide: of named variables, of those whose names tell, and in URLs."""

from __future__ import annotations

from rondel.secrets.logins import has_login, passwords_in, without_login
from rondel.secrets.values import secret_options, secret_values


def test_values_are_found_by_declaration_by_name_and_in_urls() -> None:
    environ = {
        "DECLARED": "abcd",
        "SHORT": "x",
        "GITLAB_TOKEN": "glpat-0123456789",
        "TOKEN_URL": "https://example.org/token",
        "PIP_INDEX_URL": "https://user:p%40ss-word@index.example.org/simple",
        "PATH": "/usr/bin",
        "DB_PASSWORD": "short",
    }
    found = secret_values(environ, ["DECLARED", "SHORT", "ABSENT"])
    assert set(found) == {"abcd", "glpat-0123456789", "p%40ss-word", "p@ss-word"}
    assert found == tuple(sorted(found, key=lambda each: (-len(each), each)))


def test_a_short_value_counts_where_a_configuration_names_it_a_secret() -> None:
    options = {"password": "abcd", "user": "me", "url": "https://u:wxyz@h/", "timeout": "30"}
    assert set(secret_options(options)) == {"abcd", "wxyz"}


def test_logins_are_found_and_taken_out_of_every_url_of_a_text() -> None:
    text = "from https://user:p%40ss@a.example/x to ssh://git@b.example/y and me@c.example"
    assert has_login(text)
    assert without_login(text) == "from https://a.example/x to ssh://b.example/y and me@c.example"
    assert passwords_in(text) == {"p%40ss", "p@ss"}
    assert not has_login("https://a.example/?mail=me@b.example")
    assert not has_login("me@c.example")


def test_a_password_with_an_at_sign_is_taken_out_whole() -> None:
    assert without_login("https://user:p@ss@a.example/x") == "https://a.example/x"


def test_a_token_in_place_of_a_user_is_a_password() -> None:
    token = "ghp_0123456789abcdef0123"
    assert passwords_in(f"https://{token}@github.com/a/b") == {token}
    assert passwords_in("ssh://git@github.com/a/b") == set()
