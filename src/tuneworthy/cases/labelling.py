"""Label cases blind: one at a time, on disk at once, a second labeller on a share, and their agreement.

The label file is only ever appended to: one line a label, ``{"case", "labeller", "label", "time"}``; the last
line of a labeller for a case counts, and ``{"case", "labeller", "undo": true, "time"}`` takes it back. A label with
``"decided": true`` settles a case on which labellers disagree; a line with ``"cannot_decide": true`` has no label, and
its case stays open for others. ``"guideline"`` is the version of the guideline, ``"comment"`` a remark. A line that a
crash cut off is ignored, and its case is asked again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson

from tuneworthy.cases.formats.case_rows import native_fields, turn_rows
from tuneworthy.cases.readers.faults import Journal, show
from tuneworthy.cases.readers.files import open_rows
from tuneworthy.cases.readers.reader import canonical_or_none, case_id, read_cases
from tuneworthy.cases.stratified import rank
from tuneworthy.cases.writer import write_rows
from tuneworthy.errors import DataError, UserError
from tuneworthy.input_files import read_input
from tuneworthy.store.lines import append_line, now, refuse_link
from tuneworthy.store.shapes import DamagedRecord
from tuneworthy.types import (
    SECOND_SHARE,
    UNLABELLED,
    Bounds,
    Cases,
    Ids,
    JsonMapping,
    JsonObject,
    canonical,
    frozen,
    grouped,
    positional,
)

MIN_SECOND = 30
# The answer of a person who cannot decide; no label equals it.
CANNOT_DECIDE: Final = object()
# Longest time for one row, seconds, above which a person took a break; gaps from which the usual time is taken.
LONGEST_S, MIN_TIMED = 300, 5


@positional
class Label:
    """One labeller's label of one case; None means that declining is right.

    Attributes:
        decided: Whether it settles a case on which labellers disagree.
        comment: Of the labeller.
        guideline: Version of the guideline that the labeller saw; "" without one.
    """

    case: str
    labeller: str
    label: Any
    time: str
    decided: bool = False
    comment: str = ""
    guideline: str = ""


@positional
class Remark:
    """What belongs to an answer besides its value.

    Attributes:
        comment: Of the person.
        guideline: Version of the guideline that the person saw; "" without one.
        time: Of the answer, in ISO 8601; now if empty.
    """

    comment: str = ""
    guideline: str = ""
    time: str = ""

    @property
    def fields(self) -> JsonObject:
        """The keys of a line of a log, without empty keys."""
        pairs = {"comment": self.comment, "guideline": self.guideline}
        return {**{key: text for key, text in pairs.items() if text}, "time": self.time or now()}


NO_REMARK = Remark()


def label_path(cases: Path) -> Path:
    """Return the label file of a file of cases."""
    return cases.with_name(f"{cases.stem}.labels.jsonl")


def read_labels(path: Path | str) -> list[Label]:
    """Read a label file in order, without the cases that a labeller could not decide; no file means no labels.

    Raises:
        DataError: A line other than a cut-off last one is wrong.
    """
    return [one for one in read_answers(path) if one.label is not CANNOT_DECIDE]


def read_answers(path: Path | str) -> list[Label]:
    """Read a label file in order; the label of a case that its labeller could not decide is `CANNOT_DECIDE`.

    Raises:
        DataError: A line other than a cut-off last one is wrong.
    """
    labels: list[Label] = []

    def add(row: Any) -> None:
        case, labeller = str(row["case"]), str(row["labeller"])
        if row.get("undo") is True:
            own = [at for at, one in enumerate(labels) if (one.case, one.labeller) == (case, labeller)]
            for at in own[-1:]:  # a terminal and a page may have taken the same label back
                del labels[at]
        else:
            label = CANNOT_DECIDE if row.get("cannot_decide") is True else row["label"]
            texts = [str(row.get(key, "")) for key in ("comment", "guideline")]
            labels.append(Label(case, labeller, label, str(row["time"]), row.get("decided") is True, *texts))

    read_entries(Path(path), add, "a label file", 'a label with the keys "case", "labeller", "label" and "time"')
    return labels


def labelling_time(answers: Iterable[tuple[str, str]]) -> tuple[int, float] | None:
    """Return how many rows were timed, and the usual seconds of a row: the median time between answers, without breaks.

    Answers within one second of another, as imported files have them, gaps above `LONGEST_S`, and times that cannot be
    read are no labelling time.

    Args:
        answers: Person and ISO time, in the order of the file.

    Returns:
        None below `MIN_TIMED` rows.
    """
    gaps: list[float] = []
    for times in grouped(answers).values():
        at: list[float] = []
        for time in times:
            with suppress(ValueError, OverflowError):
                at.append(datetime.fromisoformat(time).timestamp())
        gaps += [after - before for before, after in pairwise(at) if 1 < after - before <= LONGEST_S]
    return (len(gaps), median(gaps)) if len(gaps) >= MIN_TIMED else None


def known_labeller(name: str, labels: Iterable[Label]) -> str:
    """Return a name as earlier labels spell it."""
    return next((one.labeller for one in labels if one.labeller.casefold() == name.strip().casefold()), name.strip())


def read_entries(path: Path, add: Callable[[Any], None], file: str, entry: str) -> None:
    """Read a file of people's work that is only ever appended to; no file has no lines.

    Args:
        path: Of the file.
        add: Takes the JSON of a line; raises if it is wrong.
        file: The right file, for the message.
        entry: A right line, for the message.

    Raises:
        DataError: A line other than a cut-off last one is wrong.
    """
    refuse_link(path)
    try:
        lines = read_input(path).splitlines(keepends=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(path, None, file, str(error.strerror)) from None
    for number, line in enumerate(lines, 1):
        try:
            add(orjson.loads(line))
        except (KeyError, TypeError, AttributeError, ValueError, DamagedRecord):
            if number == len(lines) and not line.endswith(b"\n"):
                return
            raise DataError(path, number, entry, show(line.decode(errors="replace").strip())) from None


class RowSession(ABC):
    """One person's way through rows; it can be left and resumed at any time.

    Args:
        rows: Id to row, in order.
        done: Row to this person's answer, in order.
    """

    def __init__(self, rows: Mapping[str, Any], done: JsonMapping | None = None) -> None:
        self.assigned, self._rows = tuple(rows), rows
        self._given = {name: answer for name, answer in (done or {}).items() if name in rows}
        self._queue = {name: row for name, row in rows.items() if name not in self._given}

    # Whether an answer can have a comment, or be `CANNOT_DECIDE`.
    takes_remarks = False

    @abstractmethod
    def write(self, row: str, answer: Any, remark: Remark) -> None:
        """Bring an answer to disk."""

    @abstractmethod
    def take_back(self, row: str) -> None:
        """Bring to disk that the last answer to a row does not count."""

    @property
    def n_done(self) -> int:
        return len(self.assigned) - len(self._queue)

    def next(self) -> Any:
        """Return the next row; None if all are done."""
        return next(iter(self._queue.values()), None)

    def open_rows(self) -> list[Any]:
        """Return the rows without an answer, in order."""
        return [*self._queue.values()]

    def row(self, name: str) -> Any:
        """Return a row of this person, with or without an answer.

        Raises:
            UserError: It is not one for this person.
        """
        if name not in self._rows:
            raise UserError(f"The row {show(name)} is not waiting for an answer of yours.")
        return self._rows[name]

    def submit(self, row: str, answer: Any, remark: Remark = NO_REMARK) -> None:
        """Bring an answer to disk; an earlier answer to the same row is taken back first.

        Raises:
            UserError: The row is not one for this person.
        """
        self.row(row)
        if row in self._given:
            self.take_back(row)
            self._return(row)
        self.write(row, answer, remark)
        del self._queue[row]
        self._given[row] = answer

    def _return(self, row: str) -> Any:
        self._queue = {row: self._rows[row], **self._queue}
        return self._given.pop(row)

    def check(self, row: str, answer: Any) -> None:
        """Check that an answer fits its row.

        Raises:
            UserError: It does not.
        """
        self.row(row)

    def undo(self) -> Any:
        """Take the last answer back, on disk, and return it; its row is the next one.

        Raises:
            UserError: This person has given no answer.
        """
        if not self._given:
            raise UserError("There is no answer of yours to take back.")
        self.take_back(row := [*self._given][-1])
        return self._return(row)

    def skip(self, row: str) -> None:
        """Put a row last."""
        self._queue[row] = self._queue.pop(row)


class LabelSession(RowSession):
    """One labeller's way through the cases.

    The first labeller of a label file gets all cases; any other gets a seeded random share.
    Blind: a case is handed out without its expected answer, and without other labels. A label of None means that
    declining is right. A name in another case is the same labeller. Cases on which labellers disagree come first, with
    the labels; a person without a blind label gets only these.

    Args:
        cases: Cases to label.
        path: The label file.
        labeller: Who labels.
        seed: Of order and share.
        share: The share of the cases that a further labeller gets, 0..1 (at least 30 cases).
        disputed: Cases to decide, as they are shown.
    """

    takes_remarks = True

    def __init__(
        self,
        cases: Cases,
        path: Path | str,
        labeller: str,
        *,
        seed: int,
        share: float = SECOND_SHARE,
        disputed: Cases = (),
    ) -> None:
        if not labeller.strip():
            raise UserError("No labeller name is set.", hint="Pass --labeller NAME.")
        labels = read_answers(path)
        self.path, self.labeller = Path(path), known_labeller(labeller, labels)
        order = sorted(cases, key=lambda case: rank(seed, case.id))
        own = [one for one in labels if one.labeller == self.labeller]
        self.is_second = bool(labels) and labels[0].labeller != self.labeller
        if self.is_second:
            only_disputed = share < 1 and (own or disputed) and all(one.decided for one in own)
            n = 0 if only_disputed else max(MIN_SECOND, round(share * len(order)))
            order = sorted(order[:n], key=lambda case: rank(seed + 1, case.id))
        self._disputed = frozenset(case.id for case in disputed)
        blind = [case for case in order if case.id not in self._disputed]
        super().__init__(
            {case.id: replace(case, expected=UNLABELLED, tags=()) for case in (*disputed, *blind)},
            {one.case: one.label for one in own if one.decided is (one.case in self._disputed)},
        )

    def write(self, row: str, answer: Any, remark: Remark) -> None:
        label = {"cannot_decide": True} if answer is CANNOT_DECIDE else {"label": answer}
        decided = {"decided": True} if row in self._disputed and answer is not CANNOT_DECIDE else {}
        append_line(self.path, {"case": row, "labeller": self.labeller, **label, **decided, **remark.fields})

    def add_blind(self, row: str, answer: Any, remark: Remark) -> None:
        """Bring an answer to disk whose person did not see the other labels, though the case is disputed by now."""
        disputed, self._disputed = self._disputed, frozenset()
        self.write(row, answer, remark)
        self._disputed = disputed

    def is_disputed(self, row: str) -> bool:
        return row in self._disputed

    def stored(self) -> dict[tuple[str, bool], Any]:
        """Return this person's last answers in the log, by row and whether it settles a disagreement."""
        return {(one.case, one.decided): one.label for one in read_answers(self.path) if one.labeller == self.labeller}

    def take_back(self, row: str) -> None:
        append_line(self.path, {"case": row, "labeller": self.labeller, "undo": True, "time": now()})


@positional
class Disagreement:
    case: str
    labels: JsonObject


@positional
class Agreement:
    """How far two labellers agree: the ceiling of any score.

    Attributes:
        n: Cases with labels of at least two labellers (of more, the first two count).
        n_agree: Those on which they agree.
        raw: n_agree / n; None if n is 0.
        ci95: Clopper-Pearson interval of `raw`.
        kappa: Cohen's kappa; None if n is 0 or the labels do not vary.
        pabak: Kappa as it would be if all labels were equally frequent (prevalence and bias adjusted; Byrt, Bishop and
            Carlin 1993; of k labels the S of Bennett, Alpert and Goldstein 1954); None if n is 0.
            Where nearly all cases have the same label, kappa is low however often people agree; this is not.
        disagreements: The cases on which any of the labellers differ.
    """

    n: int
    n_agree: int
    raw: float | None
    ci95: Bounds
    kappa: float | None
    disagreements: tuple[Disagreement, ...]
    pabak: float | None = None

    def __str__(self) -> str:
        if self.raw is None:
            return ""
        kappa = "not defined" if self.kappa is None else f"{self.kappa:.2f}"
        low, high = self.ci95
        return (
            f"People agree on {self.n_agree} of {self.n} rows. Agreement is {self.raw:.1%} [{low:.1%}, "
            f"{high:.1%}], and kappa is {kappa} (prevalence-adjusted: {self.pabak:.2f})."
        )


def _by_case(labels: Iterable[Label]) -> dict[str, JsonObject]:
    return {
        case: dict(given) for case, given in grouped((one.case, (one.labeller, one.label)) for one in labels).items()
    }


def disagreements(labels: Iterable[Label]) -> dict[str, JsonObject]:
    """Return the cases with different blind labels, by labeller."""
    return {
        case: by
        for case, by in _by_case(one for one in labels if not one.decided).items()
        if len(set(map(canonical, by.values()))) > 1
    }


def agreement(labels: Iterable[Label]) -> Agreement:
    from tuneworthy.stats.confusion import cohen_kappa
    from tuneworthy.stats.intervals import clopper_pearson

    rows = [one for one in labels if not one.decided]
    order = list(dict.fromkeys(label.labeller for label in rows))
    given = [[canonical(by[name]) for name in sorted(by, key=order.index)] for _, by in sorted(_by_case(rows).items())]
    pairs = [(keys[0], keys[1]) for keys in given if len(keys) > 1]
    if not pairs:
        return Agreement(0, 0, None, (0.0, 1.0), None, ())
    n, n_agree = len(pairs), sum(first == second for first, second in pairs)
    k = max(2, len({key for pair in pairs for key in pair}))
    return Agreement(
        n=n,
        n_agree=n_agree,
        raw=n_agree / n,
        ci95=clopper_pearson(n_agree, n),
        kappa=cohen_kappa(*zip(*pairs, strict=True)),
        disagreements=tuple(Disagreement(*one) for one in sorted(disagreements(rows).items())),
        pabak=(k * n_agree / n - 1) / (k - 1),
    )


@frozen
class Applied:
    """The result of writing labels into a file of cases.

    Attributes:
        n_written: Cases that got a label, or a new one.
        n_same: Cases whose label was the same already.
        relabelled: Ids of cases whose earlier expected answer was replaced.
        conflicts: Ids of cases that have another expected answer, which was left (see `overwrite`).
        disagreements: Cases that were left as they are because the labellers differ.
        unknown: Ids in the labels that the file does not have.
    """

    n_written: int
    n_same: int
    relabelled: Ids
    conflicts: Ids
    disagreements: tuple[Disagreement, ...]
    unknown: Ids


def apply_labels(path: Path | str, labels: Iterable[Label], *, overwrite: bool = False) -> Applied:
    """Write labels into the cases file `path`, atomically; all other keys of its rows stay.

    A conversation becomes a row for each of its turns.

    Args:
        path: A JSONL file of cases in our own format.
        labels: Of any number of labellers.
        overwrite: As `match_labels` takes it.

    Raises:
        UserError: The file is not JSONL in our own format, or has faults.
    """
    file = read_cases(path)
    if file.format != "jsonl/native":
        raise UserError(
            f"{path} must contain cases as JSONL in tuneworthy's own format, not in the {file.format} format."
        )
    done, new = match_labels(file.cases, labels, overwrite=overwrite)
    if new:
        write_rows(path, list(_relabelled(Path(path), new)))
    return done


def match_labels(cases: Cases, labels: Iterable[Label], *, overwrite: bool = False) -> tuple[Applied, JsonObject]:
    """Compare labels with cases; return the result of writing them, and the labels to write.

    Labels on which the labellers differ are listed, not merged. A settled answer replaces the answer of a labeller.

    Args:
        cases: Of the file.
        labels: Of any number of labellers.
        overwrite: Whether a label replaces a different expected answer that the file has.
    """
    rows = list(labels)
    settled = {one.case: {one.labeller: one.label} for one in rows if one.decided}
    blind = _by_case(one for one in rows if not one.decided)
    by_case, known = blind | settled, {case.id: case for case in cases}
    differ, new, conflicts, n_same = [], {}, [], 0
    for case in sorted(by_case.keys() & known.keys()):
        label, given = next(iter(by_case[case].values())), {*map(canonical, by_case[case].values())}
        old = canonical_or_none(known[case].expected)
        if len(given) > 1:
            differ.append(Disagreement(case, by_case[case]))
        elif old in given:
            n_same += 1
        elif old is None or overwrite or (case in settled and old in map(canonical, blind.get(case, {}).values())):
            new[case] = label
        else:
            conflicts.append(case)
    return Applied(
        n_written=len(new),
        n_same=n_same,
        relabelled=tuple(case for case in new if known[case].labelled),
        conflicts=tuple(conflicts),
        disagreements=tuple(differ),
        unknown=tuple(sorted(by_case.keys() - known.keys())),
    ), new


def _relabelled(path: Path, labels: JsonObject) -> Iterator[JsonObject]:
    journal = Journal(path)
    for _, row in turn_rows(open_rows(path, journal).rows, journal):
        if row is None:
            continue  # blank or faulty: the cases were read before, so no row is faulty
        identity = case_id(native_fields(row, journal))
        yield {**row, "expected": labels[identity]} if identity in labels else row
