"""A parser an ending: bytes -> sections. Headings are kept as a path, such as `Fees > Cards`.

All but plain text is parsed in the limited child: a few kilobytes of PDF or HTML can take any time and memory.
"""

import hashlib
import io
import logging
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from tuneworthy import limited
from tuneworthy.errors import UserError

# Of one document, seconds of processor time; a PDF of 1,000 pages takes 20.
LIMIT_S = 60.0

_SKIPPED = frozenset({"script", "style", "template", "noscript", "svg", "nav", "head"})
_BLOCKS = frozenset(
    {"p", "div", "li", "tr", "table", "ul", "ol", "section", "article", "blockquote", "pre", "br", "dt", "dd", "td",
     "th", "main", "header", "footer", "figcaption"}
)  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
SEPARATOR = " > "


class Unreadable(Exception):
    """A file that cannot be used; the message is the reason."""


@dataclass(frozen=True, slots=True)
class DocumentSection:
    """The text below one heading.

    Attributes:
        heading: The path of headings above it, such as `Fees > Cards`.
        text: Without the heading.
    """

    heading: str
    text: str


class _Outline:
    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []
        self._parts: list[str] = []
        self._sections: list[DocumentSection] = []

    def heading(self, level: int, text: str) -> None:
        self._close()
        self._path = [parent for parent in self._path if parent[0] < level] + [(level, " ".join(text.split()))]

    def text(self, part: str) -> None:
        self._parts.append(part)

    def sections(self) -> list[DocumentSection]:
        self._close()
        return self._sections

    def _close(self) -> None:
        text = "".join(self._parts).strip()
        if text:
            self._sections.append(DocumentSection(SEPARATOR.join(title for _, title in self._path if title), text))
        self._parts = []


def parse_markdown(content: bytes) -> list[DocumentSection]:
    """Split at headings (not inside code); the text stays as it was written."""
    from markdown_it import MarkdownIt

    text = re.sub("\r\n?", "\n", _decoded(content))
    lines = text.split("\n")  # the parser counts these; `splitlines` would end a line at a form feed as well
    tokens = MarkdownIt("commonmark").disable(["inline"]).parse(text)
    outline, at = _Outline(), 0
    for place, token in enumerate(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            outline.text("\n".join(lines[at : token.map[0]]))
            outline.heading(int(token.tag[1:]), tokens[place + 1].content)
            at = token.map[1]
    outline.text("\n".join(lines[at:]))
    return outline.sections()


def parse_html(content: bytes) -> list[DocumentSection]:
    """Return the visible text: no scripts, styles or navigation; headings become the path."""
    from lxml import html

    if not content.strip():
        return []
    try:
        encoding = None if re.search(rb"<meta[^>]{0,200}charset|<\?xml", content[:4096], re.IGNORECASE) else "utf-8"
        root = html.document_fromstring(content, parser=html.HTMLParser(encoding=encoding, huge_tree=True))
    except Exception as error:  # lxml's own errors share no base with the standard library's
        raise Unreadable(f"unreadable HTML: {type(error).__name__}") from None
    outline = _Outline()
    for kind, value in _walk(root):
        if kind in _HEADINGS:
            outline.heading(_HEADINGS[kind], value)
        else:
            outline.text(value)
    return [DocumentSection(part.heading, re.sub(r"\n\s*\n+", "\n\n", part.text)) for part in outline.sections()]


def _walk(root: Any) -> Iterator[tuple[str, str]]:
    """Yield (heading tag or "", text) in the order of the page; without recursion, as pages nest deeply."""
    stack = [(root, False)]
    while stack:
        node, closing = stack.pop()
        tag = node.tag if isinstance(node.tag, str) else ""
        if closing:
            if tag in _BLOCKS:
                yield "", "\n"
        elif tag in _HEADINGS:
            yield tag, " ".join(node.itertext())
        elif tag and tag not in _SKIPPED:
            if tag in _BLOCKS:
                yield "", "\n"
            if node.text:
                yield "", _folded(node.text)
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node))
            continue
        if node is not root and node.tail:
            yield "", _folded(node.tail)


_folded = partial(re.sub, r"\s+", " ")


def parse_pdf(content: bytes) -> list[DocumentSection]:
    """Return a section a page; a page without text is an empty one."""
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it reports each oddity of a file on stderr
    try:
        pages = pypdf.PdfReader(io.BytesIO(content)).pages
        sections = [DocumentSection(f"page {number}", page.extract_text()) for number, page in enumerate(pages, 1)]
    except Exception as error:  # a broken or locked file fails in many ways, deep inside the library
        raise Unreadable(f"unreadable PDF: {type(error).__name__}") from None
    if sections and not any(section.text.strip() for section in sections):
        raise Unreadable("PDF without text; run OCR first")
    return sections


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8") from None


def sections_in_child(digest: str, kind: str, data: str) -> str | list[tuple[str, str]]:
    """Return heading and text per section of a document, or why it cannot be read. It runs in the limited child."""
    try:
        return [(section.heading, section.text) for section in _STRUCTURED[kind](b64decode(data))]
    except Unreadable as error:
        return str(error)


def _limited(kind: str, content: bytes) -> list[DocumentSection]:
    package = _PACKAGES.get(kind)
    if package and find_spec(package) is None:
        raise UserError(
            f"{kind} documents need the package {package}.",
            hint='Run `pip install "tuneworthy[rag]"`, or convert the documents to text.',
        )
    digest, data = hashlib.sha256(content).hexdigest(), b64encode(content).decode()
    try:
        answer = limited.call(sections_in_child, digest, kind, data, limit_s=LIMIT_S)
    except limited.OverLimit as error:
        answer = f"unreadable {kind}: {error.reason}"
    if isinstance(answer, str):
        raise Unreadable(answer)
    return [DocumentSection(*section) for section in answer]


_STRUCTURED = {
    "Markdown": parse_markdown,
    "HTML": parse_html,
    "PDF": parse_pdf,
}
_PACKAGES = {"HTML": "lxml", "PDF": "pypdf"}
# By ending; `.jsonl` has a document per line and is read by `documents`.
PARSERS: Mapping[str, Callable[[bytes], Sequence[DocumentSection]]] = {
    ".txt": lambda content: [DocumentSection("", _decoded(content))],
    ".md": partial(_limited, "Markdown"),
    ".markdown": partial(_limited, "Markdown"),
    ".html": partial(_limited, "HTML"),
    ".htm": partial(_limited, "HTML"),
    ".pdf": partial(_limited, "PDF"),
}
