"""Stores a version's SBOM and provenance, and verifies them later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError, RecordError
from rondel.registry import attestations
from rondel.registry.aliases import find, load_alias_log
from rondel.registry.lineage import Lineage
from rondel.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rondel.registry.alias_log import AliasLog
    from rondel.registry.backends import Registry
    from rondel.registry.versions import ModelVersion

DIGEST_TAG = "rondel.attestation"
SBOM, PROVENANCE = "sbom.cdx.json", "provenance.json"


async def store_files(
    registry: Registry,
    version: ModelVersion,
    lineage: Lineage,
    *,
    packages: Mapping[str, str],
    environ: Mapping[str, str],
) -> bool:
    """Store both files with the version's run, and their digests as tags of the version; idempotent.

    Returns False if the server does not accept files: GitLab and an MLflow server
    that proxies artifacts do, a separate artifact store does not.
    """
    if f"{DIGEST_TAG}.{PROVENANCE}" in version.tags or not version.run_id:
        return True
    run = (await registry.client.get_run(version.run_id)).handle
    statement = attestations.provenance(
        version.model,
        artifacts=lineage.outputs,
        lineage=lineage,
        version=version.version,
        rondel=__version__,
    )
    made = [
        attestations.Attestation(
            name=SBOM, content=attestations.sbom(version.model, packages, image=lineage.image or "unknown")
        ),
        attestations.Attestation(
            name=PROVENANCE,
            content=json.dumps(
                attestations.make_envelope(statement, environ), indent=1, sort_keys=True
            ).encode(),
        ),
    ]
    for each in made:
        if not await registry.client.log_artifact(run, artifact_path(version, each.name), each.content):
            return False
    await registry.tag(version, {f"{DIGEST_TAG}.{each.name}": each.digest for each in made})
    return True


def artifact_path(version: ModelVersion, name: str) -> str:
    """The path of a version's file among its run's artifacts; a run may have several versions."""
    return f"rondel/{version.model}/{version.version}/{name}"


async def verify(registry: Registry, reference: str, keys: Sequence[Path]) -> list[str]:
    """Check the log, the files' digests, the provenance against the version's tags, and signatures.

    Returns lines that say what was checked. Raises RecordError with everything that is wrong.
    """
    if not attestations.libraries_installed():
        raise ConfigurationError(
            "the libraries for verification are not installed", hint="install rondel[provenance]"
        )
    version = await find(registry, reference)
    lineage = Lineage.from_tags(version.tags)
    log = await load_alias_log(registry, version.model)
    checked = [f"the log of {version.model} is intact: {len(log.entries)} entries"]
    wrong: list[str] = []
    if keys:
        _signatures(log, keys, checked=checked, wrong=wrong)
    contents: dict[str, bytes] = {}
    run = (await registry.client.get_run(version.run_id)).handle if version.run_id else None
    for name in (SBOM, PROVENANCE):
        digest = version.tags.get(f"{DIGEST_TAG}.{name}")
        path = artifact_path(version, name)
        content = await registry.client.read_artifact(run, path) if run and digest else None
        if digest is None:
            wrong.append(f"{name} was never stored")
        elif content is None:
            wrong.append(f"{name} is no longer on the server")
        elif attestations.Attestation(name=name, content=content).digest != digest:
            wrong.append(f"{name} was changed: its digest differs from the one in the version's tags")
        else:
            contents[name] = content
            checked.append(f"{name} is unchanged (sha256:{digest[:12]}…)")
    if PROVENANCE in contents:
        _statement(contents[PROVENANCE], version, lineage, keys=keys, checked=checked, wrong=wrong)
    if wrong:
        raise RecordError(
            f"version {version.version} of {version.model!r} cannot be trusted", why="\n".join(wrong)
        )
    return checked


def _signatures(log: AliasLog, keys: Sequence[Path], *, checked: list[str], wrong: list[str]) -> None:
    """Check that the log's entries are signed, from the first signed one on."""
    signed = [attestations.is_signed_by(entry.hash.encode(), entry.signature, keys) for entry in log.entries]
    if not any(signed):
        wrong.append("none of the given keys signed an entry of the log")
        return
    first = signed.index(True)
    missing = [str(log.entries[at].number) for at in range(first, len(signed)) if not signed[at]]
    if missing:
        wrong.append(f"none of the given keys signed entry {', '.join(missing)} of the log")
    earlier = f"; {first} earlier ones are not" if first else ""
    checked.append(f"{sum(signed)} entries of the log are signed{earlier}")


def _statement(
    content: bytes,
    version: ModelVersion,
    lineage: Lineage,
    *,
    keys: Sequence[Path],
    checked: list[str],
    wrong: list[str],
) -> None:
    try:
        document = json.loads(content)
        statement = attestations.open_envelope(document)
        definition = statement["predicate"]["buildDefinition"]
        stated = definition["externalParameters"]
        commits = [each["digest"].get("gitCommit") for each in definition["resolvedDependencies"]]
        invocation = statement["predicate"]["runDetails"]["metadata"]["invocationId"]
        subjects = {each["name"]: next(iter(each["digest"].values())) for each in statement["subject"]}
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        wrong.append(f"{PROVENANCE} cannot be read: {error}")
        return
    outputs = {name: text.partition(":")[2].removesuffix(".dir") for name, text in lineage.outputs.items()}
    for name, same in (
        (
            "model and version",
            (stated["model"], stated["version"]) == (version.model, version.version),
        ),
        ("git commit", lineage.git_commit in commits if lineage.git_commit else not any(commits)),
        ("run", invocation == lineage.run),
        ("data", subjects == outputs),
    ):
        if not same:
            wrong.append(f"{name}: {PROVENANCE} and the version's tags disagree")
    if not wrong:
        checked.append(f"{PROVENANCE} and the version's tags agree")
    if keys:
        signers = attestations.signers_of(document, keys)
        if signers:
            checked.append(f"signed by {', '.join(signers)}")
        else:
            wrong.append(f"none of the given keys signed {PROVENANCE}")
    elif document.get("signatures"):
        checked.append(f"{PROVENANCE} is signed; to verify the signature, add --key PUBLIC.pem")
    else:
        checked.append(f"{PROVENANCE} is not signed")
