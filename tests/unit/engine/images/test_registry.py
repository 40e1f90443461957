"""The registry client against a registry that behaves, and one that does not."""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fakeregistry import FakeRegistry

from rondel.engine.images import model, reference
from rondel.engine.images.model import Descriptor, Manifest
from rondel.engine.images.registry import (
    Credentials,
    ImageNotFound,
    Keychain,
    RegistryClient,
    RegistryDenied,
    RegistryError,
    RegistryUnreachable,
)
from rondel.engine.images.registry.challenge import parse_challenges
from rondel.engine.images.registry.client import _Partial, _receive
from rondel.engine.images.registry.push import Pusher
from rondel.engine.images.settings import ImageSettings, RegistrySettings, is_loopback, load
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from rondel.engine.images.reference import Reference

pytestmark = pytest.mark.anyio

BLOB = os.urandom(300_000)
MANIFEST = Manifest(
    Descriptor.of(b"{}", model.OCI_CONFIG), (Descriptor.of(BLOB, model.OCI_LAYER),)
).to_bytes()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    fake = FakeRegistry()
    fake.put(BLOB)
    fake.put_manifest("v1", MANIFEST)
    yield fake
    fake.close()


Client = Callable[..., RegistryClient]


@pytest.fixture
async def client() -> Any:
    made = []

    def make(settings: ImageSettings | None = None, **given: Credentials) -> RegistryClient:
        found = RegistryClient(settings or ImageSettings(), Keychain({"HOME": "/nonexistent"}, given))
        waits: list[float] = []

        async def pause(seconds: float) -> None:
            waits.append(seconds)

        found.transport.pause = pause
        found.waits = waits  # type: ignore[attr-defined]
        made.append(found)
        return found

    yield make
    for one in made:
        await one.aclose()


def ref(registry: FakeRegistry, tag: str = "v1") -> Reference:
    return reference.parse(f"{registry.host}/team/image:{tag}")


# --- asking


async def test_a_manifest_is_asked_for_by_name(registry: FakeRegistry, client: Client) -> None:
    head = await client().head(ref(registry))
    found, data = await client().manifest(ref(registry))
    assert data == MANIFEST
    assert head is not None
    assert head.digest == found.digest == model.sha256(MANIFEST)


async def test_a_digest_that_was_asked_for_is_verified(registry: FakeRegistry, client: Client) -> None:
    wrong = "sha256:" + "0" * 64
    registry.manifests[wrong] = (model.OCI_MANIFEST, MANIFEST)
    with pytest.raises(RegistryError, match="returned other content"):
        await client().manifest(ref(registry).with_digest(wrong))


async def test_what_is_not_there_is_said_so(registry: FakeRegistry, client: Client) -> None:
    with pytest.raises(ImageNotFound, match="not found"):
        await client().manifest(ref(registry, "nope"))


@pytest.mark.parametrize("kind", ["basic", "bearer"])
async def test_credentials_open_the_door(registry: FakeRegistry, client: Client, kind: str) -> None:
    registry.auth = kind
    one = client(**{registry.host: Credentials("me", "secret")})
    assert (await one.manifest(ref(registry)))[1] == MANIFEST
    await one.head(ref(registry))
    assert registry.count("GET", "^/token") == (1 if kind == "bearer" else 0)


async def test_an_identity_token_is_changed_for_an_access_token(
    registry: FakeRegistry, client: Client
) -> None:
    registry.auth = "bearer"
    one = client(**{registry.host: Credentials(identity_token="secret")})
    assert (await one.manifest(ref(registry)))[1] == MANIFEST
    assert registry.count("POST", "^/token") == 1


@pytest.mark.parametrize("kind", ["basic", "bearer"])
@pytest.mark.parametrize("given", [None, Credentials("me", "wrong")])
async def test_without_the_right_credentials_it_stays_closed(
    registry: FakeRegistry, client: Client, kind: str, given: Credentials | None
) -> None:
    registry.auth = kind
    one = client(**({registry.host: given} if given else {}))
    with pytest.raises(RegistryDenied, match="unauthorized") as caught:
        await one.manifest(ref(registry))
    assert "docker login" in str(caught.value)
    assert "wrong" not in str(caught.value)


async def test_forbidden_is_no_absence(registry: FakeRegistry, client: Client) -> None:
    registry.faults = [(403, {})]
    with pytest.raises(RegistryDenied, match="access denied") as caught:
        await client().manifest(ref(registry))
    assert "as asked" in str(caught.value)


async def test_a_busy_registry_is_waited_for(registry: FakeRegistry, client: Client) -> None:
    registry.faults = [(429, {"Retry-After": "7"}), (503, {})]
    one = client()
    assert (await one.manifest(ref(registry)))[1] == MANIFEST
    assert one.waits == [7.0, 1.0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("status", "words"), [(429, "too many requests"), (500, "answered 500")])
async def test_patience_ends(registry: FakeRegistry, client: Client, status: int, words: str) -> None:
    registry.faults = [(status, {})] * 10
    with pytest.raises(RegistryError, match=words):
        await client().manifest(ref(registry))
    assert len(registry.seen) == 4


async def test_a_refused_connection_is_told_at_once(client: Client) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        name = f"127.0.0.1:{closed.getsockname()[1]}/a:b"
    started = time.monotonic()
    with pytest.raises(RegistryUnreachable, match="does not answer"):
        await client().manifest(reference.parse(name))
    assert time.monotonic() - started < 5


async def test_an_unknown_host_is_no_answer(client: Client) -> None:
    with pytest.raises(RegistryUnreachable):
        await client().manifest(reference.parse("registry.invalid/a:b"))


# --- blobs


def blob() -> Descriptor:
    return Descriptor.of(BLOB, model.OCI_LAYER)


async def test_a_blob_is_fetched_and_verified(registry: FakeRegistry, client: Client, tmp_path: Path) -> None:
    await client().download(ref(registry), blob(), tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == BLOB


async def test_a_broken_download_goes_on_where_it_was(
    registry: FakeRegistry, client: Client, tmp_path: Path
) -> None:
    registry.cut = [100_000, 50_000]
    await client().download(ref(registry), blob(), tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == BLOB
    ranges = [headers.get("Range") for method, path, headers in registry.seen if "/blobs/" in path]
    assert ranges == [None, "bytes=100000-", "bytes=150000-"]


async def test_a_download_of_an_earlier_session_is_gone_on_with(
    registry: FakeRegistry, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "b").write_bytes(BLOB[:1000])
    await client().download(ref(registry), blob(), tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == BLOB
    assert registry.seen[-1][2]["Range"] == "bytes=1000-"


async def test_a_registry_without_ranges_starts_again(
    registry: FakeRegistry, client: Client, tmp_path: Path
) -> None:
    registry.ignore_range = True
    (tmp_path / "b").write_bytes(b"x" * 1000)
    await client().download(ref(registry), blob(), tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == BLOB


@pytest.mark.parametrize(
    "content", [BLOB[:-1] + b"!", BLOB + b"more", BLOB[:10]], ids=["changed", "longer", "shorter"]
)
async def test_damaged_content_is_refused(
    registry: FakeRegistry, client: Client, tmp_path: Path, content: bytes
) -> None:
    registry.blobs[blob().digest] = content
    with pytest.raises((RegistryError, RegistryUnreachable)):
        await client().download(ref(registry), blob(), tmp_path / "b")
    kept = (tmp_path / "b").read_bytes() if (tmp_path / "b").exists() else b""
    assert len(kept) < len(BLOB)
    assert BLOB.startswith(kept)


# --- mirrors and plain HTTP


async def test_a_blob_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    came = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal came
        while True:
            came += 1
            yield bytes(1 << 20)
            await anyio.sleep(0)

    blob = Descriptor.of(b"ten bytes!", model.OCI_LAYER)
    with (tmp_path / "blob").open("a+b") as file, anyio.fail_after(20):
        partial = _Partial(file, blob)
        await _receive(endless(), partial)
    assert came == 1
    assert partial.size == blob.size + 1  # enough to see that it is another one
    assert (tmp_path / "blob").stat().st_size == blob.size + 1


async def test_a_mirror_is_asked_first_and_may_fail(registry: FakeRegistry, client: Client) -> None:
    mirror = FakeRegistry()
    mirror.put_manifest("v1", MANIFEST)
    settings = ImageSettings(registries={registry.host: RegistrySettings((f"http://{mirror.host}/cache",))})
    one = client(settings)
    assert (await one.manifest(ref(registry)))[1] == MANIFEST
    assert not registry.seen
    assert mirror.seen[0][1] == "/v2/cache/team/image/manifests/v1"
    mirror.manifests.clear()
    assert (await one.manifest(ref(registry)))[1] == MANIFEST
    mirror.close()
    assert (await client(settings).manifest(ref(registry)))[1] == MANIFEST


async def test_plain_http_is_not_spoken_unless_allowed(registry: FakeRegistry, client: Client) -> None:
    registry.faults = [(307, {"Location": "http://elsewhere.invalid/v2/x"})]
    with pytest.raises(RegistryError, match="plain HTTP"):
        await client().manifest(ref(registry))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("localhost:5000", True), ("127.3.2.1:1", True), ("[::1]:5000", True), ("::1", True),
     ("registry.lan:5000", False), ("10.0.0.1", False), ("localhost.example.com", False)],
)  # fmt: skip
async def test_loopback_is_recognised(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


# --- pushing


async def test_only_missing_blobs_are_pushed(registry: FakeRegistry, client: Client, tmp_path: Path) -> None:
    pusher = Pusher(client(), ref(registry))
    (tmp_path / "b").write_bytes(BLOB)
    await pusher.blob(blob(), tmp_path / "b")
    assert registry.methods() == {"HEAD": 1}
    (tmp_path / "n").write_bytes(b"new")
    await pusher.blob(Descriptor.of(b"new", model.OCI_LAYER), tmp_path / "n")
    assert registry.blobs[model.sha256(b"new")] == b"new"
    assert await pusher.manifest(MANIFEST, model.OCI_MANIFEST, "v2") == model.sha256(MANIFEST)
    assert registry.manifests["v2"][1] == MANIFEST


async def test_a_large_blob_is_streamed(registry: FakeRegistry, client: Client, tmp_path: Path) -> None:
    large = bytes(17 << 20)
    (tmp_path / "l").write_bytes(large)
    await Pusher(client(), ref(registry)).blob(Descriptor.of(large, model.OCI_LAYER), tmp_path / "l")
    assert registry.methods() == {"HEAD": 1, "POST": 1, "PATCH": 1, "PUT": 1}
    assert len(registry.blobs[model.sha256(large)]) == len(large)


async def test_a_blob_of_a_neighbour_is_linked_not_sent(
    registry: FakeRegistry, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "b").write_bytes(BLOB)
    pusher = Pusher(client(), ref(registry))

    async def absent(blob: Descriptor) -> bool:
        return False

    pusher.has = absent  # type: ignore[method-assign]
    await pusher.blob(blob(), tmp_path / "b", ["team/other"])
    assert registry.methods() == {"POST": 1}
    assert "mount=sha256" in registry.seen[0][1]
    assert "from=team/other" in registry.seen[0][1]


# --- credentials


def keychain(tmp_path: Path, config: dict[str, Any], **environ: str) -> Keychain:
    (tmp_path / ".docker").mkdir(exist_ok=True)
    (tmp_path / ".docker/config.json").write_text(json.dumps(config))
    return Keychain({"HOME": str(tmp_path), "PATH": str(tmp_path / "bin"), **environ})


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_the_usual_files_are_read(tmp_path: Path) -> None:
    chain = keychain(tmp_path, {"auths": {
        "https://index.docker.io/v1/": auth("hub", "p:w"), "registry.lan:5000": auth("lan", "x"),
        "quay.io/team": auth("team", "t"), "quay.io": auth("all", "a"), "broken": {"auth": "%"},
        "token.io": {"identitytoken": "tok"},
    }})  # fmt: skip
    assert chain.lookup("docker.io", "library/a") == Credentials("hub", "p:w")
    assert chain.lookup("registry.lan:5000", "a") == Credentials("lan", "x")
    assert chain.lookup("quay.io", "team/a/b") == Credentials("team", "t")
    assert chain.lookup("quay.io", "other") == Credentials("all", "a")
    assert chain.lookup("token.io", "a") == Credentials(identity_token="tok")
    assert chain.lookup("broken", "a") is None
    assert chain.lookup("unknown.io", "a") is None


def test_docker_config_and_podman_files_come_before_the_home(tmp_path: Path) -> None:
    for name, user in (("d/config.json", "docker"), ("x/containers/auth.json", "podman")):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"auths": {"r.io": auth(user, "p")}}))
    home = {"auths": {"r.io": auth("home", "p")}}
    assert keychain(tmp_path, home).lookup("r.io", "a") == Credentials("home", "p")
    assert keychain(tmp_path, home, XDG_RUNTIME_DIR=str(tmp_path / "x")).lookup("r.io", "a") == Credentials(
        "podman", "p"
    )
    assert keychain(tmp_path, home, DOCKER_CONFIG=str(tmp_path / "d")).lookup("r.io", "a") == Credentials(
        "docker", "p"
    )


def test_helper_programs_are_asked(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    helper = tmp_path / "bin/docker-credential-fake"
    helper.write_text(
        '#!/bin/sh\nread name; [ "$1 $name" = "get r.io" ] || exit 1\n'
        'echo \'{"ServerURL":"r.io","Username":"u","Secret":"s"}\'\n'
    )
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    path = f"{tmp_path}/bin:/usr/bin:/bin"
    assert keychain(tmp_path, {"credsStore": "fake"}, PATH=path).lookup("r.io", "a") == Credentials("u", "s")
    assert keychain(tmp_path, {"credHelpers": {"r.io": "fake"}}, PATH=path).lookup(
        "r.io", "a"
    ) == Credentials("u", "s")
    assert keychain(tmp_path, {"credHelpers": {"q.io": "fake"}}, PATH=path).lookup("q.io", "a") is None
    assert keychain(tmp_path, {"credsStore": "absent"}, PATH=path).lookup("r.io", "a") is None


def test_given_credentials_win(tmp_path: Path) -> None:
    chain = Keychain(
        {"HOME": str(tmp_path)}, {"docker.io": Credentials("g", "p"), "r.io/team": Credentials("t", "p")}
    )
    assert chain.lookup("docker.io", "library/a") == Credentials("g", "p")
    assert chain.lookup("r.io", "team/a") == Credentials("t", "p")
    assert chain.lookup("r.io", "other") is None


def test_passwords_do_not_show() -> None:
    assert "hush" not in repr(Credentials("u", "hush", "hush"))


@pytest.mark.parametrize(
    ("header", "schemes"),
    [
        (
            'Bearer realm="https://a/t",service="s",scope="a,b"',
            [("bearer", {"realm": "https://a/t", "service": "s", "scope": "a,b"})],
        ),
        ('Basic realm="x", Bearer realm="y"', [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        ('Basic realm="a \\"b\\""', [("basic", {"realm": 'a "b"'})]),
        ("Negotiate", [("negotiate", {})]),
        ("", []),
    ],
)
def test_challenges_are_read(header: str, schemes: list[tuple[str, dict[str, str]]]) -> None:
    assert [(c.scheme, dict(c.parameters)) for c in parse_challenges(header)] == schemes


# --- settings


def test_settings_come_from_a_file_and_the_environment_wins(tmp_path: Path) -> None:
    path = tmp_path / "engine.toml"
    path.write_text(
        'host-image = "never"\nimages = ["/srv/i"]\n[registries."docker.io"]\nmirrors = ["https://m"]\n'
        '[registries."r:1"]\nplain-http = true\nca = "/ca.pem"\n'
    )
    settings = load({"RONDEL_ENGINE_CONFIG": str(path)})
    assert settings.host_image == "never"
    assert settings.images == (Path("/srv/i"),)
    assert settings.registry("docker.io").mirrors == ("https://m",)
    assert settings.plain_http("r:1")
    assert not settings.plain_http("docker.io")
    environ = {
        "RONDEL_ENGINE_CONFIG": str(path), "RONDEL_ENGINE_HOST_IMAGE": "auto", "RONDEL_ENGINE_IMAGES": "/a:/b",
        "RONDEL_ENGINE_MIRRORS": "docker.io=https://one,https://two", "RONDEL_ENGINE_PLAIN_HTTP": "q:1, s",
    }  # fmt: skip
    settings = load(environ)
    assert settings.host_image == "auto"
    assert settings.images == (Path("/a"), Path("/b"))
    assert settings.registry("docker.io").mirrors == ("https://one", "https://two")
    assert settings.plain_http("q:1")
    assert settings.plain_http("s")


@pytest.mark.parametrize(
    ("text", "words"),
    [("host-imag = 1", "did you mean 'host-image'"), ("x = [", "cannot be read"), ("x = " + "[" * 5000, "cannot be read"), ('host-image = "maybe"', "'auto' or 'never'"),
     ("[registries.a]\nmirror = 1", "did you mean 'mirrors'"), ("[registries.a]\nplain-http = 1", "true or false")],
)  # fmt: skip
def test_mistakes_in_the_file_are_told_with_its_name(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "engine.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load({"RONDEL_ENGINE_CONFIG": str(path)})
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_file_is_no_mistake(tmp_path: Path) -> None:
    assert load({"HOME": str(tmp_path)}) == ImageSettings()
