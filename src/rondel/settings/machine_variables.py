"""Environment variables that belong to one machine: no record sets them on another machine."""

from __future__ import annotations

from rondel.settings.options import OPTIONS

_RESULT = frozenset(option.env for option in OPTIONS if option.env and option.concerns == "result")
# Detection of the CI system reads CI and sets the option `ci`.
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


def is_result_option(name: str) -> bool:
    """Whether a variable is an option of Rondel that results depend on."""
    return name in _RESULT


def is_option_variable(name: str) -> bool:
    """Whether a variable is an option of Rondel that does not affect results.

    That includes all names that begin with ``RONDEL_``, except options that affect
    results: another version of Rondel may have more options.
    """
    return name in _OPTIONS or (name.startswith("RONDEL_") and name not in _RESULT)


def is_machine_variable(name: str) -> bool:
    """Whether a variable from a record is not set on other machines."""
    if name in _TRAVEL:
        return False
    return is_option_variable(name) or name.upper() in _NAMES or name.upper().startswith(_PREFIXES)
