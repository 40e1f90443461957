"""Gate rules and their parser. The grammar is in ``rules.lark``.

A rule compares a metric of the challenger with a number or with the champion's
metric. Two policies decide rules that need a champion: ``no champion: pass`` (or
``fail``) while there is none, and ``stale champion: fail`` (or ``compare``) if
the champion was evaluated with something else and can't be evaluated again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from rondel.errors import ConfigurationError, did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lark import Lark, UnexpectedInput

Operator = Literal[">=", "<=", ">", "<", "==", "!="]
NoChampion = Literal["pass", "fail"]
StaleChampion = Literal["fail", "compare"]

CHAMPION = "champion"
_ASCII: dict[str, Operator] = {"≥": ">=", "≤": "<=", "≠": "!="}


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricName:
    """The name of a metric, optionally of a slice of the data: ``roc_auc[origin=JFK]``."""

    name: str
    slice: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        if not self.slice:
            return self.name
        return f"{self.name}[{','.join(f'{column}={value}' for column, value in self.slice)}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """What a metric is compared with: ``factor`` × the champion's metric + ``offset``, or only ``offset``."""

    offset: float = 0.0
    factor: float = 1.0
    champion: MetricName | None = None

    def value(self, champion: float | None) -> float:
        """The bound as a number, given the champion's metric."""
        if self.champion is None or champion is None:
            return self.offset
        return self.factor * champion + self.offset


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule. A rule without ``metric`` is a policy: ``no champion: …`` or ``stale champion: …``."""

    text: str
    metric: MetricName | None = None
    operator: Operator = ">="
    bound: Bound = field(default_factory=Bound)
    no_champion: NoChampion | None = None
    stale_champion: StaleChampion | None = None

    @property
    def needs_champion(self) -> bool:
        """Whether the rule compares with a champion."""
        return self.bound.champion is not None

    def holds(self, value: float, bound: float) -> bool:
        """Whether ``value OPERATOR bound`` is true."""
        match self.operator:
            case ">=":
                return value >= bound
            case "<=":
                return value <= bound
            case ">":
                return value > bound
            case "<":
                return value < bound
            case "==":
                return value == bound
            case "!=":
                return value != bound


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleMistake:
    """A syntax error in a rule: its column (from 0), what is wrong, and a hint."""

    text: str
    column: int
    what: str
    hint: str | None = None

    def show(self) -> str:
        """The text with a mark below the wrong character."""
        line = self.text.replace("\n", " ").replace("\t", " ")
        return f"{line}\n{' ' * self.column}^ {self.what}"


class _Mistake(Exception):
    def __init__(self, mistake: RuleMistake) -> None:
        super().__init__(mistake.what)
        self.mistake = mistake


def parse_rule(text: str, *, place: str | None = None) -> Rule:
    """Parse one rule. Raises ConfigurationError that points at the wrong character."""
    return parse_rules([text], place=place)[0]


def parse_rules(texts: Iterable[str], *, place: str | None = None) -> tuple[Rule, ...]:
    """Parse the rules of a gate. Raises one ConfigurationError for all mistakes."""
    rules: list[Rule] = []
    mistakes: list[tuple[int, RuleMistake]] = []
    for number, text in enumerate(texts, start=1):
        try:
            rules.append(_parse(text))
        except _Mistake as error:
            mistakes.append((number, error.mistake))
    if len(mistakes) == 1:
        number, mistake = mistakes[0]
        raise ConfigurationError(
            f"gate rule {number} is wrong at character {mistake.column + 1}",
            why=mistake.show(),
            hint=mistake.hint,
            place=place,
        )
    if mistakes:
        shown = [
            f"rule {number}, character {mistake.column + 1}:\n{mistake.show()}"
            + (f" ({mistake.hint})" if mistake.hint else "")
            for number, mistake in mistakes
        ]
        raise ConfigurationError(f"{len(mistakes)} gate rules are wrong", why="\n".join(shown), place=place)
    return tuple(rules)


def check_rules(texts: Sequence[str]) -> list[RuleMistake]:
    """The mistakes in these rules, for checks before anything starts."""
    mistakes = []
    for text in texts:
        try:
            _parse(text)
        except _Mistake as error:
            mistakes.append(error.mistake)
    return mistakes


@cache
def _parse(text: str) -> Rule:
    from lark import UnexpectedInput

    if not text.strip():
        raise _Mistake(RuleMistake(text=text, column=0, what="the rule is empty"))
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise _Mistake(_explain(text, error)) from None
    return _rule(text, tree.children[0])


@cache
def _parser() -> Lark:
    from importlib.resources import files

    from lark import Lark

    grammar = files("rondel.gates").joinpath("rules.lark").read_text(encoding="utf-8")
    return Lark(
        grammar, parser="lalr", lexer="contextual", maybe_placeholders=False, propagate_positions=True
    )


def _rule(text: str, tree: Any) -> Rule:
    if tree.data == "no_champion":
        return Rule(text=text.strip(), no_champion=str(tree.children[-1]))  # type: ignore[arg-type]
    if tree.data == "stale_champion":
        return Rule(text=text.strip(), stale_champion=str(tree.children[-1]))  # type: ignore[arg-type]
    metric, operator, bound = tree.children
    sign = str(operator)
    return Rule(
        text=text.strip(),
        metric=_metric(text, metric),
        operator=_ASCII.get(sign, sign),  # type: ignore[arg-type]
        bound=_bound(text, bound),
    )


def _metric(text: str, tree: Any) -> MetricName:
    first = tree.children[0]
    name = ".".join(_word(token) for token in first.children)
    if name == CHAMPION or name.startswith(f"{CHAMPION}."):
        raise _Mistake(
            RuleMistake(
                text=text,
                column=first.meta.start_pos,
                what="the champion belongs on the right side",
                hint="write: roc_auc >= champion.roc_auc - 0.005",
            )
        )
    pairs = []
    for part in tree.children[1:]:
        column, value = part.children
        pairs.append((_word(column), _word(value)))
    return MetricName(name=name, slice=tuple(pairs))


def _bound(text: str, tree: Any) -> Bound:
    offset, factor, champion = 0.0, 1.0, None
    sign = 1.0
    for child in tree.children:
        if not hasattr(child, "data"):
            sign = -1.0 if str(child) in "-−" else 1.0
            continue
        if child.data == "number":
            offset += sign * float(str(child.children[0]))
        else:
            if champion is not None:
                raise _Mistake(
                    RuleMistake(
                        text=text, column=child.meta.start_pos, what="the champion appears a second time here"
                    )
                )
            factor = sign
            for part in child.children:
                if getattr(part, "data", "") == "champion":
                    champion = _metric(text, part.children[-1])
                else:
                    factor *= float(str(part))
        sign = 1.0
    return Bound(offset=offset, factor=factor, champion=champion)


def _word(token: Any) -> str:
    text = str(token)
    if text[:1] == '"':
        return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return text


_NAMES = {
    "NAME": "a metric's name",
    "STRING": "a metric's name",
    "OPERATOR": "a comparison (>=, <=, >, <, ==, !=)",
    "NUMBER": "a number",
    "CHAMPION": "champion.METRIC",
    "VALUE": "a value",
    "LSQB": "[",
    "RSQB": "]",
    "EQUAL": "=",
    "COMMA": ",",
    "DOT": ".",
    "COLON": ":",
    "SIGN": "+ or -",
    "TIMES": "*",
    "NO": "no champion: pass",
    "POLICY": "pass or fail",
    "STALE": "stale champion: fail",
    "STALE_POLICY": "fail or compare",
}


def _explain(text: str, error: UnexpectedInput) -> RuleMistake:
    from lark import UnexpectedCharacters, UnexpectedToken

    column = error.pos_in_stream if error.pos_in_stream is not None else len(text)
    expected: set[str] = set()
    if isinstance(error, UnexpectedToken):
        expected = set(error.accepts or error.expected)
        if error.token.type == "$END":
            column = len(text.rstrip())
    elif isinstance(error, UnexpectedCharacters):
        expected = set(error.allowed or ())
    if column < 0 or column > len(text):
        column = len(text)
    names = sorted({_NAMES[name] for name in expected if name in _NAMES})
    found = text[column : column + 1].strip()
    what = f"{_word_at(text, column)!r} does not belong here" if found else "the rule ends too early"
    if names:
        what += f"; expected {' or '.join(names)}"
    return RuleMistake(text=text, column=column, what=what, hint=_suggestion(text, column, expected))


def _word_at(text: str, column: int) -> str:
    end = column
    while end < len(text) and (text[end].isalnum() or text[end] in "_."):
        end += 1
    return text[column : max(end, column + 1)]


def _suggestion(text: str, column: int, expected: set[str]) -> str | None:
    word = _word_at(text, column)
    if "CHAMPION" in expected and nearest(word.split(".")[0], [CHAMPION]):
        return did_you_mean(word.split(".")[0], [CHAMPION])
    if "CHAMPION" in expected and word[:1].isalpha():
        return f"a metric belongs on the left side; write champion.{word} for the champion's"
    sign = text[column : column + 2]
    if "OPERATOR" in expected and sign[:1] == "=":
        return f"write {'==' if sign[1:] not in {'>', '<'} else sign[1:] + '='}"
    if sign[:1] == "," and text[column + 1 : column + 2].isdigit():
        return "write numbers with a decimal point"
    if sign[:1] == "-" and "OPERATOR" in expected:
        return 'put names with characters other than letters, digits, "_" and "/" in double quotes'
    return None
