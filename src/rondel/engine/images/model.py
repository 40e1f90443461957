"""Image manifests, indexes and configurations as immutable values.

They read and write the JSON of the OCI image specification
(https://github.com/opencontainers/image-spec) and of Docker's schema 2. Fields of a
configuration that this engine does not use are kept unchanged.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rondel.engine.images import platforms
from rondel.engine.images.platforms import Platform
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
ACCEPT = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))

_CARRIED = frozenset(("author", "created", "os.version", "os.features"))


class InvalidImageError(EngineError):
    """Bytes that are not a valid manifest, index or configuration."""


def sha256(data: bytes) -> str:
    """The digest of ``data`` in the form ``sha256:HEX``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical(value: Any) -> bytes:
    """JSON bytes that depend only on the value, so that equal content has an equal digest."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob: its digest, media type and size."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, data: bytes, media_type: str, platform: Platform | None = None) -> Descriptor:
        """The descriptor of these bytes."""
        return cls(media_type, sha256(data), len(data), platform)

    @classmethod
    def from_json(cls, value: Any) -> Descriptor:
        """Read a descriptor; raises :class:`InvalidImageError`."""
        try:
            digest, size = value["digest"], value["size"]
            media_type = value.get("mediaType", "")
        except (TypeError, KeyError, AttributeError) as error:
            raise InvalidImageError(f"invalid descriptor: {error!r}") from None
        if not (isinstance(digest, str) and digest.startswith(("sha256:", "sha512:"))
                and "/" not in digest and isinstance(size, int) and size >= 0):  # fmt: skip
            raise InvalidImageError(f"invalid descriptor: {digest!r}, size {size!r}")
        given = value.get("platform")
        platform = None
        if isinstance(given, dict) and given.get("os") and given.get("architecture"):
            platform = platforms.normalised(
                Platform(str(given["os"]), str(given["architecture"]), str(given.get("variant") or ""))
            )
        return cls(str(media_type), digest, size, platform, dict(value.get("annotations") or {}))

    def to_json(self) -> dict[str, Any]:
        """The descriptor in the specification's form."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.platform is not None:
            value["platform"] = {"os": self.platform.os, "architecture": self.platform.architecture}
            if self.platform.variant:
                value["platform"]["variant"] = self.platform.variant
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value

    @property
    def is_attestation(self) -> bool:
        """Whether this is a build attestation, which an index lists beside its images."""
        if self.annotations.get("vnd.docker.reference.type") == "attestation-manifest":
            return True
        return self.platform is not None and "unknown" in (self.platform.os, self.platform.architecture)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image: its configuration and its layers from bottom to top."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = OCI_MANIFEST
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The manifest's JSON; its SHA-256 is the image's digest."""
        annotations = {"annotations": dict(self.annotations)} if self.annotations else {}
        return canonical(
            annotations
            | {
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "config": self.config.to_json(),
                "layers": [layer.to_json() for layer in self.layers],
            }
        )


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """Several images under one name, one per platform."""

    manifests: tuple[Descriptor, ...]
    media_type: str = OCI_INDEX

    def to_bytes(self) -> bytes:
        """The index's JSON."""
        return canonical(
            {
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "manifests": [entry.to_json() for entry in self.manifests],
            }
        )

    def best_for(self, wanted: Platform) -> Descriptor | None:
        """The best image for the platform ``wanted``; None if there is none."""
        ranked = [
            (rank, position, entry)
            for position, entry in enumerate(self.manifests)
            if entry.platform is not None and not entry.is_attestation
            if (rank := wanted.rank(entry.platform)) is not None
        ]
        if ranked:
            return min(ranked, key=lambda item: item[:2])[2]
        unnamed = [entry for entry in self.manifests if entry.platform is None and not entry.is_attestation]
        return unnamed[0] if len(unnamed) == 1 and len(self.manifests) == 1 else None


def parse_manifest(data: bytes, media_type: str = "") -> Manifest | ImageIndex:
    """Parse a manifest or an index; raises :class:`InvalidImageError`."""
    value = _load_object(data, "manifest")
    if value.get("schemaVersion") != 2:
        raise InvalidImageError(
            "unsupported manifest: Docker's obsolete schema 1 is not supported",
            hint="push the image again with a current tool",
        )
    kind = str(value.get("mediaType") or media_type or "").split(";")[0].strip()
    if "manifests" in value and (kind in INDEX_TYPES or kind not in MANIFEST_TYPES):
        entries = tuple(Descriptor.from_json(entry) for entry in _list(value["manifests"]))
        return ImageIndex(entries, kind if kind in INDEX_TYPES else OCI_INDEX)
    if "config" not in value or "layers" not in value:
        raise InvalidImageError(
            f"unsupported manifest media type {kind!r}: it has no configuration and layers"
        )
    config = Descriptor.from_json(value["config"])
    layers = tuple(Descriptor.from_json(layer) for layer in _list(value["layers"]))
    return Manifest(config, layers, kind if kind in MANIFEST_TYPES else OCI_MANIFEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """An image's configuration: how its containers run, and its layers.

    ``rest`` and ``config_rest`` hold the fields that this engine only passes on
    (health check, volumes, author, history of the base and so on).
    """

    platform: Platform = field(default_factory=platforms.default)
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    shell: tuple[str, ...] = ()
    healthcheck: Mapping[str, Any] = field(default_factory=dict)
    on_build: tuple[str, ...] = ()
    diff_ids: tuple[str, ...] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)
    config_rest: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, data: bytes) -> ImageConfig:
        """Parse an image configuration; raises :class:`InvalidImageError`."""
        value = _load_object(data, "image configuration")
        inner = value.get("config") or {}
        rootfs = value.get("rootfs") or {}
        if not isinstance(inner, dict) or not isinstance(rootfs, dict):
            raise InvalidImageError("invalid image configuration")
        platform = Platform(
            str(value.get("os") or "linux"),
            str(value.get("architecture") or platforms.default().architecture),
            str(value.get("variant") or ""),
        )
        return cls(
            platform=platforms.normalised(platform),
            env=_strings(inner.get("Env")),
            entrypoint=_strings(inner.get("Entrypoint")),
            cmd=_strings(inner.get("Cmd")),
            workdir=str(inner.get("WorkingDir") or ""),
            user=str(inner.get("User") or ""),
            labels={str(name): str(text) for name, text in (inner.get("Labels") or {}).items()},
            exposed_ports=tuple(sorted(inner.get("ExposedPorts") or ())),
            volumes=tuple(sorted(inner.get("Volumes") or ())),
            stop_signal=str(inner.get("StopSignal") or ""),
            shell=_strings(inner.get("Shell")),
            healthcheck=dict(inner.get("Healthcheck") or {}),
            on_build=_strings(inner.get("OnBuild")),
            diff_ids=_strings(rootfs.get("diff_ids")),
            rest={name: item for name, item in value.items() if name in _CARRIED},
            config_rest={name: item for name, item in inner.items() if name == "ArgsEscaped"},
        )

    def to_bytes(self) -> bytes:
        """The configuration's JSON; empty fields are omitted, and the current time does not appear in it."""
        inner: dict[str, Any] = {
            "Env": list(self.env), "Entrypoint": list(self.entrypoint), "Cmd": list(self.cmd),
            "WorkingDir": self.workdir, "User": self.user, "Labels": dict(self.labels),
            "ExposedPorts": {port: {} for port in self.exposed_ports},
            "Volumes": {path: {} for path in self.volumes}, "StopSignal": self.stop_signal,
            "Shell": list(self.shell), "Healthcheck": dict(self.healthcheck), "OnBuild": list(self.on_build),
            **self.config_rest,
        }  # fmt: skip
        value: dict[str, Any] = {
            **self.rest,
            "os": self.platform.os,
            "architecture": self.platform.architecture,
            "config": {name: item for name, item in inner.items() if item},
            "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)},
        }
        if self.platform.variant:
            value["variant"] = self.platform.variant
        return canonical(value)

    def with_layers(self, diff_ids: tuple[str, ...]) -> ImageConfig:
        """The same configuration over these layers."""
        return replace(self, diff_ids=diff_ids)


def _load_object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidImageError(f"invalid {what}: {error}") from None
    if not isinstance(value, dict):
        raise InvalidImageError(f"invalid {what}: not a JSON object")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidImageError("invalid manifest: a list is expected")
    return value


def _strings(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidImageError("invalid image configuration: a list of texts is expected")
    return tuple(value)
