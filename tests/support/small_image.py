"""An image with a shell and cat and nothing else, in a registry of the test."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakeregistry import FakeRegistry


def programs() -> dict[str, Path]:
    """A shell and cat with the libraries they need, by their path in the image."""
    found = {"bin/sh": Path("/bin/sh").resolve(), "bin/cat": Path(shutil.which("cat") or "").resolve()}
    for program in list(found.values()):
        said = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
        paths = [word for word in said.split() if word.startswith("/")]
        found |= {path.lstrip("/"): Path(path).resolve() for path in paths}
    return found


def put_base(registry: FakeRegistry, release: str) -> str:
    """Push an image of that release as ``base:1``; the digest."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, path in programs().items():
            archive.add(path, name)
        info = tarfile.TarInfo("release")
        info.size = len(release)
        archive.addfile(info, io.BytesIO(release.encode()))
    content = out.getvalue()
    layer, diff = gzip.compress(content, mtime=0), hashlib.sha256(content).hexdigest()
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
    }
    config_bytes = json.dumps(config).encode()
    kind = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": {
            "mediaType": f"{kind}.config.v1+json",
            "digest": registry.put(config_bytes),
            "size": len(config_bytes),
        },
        "layers": [
            {"mediaType": f"{kind}.layer.v1.tar+gzip", "digest": registry.put(layer), "size": len(layer)}
        ],
    }
    return registry.put_manifest("1", json.dumps(manifest).encode())
