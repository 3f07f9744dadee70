"""`data import`: files of any format to one import; memory does not grow with the number of rows.

Files are added to the latest import. The id is a hash of the files' bytes, of the request, of the import that they are
added to, and of the versions of the code that reads them, so the same import is never done twice.

Where rows are scored in other rows or files (`cases.formats.registry.Format.facts`), these scores are held in memory.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import orjson

from tuneworthy import __version__
from tuneworthy.cases import Reject, Rejects, stream_examples
from tuneworthy.cases.formats.chats import is_blank
from tuneworthy.cases.formats.dialects import is_written_down
from tuneworthy.cases.formats.registry import Fields
from tuneworthy.cases.messages import WRITTEN_DOWN
from tuneworthy.cases.readers.faults import kind_of
from tuneworthy.cases.readers.reader import facts_of
from tuneworthy.dataset import messages
from tuneworthy.dataset.importing.feedback import Scales, has_feedback, settle, unused_scores
from tuneworthy.dataset.importing.folder import (
    REJECTS,
    VERSION,
    Import,
    ImportWriter,
    file_digest,
    finished_import,
    latest_import,
)
from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.types import Message, content_hash

MAX_SHOWN_ROW: Final = 64 * 1024
# Rows whose ratings set the scales of a file.
PEEK: Final = 1000
_SAY_EVERY: Final = 20_000
_SHOWN: Final = 300
_KEYS: Final = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "weight", "reasoning_content"})
_INVISIBLE = tuple(chr(code) for code in (0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, *range(0x202A, 0x202F)))


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """How the caller wants the files read: see `cases.read_examples`."""

    inputs: tuple[str, ...] = ()
    expected: str | None = None
    format: str | None = None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it is now.

    Attributes:
        name: See `names_of`.
        sha256: Of its bytes.
        n_bytes: How many there are.
    """

    name: str
    sha256: str
    n_bytes: int


def import_files(
    store: Folder,
    paths: Sequence[Path],
    request: ImportRequest = ImportRequest(),
    say: Callable[[str], None] = lambda _: None,
    *,
    latest: bool = True,
    alone: bool = False,
) -> Import:
    """Import `paths` as one set of examples, with what was imported before, except for the answers of a teacher.

    A file that was imported before and changed since, or that is to be read in another way, takes the place of what was
    read of it then.

    Args:
        store: The project's folder.
        paths: In this order; a path that comes twice is read once.
        request: About all of them.
        say: Gets a sentence now and then.
        latest: Whether `latest_import` returns this one from now on.
        alone: Whether the import holds these files alone; one that does not become the latest always does.

    Raises:
        DataError: A file cannot be read, or its format is not known.
        UserError: None of the rows can be used; they and the reasons are in `rejects.jsonl`.
    """
    base = latest_import(store) if latest and not alone else None
    if base is not None and base.document.get("distilled"):  # what a teacher answered is no source of questions
        base = None
    paths = list(dict.fromkeys(paths))
    sources = source_files(paths, base)
    before = {one.get("path"): one for one in base.document["sources"]} if base else {}
    again = [before.get(str(path.absolute()), {}) for path in paths]
    if base is not None and all(_is_same(*pair, request) for pair in zip(again, sources, strict=True)):
        say(messages.say("imported_before"))
        return base
    carried = [one for path, one in before.items() if path not in {str(path.absolute()) for path in paths}]
    parts: list[Any] = [VERSION, __version__, [asdict(source) for source in sources], asdict(request)]
    identity = content_hash([*parts, base.id] if base is not None and carried else parts)
    done = finished_import(store, identity)
    if done is None:
        started = time.monotonic()
        with ImportWriter(store, "files") as writer:
            names = {one["name"] for one in carried}
            notes = []
            if base is not None and carried:
                writer.carry(base, names)
                notes = [note for note in base.document["notes"] if note.partition(": ")[0] in names]
            facts = facts_of(paths) if request.format is None and not request.inputs else {}
            readers = [
                _SourceReader(*file, request, writer, say, facts=facts, alone=len(paths) == 1)
                for file in zip(paths, sources, strict=True)
            ]
            about = {
                "sources": [*carried, *[reader.read() for reader in readers]],
                "notes": notes + [f"{one.source.name}: {note}" for one in readers for note in one.journal.notes()],
            }
            done = writer.finish(about, identity=identity, seconds=time.monotonic() - started)
    else:
        say(messages.say("imported_before"))
    own = [one for one in done.document["sources"] if one["path"] in {str(path.absolute()) for path in paths}]
    if not any(one["n_kept"] for one in own):
        raise UserError(_why_unusable(done), hint=messages.say("reasons_in", path=done.folder / REJECTS))
    if latest:
        store.write("imports/latest", {"id": identity})
    return done


def _is_same(before: Mapping[str, Any], source: SourceFile, request: ImportRequest) -> bool:
    return bool(before) and (before["sha256"], before.get("read")) == (source.sha256, _manner(request))


def _manner(request: ImportRequest) -> dict[str, Any]:
    """Return how a file is read: by which release, and as what."""
    return {**asdict(request), "inputs": list(request.inputs), "version": f"{__version__}/{VERSION}"}


def _why_unusable(done: Import) -> str:
    reasons = (one["words"] for one in done.document["reasons"].values())
    reason = next(reasons, next(iter(done.document["notes"]), ""))
    n = done.document["n_read"]
    return (
        f"No row is usable (rows read: {n}). The most frequent reason: {reason}."
        if reason
        else f"No row is usable (rows read: {n})."
    )


def source_files(paths: Sequence[Path], base: Import | None = None) -> list[SourceFile]:
    """Return what `import.json` says of files: name, hash and size.

    Args:
        paths: The files.
        base: The import that they are added to: none of its other files gets a second name.

    Raises:
        UserError: One cannot be read.
    """
    others = [Path(one.get("path", one["name"])) for one in base.document["sources"]] if base else []
    names = names_of([*others, *paths])[len(others) :]
    return [SourceFile(name, *file_digest(path)) for name, path in zip(names, paths, strict=True)]


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


class _SourceReader:
    def __init__(
        self,
        path: Path,
        source: SourceFile,
        request: ImportRequest,
        writer: ImportWriter,
        say: Callable[[str], None],
        *,
        facts: Mapping[str, list[Any]],
        alone: bool,
    ) -> None:
        self.path, self.source, self.request, self.writer, self.say = path, source, request, writer, say
        self.journal = Rejects(path)
        self.journal.facts, self.journal.alone = facts, alone
        self.scales = Scales()
        self.n_rated = 0
        self.example: list[Message] = []

    def read(self) -> dict[str, Any]:
        """Read the file to its end and return what `import.json` says of it, counts aside."""
        request = self.request
        stream = stream_examples(
            self.path,
            self.journal,
            input_column=request.inputs or None,
            expected_column=request.expected,
            format=request.format,
        )
        head = list(islice(stream.rows, PEEK))
        for _, fields in head:
            if fields is not None:
                self.scales.add_row(fields["messages"], fields.get("meta", {}))
        self.scales.forget_single()
        for n, (line, fields) in enumerate(chain(head, stream.rows), 1):
            self._reject_up_to(line)
            if fields is not None:
                self._take(line, fields)
            if n % _SAY_EVERY == 0:
                self.say(f"{self.source.name}: {n} rows read")
        self._reject_up_to(sys.maxsize)
        if self.path.stat().st_size != self.source.n_bytes:
            raise UserError(
                f"{self.path} changed while it was being imported.", hint="Copy the file, then import the copy."
            )
        entry = stream.entry
        return {
            **asdict(self.source),
            "path": str(self.path.absolute()),
            "read": _manner(request),
            "format": stream.format,
            "title": entry.title if entry else "",
            "unit": entry.unit if entry else "row",
            "companion": bool(entry and entry.companion),
            "n_rated": self.n_rated,
            "example": self.example,
        }

    def _take(self, line: int, fields: Fields) -> None:
        raw = {"messages": fields["messages"], "meta": fields.get("meta", {})}
        self.n_rated += has_feedback(raw["meta"])
        for name in sorted(unused_scores(raw["meta"])):
            self.journal.note(
                f"the score {name[:40]!r} is not used, because its name does not say whether a high one is good"
            )
        settled = settle(raw["messages"], raw["meta"], self.scales)
        if settled.drops:
            self._reject(Reject(line, settled.drops, messages.REASONS["feedback"][settled.drops], raw=raw))
            return
        turns = _without_unread_keys(settled.messages, self.journal)
        if settled.repaired and is_written_down(str(turns[-1]["content"])):
            self._reject(Reject(line, WRITTEN_DOWN.code, WRITTEN_DOWN.expected, kind_of(turns[-1]["content"]), raw))
            return
        if any("\0" in str(turn["content"]) for turn in turns):
            self._reject(Reject(line, "nul", messages.say("nul"), raw=raw))
            return
        if any(is_blank(str(turn["content"] or "")) for turn in turns if turn["role"] == "user"):
            self._reject(Reject(line, "no_question", messages.say("no_question"), raw=raw))
            return
        if any(
            sign in str(turn["content"]) for turn in turns for sign in _INVISIBLE if not str(turn["content"]).isascii()
        ):
            self.journal.note("zero-width or bidirectional control characters kept unchanged")
        row = {"id": content_hash(turns), "source": f"{self.source.name}:{line}", "messages": turns}
        rest = {"group": fields.get("group"), "tags": fields.get("tags"), "meta": settled.meta}
        self.example = self.example or [_short(turn) for turn in turns[-2:]]
        self.writer.add(row | {key: value for key, value in rest.items() if value}, repaired=settled.repaired)

    def _reject_up_to(self, line: int) -> None:
        for reject in self.journal.take(line):
            self._reject(reject)

    def _reject(self, reject: Reject) -> None:
        line = {
            "source": f"{self.source.name}:{reject.line}",
            "reason": reject.reason,
            "detail": messages.expected(reject.words, reject.got),
        }
        self.writer.reject(line | _shown(reject.raw), reject.words)


def _short(turn: Message) -> Message:
    """Return role, beginning of the text, and names of the calls: so that a person sees whether it was read rightly."""
    calls = [call["function"]["name"] for call in turn.get("tool_calls") or ()]
    return {"role": turn["role"], "content": str(turn["content"] or "")[:_SHOWN], **({"calls": calls} if calls else {})}


def _without_unread_keys(turns: tuple[Message, ...], journal: Rejects) -> list[Message]:
    """Return the messages with the keys that are part of a chat; others are noted."""
    if all(turn.keys() <= _KEYS for turn in turns):
        return list(turns)
    unread = sorted({key for turn in turns for key in turn} - _KEYS)
    journal.note(f"message keys dropped: {', '.join(unread)[:80]}")
    return [{key: value for key, value in turn.items() if key in _KEYS} for turn in turns]


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
