"""The file of reviews, and how far the review of a version is (see `review`).

Plans and verdicts are a line each, only ever appended to. The state of a review follows from this file only.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from tuneworthy.cases.labelling import Agreement, Label, agreement, read_entries
from tuneworthy.cases.stratified import rank
from tuneworthy.stats.acceptance import is_accepted, is_rejected
from tuneworthy.store.shapes import shaped
from tuneworthy.text import plural
from tuneworthy.types import Example, JsonObject, TextPair, TextTuple, content_hash, frozen

# In the project folder and not in the tool's own: it is people's work.
FILE_NAME = "reviews.jsonl"
# Planted bad rows that a reviewer may rate good: with 8 of them, who misses 5 % of bad rows misses more once in 170.
MOST_MISSED = 2
Trust = Literal["trusted", "unfinished", "distrusted"]


@frozen
class ReviewPlan:
    """A sample of the rows of a version, fixed, and what it decides.

    Attributes:
        id: Of the plan.
        version: What it was drawn from.
        rows: Content hashes in the order in which they are shown; a row that the version holds twice may be twice here.
        seed: Of the draw.
        n_rows: How many rows it could have drawn from, known ones included.
        time: When it was fixed.
        attempt: Number of this plan among all of the file, from 1.
        alpha: The error that it may make.
        bound: The least share of good rows that is claimed.
        max_bad: Most bad rows in the sample.
        n_known: Rows of the version that were reviewed before.
        n_known_bad: Of these, found bad.
        known: Content hashes of these rows, a row that the version holds twice twice.
        planted: Rows that are surely bad, shown to every reviewer among the sample: `question answer`, the content
            hashes of the row that is shown and of the row whose answer it is shown with.
    """

    id: str
    version: str
    rows: TextTuple
    seed: int
    n_rows: int
    time: str
    attempt: int
    alpha: float
    bound: float
    max_bad: int
    n_known: int
    n_known_bad: int
    known: TextTuple = ()
    planted: TextTuple = ()

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def planted_rows(self) -> dict[str, TextPair]:
        """Name of a planted row to the rows that it is made of; no row of a version can have that name."""
        pairs = (pair.split() for pair in self.planted)
        return {content_hash(["planted", *pair]): (pair[0], pair[1]) for pair in pairs}

    @property
    def shown(self) -> TextTuple:
        """Names of the rows that a reviewer gets, in order: the planted ones at random places among the sample."""
        rows, planted = list(dict.fromkeys(self.rows)), list(self.planted_rows)
        order = range(len(rows) + len(planted))
        places = {*sorted(order, key=lambda place: rank(self.seed, f"place {place}"))[: len(planted)]}
        return tuple((planted if place in places else rows).pop(0) for place in order)


@frozen
class RowVerdict:
    """One reviewer's verdict on one row of a sample; a bad row has a reason.

    Attributes:
        guideline: Version of the guideline that the reviewer saw; "" without one.
    """

    sample: str
    row: str
    reviewer: str
    good: bool
    reason: str
    time: str
    guideline: str = ""


@frozen
class TakenBack:
    sample: str
    row: str
    reviewer: str
    time: str


KINDS: dict[str, type[ReviewPlan | RowVerdict | TakenBack]] = {
    "plan": ReviewPlan,
    "verdict": RowVerdict,
    "undo": TakenBack,
}


@dataclass(slots=True)
class Ledger:
    """All plans and verdicts of a file, in its order."""

    plans: list[ReviewPlan] = field(default_factory=list)
    verdicts: dict[str, list[RowVerdict]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def read(cls, path: Path) -> "Ledger":
        """Read a file; without one the ledger is empty.

        Raises:
            DataError: Another line is wrong.
        """
        ledger = cls()
        read_entries(path, ledger._add, "a readable review file", f"a line whose kind is one of {', '.join(KINDS)}")
        return ledger

    def _add(self, row: JsonObject) -> None:
        one = shaped(row, KINDS[row.pop("kind")], "")
        if isinstance(one, ReviewPlan):
            self.plans.append(one)
        elif isinstance(one, RowVerdict):
            self.verdicts[one.sample].append(one)
        else:
            verdicts, own = self.verdicts[one.sample], (one.row, one.reviewer)
            for at in [at for at, each in enumerate(verdicts) if (each.row, each.reviewer) == own][-1:]:
                del verdicts[at]

    def plan_of(self, version: str) -> ReviewPlan | None:
        return next((plan for plan in reversed(self.plans) if plan.version == version), None)

    def trust_in(self, plan: ReviewPlan) -> dict[str, Trust]:
        """Return reviewer to whether the planted rows show that good verdicts of theirs can be trusted.

        Who missed too many is distrusted for good: taking verdicts back comes too late. Without planted rows all are
        trusted.
        """
        planted, trust = plan.planted_rows, dict[str, Trust]()
        judged, missed = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
        for verdict in self.verdicts.get(plan.id, ()):
            name, row = verdict.reviewer, verdict.row
            if row in planted:
                judged[name].add(row)
                (missed[name].add if verdict.good else missed[name].discard)(row)
            if trust.get(name) != "distrusted":
                done: Trust = "trusted" if len(judged[name]) == len(planted) else "unfinished"
                trust[name] = "distrusted" if len(missed[name]) > MOST_MISSED else done
        return trust

    def caught_by(self, plan: ReviewPlan) -> tuple[int, int]:
        planted = plan.planted_rows
        rated = {(each.reviewer, each.row): each.good for each in self.verdicts.get(plan.id, ()) if each.row in planted}
        return len(rated) - sum(rated.values()), len(rated)

    def judged_in(self, plan: ReviewPlan, *, unfinished: bool = False) -> dict[str, bool]:
        """Return row to whether it is good, of the rows of a plan that have a verdict that counts.

        Args:
            plan: The plan.
            unfinished: Whether good verdicts of reviewers count who have not judged all planted rows yet.
        """
        return _worst(self._counted(plan, unfinished))

    def judged(self) -> dict[str, bool]:
        return _worst(chain.from_iterable(self._counted(plan, False) for plan in self.plans))

    def _counted(self, plan: ReviewPlan, unfinished: bool) -> Iterator[RowVerdict]:
        planted, trust = plan.planted_rows, self.trust_in(plan)
        accepted = {"trusted", "unfinished"} if unfinished else {"trusted"}
        for verdict in self.verdicts.get(plan.id, ()):
            if verdict.row not in planted and (not verdict.good or trust[verdict.reviewer] in accepted):
                yield verdict


def _worst(verdicts: Iterable[RowVerdict]) -> dict[str, bool]:
    worst: dict[str, bool] = {}
    for one in verdicts:
        worst[one.row] = worst.get(one.row, True) and one.good
    return worst


def rows_found_bad(path: Path) -> frozenset[str]:
    """Return the content hashes of all rows that a review found bad: the next build drops them."""
    return frozenset(row for row, good in Ledger.read(path).judged().items() if not good)


def content_of(row: Example) -> str:
    """Return the name of a row in reviews: the hash of its messages as they are, whatever its id is."""
    return content_hash(list(row.messages))


ALPHA = 0.05
CONFIDENCE = 1 - ALPHA
Status = Literal["no_plan", "open", "accepted", "rejected"]


@frozen
class State:
    """How far the review of a version is, and its result.

    Attributes:
        version: The version.
        status: Of its plan.
        plan: Its last plan.
        attempts: How many plans there are for all versions.
        agreement: Of the reviewers.
        n_judged: Rows of the plan's sample with a verdict.
        n_bad: Of these, bad, in whichever sample.
        bad: The verdicts on bad rows.
        n_refuted: Rows that counted as good when the plan was fixed, and were found bad since: with one of them, the
            plan proves nothing.
        n_caught: Planted bad rows that reviewers rated bad, over all reviewers.
        n_planted: Planted bad rows that reviewers rated, likewise.
        distrusted: Reviewers who missed too many of them, so that their good verdicts do not count.
        n_rated: Rows that someone rated, planted rows included.
    """

    version: str
    status: Status
    plan: ReviewPlan | None
    attempts: int
    agreement: Agreement
    n_judged: int = 0
    n_bad: int = 0
    bad: tuple[RowVerdict, ...] = ()
    n_refuted: int = 0
    n_caught: int = 0
    n_planted: int = 0
    distrusted: TextTuple = ()
    n_rated: int = 0

    @property
    def summary(self) -> str:
        return self._result + self._vigilance

    @property
    def _vigilance(self) -> str:
        if self.plan is None:
            return ""
        # while a reviewer goes on, the number would say which of the last rows was planted
        decided = self.status != "open" and self.n_planted
        text = f". The reviewers caught {self.n_caught} of {self.n_planted} planted bad rows" if decided else ""
        if self.status == "accepted" and not self.plan.planted:
            text = ". No planted bad rows tested the reviewers"
        if self.distrusted:
            text += (
                f". The good ratings of {', '.join(self.distrusted)} do not count, because they missed too many "
                "planted bad rows: other people must rate these rows"
            )
        return text

    @property
    def _result(self) -> str:
        plan = self.plan
        if plan is None:
            return "there is no review plan yet, so no row has been reviewed"
        if self.status == "rejected" and self.n_refuted and not is_rejected(self.n_bad, plan.max_bad):
            return (
                f"the review no longer shows that at least {plan.bound:.1%} of the rows are good. Rows that the plan "
                f"counted as good turned out to be bad (n = {self.n_refuted})"
            )
        bad = f"{self.n_bad} of {self.n_judged} reviewed rows {plural(self.n_bad, 'is', 'are')} bad"
        if self.status == "accepted":
            return (
                f"at least {plan.bound:.1%} of the {plan.n_rows} rows are good, at {CONFIDENCE:.0%} confidence over "
                f"all attempts. In attempt {plan.attempt}, {bad} (at most {plan.max_bad} allowed)"
            )
        if self.status == "rejected":
            return (
                f"the review does not show that at least {plan.bound:.1%} of the rows are good: {bad}, but the plan "
                f"allows at most {plan.max_bad}"
            )
        # with planted rows, and without bad ratings: a difference would say which of the last rows was planted
        return f"{self.n_rated} of {len(plan.shown)} rows are rated, and at most {plan.max_bad} may be bad"

    def to_dict(self) -> JsonObject:
        plan = {**asdict(self.plan), "n": self.plan.n} if self.plan else None
        return {**asdict(self), "plan": plan, "confidence": CONFIDENCE, "words": self.summary}


def state_of(path: Path, version: str) -> State:
    return build_state(Ledger.read(path), version)


def build_state(ledger: Ledger, version: str) -> State:
    plan, attempts = ledger.plan_of(version), len(ledger.plans)
    if plan is None:
        return State(version=version, status="no_plan", plan=None, attempts=attempts, agreement=agreement(()))
    counts, rows, verdicts = tally(ledger, plan), {*plan.rows, *plan.known}, ledger.verdicts.get(plan.id, [])
    n_caught, n_planted = ledger.caught_by(plan)
    return State(
        version=version,
        status=status_of(plan, counts),
        plan=plan,
        attempts=attempts,
        n_judged=counts.n_judged,
        n_bad=counts.n_bad,
        bad=tuple(one for some in ledger.verdicts.values() for one in some if not one.good and one.row in rows),
        agreement=agreement(
            Label(one.row, one.reviewer, "good" if one.good else "bad", one.time) for one in verdicts if one.row in rows
        ),
        n_refuted=counts.n_refuted,
        n_caught=n_caught,
        n_planted=n_planted,
        distrusted=tuple(name for name, trust in ledger.trust_in(plan).items() if trust == "distrusted"),
        n_rated=len({one.row for one in verdicts}),
    )


class Tally(NamedTuple):
    """What the verdicts on the rows of a plan add up to.

    Attributes:
        n_bad: Bad rows.
        n_judged: Rows with a verdict, also a good one of a reviewer who has not judged all planted rows yet.
        n_proven: Rows that are bad, or good as said by a reviewer who noticed the planted rows.
        n_refuted: Rows that were known as good and found bad since.
    """

    n_bad: int
    n_judged: int
    n_proven: int
    n_refuted: int


def tally(ledger: Ledger, plan: ReviewPlan) -> Tally:
    """Add up the verdicts on the rows of a plan.

    A verdict that a row is good counts in its own sample only; one that it is bad counts in all.
    """
    bad = dict.fromkeys((row for row, good in ledger.judged().items() if not good), False)
    n_bad, n_proven = count(plan, ledger.judged_in(plan) | bad)
    _, n_judged = count(plan, ledger.judged_in(plan, unfinished=True) | bad)
    return Tally(n_bad, n_judged, n_proven, max(0, sum(row in bad for row in plan.known) - plan.n_known_bad))


def count(plan: ReviewPlan, judged: Mapping[str, bool]) -> tuple[int, int]:
    verdicts = [judged[row] for row in plan.rows if row in judged]
    return verdicts.count(False), len(verdicts)


def status_of(plan: ReviewPlan, counts: Tally) -> Status:
    if counts.n_refuted or is_rejected(counts.n_bad, plan.max_bad):
        return "rejected"
    return "accepted" if is_accepted(counts.n_proven - counts.n_bad, plan.n, plan.max_bad) else "open"
