"""Recorded traffic as sessions of turns: read in the formats of `data build`, drawn by session, masked.

Rows are taken whether people liked their answers or not: what traffic asked is asked again. Each answer of the
assistant is a turn, asked with the messages before it in the recording, the answers of tools included.

Invariants: a session is drawn by a hash of its name, in its share of its stratum; the result has no personal
data that the engine recognises, unless `data.policy` says so; question and answer of a row share their masks.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, product
from sys import maxsize
from typing import Any

import orjson
from pydantic import TypeAdapter

from tuneworthy.cases.formats.chats import check_words
from tuneworthy.cases.formats.registry import EXAMPLE_FORMATS
from tuneworthy.cases.pii import Masker
from tuneworthy.cases.readers.faults import Dropped, Rejects, RowFault
from tuneworthy.cases.readers.reader import facts_of, stream_examples
from tuneworthy.cases.stratified import quotas, rank
from tuneworthy.cases.task_kind import Kind
from tuneworthy.config.project import Project
from tuneworthy.dataset.base import CheckContext
from tuneworthy.dataset.card import look_of
from tuneworthy.dataset.checks.personal_data import PersonalData
from tuneworthy.dataset.distill.queries import query_of
from tuneworthy.errors import UserError
from tuneworthy.shadow import messages
from tuneworthy.store import Folder
from tuneworthy.text import count
from tuneworthy.types import (
    UNLABELLED,
    Case,
    Example,
    Examples,
    JsonMapping,
    JsonObject,
    Messages,
    NamedTexts,
    Paths,
    Response,
    Texts,
    calls_of,
    content_hash,
    grouped,
    positional,
    role_of,
    text_of,
)

# Strata that are examined one by one; the others, with fewest sessions, are one.
MOST_STRATA = 50
OTHERS = "others"
# Key of a row with the right answer of its last turn.
TRUTH = "truth"
# What `shadow proxy` records, below `.tuneworthy`: a row a turn, masked as `data.policy` says, in the order of time.
TRAFFIC = "shadow/traffic.jsonl"
# Keys of its rows: when one was written, seconds since the epoch; whether it went through the masks; and the id of the
# variant that failed to answer it.
WRITTEN = "written"
CLEAN = "clean"
FAILED_BY = "failed_by"
# Key of a row that is sent or stored along with its messages.
_SENT = frozenset({"tools"})
# Of the name of a stratum, characters: a client may have chosen it, and it is stored with each of its metrics.
_MOST_NAME = 100
# Where more of the sessions than this share ask only what others ask, a note says so.
_MOST_REPEATED = 0.1
# Keys of a row, or of its `metadata`, with its date: ISO 8601, or seconds or milliseconds since the epoch.
DATE_KEYS = (WRITTEN, "timestamp", "date", "created_at", "created", "start_time", "ended", "datetime", "time", "ts")
_DATE = TypeAdapter(datetime)
# Keys of a row, or of its `metadata`, that name its session where no format does.
SESSION_KEYS = ("session_id", "conversation_id", "thread_id", "sessionId", "conversationId", "threadId")


class NothingEnded(UserError):
    """The proxy has recorded no session that has ended: there is nothing to judge yet."""


@positional
class RecordedTurn:
    """What traffic asked once, and what production answered.

    Attributes:
        case: The messages before the answer; labelled if the right answer is known.
        answer: Production's.
        source: File and line.
        failed_by: Id of the variant that failed to answer when it was copied; "" if the copy was answered.
    """

    case: Case
    answer: Response
    source: str
    failed_by: str = ""


@positional
class TrafficSession:
    """The turns of one conversation, in order.

    Attributes:
        name: Its name in the log, or its place in the file.
        stratum: Value of the key by which traffic is divided; "" without one.
        turns: Those that are asked.
        day: Its day (UTC, ISO 8601) once that is over; "" before, and without a date. Its name in one period.
    """

    name: str
    stratum: str
    turns: Sequence[RecordedTurn]
    day: str = ""


@positional
class Recording:
    """Sessions in the order in which they are asked.

    Attributes:
        sessions: Those that were drawn.
        labelled: Whether every row of the files has the right answer of its last turn.
        notes: For the reader.
        live: Whether it still grows: the rules then allow for the sessions and strata that may come.
        paths: Files that were read.
    """

    sessions: Sequence[TrafficSession]
    labelled: bool
    notes: Texts
    live: bool = False
    paths: Paths = ()

    @property
    def strata(self) -> list[str]:
        return sorted({session.stratum for session in self.sessions} - {""})


def read_recording(project: Project, paths: Paths, *, one_period: bool = False) -> Recording:
    """Read files and draw from them as `[shadow]` says; the days are in order, the sessions of one in random order.

    Args:
        project: Its sections `[shadow]`, `[data]` and `[split]` are used.
        paths: Logs, traces and exports.
        one_period: Whether each session is a day of its own, so that the result is about these files only.

    Raises:
        DataError: A file cannot be read, or its format is not known.
        UserError: There is no conversation, or no row has the key of the strata.
    """
    rows, n_unread = _rows(paths)
    groups = grouped((row.group or "", row) for row in rows)
    if not groups:
        raise UserError(
            f"The recording has no conversation with an answer. {count(n_unread, 'row was', 'rows were')} left out.",
            hint="Pass logs that `tuneworthy data build` reads, with the answers of the model in use.",
        )
    notes = _note("unread", n_unread)
    strata = _strata(project, groups, notes)
    names = _drawn(strata, project.shadow.sessions, project.split.seed)
    masked, dropped = _by_policy(project, {name: groups[name] for name in names})
    names = [name for name in names if name not in dropped]
    notes += _note("dropped", len(dropped))
    most, seed = project.shadow.turns, project.split.seed
    days = {
        name: name if one_period else _day(*(_value(key, row.meta) for row, key in product(groups[name], DATE_KEYS)))
        for name in names
    }
    names = names if one_period else sorted(names, key=days.__getitem__)
    sessions = [TrafficSession(n, strata[n], _turns(n, masked.get(n) or groups[n], most, seed), days[n]) for n in names]
    n_turns, n_masked = sum(len(session.turns) for session in sessions), len(masked) - len(dropped)
    drawn = "recording" if len(sessions) < len(groups) else "recording_all"
    summary = [messages.say(drawn, n=len(sessions), n_all=len(groups), n_turns=n_turns), *_note("masked", n_masked)]
    labelled = all(TRUTH in row.meta for row in [*rows, *chain(*masked.values())])
    notes += (
        ["The log counts as one period: the result is not about other days."]
        if one_period
        else _note("undated", [*days.values()].count(""))
    )
    questions = {content_hash([turn.case.text for turn in session.turns]) for session in sessions}
    notes = [" ".join(summary), *notes, *_repeated(len(sessions), len(questions))]
    return Recording(sessions, labelled, notes, paths=paths)


def _strata(project: Project, groups: Mapping[str, Examples], notes: list[str]) -> dict[str, str]:
    """Return the masked stratum by session; beyond `MOST_STRATA`, the smallest are merged into one, with a note.

    Raises:
        UserError: No row has the key of the strata.
    """
    by, masker = project.shadow.by, masker_of(project)
    mask = masker.mask if masker else str
    strata = {name: mask(_value(by, members[0].meta)[:_MOST_NAME]) for name, members in groups.items()}
    totals = Counter(strata.values())
    if by and totals.keys() == {""}:
        raise UserError(
            f"No row of the recording has the key `{by}`.", hint="Use a key of the rows or of their `metadata`."
        )
    if len(totals) <= MOST_STRATA:
        return strata
    notes.append(
        f"`{by}` has {len(totals)} values. The {MOST_STRATA - 1} with the most sessions are examined separately."
    )
    largest = {value for value, _ in totals.most_common(MOST_STRATA - 1)}
    return {name: value if value in largest else OTHERS for name, value in strata.items()}


def _drawn(strata: NamedTexts, most: int, seed: int) -> list[str]:
    """Return the names of at most `most` sessions, each stratum in its share, in the order of a hash."""
    left = Counter(quotas(Counter(strata.values()), min(most, len(strata)), seed))
    names = []
    for name in sorted(strata, key=lambda name: rank(seed, name)):
        if left[strata[name]] > 0:
            left[strata[name]] -= 1
            names.append(name)
    return names


def _by_policy(project: Project, groups: Mapping[str, Examples]) -> tuple[dict[str, list[Example]], set[str]]:
    """Return the sessions with personal data, masked, and the names of those that `data.policy` drops."""
    policy, check = _policy(project), PersonalData(engine=project.data.pii_engine)
    if policy == "report":
        return {}, set()
    # only sent and stored text: a session keeps its name, and a tenant may be called by a number
    bare = [
        (name, replace(row, group=None, meta=_of_keys(row.meta, _SENT)))
        for name, rows in groups.items()
        for row in rows
    ]
    names = {bare[finding.row][0] for finding in check([row for _, row in bare], CheckContext()) if finding.row >= 0}
    masked = {name: [_repaired(check, row) for row in groups[name]] for name in groups if name in names}
    return masked, {*masked} if policy == "drop" else set()


def _policy(project: Project) -> str:
    return project.data.policy.get("personal_data", "mask")


class LiveTraffic:
    """The proxy's recording; each row is read once.

    A session ends with its last turn that counts (`shadow.turns`), or when it is idle (`shadow.idle_minutes`). What
    comes later changes no ended session, and is behind them: a later look sees the same bets, and more.
    A client that returns after an idle time begins a new session. Of each name the first session counts.

    Args:
        project: Its sections `[shadow]`, `[data]` and `[split]` are used.
    """

    def __init__(self, project: Project) -> None:
        self.project, self.path = project, Folder(project.root).path / TRAFFIC
        self._journal = Rejects(self.path)
        self._n_bytes = self._n_lines = self._n_unread = self._n_turns = 0
        self._open: dict[str, list[Example]] = defaultdict(list)
        self._ended: dict[str, tuple[float, TrafficSession | None]] = {}  # None: `data.policy` drops it
        self._strata: set[str] = set()
        self._questions: set[str] = set()

    def read(self, now: float | None = None) -> Recording:
        """Return the ended sessions in the order of their ends, without the turns that `forget` has dropped.

        Args:
            now: Seconds since the epoch; the time of day if None.

        Raises:
            NothingEnded: Nothing was recorded, or no session has ended.
        """
        if self.path.is_file():
            self._read_rows()
        now = time.time() if now is None else now
        settings, idle_s = self.project.shadow, 60 * self.project.shadow.idle_minutes
        looks = [(name, *_until_idle(rows, settings.turns, idle_s)) for name, rows in self._open.items() if rows]
        ended = sorted((end, name, members) for name, members, end in looks if end <= now)
        self._end(ended[: settings.sessions - len(self._ended)])
        if not self._ended:
            raise NothingEnded(
                "The proxy has recorded no session that has ended.",
                hint="Pass log files, or send traffic through `tuneworthy shadow proxy` first.",
            )
        today, order = _day(now), sorted(self._ended, key=lambda name: (self._ended[name][0], name))
        sessions = [
            replace(session, day=day if (day := _day(end)) < today else "")
            for end, session in map(self._ended.__getitem__, order)
            if session
        ]
        notes = [messages.say("traffic", n=len(sessions), n_all=len(self._open), n_turns=self._n_turns)]
        notes += _note("unread", self._n_unread) + _note("dropped", len(self._ended) - len(sessions))
        notes += _repeated(len(sessions), len(self._questions))
        return Recording(sessions, False, notes, live=True, paths=[self.path])

    def forget(self) -> None:
        """Drop the turns that `read` has returned."""
        for name, (end, session) in self._ended.items():
            self._ended[name] = end, session and replace(session, turns=())

    def _read_rows(self) -> None:
        convert = EXAMPLE_FORMATS.get("messages").convert
        with self.path.open("rb") as file:
            file.seek(self._n_bytes)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # it is still being written
                self._n_bytes += len(line)
                self._n_lines += 1
                try:
                    fields = convert(orjson.loads(line), self._journal)
                    check_words(fields["messages"])
                except (ValueError, RowFault, Dropped):
                    self._n_unread += 1
                    continue
                (row,) = _in_sessions([Example(**fields, id="", source=f"{self.path.name}:{self._n_lines}")])
                own = self._open[row.group or ""]
                if row.group not in self._ended:
                    own.append(row)

    def _end(self, ended: Sequence[tuple[float, str, Examples]]) -> None:
        """Make sessions of rows, and keep only their names."""
        settings, masker = self.project.shadow, masker_of(self.project)
        unclean = {name: [*rows] for _, name, rows in ended if not all(row.meta.get(CLEAN) for row in rows)}
        masked, dropped = _by_policy(self.project, unclean)
        for end, name, rows in ended:
            self._open[name] = []
            value = _value(settings.by, rows[0].meta)[:_MOST_NAME]
            value = masker.mask(value) if masker and name in unclean else value
            if value not in self._strata and len(self._strata - {OTHERS}) >= MOST_STRATA - 1:
                value = OTHERS
            self._strata.add(value)
            turns = {turn.case.id: turn for turn in (turn_of(name, row) for row in masked.get(name, rows))}
            self._ended[name] = end, None if name in dropped else TrafficSession(name, value, [*turns.values()])
            if name not in dropped:
                self._n_turns += len(turns)
                self._questions.add(content_hash([turn.case.text for turn in turns.values()]))


def moment_of(*dates: Any) -> datetime | None:
    """Return the first value that is a date, None without one."""
    for date in dates:
        with suppress(ValueError, OverflowError):
            return _DATE.validate_python(date).astimezone(UTC)
    return None


def _day(*dates: Any) -> str:
    """Return the day of the first value that is a date, "" without one."""
    moment = moment_of(*dates)
    return moment.date().isoformat() if moment else ""


def _note(name: str, n: int) -> list[str]:
    return [messages.say(name, n=n)] if n else []


def _repeated(n: int, n_different: int) -> list[str]:
    """Say how many sessions ask word for word what others ask, if they are many: a log read twice, or one client."""
    if n - n_different <= _MOST_REPEATED * n:
        return []
    return [
        f"{n - n_different:,} of {n:,} sessions repeat the questions of another word for word. If a log is included "
        "twice, or one client repeats itself, leave the repetitions out: they make the result look more certain than "
        "it is."
    ]


def _until_idle(rows: Examples, most: int, idle_s: float) -> tuple[list[Example], float]:
    """Return the rows of a session until it ended, and when that was; `rows` are in the order of time."""
    members: list[Example] = []
    for row in rows:
        if members and row.meta[WRITTEN] - members[-1].meta[WRITTEN] > idle_s:
            break
        members.append(row)
        if len({_turn_name("", one) for one in members}) == most:
            return members, row.meta[WRITTEN]
    return members, members[-1].meta[WRITTEN] + idle_s


def clean(project: Project, session: str, row: Example) -> Example | None:
    """Return a row as it may be stored, with its session; None if `data.policy` is to drop it."""
    about: JsonObject = {SESSION_KEYS[0]: session}
    if _policy(project) != "report":
        masked, dropped = _by_policy(project, {session: [row]})
        if dropped:
            return None
        (row,) = masked.get(session, [row])
        about[CLEAN] = True
        if (by := project.shadow.by) and by in row.meta and Masker().mask(str(row.meta[by])) != str(row.meta[by]):
            about[by] = content_hash(row.meta[by])
    return replace(row, group=session, meta={**row.meta, **about})


def turn_of(session: str, row: Example) -> RecordedTurn:
    return _turn(_turn_name(session, row), session, row, len(row.messages) - 1, last=True)


def _turn_name(session: str, row: Example) -> str:
    return content_hash([session, row.messages[:-1]])


def _rows(paths: Paths) -> tuple[list[Example], int]:
    """Return the rows of all files with the names of their sessions in `group`, and how many were left out.

    A file with the rows of an earlier one is left out: its sessions would count twice. Two files of one name are two.
    """
    rows = []
    n_unread, known = 0, set()
    names = Counter(path.name for path in {*paths})
    facts = facts_of(paths)
    for path in paths:
        journal = Rejects(path)
        journal.facts, journal.alone = facts, len(paths) == 1
        own, file = [], path.name if names[path.name] == 1 else path.as_posix()
        for line, fields in stream_examples(path, journal).rows:
            if fields is not None:
                own.append(Example(**fields, id="", source=f"{file}:{line}"))
        n_unread += sum(reject.reason != "mirrored" for reject in journal.take(maxsize))
        said = content_hash([content_hash([row.messages, row.group, row.meta]) for row in own])
        rows += own if said not in known else []
        known.add(said)
    return _in_sessions(rows), n_unread


def _in_sessions(rows: Examples) -> list[Example]:
    """Name the session per row: as in the log, else that of the row whose whole conversation it continues.

    A log of single calls repeats a conversation in each row, as far as it had gone; such rows are one session. A
    conversation goes on once: a second row that goes on from it is a branch, and a session of its own. Two users who
    ask one thing once are two sessions.
    """
    ends: dict[str, deque[str]] = defaultdict(deque)
    names = {}
    for place in sorted(range(len(rows)), key=lambda place: len(rows[place].messages)):
        row = rows[place]
        names[place] = row.group or next(filter(None, (_value(key, row.meta) for key in SESSION_KEYS)), "")
        if not names[place]:
            *starts, whole = _conversations(row.messages)
            before = next((start for start in reversed(starts) if ends[start]), None)
            names[place] = ends[before].popleft() if before else row.source
            ends[whole].append(names[place])
    return [replace(row, group=names[place]) for place, row in enumerate(rows)]


def _conversations(turns: Messages) -> list[str]:
    found, before = [], ""
    for turn in turns:
        before = content_hash([before, role_of(turn), turn.get("content") or "", calls_of(turn)])
        if role_of(turn) == "assistant":
            found.append(before)
    return found


def _value(key: str | None, meta: JsonMapping) -> str:
    inner = meta.get("metadata")
    value = meta.get(key, inner.get(key) if isinstance(inner, Mapping) else None) if key else None
    return "" if value is None else str(value)


def _repaired(check: PersonalData, row: Example) -> Example:
    """Return `row` masked, without its right answer if that is masked along with it: no answer could equal it."""
    masked = check.repair(replace(row, group=None, meta=_of_keys(row.meta, {TRUTH, *_SENT})))
    meta = {**row.meta, **masked.meta}
    if meta.get(TRUTH) != row.meta.get(TRUTH):
        del meta[TRUTH]
    return replace(masked, meta=meta)


def _of_keys(meta: JsonMapping, keys: Set[str]) -> JsonObject:
    return {key: value for key, value in meta.items() if key in keys}


def masker_of(project: Project) -> Masker | None:
    """Return the mask for stored traffic, with the engine of `[data]`; None if personal data is only reported.

    Raises:
        UserError: The engine is not installed.
    """
    return None if _policy(project) == "report" else Masker(look=look_of(project.data.pii_engine))


def _turns(session: str, rows: Examples, most: int, seed: int) -> list[RecordedTurn]:
    """Return the turns of a session, each once, in order; of more than `most` those that a hash chooses."""
    found = {}
    for row in rows:
        places = [place for place, turn in enumerate(row.messages) if role_of(turn) == "assistant"]
        for place in places:
            name = content_hash([session, row.messages[:place]])
            if name not in found or place == places[-1]:
                found[name] = _turn(name, session, row, place, last=place == places[-1])
    chosen = set(sorted(found, key=lambda name: rank(seed, name))[:most])
    return [turn for name, turn in found.items() if name in chosen]


def _turn(name: str, session: str, row: Example, place: int, *, last: bool) -> RecordedTurn:
    message = row.messages[place]
    calls = tuple(calls_of(message))
    ending = str(row.meta.get("finish_reason") or "") if last else ""
    case = query_of(
        replace(row, messages=(*row.messages[: place + 1],), id=name, group=session),
        Kind("free_text", ""),
        labelled=False,
    )
    answer = Response(
        text=text_of(message),
        tool_calls=calls,
        finish_reason=ending or ("tool_calls" if calls else "stop"),
    )
    truth = row.meta.get(TRUTH, UNLABELLED) if last else UNLABELLED
    return RecordedTurn(
        replace(case, expected=truth), answer, row.source, str(row.meta.get(FAILED_BY) or "") if last else ""
    )
