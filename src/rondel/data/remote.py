"""Finds the DVC remote of a run, and what containers need to reach it.

The remote is ``DVC_REMOTE_URL`` (the ``remote`` option), else the default remote in
the project's DVC configuration, else the folder ``.rondel/remote``. A local folder is
served over WebDAV (``rondel.data.webdav``) instead of mounted, so that an engine on
another machine can use it, too.
"""

from __future__ import annotations

import configparser
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rondel.errors import ConfigurationError, did_you_mean
from rondel.files.yaml_file import check_conflict
from rondel.secrets.logins import without_login

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_FOLDER = ".rondel/remote"

# Options of a remote whose value is a file on this machine.
_FILES = (
    "credentialpath",
    "configpath",
    "keyfile",
    "ssl_verify",
    "cert_path",
    "key_path",
    "gdrive_service_account_json_file_path",
)

# By scheme: variables with secrets, other variables, and variables that name files, with default paths.
_VARIABLES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], Mapping[str, str]]] = {
    "s3": (
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        (
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_S3",
            "AWS_PROFILE",
            "AWS_ROLE_ARN",
        ),
        {
            "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
            "AWS_CONFIG_FILE": "~/.aws/config",
            "AWS_WEB_IDENTITY_TOKEN_FILE": "",
            "AWS_CA_BUNDLE": "",
        },
    ),
    "gs": (
        (),
        ("GOOGLE_CLOUD_PROJECT", "STORAGE_EMULATOR_HOST"),
        {"GOOGLE_APPLICATION_CREDENTIALS": "~/.config/gcloud/application_default_credentials.json"},
    ),
    "azure": (
        (
            "AZURE_STORAGE_CONNECTION_STRING",
            "AZURE_STORAGE_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_CLIENT_SECRET",
        ),
        ("AZURE_STORAGE_ACCOUNT", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"),
        {},
    ),
    "ssh": ((), (), {}),
}
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://")
_SSH_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A DVC remote as a run uses it.

    ``folder`` is set for a local folder. ``options`` are DVC's; ``files`` are those whose
    value is a file that the container needs. ``secrets`` and ``environment`` are
    variables; ``secret_files`` are variables that name files with secrets. ``origin`` says
    where the remote was configured.
    """

    url: str
    origin: str
    folder: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def scheme(self) -> str:
        """``s3``, ``gs``, ``azure``, ``ssh``, ``webdav``, ``http`` …, or ``local``."""
        return "local" if self.folder is not None else urlsplit(self.url).scheme

    @property
    def shown(self) -> str:
        """The remote's address without credentials."""
        if self.folder is not None:
            return str(self.folder)
        return without_login(self.url)


def find_remote(root: Path, environ: Mapping[str, str], url: str | None = None) -> Remote:
    """Find the remote for runs in the project at ``root``.

    Raises ConfigurationError if the configuration is invalid or names an undefined remote.
    """
    address, origin, options, base = _named(root, environ, url)
    return _remote(address, origin, options, base=base, environ=environ)


def _named(root: Path, environ: Mapping[str, str], url: str | None) -> tuple[str, str, dict[str, str], Path]:
    """The remote's address, its origin, its options, and the folder that the address is relative to."""
    if url:
        return url, "DVC_REMOTE_URL", {}, root
    name, options, folder = _configured(root, environ)
    if name is None:
        return DEFAULT_FOLDER, "the default", {}, root
    address = options.pop("url", None)
    if not address:
        raise ConfigurationError(f"the DVC remote {name!r} has no url", place=".dvc/config")
    return address, f"remote {name!r} of the DVC configuration", options, folder


def default_remote(root: Path, environ: Mapping[str, str]) -> str | None:
    """The name of the default remote in DVC's configuration. `dvc push` and `dvc pull` need one."""
    return dvc_config(root, environ).get("core", {}).get("remote")


def pushes(remote: Remote, push: bool | None, *, ci: bool) -> bool:
    """Whether to push results: the option ``push``, else in CI and to a folder on this machine."""
    return push if push is not None else ci or remote.folder is not None


def local_remote(root: Path, environ: Mapping[str, str] | None = None) -> Path | None:
    """The remote's folder if it is local; does not access other remotes."""
    environ = os.environ if environ is None else environ
    address, _, _, base = _named(root, environ, environ.get("DVC_REMOTE_URL"))
    return _folder(address, base)


def _folder(url: str, base: Path) -> Path | None:
    if _SCHEME.match(url) and not url.startswith("file://"):
        return None
    path = Path(url.removeprefix("file://")).expanduser()
    return path if path.is_absolute() else Path(os.path.normpath(base / path))


def _remote(
    url: str, origin: str, options: dict[str, str], *, base: Path, environ: Mapping[str, str]
) -> Remote:
    folder = _folder(url, base)
    if folder is not None:
        return Remote(url=str(folder), origin=origin, folder=folder)
    named = url.partition("://")[0]
    scheme = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "sftp": "ssh"}.get(named, named)
    if scheme == "ssh":
        from rondel.data.ssh import resolve_ssh_address

        try:
            url, options = resolve_ssh_address(url, options, environ)
        except ValueError as error:
            raise ConfigurationError(
                "this is not the address of an SSH remote", why=str(error), place=origin
            ) from None
    secret, plain, paths = _VARIABLES.get(scheme, ((), (), {}))
    files = {
        key: Path(options[key]).expanduser() for key in _FILES if options.get(key, "").startswith(("/", "~"))
    }
    for key in _FILES:
        value = options.get(key, "")
        if value and key not in files and value.lower() not in {"true", "false"}:
            files[key] = Path(os.path.normpath(base / value))
    if scheme == "ssh" and "keyfile" not in files and "password" not in options:
        usual = _first_file(_SSH_KEYS)
        files.update((("keyfile", usual),) if usual else ())
    for key, path in files.items():
        if not path.is_file():
            raise ConfigurationError(
                f"{key} of the DVC remote names a file that does not exist: {path}", place=".dvc/config"
            )
    return Remote(
        url=url,
        origin=origin,
        options=options,
        files=files,
        secrets={name: environ[name] for name in secret if environ.get(name)},
        environment={name: environ[name] for name in plain if environ.get(name)},
        secret_files=_secret_files(paths, environ, secret),
    )


def _secret_files(
    paths: Mapping[str, str], environ: Mapping[str, str], secret: tuple[str, ...]
) -> dict[str, Path]:
    found = {}
    given = any(environ.get(name) for name in secret)
    for name, usual in paths.items():
        if environ.get(name):
            path = Path(environ[name]).expanduser()
            if not path.is_file():
                raise ConfigurationError(f"{name} names a file that does not exist: {path}")
            found[name] = path
        elif usual and not given and (path := Path(usual).expanduser()).is_file():
            found[name] = path
    return found


def _first_file(candidates: tuple[str, ...]) -> Path | None:
    return next((path for each in candidates if (path := Path(each).expanduser()).is_file()), None)


def _configured(root: Path, environ: Mapping[str, str]) -> tuple[str | None, dict[str, str], Path]:
    """The default remote's name and options, and the folder that its address is relative to."""
    sections = dvc_config(root, environ)
    bases: dict[str, Path] = {}
    for path in _levels(root, environ):
        bases.update((section, path.parent) for section, options in _read(path).items() if "url" in options)
    name = sections.get("core", {}).get("remote")
    if name is None:
        return None, {}, root
    options = dict(sections.get(f'remote "{name}"', {}))
    if not options:
        known = [match[1] for key in sections if (match := re.fullmatch(r'remote "(.*)"', key))]
        raise ConfigurationError(
            f"the DVC configuration has no remote {name!r}",
            hint=did_you_mean(name, known),
            place=".dvc/config",
        )
    base = bases.get(f'remote "{name}"', root / ".dvc")
    match = re.match(r"^remote://([^/]+)/?(.*)$", options.get("url", ""))
    if match:
        parent = sections.get(f'remote "{match[1]}"', {})
        options = {**parent, **options, "url": f"{parent.get('url', '').rstrip('/')}/{match[2]}"}
        base = bases.get(f'remote "{match[1]}"', base)
    return name, options, base


def dvc_config(root: Path, environ: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """DVC's configuration, merged from all levels. Raises ConfigurationError."""
    sections: dict[str, dict[str, str]] = {}
    for path in _levels(root, environ):
        for section, options in _read(path).items():
            sections.setdefault(section, {}).update(options)
    return sections


def _levels(root: Path, environ: Mapping[str, str]) -> list[Path]:
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/nonexistent"), ".config")  # noqa: PTH118
    return [
        Path(environ.get("DVC_SYSTEM_CONFIG_DIR") or "/etc/xdg/dvc", "config"),
        Path(environ.get("DVC_GLOBAL_CONFIG_DIR") or Path(home, "dvc"), "config"),
        root / ".dvc" / "config",
        root / ".dvc" / "config.local",
    ]


def _read(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, strict=False, default_section="")
    try:
        text = path.read_text(encoding="utf-8")
        check_conflict(text, str(path))
        parser.read_string(text, source=str(path))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except OSError as error:
        raise ConfigurationError(
            "the DVC configuration can't be read", why=error.strerror, place=str(path)
        ) from None
    except (configparser.Error, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        raise ConfigurationError(
            "the DVC configuration can't be read",
            why=str(error).splitlines()[0],
            place=f"{path}:{line}" if line else str(path),
        ) from None
    return {
        name.strip("'"): {key: value.strip().strip("\"'") for key, value in parser.items(name)}
        for name in parser.sections()
    }
