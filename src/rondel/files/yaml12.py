"""Reads plain YAML scalars by the rules of YAML 1.2, as DVC does.

``1e-3`` is a number; ``no`` and ``12:30`` are strings. PyYAML implements only
YAML 1.1, where ``1e-3`` is a string, so it would never equal the 0.001 that DVC
writes to ``dvc.lock``.
"""

from __future__ import annotations

import re
from typing import Any

_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_FLOAT = re.compile(
    r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |[-+]?\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
_INT = re.compile(r"^[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)$")
_BASES = {"0b": 2, "0o": 8, "0x": 16}


def use_yaml12_scalars(loader: Any) -> None:
    """Make a PyYAML loader class read plain scalars by the rules of YAML 1.2."""
    replaced = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:float", "tag:yaml.org,2002:int"}
    loader.yaml_implicit_resolvers = {
        first: [rule for rule in rules if rule[0] not in replaced]
        for first, rules in loader.yaml_implicit_resolvers.items()
    }
    loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tTfF"))
    loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
    loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
    loader.add_constructor("tag:yaml.org,2002:int", _int)


def _int(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    digits = text.lstrip("+-")
    # In YAML 1.2, `017` is seventeen, not fifteen.
    value = int(digits[2:], _BASES[digits[:2]]) if digits[:2] in _BASES else int(digits)
    return -value if text.startswith("-") else value
