"""``.dockerignore`` by its exact rules: e2b-dockerfile-utils' port of moby/patternmatcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rondel.engine.images.containerfile.syntax import ContainerfileError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Ignore:
    """Says which paths of the context a build does not see. ``patterns`` are the cleaned ones."""

    patterns: tuple[str, ...] = ()
    matcher: Any = None

    @classmethod
    def of(cls, lines: Iterable[str], file: str = ".dockerignore") -> Ignore:
        """The rules of these lines; ContainerfileError names a pattern that is none."""
        lines = [line.rstrip("\r\n") for line in lines]
        if lines:
            lines[0] = lines[0].removeprefix("\ufeff")
        lines = [line for line in lines if line.strip()]
        if not lines:
            return cls()
        from e2b_dockerfile_utils import PatternMatcher

        try:
            matcher = PatternMatcher(lines)
        except ValueError as error:
            raise ContainerfileError(str(error), file=file) from None
        return cls(tuple(matcher.patterns), matcher) if matcher.patterns else cls()

    def matches(self, path: str) -> bool:
        """Whether the rules say that a path, taken alone, is ignored."""
        return self.matcher is not None and bool(path) and bool(self.matcher.matches(path))

    def __call__(self, path: str, *, directory: bool) -> bool:
        """Whether a path, relative to the context, is ignored; a directory if nothing in it comes back."""
        if not self.matches(path):
            return False
        return not (directory and self.matcher.may_match_under(path))
