"""The ``--flags`` of instructions, and the options of ``RUN --mount``."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.containerfile.steps import (
    BindUse,
    CacheUse,
    ContextSource,
    SecretUse,
    Source,
    SshUse,
    TmpfsUse,
    Use,
)
from rondel.containerfile.syntax import Instruction, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_BOOLEAN = frozenset(("parents", "link", "keep-git-dir", "unpack"))
_REPEATED = frozenset(("mount", "exclude"))
_TRUE = {"": True, "true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
_ALIASES = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "rw": "readwrite"}
_KNOWN = {
    "bind": frozenset(("target", "source", "from", "readonly", "readwrite")),
    "cache": frozenset(
        ("target", "source", "from", "id", "sharing", "readonly", "readwrite", "mode", "uid", "gid")
    ),
    "secret": frozenset(("target", "source", "id", "required", "mode", "uid", "gid", "env")),
    "ssh": frozenset(("target", "id", "required", "mode", "uid", "gid")),
    "tmpfs": frozenset(("target", "size")),
}
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True, slots=True)
class Flags:
    """An instruction's flags by name; repeated ones keep their order."""

    values: tuple[tuple[str, str], ...]
    at: Instruction

    def get(self, name: str, default: str = "") -> str:
        """The flag's value, or ``default``."""
        return next((value for key, value in self.values if key == name), default)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a flag that may be repeated."""
        return tuple(value for key, value in self.values if key == name)

    def switch(self, name: str, default: bool = False) -> bool:
        """A flag that is on or off."""
        for key, value in self.values:
            if key == name:
                return _boolean(name, value, self.at)
        return default


def read_flags(at: Instruction, known: Iterable[str]) -> Flags:
    """The flags of an instruction; an unknown one is an error that names the nearest."""
    known = tuple(known)
    values: list[tuple[str, str]] = []
    for flag in at.flags:
        name, equals, value = flag.removeprefix("--").partition("=")
        if name not in known:
            raise at.error(f"unknown flag: {name}{suggestion(name, known)}")
        if not equals and name not in _BOOLEAN:
            raise at.error(f"missing a value on flag: {name}")
        if name not in _REPEATED and any(name == key for key, _ in values):
            raise at.error(f"duplicate flag specified: {name}")
        values.append((name, value))
    return Flags(tuple(values), at)


def read_mount(
    text: str, at: Instruction, workdir: str, source_of: Callable[[str], Source], expand: Callable[[str], str]
) -> Use:
    """One ``--mount`` of RUN. ``source_of`` finds the stage or image that ``from=`` names."""
    options = {name: expand(value) for name, value in _options(text, at).items()}
    kind = options.pop("type", "bind").lower()
    if kind not in _KNOWN:
        raise at.refusal(f'unsupported mount type "{kind}"{suggestion(kind, _KNOWN)}')
    for name, value in options.items():
        if name not in _KNOWN[kind]:
            near = suggestion(name, sorted(_KNOWN[kind]))
            raise at.refusal(f"unexpected key '{name}' in '{name}={value}'{near}")
    if kind == "secret":
        return _secret(options, at, workdir)
    if kind == "ssh":
        return _ssh(options, at, workdir)
    target = options.get("target") and posixpath.normpath(posixpath.join(workdir, options["target"]))
    if not target or target == "/":
        raise at.refusal('invalid mount target "/"', hint=f"name a folder: --mount=type={kind},target=/path")
    if kind == "tmpfs":
        return TmpfsUse(target=target, size=_size(options.get("size", "0"), at))
    source = source_of(options["from"]) if options.get("from") else None
    subpath = _subpath(options)
    if kind == "bind":
        _switched(options, "readonly", at)  # which it is anyway
        writable = _switched(options, "readwrite", at)
        return BindUse(target=target, source=source or ContextSource(), subpath=subpath, writable=writable)
    sharing = options.get("sharing", "shared").upper()
    if sharing not in ("SHARED", "PRIVATE", "LOCKED"):
        raise at.refusal(
            f'unsupported sharing value "{options["sharing"]}"', hint="shared, private or locked"
        )
    return CacheUse(
        target=target, id=options.get("id") or target, sharing=sharing, source=source, subpath=subpath,
        mode=_octal(options.get("mode", "755"), at), uid=_number(options, "uid", at),
        gid=_number(options, "gid", at), readonly=_switched(options, "readonly", at),
    )  # fmt: skip


def context_path(text: str, at: Instruction, expand: Callable[[str], str]) -> str | None:
    """The path of the context that a ``--mount`` shows; None for a mount of anything else."""
    options = _options(text, at)
    if expand(options.get("type", "bind")).lower() != "bind" or options.get("from"):
        return None
    return _subpath({"source": expand(options.get("source", ""))})


def _subpath(options: dict[str, str]) -> str:
    return posixpath.normpath("/" + options.get("source", "").lstrip("/"))


def mount_from(text: str, at: Instruction) -> str | None:
    """What ``from=`` of a mount names, before anything else of it is read."""
    return _options(text, at).get("from") or None


def _ssh(options: dict[str, str], at: Instruction, workdir: str) -> SshUse:
    target = options.get("target", "")
    return SshUse(
        id=options.get("id") or "default",
        target=posixpath.normpath(posixpath.join(workdir, target)) if target else "",
        required=_switched(options, "required", at),
        uid=_number(options, "uid", at),
        gid=_number(options, "gid", at),
    )


def _secret(options: dict[str, str], at: Instruction, workdir: str) -> SecretUse:
    target, env = options.get("target"), options.get("env")
    if options.get("id") and options.get("source"):
        raise at.refusal("both source and id can't be set")
    name = options.get("id") or options.get("source") or posixpath.basename(target or "") or env or ""
    if not name:
        raise at.refusal(
            "invalid secret mount. one of source, target required", hint="--mount=type=secret,id=NAME"
        )
    if target is None and env is None:
        target = f"/run/secrets/{posixpath.basename(name)}"
    return SecretUse(
        id=name,
        target=None if target is None else posixpath.normpath(posixpath.join(workdir, target)),
        env=env,
        required=_switched(options, "required", at),
        mode=_octal(options.get("mode", "400"), at),
        uid=_number(options, "uid", at),
        gid=_number(options, "gid", at),
    )


def _options(text: str, at: Instruction) -> dict[str, str]:
    """``key=value,key`` as CSV: a value that contains a comma is quoted."""
    import csv

    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise at.error(f"failed to parse csv mounts: {error}") from None
    options: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        key = _ALIASES.get(key, key)
        if not equals and key not in ("readonly", "readwrite", "required"):
            raise at.refusal(f"invalid field '{field}' must be a key=value pair")
        options[key] = value
    return options


def _boolean(name: str, value: str, at: Instruction) -> bool:
    if value.lower() not in _TRUE:
        raise at.error(f"expecting boolean value for flag {name}, not: {value}")
    return _TRUE[value.lower()]


def _switched(options: dict[str, str], name: str, at: Instruction) -> bool:
    """An option of a mount that is on or off."""
    value = options.get(name, "false")
    if value.lower() not in _TRUE:
        raise at.refusal(f"invalid value for {name}: {value}")
    return _TRUE[value.lower()]


def _octal(value: str, at: Instruction) -> int:
    try:
        return int(value, 8)
    except ValueError:
        raise at.refusal(f"invalid value {value} for mode", hint="an octal number such as 0644") from None


def _number(options: dict[str, str], name: str, at: Instruction) -> int:
    value = options.get(name, "0")
    if not value.isdecimal():
        raise at.refusal(f"invalid value {value} for {name}")
    return int(value)


def _size(value: str, at: Instruction) -> int:
    text = value.lower().removesuffix("ib").removesuffix("b")
    unit = text[-1:] if text[-1:].isalpha() else ""
    number = text.removesuffix(unit) if unit else text
    if unit not in _UNITS or not number.isdecimal():
        raise at.refusal(
            f"invalid value for size: {value}", hint="a number of bytes, with k, m or g after it"
        )
    return int(number) * _UNITS[unit]
