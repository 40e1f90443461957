"""Which variables and files hold secrets, as far as their names tell.

Whatever counts as a secret here is masked in everything a run shows or keeps,
and withheld from the code of a fork. There is no second list.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SESSION_TOKEN = "DAGGER_SESSION_TOKEN"  # noqa: S105 - the variable's name
"""The token of this machine's engine session. It is masked, but not withheld: no run works without it."""

ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "DVC_REMOTE_URL")
"""Where a fork's results must not go, even if no password is needed."""

_NOT_SECRET = frozenset({SESSION_TOKEN, "RONDEL_SECRETS"})
"""Names that only look like secrets."""

# What a key opens, or who issued it. A bare _KEY says too little: JOIN_KEY, CACHE_KEY and PUBLIC_KEY are no
# secrets, and masking their values would make a log unreadable.
_KEYS = (
    "ADMIN|API|APP|APPLICATION|AUTH|CLIENT|DECRYPTION|DEPLOY|ENCRYPTION|HMAC|JWT|LICENSE|MASTER"
    "|SERVICE|SHARED|SIGNING|SSH|SUBSCRIPTION|TLS|WEBHOOK"
    "|ANTHROPIC|AWS|AZURE|COMET|GCP|GOOGLE|KAGGLE|MAILGUN|OPENAI|SENDGRID|STRIPE|TWILIO|WANDB"
)
_SECRET = re.compile(
    r"SECRET|TOKEN(?!IZ)|PASSW|PASSPHRASE|PASSCODE|CREDENTIAL|CONNECTION_?STRING|CONN_STR(_|$)"
    r"|(PRIVATE|ACCESS|ACCOUNT|STORAGE|API)_?KEY"
    rf"|(^|_)({_KEYS})_?KEYS?(_?\d+)?(_(ID|BASE|BASE64|B64|DATA|FILE|HEX|JSON|PEM|RO|RW)|$)"
    r"|(^|_)PAT(_|$)|_PWD(_|$)|(^|_|SSH)PASS$|(^|_)SAS(_UR[IL])?$|(^|_)JWT(_V\d+)?$|_DSN$"
    r"|DOCKER_AUTH_CONFIG|(BASIC|REDISCLI|NPM|PROXY|REGISTRY)_?AUTH$|(^|__)AUTH$"
)
# What a name says about a secret without being one: where it lies, how long it lives. A _FILE is not among
# these: it leads straight to one credential, as GitLab's variables of that type do. Language models have
# tokens of another kind.
_ABOUT = re.compile(
    r"(_PATH|_URL|_URI|_DIR|_HOST|_PORT|_ENDPOINT|_NAME|_TYPE|_EXPIRES?|_EXPIRY|_EXPIRES_IN|_TTL|_LENGTH"
    r"|_LIMIT|_COUNT|_ALGORITHM|_ENABLED)$"
    r"|(^|_)(MAX|MIN|NUM|N)_(\w+_)?TOKENS$|^TOKENS_PER_|_PER_TOKEN$|(^|_)(PAD|EOS|BOS|UNK|SEP|CLS|MASK)_TOKEN$"
)
_SIGNED = re.compile(r"(^|_)SAS_UR[IL]$")

_FILES = re.compile(
    r"(^|/)(\.env(\..*)?|\.netrc|\.pgpass|\.pypirc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)"
    r"|.*\.(pem|key|p12|pfx|jks|keystore)|credentials(\.json)?|config\.local)$"
)
_EXAMPLES = re.compile(r"\.(example|sample|template|dist)$")


def is_secret(name: str) -> bool:
    """Whether a variable or option of this name holds a secret."""
    upper = name.upper().replace("-", "_").replace(".", "_")
    if upper in _NOT_SECRET or not _SECRET.search(upper):
        return False
    return not _ABOUT.search(upper) or bool(_SIGNED.search(upper))


def withheld_from_forks(names: Iterable[str], declared: Iterable[str] = ()) -> frozenset[str]:
    """Those of ``names`` that the code of a fork must not have: secrets, ``declared`` ones, and addresses."""
    also = {*declared, *ADDRESSES}
    return frozenset(name for name in names if name in also or is_secret(name))


def is_secret_file(path: str) -> bool:
    """Whether a file of this name holds secrets: ``.env``, a private key, ``credentials.json``."""
    return bool(_FILES.search(path)) and not _EXAMPLES.search(path)
