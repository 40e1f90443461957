"""Changes values in the text of parameter files; keeps comments, order and style."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from rondel.data.python_params import replace_python
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def write_params(path: str, text: str, overrides: Mapping[str, Any]) -> str:
    """Apply ``overrides`` to ``text``, whose format depends on the suffix of ``path``.

    Raises ConfigurationError for a value that the format can't represent.
    """
    if path.endswith(".py"):
        return replace_python(text, path, overrides)
    if path.endswith(".json"):
        return _json(text, overrides)
    if path.endswith(".toml"):
        return _toml(path, text, overrides)
    return _yaml(text, overrides)


def assign(values: Any, overrides: Mapping[str, Any], fit: Callable[[Any, Any], Any] | None = None) -> None:
    """Replace those dotted keys that ``values`` has, in place.

    ``fit`` gets the old and the new value and returns the one to write.
    """
    for key, new in overrides.items():
        *parents, last = key.split(".")
        holder = values
        for part in parents:
            holder = _step(holder, part)
        if isinstance(holder, dict) and last in holder:
            holder[last] = fit(holder[last], new) if fit else new
        elif isinstance(holder, list) and last.isdigit() and int(last) < len(holder):
            index = int(last)
            holder[index] = fit(holder[index], new) if fit else new


def _step(holder: Any, part: str) -> Any:
    if isinstance(holder, dict):
        return holder.get(part)
    if isinstance(holder, list) and part.isdigit() and int(part) < len(holder):
        return holder[int(part)]
    return None


def _json(text: str, overrides: Mapping[str, Any]) -> str:
    values = json.loads(text)
    assign(values, overrides)
    indent = re.search(r"\n([ \t]+)\S", text)
    end = text[len(text.rstrip()) :]
    return json.dumps(values, indent=indent[1] if indent else None, ensure_ascii=text.isascii()) + end


def _toml(path: str, text: str, overrides: Mapping[str, Any]) -> str:
    import tomlkit

    nothing = next((key for key, value in overrides.items() if value is None), None)
    if nothing is not None:
        raise ConfigurationError(f"{nothing} can't be null", why="TOML has no null", place=path)
    document = tomlkit.parse(text)
    assign(document, overrides)
    return tomlkit.dumps(document)


def _yaml(text: str, overrides: Mapping[str, Any]) -> str:
    import io

    from ruamel.yaml import YAML

    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 1 << 20  # keeps line breaks as they are
    editor.explicit_start = bool(re.match(r"(#[^\n]*\n|\s*\n)*---\s", text))
    _keep_indentation(editor, text)
    editor.Representer = _representer(editor.Representer)
    document = editor.load(text)
    assign(document, overrides, _scalar)
    out = io.StringIO()
    editor.dump(document, out)
    return out.getvalue()


def _keep_indentation(editor: Any, text: str) -> None:
    from ruamel.yaml.util import load_yaml_guess_indent

    _, indent, dash = load_yaml_guess_indent(text)
    mapping = re.search(
        r"^[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*( +)[^\s#-]", text, re.MULTILINE
    )
    step = len(mapping[1]) if mapping else indent or 2
    editor.indent(mapping=step, sequence=(dash or 0) + 2, offset=dash or 0)


def _representer(base: Any) -> Any:
    class Representer(base):  # type: ignore[misc] # ruamel registers representers on classes
        """Writes ``null`` explicitly instead of an empty value."""

    def null(representer: Any, _: None) -> Any:
        return representer.represent_scalar("tag:yaml.org,2002:null", "null")

    Representer.add_representer(type(None), null)
    return Representer


def _scalar(old: Any, new: Any) -> Any:
    """The new value as a ruamel scalar in the style of the old one."""
    from ruamel.yaml.scalarfloat import ScalarFloat
    from ruamel.yaml.scalarstring import ScalarString, SingleQuotedScalarString

    if isinstance(new, str):
        if isinstance(old, ScalarString):
            return type(old)(new)
        # PyYAML reads `no` and `1e3` differently than DVC does.
        return new if _is_text(new) else SingleQuotedScalarString(new)
    if isinstance(new, float) and "e" in repr(new) and "." not in repr(new):
        mantissa, _, exponent = repr(new).partition("e")
        text = f"{mantissa}.0e{exponent}"  # without a decimal point, PyYAML reads a string
        return _float_as(text, ScalarFloat)
    return new


def _float_as(text: str, scalar: Any) -> Any:
    from ruamel.yaml import YAML

    value = YAML().load(text)
    return value if isinstance(value, scalar) else float(text)


def _is_text(text: str) -> bool:
    try:
        return bool(yaml.safe_load(text) == text)
    except (yaml.YAMLError, ValueError):
        return False
