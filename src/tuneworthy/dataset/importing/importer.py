"""`data import`: files of any format to one file of examples, and one of the rows that were left out.

    .tuneworthy/imports/<id>/rows.jsonl      the examples, a line each
                             rejects.jsonl   every row that was left out: where, why, and the row itself
                             import.json     what was read, counts, hashes; there only when all of it is done

The id is a hash of the sources' bytes, of what was asked and of the code that reads, so the same import is never done
twice, and one that an older version began is not gone on with. Rows stream:
memory does not grow with their number. What is written is committed every `COMMIT` rows (both files to disk, then
`progress.json` with their lengths and hashes, atomically), so that a run that was killed goes on where it was: what
was written after the last commit is cut off and written again, the same.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from tuneworthy.cases import Reject, Rejects, stream_examples
from tuneworthy.cases.formats.chats import is_blank
from tuneworthy.cases.formats.registry import Fields
from tuneworthy.dataset.importing.feedback import WORDS, Scales, marked, settle
from tuneworthy.errors import UserError
from tuneworthy.store import Folder, write_atomic
from tuneworthy.types import Example, Message, content_hash

VERSION: Final = 1
_HERE: Final = Path(__file__).parent
CODE: Final = (_HERE.parent / "cases", _HERE / "importer.py", _HERE / "feedback.py")
"""Folders and files of ours whose code decides what an import holds."""
COMMIT: Final = 20_000
MAX_SHOWN_ROW: Final = 64 * 1024
_PEEK: Final = 1000  # rows that are looked at ahead; below COMMIT, so that a commit knows of no row after its own
_KEYS: Final = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "weight", "reasoning_content"})
_ROWS, _REJECTS = "rows.jsonl", "rejects.jsonl"
_INVISIBLE = tuple(chr(code) for code in (0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, *range(0x202A, 0x202F)))


@dataclass(frozen=True, slots=True)
class Asked:
    """What the caller says about the files: see `cases.read_examples`."""

    inputs: tuple[str, ...] = ()
    expected: str | None = None
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Import:
    """A finished import.

    Attributes:
        folder: Where it lies. document: The content of its `import.json`.
    """

    folder: Path
    document: dict[str, Any]

    @property
    def id(self) -> str:
        """The hash of the sources, of what was asked and of the code."""
        return self.folder.name

    def examples(self) -> Iterator[Example]:
        """Yield the examples, one at a time."""
        with (self.folder / _ROWS).open("rb") as file:
            for line in file:
                yield example_of(orjson.loads(line))

    def rejects(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that were left out: `source`, `reason`, `detail`, and `row` or `text`."""
        with (self.folder / _REJECTS).open("rb") as file:
            for line in file:
                yield orjson.loads(line)


def example_of(row: dict[str, Any]) -> Example:
    """Return the example that a line of `rows.jsonl` holds."""
    return Example(
        id=row["id"],
        messages=tuple(row["messages"]),
        source=row.get("source", ""),
        group=row.get("group"),
        tags=tuple(row.get("tags", ())),
        meta=row.get("meta", {}),
    )


def latest_import(store: Folder) -> Import | None:
    """Return the import that was asked for last, or None."""
    document = store.read("imports/latest")
    return None if document is None else finished_import(store, str(document.get("id")))


def finished_import(store: Folder, identity: str) -> Import | None:
    """Return the import called `identity` if all of it is done, else None."""
    document = store.read(f"imports/{identity}/import")
    return None if document is None else Import(store.path / "imports" / identity, document)


def import_files(
    store: Folder,
    paths: Sequence[Path],
    asked: Asked = Asked(),
    say: Callable[[str], None] = lambda _: None,
    *,
    latest: bool = True,
) -> Import:
    """Import `paths` as one set of examples; go on with it if a run was stopped.

    Args:
        store: The project's folder. paths: In this order. asked: About all of them. say: Gets a sentence now and then.
        latest: Whether `latest_import` is this one from now on.

    Raises:
        DataError: A file cannot be read, or its format is not known.
        UserError: None of the rows can be used; they and the reasons are in `rejects.jsonl`.
    """
    sources = [_Source(name, *digest_of(path)) for name, path in zip(names_of(paths), paths, strict=True)]
    identity = content_hash([VERSION, code_hash(), [asdict(source) for source in sources], asdict(asked)])
    done = finished_import(store, identity)
    if done is None:
        store.create()
        done = _Run(store.path / "imports" / identity, paths, sources, asked, say).run()
    else:
        say("These files were imported before, as they are: nothing is read again.")
    if latest:
        store.write("imports/latest", {"id": identity})
    if not done.document["n_kept"]:
        raise UserError(
            f"expected rows that can be used, got none of {done.document['n_read']}",
            hint=f"the reasons are in {done.folder / _REJECTS}",
        )
    return done


@dataclass(frozen=True, slots=True)
class _Source:
    """A file as it is now: its name, the hash of its bytes, how many there are."""

    name: str
    sha256: str
    n_bytes: int


def names_of(paths: Sequence[Path]) -> list[str]:
    """Return what each file is called: its name, with as many folders as tell it from the others.

    >>> names_of([Path("/logs/jan/a.jsonl"), Path("/logs/feb/a.jsonl"), Path("/logs/feb/b.jsonl")])
    ['jan/a.jsonl', 'feb/a.jsonl', 'b.jsonl']
    """
    parts = [path.absolute().parts for path in paths]
    return [_name_among(one, [other for other in parts if other != one]) for one in parts]


def _name_among(one: tuple[str, ...], others: Sequence[tuple[str, ...]]) -> str:
    n = 1
    while n < len(one) and any(other[-n:] == one[-n:] for other in others):
        n += 1
    return "/".join(one[-n:])


def code_hash() -> str:
    """Return a hash of the code that reads rows and settles their feedback."""
    digest = hashlib.sha256()
    for path in sorted(path for place in CODE for path in ([place] if place.is_file() else place.rglob("*"))):
        if path.suffix in {".py", ".json"}:
            digest.update(f"{path.name}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def digest_of(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file and its size in bytes."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return digest, file.tell()
    except OSError as error:
        raise UserError(f"expected a file that can be read at {path}, got: {error.strerror}") from None


@dataclass(slots=True)
class _Progress:
    """What a commit holds, beside the files that it is about.

    Attributes:
        file: Number of the source that is being read. line: The last line of it that was dealt with.
        sizes, hashes: Bytes and SHA-256 of what was written to each file.
        notes: Of the reader of this source. all_notes: Of those before. first: Where each reason came up first.
        scales: Of the ratings in this source.
    """

    file: int = 0
    line: int = 0
    sizes: dict[str, int] = field(default_factory=lambda: {_ROWS: 0, _REJECTS: 0})
    hashes: dict[str, str] = field(default_factory=dict)
    read: list[dict[str, Any]] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    first: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    all_notes: list[str] = field(default_factory=list)
    scales: dict[str, tuple[float, float]] = field(default_factory=dict)
    n_kept: int = 0
    n_repaired: int = 0
    seconds: float = 0.0


class _Run:
    """One import, from its last commit to its end."""

    def __init__(
        self, folder: Path, paths: Sequence[Path], sources: Sequence[_Source], asked: Asked, say: Callable[[str], None]
    ) -> None:
        self.folder, self.paths, self.sources, self.asked, self.say = folder, paths, sources, asked, say
        self.progress = _Progress()
        self.files: dict[str, BinaryIO] = {}
        self.hashes = {name: hashlib.sha256() for name in (_ROWS, _REJECTS)}
        self.started = time.monotonic()
        self.pending = 0

    def run(self) -> Import:
        """Read what is left, then put the files in their places."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        try:
            while self.progress.file < len(self.paths):
                self._read(self.paths[self.progress.file])
        finally:
            for file in self.files.values():
                file.close()
        return self._finish()

    # --- to disk ----------------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        """Open the files where the last commit left them; begin anew if they are not what it says."""
        state = self._committed()
        if state is not None:
            self.progress = state
            if state.file < len(self.paths):
                self.say(f"Going on at {self.sources[state.file].name}:{state.line + 1}.")
        for name in self.hashes:
            file = (self.folder / name).open("ab", buffering=2**20)
            file.truncate(self.progress.sizes[name])
            self.files[name] = file

    def _committed(self) -> _Progress | None:
        try:
            document = orjson.loads((self.folder / "progress.json").read_bytes())
            state = _Progress(**document)
            for name, digest in self.hashes.items():
                with (self.folder / name).open("rb") as file:
                    _update(digest, file, state.sizes[name])
                if digest.hexdigest() != state.hashes[name]:
                    raise ValueError(name)
        except (OSError, ValueError, TypeError, KeyError):
            self.hashes = {name: hashlib.sha256() for name in self.hashes}
            return None
        return state

    def _write(self, name: str, row: dict[str, Any]) -> None:
        content = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        self.files[name].write(content)
        self.hashes[name].update(content)
        self.progress.sizes[name] += len(content)
        self.pending += 1

    def _commit(self) -> None:
        for name, file in self.files.items():
            file.flush()
            os.fsync(file.fileno())
            self.progress.hashes[name] = self.hashes[name].hexdigest()
        now = time.monotonic()
        self.progress.seconds += now - self.started
        self.started, self.pending = now, 0
        write_atomic(self.folder / "progress.json", orjson.dumps(asdict(self.progress)))

    def _finish(self) -> Import:
        """Write `import.json`, which says that the files are whole."""
        state = self.progress
        document = {
            "id": self.folder.name,
            "sources": [{**asdict(source), **read} for source, read in zip(self.sources, state.read, strict=True)],
            "asked": asdict(self.asked),
            "n_read": state.n_kept + sum(state.reasons.values()),
            "n_kept": state.n_kept,
            "n_rejected": sum(state.reasons.values()),
            "n_repaired": state.n_repaired,
            "reasons": {
                reason: {"n": n, **state.first[reason]} for reason, n in sorted(state.reasons.items(), key=_most_first)
            },
            "notes": state.all_notes,
            "sha256": state.hashes,
            "seconds": round(state.seconds, 3),
            "version": VERSION,
        }
        content = orjson.dumps(document, option=orjson.OPT_INDENT_2)
        write_atomic(self.folder / "import.json", content)
        (self.folder / "progress.json").unlink(missing_ok=True)
        return Import(self.folder, orjson.loads(content))

    # --- rows -------------------------------------------------------------------------------------------------------

    def _read(self, path: Path) -> None:
        """Read one source to its end, from the line of the last commit."""
        state = self.progress
        journal = Rejects(path, state.line)
        asked = self.asked
        stream = stream_examples(
            path, journal, input_column=asked.inputs or None, expected_column=asked.expected, format=asked.format
        )
        if state.line:
            journal.recount(state.notes)
        else:
            state.read.append({"format": stream.format, "n_kept": 0, "n_rejected": 0})
        scales = Scales({key: (low, high) for key, (low, high) in state.scales.items()})
        for line, fields in _with_scales(stream.rows, scales, begin=not state.line):
            for reject in journal.take(line):
                self._reject(reject)
            if fields is not None:
                self._take(line, fields, journal, scales)
            state.line = line
            if self.pending >= COMMIT:
                state.notes, state.scales = journal.counted(), scales.seen
                self._commit()
                self.say(f"{self.sources[state.file].name}: {line} rows")
        for reject in journal.take(sys.maxsize):
            self._reject(reject)
        name = self.sources[state.file].name
        if path.stat().st_size != self.sources[state.file].n_bytes:
            raise UserError(f"expected {path} to stay as it is while it is read, it grew", hint="import a copy of it")
        state.all_notes += [f"{name}: {note}" for note in journal.notes()]
        state.file, state.line, state.notes, state.scales = state.file + 1, 0, {}, {}
        self._commit()

    def _take(self, line: int, fields: Fields, journal: Rejects, scales: Scales) -> None:
        """Write one row, or reject it, after its feedback."""
        settled = settle(fields["messages"], fields.get("meta", {}), scales)
        raw = {"messages": fields["messages"], "meta": fields.get("meta", {})}
        if settled.drops:
            self._reject(Reject(line, settled.drops, WORDS[settled.drops], raw=raw))
            return
        messages = _clean(settled.messages, journal)
        row = {
            "id": content_hash(messages),
            "source": f"{self.sources[self.progress.file].name}:{line}",
            "messages": messages,
            **{key: value for key in ("group", "tags") if (value := fields.get(key))},
        }
        if meta := marked(settled, scales):
            row["meta"] = meta
        if any("\0" in str(message["content"]) for message in messages):
            self._reject(Reject(line, "nul", "texts without the character NUL", raw=raw))
            return
        if any(is_blank(str(m["content"] or "")) for m in messages if m["role"] == "user"):
            self._reject(Reject(line, "no_question", "a question that can be seen", raw=raw))
            return
        if any(sign in str(m["content"]) for m in messages for sign in _INVISIBLE if not str(m["content"]).isascii()):
            journal.note("zero-width or direction characters, kept as they are")
        self._write(_ROWS, row)
        self.progress.n_kept += 1
        self.progress.n_repaired += settled.repaired
        self.progress.read[-1]["n_kept"] += 1

    def _reject(self, reject: Reject) -> None:
        state = self.progress
        source = f"{self.sources[state.file].name}:{reject.line}"
        detail = f"expected {reject.words}, got {reject.got}" if reject.got else reject.words
        row = {"source": source, "reason": reject.reason, "detail": detail}
        self._write(_REJECTS, {**row, **_shown(reject.raw)})
        state.reasons[reject.reason] = state.reasons.get(reject.reason, 0) + 1
        state.first.setdefault(reject.reason, {"first": source, "words": reject.words})
        state.read[-1]["n_rejected"] += 1


def _update(digest: Any, file: BinaryIO, size: int) -> None:
    while size:
        part = file.read(min(size, 2**20))
        if not part:
            raise ValueError("shorter than what was committed")
        digest.update(part)
        size -= len(part)


def _most_first(entry: tuple[str, int]) -> tuple[int, str]:
    return -entry[1], entry[0]


def _with_scales(
    rows: Iterator[tuple[int, Fields | None]], scales: Scales, *, begin: bool
) -> Iterator[tuple[int, Fields | None]]:
    """Return the rows, after the ratings of the first thousand told their scales."""
    if not begin:
        return rows
    head = list(islice(rows, _PEEK))
    for _, fields in head:
        if fields is not None:
            scales.see_row(fields["messages"], fields.get("meta", {}))
    scales.forget_single()
    return chain(head, rows)


def _clean(messages: tuple[Message, ...], journal: Rejects) -> list[Message]:
    """Return the messages with the keys that are part of a chat; others are noted."""
    if all(message.keys() <= _KEYS for message in messages):
        return list(messages)
    unread = sorted({key for message in messages for key in message} - _KEYS)
    journal.note(f"keys of messages not kept: {', '.join(unread)[:80]}")
    return [{key: value for key, value in message.items() if key in _KEYS} for message in messages]


def _shown(raw: Any) -> dict[str, Any]:
    """Return a rejected row as JSON can hold it: parsed, or as text; of a very long one the beginning, and its size."""
    if raw is None:
        return {}
    if not isinstance(raw, bytes):
        try:
            content = orjson.dumps(raw)
        except (TypeError, RecursionError):
            return {}
        if len(content) <= MAX_SHOWN_ROW:
            return {"row": raw}
        raw = content
    text = raw[:MAX_SHOWN_ROW].decode("utf-8", "backslashreplace").rstrip("\r\n")
    return {"text": text, **({"n_bytes": len(raw)} if len(raw) > MAX_SHOWN_ROW else {})}
