"""HTML out of texts that people wrote: tags and entities go, and what only looks like them stays.

`html.parser` reads the markup. What is no complete tag of HTML and no complete entity is escaped before, so that
"a < b", "<3", "<ann@example.com>", "AT&T" and "?a=1&copy=2" come back as they were.
"""

from __future__ import annotations

import re
from html.entities import html5
from html.parser import HTMLParser
from typing import Any

_HIDDEN = ("script", "style")
_INLINE = {
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins",
    "kbd", "label", "mark", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup",
    "time", "tt", "u", "var", "wbr",
}  # fmt: skip
_BLOCKS = {
    "address", "applet", "area", "article", "aside", "audio", "base", "blockquote", "body", "br", "button", "canvas",
    "caption", "center", "col", "colgroup", "datalist", "dd", "details", "dialog", "dir", "div", "dl", "dt", "embed",
    "fieldset", "figcaption", "figure", "footer", "form", "frame", "frameset", "h1", "h2", "h3", "h4", "h5", "h6",
    "head", "header", "hgroup", "hr", "html", "iframe", "img", "input", "legend", "li", "link", "main", "map", "menu",
    "meta", "meter", "nav", "noscript", "object", "ol", "optgroup", "option", "output", "p", "param", "picture",
    "pre", "progress", "search", "section", "select", "source", "summary", "svg", "table", "tbody", "td", "template",
    "textarea", "tfoot", "th", "thead", "title", "tr", "track", "ul", "video",
}  # fmt: skip
_NAMES = "|".join(sorted({*_HIDDEN, *_INLINE, *_BLOCKS}))
_DOUBTFUL = re.compile(
    rf"<(?!/?(?:{_NAMES})(?:[\s/][^<>]*)?>|!doctype\b[^<>]*>)|&(?:(?:#[0-9]+|#x[0-9a-f]+|[a-z][a-z0-9]*);)?",
    re.IGNORECASE,
)


def strip_html(text: str) -> str:
    """Return the text without tags and comments, entities read; line breaks and blocks become a blank.

    Scripts and style sheets go with their content.

    >>> strip_html("5 &lt; 6<br />is <b>bold</b>ly true, <XXXX> &amp; a < b")
    '5 < 6 is boldly true, <XXXX> & a < b'
    """
    if "<" not in text and "&" not in text:
        return text
    reader = _Reader()
    reader.feed(_DOUBTFUL.sub(_escape, _without_comments(text)))
    reader.close()
    return "".join(reader.kept)


class _Reader(HTMLParser):
    """Collects what is no markup."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.kept: list[str] = []
        self.hidden: dict[str, int] = {}  # the place in `kept` where a script or style sheet that is open begins

    def set_cdata_mode(self, *_: Any, **__: Any) -> None:
        """Read scripts as anything else: which tags have a mode of their own differs between versions of Python."""

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag in _HIDDEN:
            self.hidden.setdefault(tag, len(self.kept))
        elif tag not in _INLINE:
            self.kept.append(" ")

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        if tag not in _HIDDEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            del self.kept[self.hidden.pop(tag, len(self.kept)) :]
        elif tag not in _INLINE:
            self.kept.append(" ")

    def handle_data(self, data: str) -> None:
        self.kept.append(data)


def _without_comments(text: str) -> str:
    kept, begin = [], 0
    while (start := text.find("<!--", begin)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        kept.append(text[begin:start])
        begin = end + 3
    return "".join([*kept, text[begin:]])


def _escape(match: re.Match[str]) -> str:
    found = match[0]
    if found == "<":
        return "&lt;"
    complete = found[1:] in html5 or (found.startswith("&#") and found.endswith(";"))
    return found if complete else f"&amp;{found[1:]}"
