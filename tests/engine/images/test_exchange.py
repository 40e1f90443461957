"""Images in and out: a real registry, skopeo, archives, layouts."""

from __future__ import annotations

import json
import subprocess
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.conftest import Queries, Start

SMALL = (
    'container{withNewFile(path:"/bin/tool",contents:"tool",permissions:493){withNewFile(path:"/etc/n",contents:"%s")'
    '{withSymlink(target:"n",linkName:"/etc/l"){withEnvVariable(name:"A",value:"1"){withEntrypoint(args:["/bin/tool"])'
    '{withLabel(name:"k",value:"v"){%s}}}}}}}'
)  # fmt: skip


def small(leaf: str, text: str = "n") -> str:
    return "{" + SMALL % (text, leaf) + "}"


@pytest.fixture
def name(registry: str) -> str:
    return f"{registry}/t-{uuid.uuid4().hex[:10]}"


def test_what_is_published_is_pulled_by_tag_and_by_digest(
    query: Queries, start: Start, name: str, tmp_path: Path
) -> None:
    ref = query(small(f'publish(address:"{name}:v1")'))
    assert ref.startswith(f"{name}:v1@sha256:")
    elsewhere = start(store=tmp_path / "other")
    for address in (f"{name}:v1", ref, f"{name}@{ref.partition('@')[2]}"):
        found = elsewhere(
            f'{{container{{from(address:"{address}"){{imageRef envVariable(name:"A") entrypoint label(name:"k") '
            'l:file(path:"/etc/l"){contents} tool:rootfs{stat(path:"bin/tool"){permissions}}}}}'
        )
        assert found["imageRef"].endswith(ref.partition("@")[2])
        assert (found["envVariable"], found["entrypoint"], found["label"]) == ("1", ["/bin/tool"], "v")
        assert found["l"]["contents"] == "n"
        assert found["tool"]["stat"]["permissions"] == 0o755


def test_a_digest_needs_no_registry_once_it_is_in_the_store(
    query: Queries, start: Start, name: str, tmp_path: Path
) -> None:
    ref = query(small(f'publish(address:"{name}:v1")', "kept"))
    reading = 'file(path:"/etc/n"){contents}'
    there = tmp_path / "store"
    assert start(store=there)(f'{{container{{from(address:"{ref}"){{{reading}}}}}}}') == "kept"
    nobody = "127.0.0.1:1"
    gone = ref.replace(name.split("/", maxsplit=1)[0], nobody)
    assert start(store=there)(f'{{container{{from(address:"{gone}"){{{reading}}}}}}}') == "kept"


def test_skopeo_reads_what_is_published_and_exported(
    query: Queries, skopeo: Callable[..., str], name: str, tmp_path: Path
) -> None:
    ref = query(small(f'publish(address:"{name}:v1")'))
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}:v1"))
    assert seen["Digest"] == ref.partition("@")[2]
    for number, options in enumerate(
        ("", ",forcedCompression:Zstd", ",mediaTypes:DockerMediaTypes", ",forcedCompression:Uncompressed")
    ):
        path = tmp_path / f"{number}.tar"
        query(small(f'export(path:"{path}"{options})'))
        config = json.loads(skopeo("inspect", "--config", f"oci-archive:{path}"))
        assert config["config"]["Entrypoint"] == ["/bin/tool"]
        skopeo("copy", f"oci-archive:{path}", f"dir:{tmp_path / str(number)}")
        if number != 1:  # the older form knows no zstd
            skopeo("copy", f"docker-archive:{path}", f"dir:{tmp_path / f'{number}d'}")


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive"])
def test_what_skopeo_writes_is_read(
    query: Queries, skopeo: Callable[..., str], tmp_path: Path, kind: str
) -> None:
    query(small(f'export(path:"{tmp_path}/i.tar")'))
    target = tmp_path / "made"
    suffix = ":team/made:v3" if kind == "docker-archive" else ":v3"
    skopeo("copy", f"oci-archive:{tmp_path}/i.tar", f"{kind}:{target}{suffix}")
    reading = 'envVariable(name:"A") file(path:"/etc/l"){contents}'
    found = query(f'{{container{{from(address:"{kind}:{target}:v3"){{{reading}}}}}}}')
    assert found == {"envVariable": "1", "file": {"contents": "n"}}
    if kind != "oci":
        identifier = query(f'{{host{{file(path:"{target}"){{id}}}}}}')
        assert query(f'{{container{{import(source:"{identifier}"){{{reading}}}}}}}') == found


def test_zstd_layers_and_several_platforms_are_pulled(
    query: Queries, skopeo: Callable[..., str], name: str, tmp_path: Path
) -> None:
    query(small(f'publish(address:"{name}:z",forcedCompression:Zstd)', "z"))
    manifest = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}:z"))
    assert {layer["mediaType"] for layer in manifest["layers"]} == {
        "application/vnd.oci.image.layer.v1.tar+zstd"
    }
    skopeo(
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        f"docker://{name}:z",
        f"docker://{name}:g",
    )
    assert query(f'{{container{{from(address:"{name}:z"){{file(path:"/etc/n"){{contents}}}}}}}}') == "z"


def test_tags_of_one_image_share_its_layers(
    query: Queries, start: Start, skopeo: Callable[..., str], name: str, tmp_path: Path
) -> None:
    query(small(f'publish(address:"{name}:one")', "shared"))
    skopeo(
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        f"docker://{name}:one",
        f"docker://{name}:two",
    )
    other = start(store=tmp_path / "other")
    for tag in ("one", "two"):
        assert (
            other(f'{{container{{from(address:"{name}:{tag}"){{file(path:"/etc/n"){{contents}}}}}}}}')
            == "shared"
        )
    folders = [folder for folder in (tmp_path / "other/l", tmp_path / "other/single/l") if folder.is_dir()]
    assert sum(len(list(folder.iterdir())) for folder in folders) == 1


def test_an_image_in_a_configured_folder_is_found_by_its_name(
    query: Queries, start: Start, skopeo: Callable[..., str], tmp_path: Path
) -> None:
    query(small(f'export(path:"{tmp_path}/i.tar")', "local"))
    folder = tmp_path / "images"
    folder.mkdir()
    skopeo(
        "copy",
        f"oci-archive:{tmp_path}/i.tar",
        f"docker-archive:{folder}/one.tar:registry.example/team/app:v1",
    )
    skopeo("copy", f"oci-archive:{tmp_path}/i.tar", f"oci:{folder}/tool:v2")
    other = start(RONDEL_ENGINE_IMAGES=str(folder))
    for address in ("registry.example/team/app:v1", "registry.example/tool:v2"):
        assert (
            other(f'{{container{{from(address:"{address}"){{file(path:"/etc/n"){{contents}}}}}}}}') == "local"
        )


def test_a_damaged_layout_is_refused(query: Queries, tmp_path: Path) -> None:
    query(small(f'export(path:"{tmp_path}/i.tar")'))
    layout = tmp_path / "layout"
    layout.mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "i.tar", "-C", layout], check=True)
    largest = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1] + b"!")
    error = query.error(f'{{container{{from(address:"oci:{layout}"){{file(path:"/etc/n"){{contents}}}}}}}}')
    assert "damaged" in error["message"]


def test_the_host_image_never_hides_a_refusal(query: Queries, registry: str) -> None:
    error = query.error(f'{{container{{from(address:"{registry}/python:3.11"){{platform}}}}}}')
    assert "not found" in error["message"]
    assert "machine" not in error["message"]


def test_the_host_image_can_be_forbidden(start: Start) -> None:
    error = start(RONDEL_ENGINE_HOST_IMAGE="never").error(
        '{container{from(address:"127.0.0.1:1/python:3"){platform}}}'
    )
    assert "forbidden" in error["message"]


def test_the_host_image_stands_only_for_what_the_machine_is(query: Queries) -> None:
    found = query('{container{from(address:"127.0.0.1:1/python:3"){imageRef labels{name value}}}}')
    assert found["imageRef"].startswith("host@sha256:")
    assert found["labels"] == [{"name": "dev.rondel.image.fallback", "value": "127.0.0.1:1/python:3"}]
    error = query.error('{container{from(address:"127.0.0.1:1/python:2.7"){platform}}}')
    assert "not 2.7" in error["message"]
    assert '"host"' in error["message"]


def test_a_container_tells_where_its_image_came_from(query: Queries) -> None:
    asked = 'source:label(name:"dev.rondel.image.source") digest:label(name:"dev.rondel.image.digest")'
    found = query(f'{{container{{from(address:"127.0.0.1:1/python:3"){{imageRef labels{{name}} {asked}}}}}}}')
    assert found["source"] == "host"
    assert found["digest"] == found["imageRef"].partition("@")[2]
    assert [label["name"] for label in found["labels"]] == ["dev.rondel.image.fallback"]


def test_a_build_has_the_digest_of_what_it_is_made_from(query: Queries) -> None:
    asked = 'source:label(name:"dev.rondel.image.source") digest:label(name:"dev.rondel.image.digest")'

    def build(said: str) -> dict[str, str]:
        text = f"FROM 127.0.0.1:1/python:3 AS base\\nFROM scratch\\nCOPY --from=base /etc/hostname /{said}\\n"
        found: dict[str, str] = query(
            f'{{directory{{withNewFile(path:"Dockerfile",contents:"{text}"){{dockerBuild{{{asked}}}}}}}}}'
        )
        return found

    first, again, other = build("one"), build("one"), build("two")
    assert first == again
    assert first["source"] == "host"
    assert first["digest"].startswith("blake2b:")
    assert other["digest"] != first["digest"]


def test_a_refused_connection_is_told_before_anything_is_packed(query: Queries) -> None:
    error = query.error('{container{from(address:"host"){publish(address:"127.0.0.1:9/x:y")}}}')
    assert "127.0.0.1:9" in error["message"]
    assert (
        "Connection refused" in error["message"] or "connection attempts failed" in error["message"].lower()
    )


def test_an_image_goes_into_a_container_runtime_and_comes_back(
    start: Start, tmp_path: Path, skopeo: Callable[..., str]
) -> None:
    runtime = tmp_path / "runtime"
    runtime.write_text(f"""#!/bin/sh
cd {tmp_path} || exit
case "$1" in
load) cp "$3" loaded.tar; echo "Loaded image ID: sha256:{"0" * 64}" ;;
tag) skopeo copy -q "docker-archive:loaded.tar" "docker-archive:named.tar:$3" >&2 ;;
save) test "$4" = docker.io/mine/it:v1 && cp named.tar "$3" ;;
esac
""")
    runtime.chmod(0o755)
    query = start(store=tmp_path / "store", RONDEL_ENGINE_RUNTIME=str(runtime))
    assert query(small('exportImage(name:"mine/it:v1")')) is None
    assert json.loads(skopeo("inspect", "--config", f"docker-archive:{tmp_path}/named.tar"))["config"][
        "Labels"
    ] == {"k": "v"}
    back = query('{host{containerImage(name:"mine/it:v1"){entrypoint l:file(path:"/etc/l"){contents}}}}')
    assert (back["entrypoint"], back["l"]["contents"]) == (["/bin/tool"], "n")
    error = query.error('{host{containerImage(name:"other"){platform}}}')
    assert error["message"] == "runtime save failed: exit status 1"
    assert list((tmp_path / "store").glob("**/*.tar")) == []


def test_what_an_archive_lacks_is_told_without_our_own_paths(query: Queries, tmp_path: Path) -> None:
    query(small(f'export(path:"{tmp_path}/i.tar")'))
    archive = query(f'{{host{{file(path:"{tmp_path}/i.tar"){{id}}}}}}')

    error = query.error(f'{{container{{import(source:"{archive}",tag:"none"){{label(name:"k")}}}}}}')
    assert error["message"] == (
        "resolve imported image manifest: no manifest for platform linux/amd64 and tag none"
    )


def test_a_digest_is_not_what_one_publishes_to(query: Queries, registry: str) -> None:
    address = f"{registry}/x@sha256:{'a' * 64}"
    assert "cannot publish" in query.error(small(f'publish(address:"{address}")'))["message"]
