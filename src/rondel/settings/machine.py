"""Which environment variables belong to one machine: no record sets them on another."""

from __future__ import annotations

from rondel.settings.options import OPTIONS

_RESULT = frozenset(option.env for option in OPTIONS if option.env and option.concerns == "result")
# CI sets the option `ci` by way of detection.
_OPTIONS = frozenset({"CI", *(option.env for option in OPTIONS if option.env)}) - _RESULT

_PREFIXES = (
    *("LD_", "DYLD_", "BASH_", "GIT_", "SSH_", "PYTHON"),
    *("DAGGER_", "_EXPERIMENTAL_", "DOCKER_", "CONTAINER_", "PODMAN_", "KUBE"),
    *("XDG_", "SSL_", "PIP_", "UV_", "CONDA_", "NVIDIA_", "CLICOLOR"),
)
_NAMES = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "IFS", "ENV", "HOSTNAME", "PWD", "OLDPWD"),
        *("TMPDIR", "TMP", "TEMP", "TERM", "COLUMNS", "LINES", "DISPLAY", "VIRTUAL_ENV"),
        *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE"),
        *("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
        *("NO_COLOR", "FORCE_COLOR"),
    }
)
_TRAVEL = frozenset({"PYTHONHASHSEED"})


def option_variable(name: str) -> bool:
    """Whether a variable is an option of Rondel's that says where or how a run runs, not what it computes.

    Any that begins with ``RONDEL_`` is one, whichever version of Rondel knew it, but those of results.
    """
    return name in _OPTIONS or (name.startswith("RONDEL_") and name not in _RESULT)


def stays_here(name: str) -> bool:
    """Whether a variable of a record is never set on another machine."""
    if name in _TRAVEL:
        return False
    return option_variable(name) or name.upper() in _NAMES or name.upper().startswith(_PREFIXES)
