"""What an HTML page consists of: its tags, its text and its headings."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = frozenset({"meta", "img", "br"})
"""Elements without an end tag. Those of SVG close themselves."""

HEADINGS = frozenset({"title", "h1", "h2", "h3", "summary", "th", "figcaption"})


class Outline(HTMLParser):
    """Reads a page and checks that its tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.text = ""
        self.loose_tables = 0
        """Tables outside of a box that scrolls. A wide one would make the whole page scroll sideways."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "table" and not given.get("class") and ("div", "scroll") not in self.open:
            self.loose_tables += 1
        if tag in HEADINGS and not self._in_svg():
            self.headings.append(f"{tag}:")
        if tag not in VOID:
            self.open.append((tag, given.get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self.open.pop()
        assert opened == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
        if any(tag in HEADINGS for tag, _ in self.open) and not self._in_svg():
            self.headings[-1] = " ".join(f"{self.headings[-1]} {data}".split())

    def _in_svg(self) -> bool:
        return any(tag == "svg" for tag, _ in self.open)


def outline(page: str) -> Outline:
    """The outline of a whole page, all of whose tags are closed."""
    found = Outline()
    found.feed(page)
    found.close()
    assert found.open == []
    return found
