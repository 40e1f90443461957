"""Facts about the machine and the environment that a capsule holds."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any

from rondel.record import Host
from rondel.secrets.logins import without_login
from rondel.secrets.names import is_secret
from rondel.settings.options import OPTIONS
from rondel.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.settings import Settings

ALLOWED = (
    "CI",
    "LANG",
    "LC_ALL",
    "MLFLOW_EXPERIMENT_NAME",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "SOURCE_DATE_EPOCH",
    "TZ",
)
"""Variables that results can depend on and that never hold secrets; a project names more."""


CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
)
"""Variables that data and tracking take by themselves: where they are set, a repetition needs them, too."""


def allowed_environment(
    environ: Mapping[str, str], extra: Iterable[str], secrets: Iterable[str] = ()
) -> dict[str, str]:
    """The variables that may be recorded: a short list, what the project names, and options of Rondel.

    Those that concern the machine alone are among the recorded options, where nothing applies them.
    """
    options = (each for each in OPTIONS if each.concerns in {"result", "run"})
    names = {*ALLOWED, *extra, *(option.env for option in options if option.env)}
    names -= {*secrets, *CREDENTIALS, "RONDEL_SECRETS"}
    kept = (name for name in sorted(names) if name in environ and not is_secret(name))
    return {name: without_login(environ[name]) for name in kept}


def secret_names(environ: Mapping[str, str], named: Iterable[str]) -> list[str]:
    """The names of the secrets that a run was given."""
    return sorted({*named, *(name for name in CREDENTIALS if environ.get(name))})


def recorded_options(settings: Settings) -> dict[str, Any]:
    """The values of options that are not at their default, or were given, as JSON values.

    Parameters are not among them: a capsule has its own place for them.
    """
    return {
        option.name: _json(getattr(settings, option.name))
        for option in OPTIONS
        if option.concerns != "command" and option.name != "params" and settings.is_set(option)
    }


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json(each) for each in value]
    return without_login(value) if isinstance(value, str) else value


def host() -> Host:
    """The machine that this process runs on."""
    uname = os.uname()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = 0
    return Host(
        system=f"{uname.sysname} {uname.release}",
        machine=uname.machine,
        python=platform.python_version(),
        distribution=_distribution(),
        cpus=processors(),
        memory_bytes=memory,
        rondel=__version__,
    )


def processors() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0)) or 1
    except AttributeError:
        return os.cpu_count() or 1


def _distribution() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    return release.get("PRETTY_NAME", release.get("ID", ""))
