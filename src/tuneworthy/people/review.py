"""Review of a frozen version by people: a random sample under a plan that was fixed before its first row was shown.

The claim is *at least `bound` of the rows of this version are good*. Rules that keep it honest:

1. A plan (n rows, at most c bad) is on disk, with the seed and the rows drawn, before a row is shown. It is exact for a
   sample without replacement (`stats.acceptance.lot_plan_size`).
2. Curtailed only inside the plan: the version is rejected at bad row c + 1, and accepted when no verdict that is still
   missing could change that. Both are what the whole plan would have said.
3. Every plan is an attempt, whether or not it was finished, and attempt k may err with ``0.05 / 2**k``: over all
   attempts and rebuilds of a project, the chance that a version whose error is above its bound passes is at most 5 %.
4. Rows that people saw before, by the hash of their content, are never drawn again: what was said of them counts as
   known (good or bad), and the plan proves the rest. The draw is a new one each time.
5. A row is bad as soon as anybody says so, in whichever sample, of whichever version. A reviewer can take verdicts back
   until the plan is decided, and after that only those of the same session. A plan that counted on rows that turn out
   bad is rejected.
6. Every reviewer also gets rows that are surely bad, unmarked: a question with the answer of a similar one. Good
   verdicts count only once their reviewer has judged all planted rows, and never of a reviewer who rated more than
   `MOST_MISSED` of them good. These rows belong to no version and no sample, and no build ever hears of them.

The file is only ever appended to, a line on disk the moment it is given: plans and verdicts, no row content.
A row is named by the hash of its messages. This module knows no project and no terminal: a web page uses it as well.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from heapq import nsmallest
from itertools import chain, islice
from math import log
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from tuneworthy.cases.labelling import MIN_SECOND, NO_REMARK, Remark
from tuneworthy.cases.normalize import words
from tuneworthy.cases.readers.faults import show
from tuneworthy.cases.stratified import rank
from tuneworthy.errors import UserError
from tuneworthy.people.review_log import (
    ALPHA,
    Ledger,
    ReviewPlan,
    RowVerdict,
    State,
    TakenBack,
    build_state,
    content_of,
    state_of,
    status_of,
    tally,
)
from tuneworthy.stats.acceptance import attempt_alpha, lot_plan_size, most_allowed, operating_characteristic
from tuneworthy.store.lines import append_line, exclusive, now, write_line
from tuneworthy.types import SECOND_SHARE, Example, Messages, TextPair, TextTuple, content_hash, role_of, text_of

BOUND = 0.95
N_PLANTED = 8
# The plan is the smallest that a version with 1% bad rows passes with this probability.
PASSES, MAX_BAD_ROWS = 0.8, range(5)
GOOD_RATE = 0.99
# Rows among which the answer of a planted row is looked for.
_N_POOL = 2_000
# Share of common words above which two questions, or two answers, may mean the same.
_MAX_ALIKE = 0.5
# Nearest questions whose labels may be right as well.
_N_RIVALS = 5


def sample_size(n_rows: int, n_known: int, n_known_bad: int, attempt: int, *, bound: float, max_bad: int) -> int | None:
    """Return how many fresh rows attempt number `attempt` must draw; None if no sample could prove the bound.

    Args:
        n_rows: Of the version.
        n_known: Of these, judged in an earlier review.
        n_known_bad: Of these, found bad.
        attempt: From 1.
        bound: Least share of good rows.
        max_bad: Most bad rows in the sample.

    >>> [sample_size(100_000, 0, 0, attempt, bound=0.95, max_bad=0) for attempt in (1, 2, 3)]
    [72, 86, 99]
    """
    fresh, allowed = n_rows - n_known, most_allowed(n_rows, bound) - n_known_bad
    if fresh < 1 or allowed < 0:
        return None
    return lot_plan_size(fresh, min(allowed, fresh - 1), max_bad, attempt_alpha(attempt, ALPHA))


class Review:
    """The review of one frozen version.

    Args:
        path: The file of reviews.
        version: The hash of the version.
        rows: Its kept rows; gone through more than once, and never held in memory.
    """

    def __init__(self, path: Path, version: str, rows: Iterable[Example]) -> None:
        self.path, self.version, self.rows = path, version, rows

    def state(self) -> State:
        return state_of(self.path, self.version)

    def plan(
        self,
        *,
        max_bad: int | None = None,
        seed: int | None = None,
        planted: int = N_PLANTED,
        fix: bool = True,
    ) -> ReviewPlan:
        """Return the plan of this version; fix one, on disk, if there is no plan yet.

        Args:
            max_bad: Most bad rows in the sample; if None, see `PASSES`.
            seed: Of the draw; a random one, which is stored, if None.
            planted: How many rows that are surely bad every reviewer gets among the sample. They are omitted where all
                rows of the version have the same answer.
            fix: Whether to store a new plan.

        Raises:
            UserError: No sample can show that.
        """
        ids = [content_of(row) for row in self.rows]  # before the file is held: other reviewers need not wait
        with exclusive(self.path) if fix else nullcontext() as file:
            ledger = Ledger.read(self.path)
            if (earlier := build_state(ledger, self.version).plan) is not None:
                return earlier
            judged, attempt = ledger.judged(), len(ledger.plans) + 1
            counts = Counter(map(judged.get, ids))
            numbers = n_rows, n_known, n_known_bad = len(ids), counts[True] + counts[False], counts[False]
            allowed = MAX_BAD_ROWS if max_bad is None else [max_bad]
            sizes = [(sample_size(*numbers, attempt, bound=BOUND, max_bad=bad), bad) for bad in allowed]
            plans = [(n, bad) for n, bad in sizes if n is not None]
            if not plans:
                raise UserError(
                    f"No sample of the {n_rows} rows can show that at least {BOUND:.1%} are good. Earlier reviews "
                    f"covered {n_known} rows, of which {n_known_bad} are bad (at most {most_allowed(n_rows, BOUND)} "
                    "allowed).",
                    hint="Run `tuneworthy data build` with more rows. It drops the bad rows.",
                )
            n, max_bad = next((plan for plan in plans if chance_to_pass(*plan) >= PASSES), plans[-1])
            seed = secrets.randbelow(2**31) if seed is None else seed
            rows = draw((row for row in ids if row not in judged), n, key=f"{seed}:{self.version}:{attempt}")
            fixed: Any = {"version": self.version, "rows": rows, "seed": seed, "n_rows": n_rows, "attempt": attempt}
            plan = ReviewPlan(
                **fixed,
                id=content_hash(["plan", fixed]),
                time=now(),
                alpha=attempt_alpha(attempt, ALPHA),
                bound=BOUND,
                max_bad=max_bad,
                n_known=n_known,
                n_known_bad=n_known_bad,
                known=tuple(row for row in ids if row in judged),
                planted=plant(self.rows, planted, seed=seed, sample=frozenset(rows)),
            )
            if file is not None:
                write_line(file, {"kind": "plan", **asdict(plan)})
        return plan

    def reviewing(self, reviewer: str, plan: ReviewPlan) -> "Reviewing":
        """Return the way of one reviewer through a plan (see `Reviewing`).

        Raises:
            UserError: The version no longer holds the rows of the sample, or the reviewer has no name.
        """
        return Reviewing(self.path, plan, _pick(self.rows, plan), reviewer)


class Reviewing:
    """One reviewer's way through a sample; it can be left and taken up at any time, and several may go at once.

    Everybody is asked about a seeded share of the sample, which gives their agreement, and about the planted rows;
    every other row is asked once, of whoever comes first, and again where it was rated by a reviewer whose good
    verdicts do not count. Once the plan is decided, only rows of that share that others judged are asked. No one is
    shown what others said, nor why a row was rejected, nor which rows are planted.

    Args:
        path: The file of reviews.
        plan: The plan.
        rows: Content hash to row.
        reviewer: Who.
    """

    def __init__(self, path: Path, plan: ReviewPlan, rows: Mapping[str, Example], reviewer: str) -> None:
        if not reviewer.strip():
            raise UserError("No name is set.", hint="Pass --labeller NAME.")
        self.path, self.plan, self.reviewer = path, plan, reviewer.strip()
        self._rows = rows
        self.takes_remarks = False
        self._given: list[str] = []
        distinct = set(plan.rows)
        n_shared = min(len(distinct), max(MIN_SECOND, round(SECOND_SHARE * len(distinct))))
        self._shared = frozenset(sorted(distinct, key=lambda row: rank(plan.seed, f"shared {row}"))[:n_shared])
        self._order = {row: i for i, row in enumerate(plan.shown)}
        self._put_off: dict[str, int] = {}

    def row(self, name: str) -> Example:
        """Return a row of the sample.

        Raises:
            UserError: It is not in the sample.
        """
        if name not in self._order:
            raise UserError(f"Row {show(name)} is not in the review sample.")
        return self._rows[name]

    def waiting(self) -> list[str]:
        ledger = Ledger.read(self.path)
        plan, own = self.plan, {*self._own(ledger)}
        others = ledger.judged_in(plan, unfinished=True).keys() - own
        if ledger.trust_in(plan).get(self.reviewer) == "distrusted":
            return []
        open_ = status_of(plan, tally(ledger, plan)) == "open"
        rows = [row for row in self._order if row not in own and (row in self._shared if row in others else open_)]
        if open_ and not rows:  # what others rated who did not finish: they may never come back
            rows = sorted(others - ledger.judged_in(plan).keys())
        return sorted(rows, key=lambda row: (self._put_off.get(row, 0), self._order[row]))

    def _own(self, ledger: Ledger) -> list[str]:
        return [one.row for one in ledger.verdicts.get(self.plan.id, ()) if one.reviewer == self.reviewer]

    @property
    def assigned(self) -> list[str]:
        return [*self._own(Ledger.read(self.path)), *self.waiting()]

    def next(self) -> Example | None:
        """Return the next row, without where it came from and what is known of it; None if none waits."""
        return next(iter(self.open_rows()), None)

    def open_rows(self) -> list[Example]:
        """Return the rows that wait, in order."""
        return [self._rows[row] for row in self.waiting()]

    def skip(self, row: str) -> None:
        self._put_off[row] = len(self._put_off) + 1

    def give(self, row: str, *, good: bool, reason: str = "", remark: Remark = NO_REMARK) -> None:
        """Write a verdict to disk.

        Args:
            row: Content hash.
            good: Whether it may be trained on as it is.
            reason: Why not; needed if it is bad.
            remark: Time and version of the guideline.

        Raises:
            UserError: The row is not of the sample, a bad one has no reason, or the reviewer has rated it.
        """
        self.row(row)
        if not good and not reason.strip():
            raise UserError("Give a reason for each row that you rate as bad.")
        if row in self._own(Ledger.read(self.path)):
            raise UserError(f"{self.reviewer} has already rated row {row}.")
        verdict = RowVerdict(
            sample=self.plan.id,
            row=row,
            reviewer=self.reviewer,
            good=good,
            reason=reason.strip(),
            time=remark.time or now(),
            guideline=remark.guideline,
        )
        fields = {key: value for key, value in asdict(verdict).items() if key != "guideline" or value}
        append_line(self.path, {"kind": "verdict", **fields})
        self._given.append(row)

    def undo(self) -> None:
        """Take the reviewer's last verdict back, on disk.

        Raises:
            UserError: There is no such verdict, or it is of an earlier session and the plan is decided.
        """
        ledger = Ledger.read(self.path)
        own, is_distrusted = self._own(ledger), ledger.trust_in(self.plan).get(self.reviewer) == "distrusted"
        if not own or is_distrusted or not (self._given or status_of(self.plan, tally(ledger, self.plan)) == "open"):
            raise UserError("There is no rating of yours to take back.")
        undo = TakenBack(sample=self.plan.id, row=own[-1], reviewer=self.reviewer, time=now())
        append_line(self.path, {"kind": "undo", **asdict(undo)})
        self._given = self._given[:-1]
        self._put_off[own[-1]] = -len(self._put_off) - 1

    def check(self, row: str, answer: Any) -> None:
        """Every rating fits every row."""

    @property
    def n_done(self) -> int:
        return len(self._own(Ledger.read(self.path)))

    def submit(self, row: str, answer: Any, remark: Remark = NO_REMARK) -> None:
        """Write a verdict; the reviewer's last verdict can be replaced so, an earlier one only by undoing."""
        if self._own(Ledger.read(self.path))[-1:] == [row]:
            self.undo()
        self.give(row, good=answer[0], reason=answer[1], remark=remark)


def draw(rows: Iterable[str], n: int, *, key: str) -> TextTuple:
    """Return a simple random sample of `n` rows without replacement, in random order.

    The order comes from hashes of `key` and row: another key is another draw. Of a row that is there twice, each copy
    has its own chance.
    """
    copies: Counter[str] = Counter()

    def ranked() -> Iterator[TextPair]:
        for row in rows:
            copies[row] += 1
            yield rank(0, f"{key}:{row}:{copies[row]}"), row

    return tuple(row for _, row in nsmallest(n, ranked()))


def chance_to_pass(n: int, max_bad: int) -> float:
    """Return the probability that a version with 1% bad rows passes a plan."""
    return operating_characteristic(n, n - max_bad, GOOD_RATE)


class _PoolRow(NamedTuple):
    """A row that may be planted, or give its answer to one; question and answer as compared, and as sets of words."""

    in_sample: bool
    order: str
    name: str
    question: str
    answer: str
    asked: frozenset[str]
    said: frozenset[str]


def plant(rows: Iterable[Example], n: int, *, seed: int, sample: frozenset[str]) -> TextTuple:
    """Draw `n` rows that are surely bad with the answer of another row, as `ReviewPlan.planted` names them.

    Questions come from outside the sample where the version has as many rows. The wrong answer is plausible: that of a
    similar question. It is surely wrong: a label is not among those of the nearest questions, and no other answer or
    question is a rewording.
    The result is empty where only one answer occurs.
    """

    pool = nsmallest(_N_POOL, _pool_rows(rows, seed, sample))
    counts = Counter(word for row in pool for word in (*row.asked, *row.said))

    def alike(one: frozenset[str], other: frozenset[str]) -> float:
        common, total = (sum(log(1 + len(pool) / counts[word]) for word in some) for some in (one & other, one | other))
        return common / total if total else 0.0

    def wrong_answer(row: _PoolRow) -> str:
        """Return the name of the row with the most plausible wrong answer; "" without one."""
        others = (other for other in pool if other.question != row.question)
        compared = ((alike(row.asked, other.asked), alike(row.said, other.said), other) for other in others)
        near = sorted(compared, reverse=True)
        is_label = any(other.answer == row.answer for *_, other in near)
        right, limit = ({other.answer for *_, other in near[:_N_RIVALS]}, 1.0) if is_label else (set(), _MAX_ALIKE)
        wrong = [
            (asked + 2 * said if other.answer not in right and max(asked, said) <= limit else -asked - said, other)
            for asked, said, other in near
            if other.answer != row.answer
        ]
        return max(wrong)[1].name if wrong else ""

    planted = ((row.name, wrong_answer(row)) for row in pool[: 2 * n])
    return tuple(f"{question} {answer}" for question, answer in islice(filter(itemgetter(1), planted), n))


def _pool_rows(rows: Iterable[Example], seed: int, sample: frozenset[str]) -> Iterator[_PoolRow]:
    for row in rows:
        if len(row.messages) > 1 and role_of(row.messages[-1]) == "assistant":
            turns = [message for message in row.messages[:-1] if role_of(message) != "system"]
            yield _PoolRow(
                (name := content_of(row)) in sample,
                rank(seed, f"planted {name}"),
                name,
                _compared(row.messages[:-1]),
                _compared(row.messages[-1:]),
                frozenset(words(" ".join(map(text_of, turns)))),
                frozenset(words(row.answer)),
            )


def _compared(messages: Messages) -> str:
    return content_hash(["".join(filter(str.isalnum, str(message))).casefold() for message in messages])


def _pick(rows: Iterable[Example], plan: ReviewPlan) -> dict[str, Example]:
    planted = plan.planted_rows
    names, picked = {*plan.rows, *chain.from_iterable(planted.values())}, dict[str, Example]()
    for row in rows:
        name = content_of(row)
        if name in names:
            tools = {"tools": row.meta["tools"]} if "tools" in row.meta else {}
            picked[name] = Example(messages=row.messages, id=name, meta=tools)
    if len(picked) < len(names):
        raise UserError(
            f"Version {plan.version} contains only {len(picked)} of the {len(names)} sampled rows.",
            hint="A frozen version must not change. Restore its files, or build and review a new version.",
        )
    for name, (question, answer) in planted.items():
        row, other = picked[question], picked[answer]
        picked[name] = replace(row, id=name, messages=(*row.messages[:-1], other.messages[-1]))
    return picked
