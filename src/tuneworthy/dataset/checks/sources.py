"""Rows, and sources of rows, that the other rows contradict: by label, or by how question and answer fit.

A source is a value of a column that rows carry: the file, a tag, an annotator, a model, the month, quarter or year of a
date. The share of its rows that are contradicted is compared with the share among the others, label by label.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

import numpy as np

from tuneworthy.arrays import Bools, Ints
from tuneworthy.cases.task_kind import parse_object
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import MANY, CheckContext, RowFinding, RowFindings, as_rows, data_check, with_turns
from tuneworthy.dataset.checks.label_errors import filled_keys, out_of_fold, shared_answers
from tuneworthy.dataset.columns import Arrays, MappedCheck, Mapper, RowColumns
from tuneworthy.dataset.evidence import PairAgreement, endings, exchanged_sides, unlike
from tuneworthy.dataset.records import file_of
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.types import Example, Examples, TextPair, Texts, calls_of, frozen, grouped, positional

# Rows that are judged at a time, in runs of neighbours; and the fewest that are judged.
MOST_ROWS, RUN, MIN_ROWS = 6_000, 50, 100
# Rows of a source, and probability that any right source is accused.
MIN_OF_A_SOURCE, _ALPHA = 30, 0.01
# Least difference of the shares; share above which all rows of a source leave; probability above which one leaves.
_CLEARLY, _WHOLE, _LIKELY = 0.05, 0.8, 0.6
# Share of the rows of a slipped file that do not fit their questions, and of those that fit a neighbour.
_MOST = 0.5
# Rows of a label among the other sources that count as much as the share of all.
_USUAL = 10
# Share of the rows of a label from which it belongs to one source.
_OWN = 0.95
_DATE = re.compile(r"((?:19|20)\d\d)-(\d\d)(?:-\d\d|$)")
_SHOWN = 3

# Whether the answers of some rows fit the questions of some rows.
Fits = Callable[[Ints, Ints], Bools]


@frozen
class Judged:
    """What the other rows say of rows.

    Attributes:
        fits: Whether answers fit questions.
        contradicted: Rows that are contradicted.
        given: Name of the kind of each row: its label, or "".
        predicted: What the other rows suggest instead.
        words: What is contradicted, for people.
        codes: Row to code, where the row itself is convicted.
    """

    fits: Fits
    contradicted: Bools
    given: Texts
    predicted: Texts
    words: str
    codes: dict[int, str]


@positional
class AccusedSource:
    """A source that is accused.

    Attributes:
        column: Column and value.
        rows: Its rows.
        n_bad: Of these are contradicted.
        elsewhere: Share among the others.
        interval: Of its share.
    """

    column: TextPair
    rows: Ints
    n_bad: int
    elsewhere: float
    interval: tuple[float, float]

    @property
    def name(self) -> str:
        return f"{self.column[0]} `{self.column[1]}`".strip()

    @property
    def share(self) -> float:
        return self.n_bad / len(self.rows)


def columns_of(row: Example) -> Iterator[TextPair]:
    """Yield column and value of all that a row carries besides its chat.

    >>> [*columns_of(Example(messages=(), id="", source="a.csv:7", meta={"by": "kim", "day": "2024-05-01"}))]
    [('', 'a.csv'), ('by', 'kim'), ('day', '2024'), ('day', '2024-Q2'), ('day', '2024-05')]
    """
    yield "", file_of(row)
    yield from (("tag", tag) for tag in row.tags)
    flat = chain.from_iterable(
        ((f"{key}.{name}", one) for name, one in value.items()) if isinstance(value, dict) else [(key, value)]
        for key, value in row.meta.items()
    )
    for key, value in flat:
        if isinstance(value, str) and (date := _DATE.match(value)):
            year, month = date[1], int(date[2])
            yield from ((key, part) for part in (year, f"{year}-Q{(month + 2) // 3}", f"{year}-{month:02}"))
        elif isinstance(value, str | int) and str(value).strip():
            yield key, str(value).strip()


@data_check("sources", whole=True, version=2, asks={"bad_source": 0.0, "shifted_source": 0.0, "exchanged": MANY,
            "cut_answer": MANY, "unlike_others": MANY})  # fmt: skip
class SourcesCheck(MappedCheck):
    """Files, annotators, dates, models and tags whose rows the other rows contradict, and such rows.

    With labels, a row is contradicted if models that have not seen it predict another label. Without, its answer shares
    no more terms with its question than with those of other rows. A source with clearly more such rows than the rest is
    named, and the build asks what becomes of it: `policy = { bad_source = "drop" }` or "report" in [data]. If the
    answers fit the next or the previous row of the file, `shifted_source = "mask"` moves them back, even if all files
    slipped. With 30 cases or more, these show how right rows score, so any share of the rows may be wrong.

    Rows of free text leave if question and answer are exchanged, if the answer ends like answers that are
    cut anywhere, or if its words are those of answers that do not fit. How such faults score is learned from faults
    made up from the rows; the thresholds lose about 0.25% of right rows each. Above 10%, the build asks.

    Bad: a file whose answers slipped by one line; an annotator who confuses two labels.
    """

    def mapper(self, rows: Examples, context: CheckContext) -> Mapper:
        return lambda some: {"usable": np.array([*map(_is_usable, some)], bool)}

    def join(self, columns: RowColumns, rows: Examples, context: CheckContext) -> RowFindings:
        n_usable = int(columns.whole("usable").sum())
        if n_usable < MIN_ROWS:
            return
        numbers, judged = _judged(columns, 0)
        done = np.zeros(len(rows), bool)
        yield from _of_sources(rows, numbers, judged, done)
        parts = iter([_codes(numbers, judged)])
        for begin in [2**k for k in range(32)]:  # each round of tasks is as many as were judged before
            for part in parts:
                codes = [code.decode() for code in part["codes"].tolist()]
                for n, code in zip(part["rows"].tolist(), codes, strict=True):
                    if not done[n]:
                        yield RowFinding(row=n, code=code, action="report" if code == "other_answer" else "drop")
                if {*codes} <= {"other_answer"}:
                    return  # no fault among thousands of rows
            numbered = [(k,) for k in range(begin, min(2 * begin, -(-n_usable // MOST_ROWS)))]
            parts = iter(columns.each(judge_part, numbered, here=context.encoder is not None))  # tasks have no encoder


def judge_part(columns: RowColumns, part: int) -> Arrays:
    """Return the rows of a part that are convicted, and their codes."""
    return _codes(*_judged(columns, part))


def _codes(numbers: Ints, judged: Judged) -> Arrays:
    return {"rows": numbers[[*judged.codes]], "codes": np.array([*judged.codes.values()], "S16")}


def _judged(columns: RowColumns, part: int) -> tuple[Ints, Judged]:
    """Return the numbers of the rows of a part, and what the others say about these rows."""
    usable = np.flatnonzero(columns.whole("usable"))
    numbers = usable[next(islice(_parts(len(usable), columns.context.seed), part, None))]
    return numbers, _judge([columns.rows[n] for n in numbers.tolist()], columns.context)


def _is_usable(row: Example) -> bool:
    return bool(row.question.strip() and _values(row.answer).strip()) and not calls_of(row.messages[-1])


def _parts(n: int, seed: int) -> Iterator[Ints]:
    """Yield the numbers of at most `MOST_ROWS` rows at a time, in runs of neighbours, until all are judged."""
    starts = np.random.default_rng(seed).permutation(-(-n // RUN)) * RUN
    for some in np.array_split(starts, -(-n // MOST_ROWS)):
        drawn = (np.sort(some)[:, None] + np.arange(RUN)).ravel()
        yield drawn[drawn < n]


def _of_sources(rows: Examples, numbers: Ints, judged: Judged, done: Bools) -> RowFindings:
    """Yield the findings on sources and their rows, and mark these rows as `done`."""
    named = [*accused([rows[n] for n in numbers.tolist()], judged)]
    for source in chain(named, _slipped((one.column[1] for one in named), numbers, rows, judged)):
        step = _shift(source, numbers, rows, judged)
        turned = sum(judged.codes.get(n) == "exchanged" for n in source.rows.tolist())
        code = "shifted_source" if step else "exchanged" if 2 * turned > source.n_bad else "bad_source"
        yield RowFinding(code=code, message=_sentence(source, judged, step, code), score=source.share)
        members = (
            np.fromiter((n for n, row in enumerate(rows) if source.column in columns_of(row) and not done[n]), np.int64)
            if step or source.share > _WHOLE
            else numbers[_convicted(source, judged)]
        )
        done[members] = True
        for n in map(int, members):
            yield _moved(rows, n, step) if step else RowFinding(row=n, code=code, message=source.name)


def _judge(rows: Examples, context: CheckContext) -> Judged:
    questions, answers = [row.question for row in rows], [row.answer.strip() for row in rows]
    labels = {*context.labels} or shared_answers(answers)
    if not labels:
        return _by_text([*map(_values, questions)], [*map(_values, answers)], context, prose=not filled_keys(answers))
    given = np.array(answers, dtype=object)
    predicted = given.copy()
    if len(known := np.array([n for n, answer in enumerate(answers) if answer in labels])) and len({*given[known]}) > 1:
        classes, of_models = out_of_fold(
            [questions[n] for n in known.tolist()], given[known].tolist(), context.encoder, context.seed
        )
        predicted[known] = np.array(classes, dtype=object)[of_models.mean(axis=0).argmax(axis=1)]
    return Judged(
        fits=lambda asked, answered: predicted[asked] == given[answered],
        contradicted=predicted != given,
        given=answers,
        predicted=predicted.tolist(),
        words="labels disagree with the other rows",
        codes={},
    )


def _values(answer: str) -> str:
    """Return the values of a JSON object, as those of other answers are words that a question may share."""
    value = parse_object(answer)
    return " ".join(map(str, value.values())) if isinstance(value, dict) else answer


def _by_text(questions: Texts, answers: Texts, context: CheckContext, *, prose: bool) -> Judged:
    seed, cases = context.seed, as_rows(context.cases)
    known = [[*map(_values, texts)] for texts in ((one.question for one in cases), (one.answer for one in cases))]
    exchanged = exchanged_sides([*questions, *known[0]], [*answers, *known[1]], seed, len(cases))[: len(questions)]
    pairs = zip(questions, answers, exchanged.tolist(), strict=True)
    asked, answered = zip(*((a, q) if turned else (q, a) for q, a, turned in pairs), strict=True)
    sides = [*asked, *known[0]], [*answered, *known[1]]
    agreement = PairAgreement(*sides, seed, len(cases))
    tells = agreement.scores.tells
    found = {
        "other_answer": agreement.scores.faulty(),
        "cut_answer": endings(sides[1], seed, len(cases)).faulty() & prose,
        "unlike_others": unlike(*sides, agreement.scores, seed) & tells & prose,
        "exchanged": exchanged,
    }
    nothing = [""] * len(asked)
    return Judged(
        fits=agreement.fits,
        contradicted=np.any([(agreement.scores.rows <= agreement.limit) & tells, *found.values()], axis=0),
        given=nothing,
        predicted=nothing,
        words="answers do not fit their questions or the other answers",
        codes={int(n): code for code, rows in found.items() for n in np.flatnonzero(rows)},
    )


def accused(rows: Examples, judged: Judged) -> Iterator[AccusedSource]:
    """Yield the sources with clearly more contradicted rows than the rest, the worst first; each without the former."""
    members = grouped((column, number) for number, row in enumerate(rows) for column in {*columns_of(row)})
    values = {key: np.array(own) for key, own in members.items() if len(own) >= MIN_OF_A_SOURCE}
    left = np.ones(len(rows), bool)
    while found := [
        source for key, own in values.items() if (source := _source(key, own[left[own]], left, judged, len(values)))
    ]:
        worst = max(found, key=lambda source: (source.interval[0] - source.elsewhere, len(source.rows)))
        yield worst
        left[worst.rows] = False


def _slipped(named: Iterable[str], numbers: Ints, rows: Examples, judged: Judged) -> Iterator[AccusedSource]:
    """Yield other files, most of whose answers fit a neighbour and not their question, whatever the other files do."""
    files, every = np.array([file_of(rows[n]) for n in numbers.tolist()]), np.arange(len(numbers))
    misfits = ~judged.fits(every, every)
    for file in sorted({*files.tolist()}.difference(named)):
        own, n_bad = np.flatnonzero(files == file), int(misfits[files == file].sum())
        elsewhere = (int(misfits.sum()) - n_bad) / max(1, len(files) - len(own))
        source = AccusedSource(("", file), own, n_bad, elsewhere, clopper_pearson(n_bad, len(own)))
        if source.interval[0] > _MOST and _shift(source, numbers, rows, judged, _MOST):
            yield source


def _source(key: TextPair, own: Ints, left: Bools, judged: Judged, n_values: int) -> AccusedSource | None:
    """Return the source if its share is clearly above that of the others, label by label; else None."""
    others = np.setdiff1d(np.flatnonzero(left), own)
    if min(len(own), len(others)) < MIN_OF_A_SOURCE:
        return None
    n_own, n_all = Counter(judged.given[n] for n in own), Counter(judged.given[n] for n in (*own, *others))
    # A label that only this source has may be hard: to take one such label for another accuses no one.
    foreign = {label for label, n in n_own.items() if label and n >= _OWN * n_all[label]}
    bad = [n for n in own.tolist() if judged.contradicted[n] and judged.predicted[n] not in foreign]
    usual = judged.contradicted[others]
    share = float(usual.mean())
    by_label = Counter(judged.given[n] for n in others[usual])
    expected = np.mean(
        [
            (by_label[label] + _USUAL * share) / (n_all[label] - n_own[label] + _USUAL)
            for label in (judged.given[n] for n in own)
        ]
    )
    interval = clopper_pearson(len(bad), len(own), 2 * _ALPHA / n_values)
    if interval[0] <= max(
        float(expected) + _CLEARLY, clopper_pearson(int(usual.sum()), len(others), 2 * _ALPHA / n_values)[1]
    ):
        return None
    return AccusedSource(key, own, len(bad), share, clopper_pearson(len(bad), len(own)))


def _shift(source: AccusedSource, numbers: Ints, rows: Examples, judged: Judged, least: float = 0.0) -> int:
    """Return by how many rows the answers of a source must move, -1 or 1.

    It is 0 if at most `least` fit their neighbours on one side, or no clearly larger share than on the other.
    """
    fitting = int(judged.fits(source.rows, source.rows).sum())
    drawn = {number: place for place, number in enumerate(numbers.tolist())}
    fits = {0: (0.0, max(least, clopper_pearson(fitting, len(source.rows))[1]))}
    for step in (-1, 1):
        others = [(n, drawn.get(_neighbour(rows, int(numbers[n]), step), -1)) for n in source.rows.tolist()]
        pairs = np.array([pair for pair in others if pair[1] >= 0], np.int64).reshape(-1, 2)
        n_fit = int(judged.fits(pairs[:, 0], pairs[:, 1]).sum()) if len(pairs) >= MIN_OF_A_SOURCE // 2 else 0
        fits[step] = clopper_pearson(n_fit, len(pairs)) if n_fit else (0.0, 0.0)
    best = max((-1, 1), key=fits.__getitem__)
    return best if fits[best][0] > max(fits[0][1], fits[-best][1]) else 0


def _neighbour(rows: Examples, number: int, step: int) -> int:
    """Return the number of the next or previous row of the same file; -1 if it is not among the rows."""
    other, places = number + step, getattr(rows, "places", range(len(rows)))
    if not 0 <= other < len(rows) or places[other] - places[number] != step:
        return -1
    return other if file_of(rows[number]) == file_of(rows[other]) else -1


def _moved(rows: Examples, number: int, step: int) -> RowFinding:
    """Return the finding that gives a row the answer of its neighbour, or drops it if it has no neighbour."""
    if (other := _neighbour(rows, number, step)) < 0:
        return RowFinding(row=number, code="no_answer")
    row = rows[number]
    return RowFinding(
        row=number,
        code="shifted_source",
        action="mask",
        changed=with_turns(row, (*row.messages[:-1], rows[other].messages[-1])),
    )


def _convicted(source: AccusedSource, judged: Judged) -> list[int]:
    """Return the rows of a source with a confusion of two labels that it has clearly more often than the others."""
    own = source.rows.tolist()
    pairs = {n: frozenset((judged.given[n], judged.predicted[n])) for n in np.flatnonzero(judged.contradicted).tolist()}
    here, everywhere = Counter(pairs[n] for n in own if n in pairs), Counter(pairs.values())
    ratio = len(own) / (len(judged.given) - len(own))
    likely = {pair for pair, n in here.items() if 1 - ratio * (everywhere[pair] - n + 1) / n > _LIKELY}
    return [n for n in own if pairs.get(n) in likely]


def _sentence(source: AccusedSource, judged: Judged, step: int, code: str) -> str:
    low, high = source.interval
    pairs = Counter(
        (judged.given[n], judged.predicted[n]) for n in source.rows if judged.given[n] != judged.predicted[n]
    )
    shown = ", ".join(f"{given} for {other} ({n})" for (given, other), n in pairs.most_common(_SHOWN) if n > 1)
    return messages.say(
        "source",
        name=source.name,
        share=f"{source.share:.0%} [{low:.0%}, {high:.0%}]",
        words=judged.words,
        elsewhere=f"{source.elsewhere:.0%}",
        n=len(source.rows),
        more=messages.say("slipped", row="previous" if step > 0 else "next")
        if step
        else messages.say("turned")
        if code == "exchanged"
        else shown and messages.say("confused", pairs=shown),
    )
