"""The documents of a project: text, Markdown, HTML, PDF and JSONL files, each as sections below headings.

Invariant: nothing is lost silently: a file or row that cannot be used is counted and named with its reason, and every
document has an id of its own, whatever its name.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.errors import UserError
from tuneworthy.retrieval.injections import find_injection
from tuneworthy.retrieval.parsing import PARSERS, Section, Unreadable

LARGE_BYTES = 4 * 2**20
"""A document from here on is named: it alone makes thousands of chunks."""
MOST_LINE = 64 * 2**20
MOST_NAMED = 5
TEXT_KEYS = ("text", "content", "contents", "body", "page_content")
NAME_KEYS = ("id", "_id", "name", "doc_id", "document_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document.

    Attributes:
        id: Unique; what is cited. name: As it was given; several may share one.
        sections: What it says, below its headings.
        injection: A sentence in it or its name that speaks to the model instead of the reader; "" if none was found.
    """

    id: str
    name: str
    sections: tuple[Section, ...]
    injection: str = ""

    @property
    def text(self) -> str:
        """All sections, with their headings."""
        return "\n\n".join("\n".join(filter(None, [section.heading, section.text])) for section in self.sections)

    @property
    def size(self) -> int:
        """Characters."""
        return sum(len(section.text) for section in self.sections)


@dataclass(frozen=True)
class Corpus:
    """All documents of a project.

    Attributes:
        documents: In the order of their ids' files.
        left_out: What could not be used: (name, reason).
    """

    documents: Sequence[Document]
    left_out: Sequence[tuple[str, str]] = ()

    @cached_property
    def hash(self) -> str:
        """Content hash: ids and texts, in order."""
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(orjson.dumps([document.id, [[part.heading, part.text] for part in document.sections]]))
        return digest.hexdigest()[:16]

    @cached_property
    def by_id(self) -> Mapping[str, Document]:
        """Documents by id."""
        return {document.id: document for document in self.documents}

    @cached_property
    def _by_name(self) -> Mapping[str, Sequence[str]]:
        """Ids by what a case may call a document: its id or name; where that is nobody's, a file without its ending."""
        found: dict[str, dict[str, None]] = defaultdict(dict)
        stems: dict[str, dict[str, None]] = defaultdict(dict)
        for one in self.documents:
            found[one.id][one.id] = found[one.name][one.id] = None
            stem, dot, ending = one.name.rpartition(".")
            if stem and f"{dot}{ending.lower()}" in PARSERS:
                stems[stem][one.id] = None
        return {name: list(ids) for name, ids in (stems | found).items()}

    def ids(self, names: Sequence[str]) -> list[str]:
        """Return the ids of the documents that a case names; a name that several share means any of them."""
        return list(dict.fromkeys(one for name in names for one in self._by_name.get(name, ())))

    @property
    def flagged(self) -> list[Document]:
        """Documents that hold instructions to a model."""
        return [document for document in self.documents if document.injection]

    @property
    def notes(self) -> list[str]:
        """Say what a reader must know of the documents."""
        notes = [f"documents: {count} left out ({reason}): {named}" for reason, count, named in self._left_out()]
        shared = Counter(document.name for document in self.documents)
        for name, count in shared.items():
            if count > 1:
                notes.append(
                    f"documents: {count} share the name {name!r}: their ids were numbered, and a case that names it is "
                    "content with any of them"
                )
        for document in self.documents:
            if document.size >= LARGE_BYTES:
                share = document.size / max(1, sum(one.size for one in self.documents))
                notes.append(
                    f"documents: {document.id} has {document.size / 2**20:.1f} million characters, {share:.0%} of all"
                )
        return notes

    @property
    def injection_note(self) -> str:
        """Say which documents hold instructions to a model; "" if none does."""
        flagged = self.flagged
        if not flagged:
            return ""
        names = _first([one.id for one in flagged])
        return f"documents: {len(flagged)} hold instructions to a model ({names}): {flagged[0].injection!r}"

    def _left_out(self) -> Iterator[tuple[str, int, str]]:
        by_reason: dict[str, list[str]] = defaultdict(list)
        for name, reason in self.left_out:
            by_reason[reason].append(name)
        for reason, names in by_reason.items():
            yield reason, len(names), _first(names)


def _first(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


@dataclass
class _Reading:
    """What was read so far."""

    documents: list[Document] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    names: Counter[str] = field(default_factory=Counter)
    ids: set[str] = field(default_factory=set)

    def add(self, name: str, sections: Sequence[Section]) -> None:
        """Keep a document, unless it says nothing."""
        kept = tuple(section for section in sections if section.text.strip())
        if not kept:
            self.left_out.append((name, "empty"))
            return
        self.left_out += [
            (f"{name}: {section.heading}", "page without text: a scanned one needs OCR first")
            for section in sections
            if not section.text.strip()
        ]
        identity = self._unique(name)
        texts = (name, *(part for section in kept for part in (section.heading, section.text)))
        injection = next(filter(None, map(find_injection, texts)), "")
        self.documents.append(Document(id=identity, name=name, sections=kept, injection=injection))

    def _unique(self, name: str) -> str:
        """Return an id that no document has: the name, else the name with a number."""
        while True:
            self.names[name] += 1
            number = self.names[name]
            identity = name if number == 1 else f"{name}#{number}"
            if identity not in self.ids:
                self.ids.add(identity)
                return identity


def read_documents(path: Path) -> Corpus:
    """Read a folder of documents, or one file.

    Raises:
        UserError: There is nothing at `path`.
    """
    if not path.exists():
        raise UserError(f"expected documents at {path}, got nothing there", hint="mend [documents] path")
    root = path if path.is_dir() else path.parent
    reading = _Reading()
    for file in _files(path, reading):
        name = _shown(file.relative_to(root))
        if any(part.startswith(".") for part in Path(name).parts):
            continue
        try:
            _read(file, root, name, reading)
        except Unreadable as error:
            reading.left_out.append((name, str(error)))
        except (OSError, RuntimeError) as error:  # links that lead in a circle
            reading.left_out.append((name, f"cannot be read ({getattr(error, 'strerror', None) or error})"))
    return Corpus(reading.documents, reading.left_out)


def _files(path: Path, reading: _Reading) -> list[Path]:
    """Return all files below `path` in the order of their names; a folder that cannot be listed is noted."""
    if not path.is_dir():
        return [path]

    def note(error: OSError) -> None:
        folder = Path(error.filename)
        name = "." if folder == path else _shown(folder.relative_to(path))
        reading.left_out.append((name, f"cannot be read ({error.strerror})"))

    return sorted(
        one
        for folder, folders, names in os.walk(path, onerror=note)
        for one in map(Path(folder).joinpath, [*folders, *names])
        if one.is_symlink() or not one.is_dir()  # a link to a folder is not followed, but told
    )


def _shown(path: Path) -> str:
    """Return `path` as text that can be written: bytes of a name that are no UTF-8 are escaped."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _read(file: Path, root: Path, name: str, reading: _Reading) -> None:
    if not file.resolve().is_relative_to(root.resolve()):
        raise Unreadable("a link that leads out of the folder")
    if not file.is_file():
        file.stat()  # says what is wrong with a link that leads nowhere
        raise Unreadable("not a file")
    ending = file.suffix.lower()
    if ending in {".jsonl", ".ndjson"}:
        _read_rows(file, name, reading)
        return
    if ending not in PARSERS:
        raise Unreadable(f"{ending or 'a file without an ending'} is not read")
    reading.add(name, PARSERS[ending](file.read_bytes()))


def _read_rows(file: Path, name: str, reading: _Reading) -> None:
    """Read a document a line: `{"id", "text", "title"?}`."""
    before = len(reading.documents) + len(reading.left_out)
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{name}:{number}"
            try:
                row = orjson.loads(line) if len(line) <= MOST_LINE else None
            except orjson.JSONDecodeError:
                row = None
            text = _value(row, TEXT_KEYS)
            if not isinstance(row, dict) or not isinstance(text, str):
                reading.left_out.append((where, "expected a JSON object with a text"))
                continue
            identity = _value(row, NAME_KEYS)
            title = row.get("title")
            section = Section(heading=title if isinstance(title, str) else "", text=text)
            reading.add(where if identity is None else str(identity), [section])
    if len(reading.documents) + len(reading.left_out) == before:
        raise Unreadable("empty")


def _value(row: Any, keys: Sequence[str]) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None) if isinstance(row, dict) else None
