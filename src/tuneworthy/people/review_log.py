"""The file of reviews: plans and verdicts, a line each, only ever appended to (see `review`)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

from tuneworthy.cases.labelling import read_entries
from tuneworthy.cases.stratified import rank
from tuneworthy.store.shapes import shaped
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
