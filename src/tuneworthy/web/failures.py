"""The view of failures: two options side by side, filtered, sorted and cut here.

Invariants: no model is called; nothing about a single test case leaves the server before it is in the record of
revealed cases, and which cases are in that record depends on no answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from tuneworthy.config import load
from tuneworthy.config.project import FILE_NAME, Project
from tuneworthy.errors import UnknownName, UserError
from tuneworthy.graders.choice import LabelFinder
from tuneworthy.graders.dev_answers import failure_kinds
from tuneworthy.ladder.commands.case_answers import StoredAnswer, expected_of, open_answers, worst_answers
from tuneworthy.ladder.task_data import REVEALED, Reveal, record_reveal
from tuneworthy.providers.http_client import blocking
from tuneworthy.store import Folder
from tuneworthy.types import Case, JsonObject, Passage, Texts
from tuneworthy.web.security import number_of
from tuneworthy.web.state import UiState

NAME, CURRENT = "failures", "current"
# Rows of a window, and characters of a text in it.
WINDOW, SNIPPET = 100, 200
# Characters of a text that the detail starts with, and of each further part; passages of the detail.
BEGINNING, PART, PASSAGES = 2_000, 20_000, 20
# Characters in memory for the search, of all texts together and at most of one.
MAX_SEARCHED, MAX_TEXT = 40_000_000, 10_000
# Cases that are scored before other requests get their turn; details of cases, and pairs of options, in memory.
CHUNK, DETAILS = 250, 4
# Entries of a list of filters.
MAX_GROUPS = 200
STATUSES: Final = ("all", "worse", "better", "wrong")
SORTS: Final = ("change", "score", "length", "id")
SIDES: Final = ("dev", "test", "all")


class TermIndex:
    """Short texts of cases, such as tags: which cases have one, and how many cases have each.

    Args:
        terms: Of each case.
    """

    def __init__(self, terms: Iterable[Iterable[str]]) -> None:
        codes: dict[str, int] = {}
        pairs = [(place, codes.setdefault(one, len(codes))) for place, found in enumerate(terms) for one in found]
        self._places, self._codes = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        self._names = list(codes)

    def places(self, name: str) -> np.ndarray:
        """Return the places of the cases that have a text."""
        return self._places[self._codes == self._names.index(name)] if name in self._names else self._places[:0]

    def counts(self, mask: np.ndarray) -> list[tuple[str, int]]:
        """Return the most frequent texts of some cases, `(n_cases,)`, with the number of cases."""
        counts = np.bincount(self._codes[mask[self._places]], minlength=len(self._names))
        order = np.argsort(-counts, kind="stable")[:MAX_GROUPS]
        return [(self._names[code], int(counts[code])) for code in order if counts[code]]


@dataclass(slots=True)
class OptionColumns:
    """Answers of an option, a row per case.

    Attributes:
        name: Of the variant.
        scores: 0..1; NaN if unscored or not stored.
        lengths: Characters.
        reasons: Why it is not right; "" if it is.
        texts: The beginning, for the list and the search.
        kinds: See `failure_kinds`.
    """

    name: str
    scores: np.ndarray
    lengths: np.ndarray
    reasons: list[str]
    texts: list[str]
    kinds: TermIndex


class FailureIndex:
    """Cases, and the answers of options that were viewed, as columns; the store is read in one thread only.

    Args:
        project: The project as it is now.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.key = _key(project)
        self.progress: JsonObject = {"what": "Reading cases", "done": 0, "total": 0}
        self._faults: dict[str, Exception] = {}
        self.columns: dict[str, OptionColumns] = {}
        self._details: dict[tuple[str, str], JsonObject] = {}
        self._pairs: dict[tuple[str, str], OptionPair] = {}
        self._opened = ExitStack()
        self._thread = ThreadPoolExecutor(1, "failures")
        self._waiting: set[str] = set()
        self._ready = self._thread.submit(self._open)

    def _open(self) -> bool:
        self.note = ""
        self.answers = self._opened.enter_context(open_answers(self.project, say=self._say, any_thread=True))
        session = self.answers.session
        if session.agreement:
            self.note = f"Nobody has labelled the cases. Compared with the recorded answers of {session.agreement}."
        self.cases: Sequence[Case] = [*session.split.dev, *session.split.asked]
        self.n_stored = len(session.runner.store)
        self.position = {case.id: place for place, case in enumerate(self.cases)}
        self.is_test = np.array([self.answers.sides[case.id] == "test" for case in self.cases], dtype=bool)
        run = self.answers.record
        self.rungs = {row.rung: run.variants[row.variant].name for row in run.rungs if row.variant}
        self.best = self.answers.rung("best")[0].rung
        self.options = self.rungs | {CURRENT: "the project file"}
        per_text = MAX_SEARCHED // max(1, len(self.cases) * (len(self.options) + 2))
        self.searched = max(SNIPPET, min(MAX_TEXT, per_text))
        labels = session.data.labels
        self._find = LabelFinder(labels) if labels else None
        self.expected = [_written(expected_of(case)) for case in self.cases]
        self.tags = TermIndex(map(snippet, case.tags) for case in self.cases)
        self.by_id = np.argsort(np.argsort([case.id for case in self.cases]))
        self.asked = [
            f"{case.id}\n{case.text[: self.searched]}\n{expected[: self.searched]}".casefold()
            for case, expected in zip(self.cases, self.expected, strict=True)
        ]
        return True

    def _say(self, words: str) -> None:
        self.note = words

    def close(self) -> None:
        """Close the store once the work in its thread has ended."""
        self._thread.submit(self._opened.close)
        self._thread.shutdown(wait=False, cancel_futures=False)

    @property
    def is_current(self) -> bool:
        """Whether record, project file and data are as they were, and no other process has added answers."""
        if not self._ready.done() or self._waiting:  # the thread is busy, and a reader is told how far it is
            return True
        if _key(self.project) != self.key:
            return False
        is_busy = Folder(self.project.root).holder() is not None
        return is_busy or self._thread.submit(lambda: len(self.answers.session.runner.store) == self.n_stored).result()

    def opened(self) -> bool:
        """Return whether the cases were read.

        Raises:
            TuneworthyError: The data or the record cannot be read.
        """
        return self._ready.done() and self._ready.result()

    @property
    def failed(self) -> bool:
        return self._ready.done() and self._ready.exception() is not None

    def loaded(self, names: Sequence[str]) -> bool:
        """Start to load the options, and return whether all are there.

        Raises:
            UserError: There is no such option, or its answers cannot be read.
        """
        for name in names:
            if name not in self.options:
                raise UnknownName("option", name, list(self.options))
            if name in self._faults:
                raise self._faults.pop(name)
            if name not in self.columns and name not in self._waiting:
                self._waiting.add(name)
                self._advance(name, self._load(name))
        return all(name in self.columns for name in names)

    def _advance(self, name: str, work: Iterator[None]) -> None:
        """Do the next step of the work after the requests that wait."""

        def step() -> None:
            try:
                next(work)
            except StopIteration:
                self._waiting.discard(name)
            except Exception as error:  # raised by the next request
                self._faults[name] = error
                self._waiting.discard(name)
            else:
                self._advance(name, work)

        self._thread.submit(step)

    def _load(self, name: str) -> Iterator[None]:
        n = len(self.cases)
        self.progress = {"what": f"Scoring answers of {name}", "done": 0, "total": n}
        kinds: list[Texts] = [()] * n
        columns = OptionColumns(
            self.options[name], np.full(n, np.nan), np.zeros(n, dtype=np.int64), [""] * n, [""] * n, TermIndex(())
        )
        shared: dict[str, str] = {}  # equal texts are kept once
        for start in range(0, n, CHUNK):
            chunk = self.cases[start : start + CHUNK]
            for one in worst_answers(self.answers.answers(*self.answers.rung(name), chunk)).values():
                place = self.position[one.case]
                text, reason = one.text[: self.searched], snippet(one.reason)
                columns.name = one.name
                columns.scores[place] = np.nan if one.score is None else one.score
                columns.lengths[place] = len(one.text)
                columns.reasons[place] = shared.setdefault(reason, reason)
                columns.texts[place] = shared.setdefault(text, text)
                kinds[place] = self._kinds(self.cases[place], one)
            self.progress["done"] = start + len(chunk)
            yield
        columns.kinds = TermIndex(kinds)
        self.columns[name] = columns

    def _kinds(self, case: Case, answer: StoredAnswer) -> tuple[str, ...]:
        if answer.score is None or answer.score >= 1:
            return ()
        return tuple(failure_kinds(case, answer.text, answer.reason, answer.detail, find=self._find, short=snippet))

    def visible(self) -> dict[str, np.ndarray]:
        """Return which cases may be shown, by side: those of dev, and those of test that were revealed."""
        shown = np.zeros(len(self.cases), dtype=bool)
        shown[[self.position[one] for one in self.revealed if one in self.position]] = True
        return {"dev": ~self.is_test, "test": self.is_test & shown, "all": ~self.is_test | shown}

    def about(self, query: Mapping[str, Any]) -> np.ndarray:
        """Return which cases have the tag of a query, and its words in ID, question or expected answer."""
        words = query.get("search", "").casefold()
        passes = np.fromiter((words in asked for asked in self.asked), dtype=bool, count=len(self.cases))
        if tag := query.get("tag"):
            passes &= np.isin(np.arange(len(self.cases)), self.tags.places(tag))
        return passes

    def pair(self, names: tuple[str, str]) -> "OptionPair":
        if names not in self._pairs:
            self._pairs[names] = OptionPair.of(*(self.columns[name] for name in names))
            while len(self._pairs) > DETAILS:
                self._pairs.pop(next(iter(self._pairs)), None)
        return self._pairs[names]

    @property
    def revealed(self) -> set[str]:
        return {row["case"] for row in self.answers.session.folder.read(REVEALED, list[Reveal]) or []}

    def detail(self, case_id: str, option: str) -> JsonObject:
        """Return all texts of a case and of an option's answer, under their names.

        Raises:
            UserError: No such case, or it is a test case that was not revealed.
        """
        place = self.position.get(case_id)
        if place is None:
            raise UserError("There is no such case.", hint="Remove the case from the address.")
        if self.is_test[place] and case_id not in self.revealed:
            raise UserError(
                "This is a test case, so its answers are hidden to prevent tuning on the test set.",
                hint="To see them, press “Reveal test answers”.",
            )
        if option not in self.options:
            raise UnknownName("option", option, list(self.options))
        if (case_id, option) not in self._details:
            self._details[case_id, option] = self._thread.submit(self._read, self.cases[place], option).result()
            while len(self._details) > DETAILS:
                self._details.pop(next(iter(self._details)), None)
        return self._details[case_id, option]

    def _read(self, case: Case, option: str) -> JsonObject:
        row, variant = self.answers.rung(option)
        answer = worst_answers(self.answers.answers(row, variant, [case])).get(case.id)
        library, passages = self.answers.session.library, tuple[Passage, ...]()
        if variant.retrieval is not None and library is not None:
            passages = blocking(library.passages(variant.retrieval, [case]))[case.id]
        found: JsonObject = {
            "question": case.text,
            "expected": self.expected[self.position[case.id]],
            "passages": passages,
        }
        if answer is not None:
            detail = _written(dict(answer.detail)) if answer.detail else ""
            found |= {
                "text": answer.text,
                "thinking": answer.thinking,
                "reason": answer.reason,
                "detail": detail,
                "score": answer.score,
                "name": answer.name,
            }
        return found


def _key(project: Project) -> tuple[Any, ...]:
    """Return the state of the files that the view depends on, except for the stored answers."""
    root, folder = project.root, Folder(project.root).path
    names = ("run", "run-unfinished", "quick", "quick-unfinished", "split")
    paths = [root / FILE_NAME, project.path(project.cases.path), *(folder / f"{name}.json" for name in names)]
    stats = [path.stat() if path.exists() else None for path in paths]
    return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat else None for stat in stats)


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()


def snippet(text: str) -> str:
    """Return the beginning of a text on one line."""
    short = " ".join(text[: 2 * SNIPPET].split())
    return short if len(short) <= SNIPPET and len(text) <= 2 * SNIPPET else f"{short[: SNIPPET - 1]}…"


def index_of(state: UiState) -> FailureIndex:
    """Return the index of the project as it is now; a new one if record, project file, data or store changed."""
    with state.lock:
        index: FailureIndex | None = state.cache.get(NAME)
        if index is not None and index.failed:
            del state.cache[NAME]  # so that the next request tries again
        elif index is None or not index.is_current:
            if index is not None:
                index.close()
            index = state.cache[NAME] = FailureIndex(load(state.root))
        return index


def _chosen(index: FailureIndex, query: Mapping[str, Any]) -> tuple[str, str]:
    """Return the options A and B: by default the baseline, and the best one."""
    rungs = list(index.rungs)
    a = query.get("a") or ("baseline" if "baseline" in rungs else rungs[0])
    return a, query.get("b") or next((rung for rung in (index.best, *rungs) if rung != a), a)


def _one_of(query: Mapping[str, Any], name: str, values: Texts) -> str:
    value = query.get(name) or values[0]
    if value not in values:
        raise UnknownName(name, value, list(values))
    return str(value)


@dataclass(slots=True)
class OptionPair:
    """Two options, compared case by case.

    Attributes:
        statuses: `STATUSES` to `(n_cases,)`.
        rank: Of the cases by change: other scores before other texts before equal texts.
        reasons: Those of both.
    """

    a: OptionColumns
    b: OptionColumns
    statuses: dict[str, np.ndarray]
    rank: np.ndarray
    reasons: TermIndex

    @classmethod
    def of(cls, a: OptionColumns, b: OptionColumns) -> "OptionPair":
        every = np.ones(len(a.scores), dtype=bool)
        masks = (every, b.scores < a.scores, b.scores > a.scores, (a.scores < 1) & (b.scores < 1))
        is_same = np.array([one == other for one, other in zip(a.texts, b.texts, strict=True)], dtype=bool)
        rank = np.where(masks[1] | masks[2], 0, 1 + (is_same & (a.lengths == b.lengths)))
        reasons = TermIndex({*pair} - {""} for pair in zip(a.reasons, b.reasons, strict=True))
        return cls(a, b, dict(zip(STATUSES, masks, strict=True)), rank, reasons)


@dataclass(slots=True)
class PairView:
    """A pair of options and the filters of a query.

    Attributes:
        masks: Filter to `(n_cases,)`, which cases it lets through.
    """

    index: FailureIndex
    pair: OptionPair
    masks: dict[str, np.ndarray]

    @classmethod
    def of(cls, index: FailureIndex, names: tuple[str, str], query: Mapping[str, Any]) -> "PairView":
        pair = index.pair(names)
        view = cls(index, pair, {"status": pair.statuses[_one_of(query, "show", STATUSES)]})
        for name, terms in (("reason", pair.reasons), ("tag", index.tags), ("group", pair.b.kinds)):
            if value := query.get(name):
                view.masks[name] = np.isin(np.arange(len(index.cases)), terms.places(value))
        if words := query.get("search", "").casefold():
            texts = zip(index.asked, pair.a.texts, pair.b.texts, strict=True)
            passes = (words in asked or words in a.casefold() or words in b.casefold() for asked, a, b in texts)
            view.masks["search"] = np.fromiter(passes, dtype=bool, count=len(index.cases))
        return view

    def matches(self, base: np.ndarray, without: str = "") -> np.ndarray:
        """Return which cases of `base` pass all filters, except for one."""
        chosen = [mask for name, mask in self.masks.items() if name != without]
        passes: np.ndarray = np.logical_and.reduce([base, *chosen])
        return passes

    def ordered(self, places: np.ndarray, sort: str) -> np.ndarray:
        a, b = self.pair.a.scores[places], self.pair.b.scores[places]
        score = np.nan_to_num(b, nan=2.0)
        keys = {
            "id": [self.index.by_id[places]],
            "length": [-self.pair.b.lengths[places]],
            "score": [np.nan_to_num(a, nan=2.0), score],
            "change": [score, np.nan_to_num(b - a), self.pair.rank[places]],
        }
        return places[np.lexsort([places, *keys[sort]])]

    def row(self, place: int) -> JsonObject:
        index, case = self.index, self.index.cases[place]
        return {
            "id": case.id,
            "side": "test" if index.is_test[place] else "dev",
            "question": snippet(case.text),
            "expected": snippet(index.expected[place]),
            **{
                name: {
                    "text": snippet(one.texts[place]),
                    "score": None if np.isnan(score := one.scores[place]) else float(score),
                    "reason": one.reasons[place],
                }
                for name, one in (("a", self.pair.a), ("b", self.pair.b))
            },
        }


def listed(state: UiState, query: Mapping[str, Any]) -> JsonObject:
    """Return a window of the cases that match, with the numbers of the filters; or how far the first load is."""
    index = index_of(state)
    if not index.opened() or not index.loaded(names := _chosen(index, query)):
        return {"loading": index.progress}
    view, visible = PairView.of(index, names, query), index.visible()
    base, pair, start = visible[_one_of(query, "side", SIDES)], view.pair, number_of(query, "offset")
    places, others = np.flatnonzero(view.matches(base)), view.matches(base, "status")
    window = view.ordered(places, _one_of(query, "sort", SORTS))[start : start + WINDOW]
    return {
        "options": [{"option": name, "name": words} for name, words in index.options.items()],
        "a": {"option": names[0], "name": pair.a.name},
        "b": {"option": names[1], "name": pair.b.name},
        "note": index.note,
        "total": len(places),
        "offset": start,
        "rows": [view.row(place) for place in window],
        "hidden": int(index.is_test.sum() - visible["test"].sum()),
        "revealed": int(visible["test"].sum()),
        "searched": index.searched,
        "counts": {name: int((mask & others).sum()) for name, mask in pair.statuses.items()},
        "groups": pair.b.kinds.counts(view.matches(base, "group")),
        "reasons": pair.reasons.counts(view.matches(base, "reason")),
        "tags": index.tags.counts(view.matches(base, "tag")),
        "is_label_task": index.answers.session.task.kind == "label",
    }


def _not_loaded() -> UserError:
    return UserError("The answers are not loaded yet.", hint="Wait until the list appears, then try again.")


def reveal(state: UiState, body: Mapping[str, Any]) -> JsonObject:
    """Record that the answers to test cases are shown, and return the number of these cases.

    Only filters that read no answer apply. With any other, the choice of cases would tell something about the answers
    to the cases that are not recorded.
    """
    index = index_of(state)
    if not index.opened():
        raise _not_loaded()
    shown = [index.cases[place].id for place in np.flatnonzero(index.is_test & index.about(body)).tolist()]
    with state.lock:
        record_reveal(index.answers.session.folder, shown, "ui")
    return {"revealed": len(shown)}


def _part(text: str, start: int = 0, size: int = BEGINNING) -> JsonObject:
    return {"text": text[start : start + size], "next": start + size, "length": len(text)}


def _passages(found: JsonObject, start: int) -> JsonObject:
    passages = found["passages"]
    rows = [
        {
            "document": one.document,
            "heading": one.heading,
            "field": f"passage.{start + n}",
            **_part(one.text, size=SNIPPET),
        }
        for n, one in enumerate(passages[start : start + PASSAGES])
    ]
    return {"rows": rows, "next": start + PASSAGES, "length": len(passages)}


def case_of(state: UiState, query: Mapping[str, Any]) -> JsonObject:
    """Return a case and both answers; of long texts the beginning."""
    index = index_of(state)
    if not index.opened():
        return {"loading": index.progress}
    case_id, names = query.get("case", ""), _chosen(index, query)
    found = [index.detail(case_id, name) for name in names]
    case = index.cases[index.position[case_id]]
    return {
        "id": case.id,
        "side": index.answers.sides[case.id],
        "tags": [snippet(tag) for tag in case.tags[:PASSAGES]],
        "documents": case.documents,
        **{name: _part(found[0][name]) for name in ("question", "expected")},
        "answers": [
            {
                "option": option,
                "stored": "text" in one,
                "passages": _passages(one, 0),
                **{name: one.get(name) for name in ("name", "score", "reason")},
                **{name: _part(one[name]) for name in ("text", "thinking", "detail") if one.get(name) is not None},
            }
            for option, one in zip(names, found, strict=True)
        ],
    }


def text_of(state: UiState, query: Mapping[str, Any]) -> JsonObject:
    """Return a part of a text of the detail, or further passages."""
    index = index_of(state)
    if not index.opened():
        raise _not_loaded()
    found = index.detail(query.get("case", ""), query.get("option", ""))
    field, _, number = query.get("field", "").partition(".")
    start = number_of(query, "offset")
    if field == "passages":
        return _passages(found, start)
    if field == "passage" and number in map(str, range(len(found["passages"]))):
        return _part(found["passages"][int(number)].text, start, PART)
    if field not in {"question", "expected", "text", "thinking", "detail"} & found.keys():
        raise UserError("There is no such text.")
    return _part(found[field], start, PART)


READS: Final = {NAME: listed, f"{NAME}/case": case_of, f"{NAME}/text": text_of}
WRITES: Final = {f"{NAME}/reveal": reveal}
