"""An import: files of any format to one import; memory does not grow with the number of rows.

Files are added to the latest import. The id is a hash of the files' bytes, of the request, of the import that they are
added to, and of the versions of the code that reads them, so the same import is never done twice.

Where rows are scored in other rows or files (`cases.formats.registry.Format.facts`), these scores are held in memory.
"""

import re
import sys
import time
from collections.abc import Iterable, Sequence, Set
from dataclasses import asdict, replace
from itertools import chain, islice
from os.path import normpath, relpath
from pathlib import Path
from typing import Any

import orjson

from tuneworthy import __version__
from tuneworthy.cases import Reject, Rejects, stream_examples
from tuneworthy.cases.formats.chats import is_blank, is_written_down
from tuneworthy.cases.formats.registry import Fields
from tuneworthy.cases.messages import WRITTEN_DOWN
from tuneworthy.cases.readers.faults import kind_of
from tuneworthy.cases.readers.reader import facts_of
from tuneworthy.dataset import messages
from tuneworthy.dataset.importing.folder import (
    Import,
    ImportWriter,
    file_digest,
    finished_import,
    latest_import,
)
from tuneworthy.dataset.records import (
    MESSAGE_KEYS,
    SCHEMA_VERSION,
    ImportRecord,
    ImportRequest,
    ReadAs,
    RowLine,
    ShownTurn,
    SourceRecord,
)
from tuneworthy.dataset.rows import REJECTS
from tuneworthy.errors import UserError
from tuneworthy.people.feedback import Scales, is_rated, settle, unused_scores
from tuneworthy.store import Folder
from tuneworthy.types import (
    Example,
    JsonObject,
    Message,
    Messages,
    Paths,
    Say,
    Turns,
    calls_of,
    content_hash,
    role_of,
    text_of,
)

MAX_SHOWN_ROW = 64 * 1024
# Rows whose ratings set the scales of a file.
PEEK = 1000
DETECT = ImportRequest()
_SAY_EVERY = 20_000
_SHOWN = 300
_INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u202a-\u202e]")


def import_files(
    store: Folder,
    paths: Paths,
    request: ImportRequest = DETECT,
    say: Say = lambda _: None,
    *,
    latest: bool = True,
    fresh: bool = False,
) -> Import:
    """Import `paths` as one set of examples, with the earlier imports, except for the answers of a teacher.

    A file that was imported before and has changed, or is now read in another way, replaces its earlier rows.

    Args:
        store: The project's folder.
        paths: In this order; a path that comes twice is read once.
        request: About all files.
        say: Gets a sentence now and then.
        latest: Whether `latest_import` returns this import from now on.
        fresh: Whether the import contains these files only; always so without `latest`.

    Raises:
        DataError: A file cannot be read, or its format is not known.
        UserError: No row is usable; `rejects.jsonl` has the reasons.
    """
    base = latest_import(store) if latest and not fresh else None
    base = None if base and base.record.distilled else base  # a teacher's answers are no source of questions
    paths = list(dict.fromkeys(paths))
    sources = source_files(store, paths, base, request)
    before = base.record.sources if base else []
    if base is not None and {(one.sha256, one.read) for one in before}.issuperset(
        (one.sha256, one.read) for one in sources
    ):
        say(messages.say("imported_before"))
        return base
    places, own = {one.path for one in sources}, {one.sha256 for one in sources}
    kept = [one for one in before if one.path not in places and one.sha256 not in own]
    about = ImportRecord(made_by="files", sources=kept, notes=[])
    parts = [SCHEMA_VERSION, [asdict(replace(one, path="")) for one in sources]]
    carried = base if about.sources else None
    identity = content_hash([*parts, carried.id] if carried else parts)
    done = finished_import(store, identity)
    if done is not None:
        say(messages.say("imported_before"))
    else:
        started = time.monotonic()
        with ImportWriter(store, "files") as writer:
            if carried:
                about.notes.extend(writer.carry(carried, {one.name for one in about.sources}))
            _read_files(paths, sources, writer, about, request=request, say=say)
            done = writer.finish(about, identity=identity, seconds=time.monotonic() - started)
    _require_usable(done, own)
    if latest:
        store.write("imports/latest", {"id": identity})
    return done


def _require_usable(done: Import, own: Set[str]) -> None:
    if any(one.n_kept for one in done.record.sources if one.sha256 in own):
        return
    reasons = [reason.words for reason in done.record.reasons.values()] + done.record.notes
    reason = f" The most frequent reason: {reasons[0]}." if reasons else ""
    raise UserError(
        f"No row is usable (rows read: {done.record.n_read}).{reason}",
        hint=messages.say("reasons_in", path=done.folder / REJECTS),
    )


def _read_files(
    paths: Paths,
    sources: Sequence[SourceRecord],
    writer: ImportWriter,
    about: ImportRecord,
    *,
    request: ImportRequest,
    say: Say,
) -> None:
    facts = facts_of(paths) if not request.inputs else {}
    for path, source in zip(paths, sources, strict=True):
        journal = Rejects(path)
        journal.facts, journal.alone = facts, len(paths) == 1
        about.sources.append(_read_source(path, source, journal, writer, request=request, say=say))
        about.notes.extend(f"{source.name}: {note}" for note in journal.notes())


def source_files(
    store: Folder, paths: Paths, base: Import | None = None, request: ImportRequest = DETECT
) -> list[SourceRecord]:
    """Return name, hash and size of files that are to be read as `request` says.

    Args:
        store: The project's folder; paths are stored relative to the project.
        paths: The files.
        base: The import that they are added to: its other files get no second name.
        request: How they are read.

    Raises:
        UserError: A file cannot be read.
    """
    root = store.root.absolute()
    others = [Path(normpath(root / (one.path or one.name))) for one in base.record.sources] if base else []
    names = names_of([*others, *paths])[len(others) :]
    read = ReadAs(**asdict(request), version=f"{__version__}/{SCHEMA_VERSION}")
    return [
        SourceRecord(name=name, sha256=sha256, n_bytes=n_bytes, path=relpath(path, root), read=read)
        for name, path, (sha256, n_bytes) in zip(names, paths, map(file_digest, paths), strict=True)
    ]


def names_of(paths: Paths) -> list[str]:
    """Return a name for each file: its own, with as many folders as distinguish it from the others.

    >>> names_of([Path("/logs/jan/a.jsonl"), Path("/logs/feb/a.jsonl"), Path("/logs/feb/b.jsonl")])
    ['jan/a.jsonl', 'feb/a.jsonl', 'b.jsonl']
    """
    parts = [path.absolute().parts for path in paths]
    names = []
    for own in parts:
        n = 1
        while n < len(own) and any(other != own and other[-n:] == own[-n:] for other in parts):
            n += 1
        names.append("/".join(own[-n:]))
    return names


def _read_source(
    path: Path, source: SourceRecord, journal: Rejects, writer: ImportWriter, *, request: ImportRequest, say: Say
) -> SourceRecord:
    """Write the rows of a file and its rejects; return its record with the format and an example."""
    stream = stream_examples(path, journal, input_column=request.inputs, expected_column=request.expected)
    head, scales = list(islice(stream.rows, PEEK)), Scales()
    for _, fields in head:
        if fields is not None:
            scales.add_row(fields["messages"], fields.get("meta", {}))
    scales.forget_single()
    n_rated, example = 0, list[ShownTurn]()
    for n, (line, fields) in enumerate(chain(head, stream.rows), 1):
        _write_rejects(journal.take(line), source, writer)
        if fields is not None:
            n_rated += is_rated(fields["messages"], fields.get("meta", {}))
            row = _settled(f"{source.name}:{line}", line, fields, scales, journal)
            if isinstance(row, Reject):
                _write_rejects([row], source, writer)
            else:
                writer.add(row)
                example = example or [
                    ShownTurn(
                        role_of(turn), text_of(turn)[:_SHOWN], [one["function"]["name"] for one in calls_of(turn)]
                    )
                    for turn in row.messages[-2:]
                ]
        if n % _SAY_EVERY == 0:
            say(f"{source.name}: {n} rows read")
    _write_rejects(journal.take(sys.maxsize), source, writer)
    if path.stat().st_size != source.n_bytes:
        raise UserError(f"{path} changed while it was being imported.", hint="Copy the file, then import the copy.")
    entry = stream.entry
    return replace(
        source,
        format=stream.format,
        title=entry.title if entry else "",
        unit=entry.unit if entry else "row",
        companion=bool(entry and entry.companion),
        n_rated=n_rated,
        example=example,
    )


def _settled(place: str, line: int, fields: Fields, scales: Scales, journal: Rejects) -> Example | Reject:
    """Return a row after its feedback, or why it is left out; `place` is its file and line."""
    chat, meta = fields["messages"], fields.get("meta", {})
    for name in sorted(unused_scores(meta)):
        journal.note(f"the score {name[:40]!r} is not used, because its name does not say whether a high one is good")
    settled, raw = settle(chat, meta, scales), {"messages": chat, "meta": meta}
    if settled.drops:
        return Reject(line, settled.drops, messages.REASONS["feedback"][settled.drops], raw=raw)
    turns = _without_unread_keys(settled.messages, journal)
    if reject := _fault(line, turns, raw, repaired=settled.repaired):
        return reject
    if any(_INVISIBLE.search(str(turn["content"])) for turn in turns):
        journal.note("zero-width or bidirectional control characters kept unchanged")
    return Example(
        id=content_hash(turns),
        source=place,
        messages=tuple(turns),
        group=fields.get("group"),
        tags=tuple(fields.get("tags") or ()),
        meta=settled.meta,
    )


def _write_rejects(rejects: Iterable[Reject], source: SourceRecord, writer: ImportWriter) -> None:
    for one in rejects:
        words = f"expected {one.words}" if one.got else one.words
        detail = f"{words}, got {one.got}" if one.got else words
        writer.reject(
            RowLine(source=f"{source.name}:{one.line}", reason=one.reason, detail=detail, **_shown(one.raw)), words
        )


def _fault(line: int, turns: Messages, raw: Any, *, repaired: bool) -> Reject | None:
    texts = [(role_of(turn), text_of(turn)) for turn in turns]
    if repaired and is_written_down(texts[-1][1]):
        return Reject(line, WRITTEN_DOWN.code, WRITTEN_DOWN.expected, kind_of(texts[-1][1]), raw)
    if any("\0" in text for _, text in texts):
        return Reject(line, "nul", "the text contains a NUL character", raw=raw)
    if any(role == "user" and is_blank(text) for role, text in texts):
        return Reject(line, "no_question", "the question has no visible text", raw=raw)
    return None


def _without_unread_keys(turns: Turns, journal: Rejects) -> list[Message]:
    if all(turn.keys() <= MESSAGE_KEYS for turn in turns):
        return list(turns)
    unread = sorted({key for turn in turns for key in turn} - MESSAGE_KEYS)
    journal.note(f"message keys dropped: {', '.join(unread)[:80]}")
    return [{key: value for key, value in turn.items() if key in MESSAGE_KEYS} for turn in turns]


def _shown(raw: Any) -> JsonObject:
    """Return a rejected row as parsed data or as text, cut if it is very long, and its size if it was cut."""
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
    return {"text": text, "n_bytes": len(raw) if len(raw) > MAX_SHOWN_ROW else None}
