"""Count verdicts over simulations, and write them as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from scipy.stats import binom
from scripts.simulations.truth import CONDITIONS, FIRM, TRUTHS, Condition, Truth

from tuneworthy.stats.intervals import upper_bound

# What must hold: firm and wrong; undecided where the keys are given, by cases of test; settled by the next step.
MOST_WRONG, LEVEL = 0.05, 0.05
MOST_UNDECIDED: Mapping[int, float] = {200: 0.30, 600: 0.15}
FEWEST_SETTLED = 0.8
TOO_MANY = "**above**"
# Of the chances that are stated.
BANDS = (0.0, 0.5, 0.7, 0.8, 0.9, 1.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was decided in one world.

    Attributes:
        of_class: Whether the truth is what its class says. near: whether it is so by less than half a margin.
        firm: Whether the verdict is a yes or a no. wrong: a wrong one.
        code: Outcome and rule.
        settled: Whether the next step settled it; None where it was not followed.
        steps: That were taken.
        chance: That the verdict states of its next step; None where it states none.
    """

    truth: Truth
    condition: Condition
    n_test: int
    seed: int
    of_class: bool
    near: bool
    firm: bool
    wrong: bool
    code: str
    settled: bool | None = None
    wrong_then: bool = False
    steps: tuple[str, ...] = ()
    chance: float | None = None

    @property
    def at_once(self) -> bool:
        """Whether the one step that was named settled it, which is what its chance is stated of."""
        return bool(self.settled) and len(self.steps) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The counts of a class under one condition, near ones left out."""

    name: str
    n: int
    wrong: int
    undecided: int
    near: int
    near_wrong: int
    followed: int
    settled: int

    @property
    def p_value(self) -> float:
        """How likely so many wrong ones are if 5% are."""
        return float(binom.sf(self.wrong - 1, self.n, MOST_WRONG)) if self.n else 1.0


def cell(name: str, rows: Sequence[Row]) -> Cell:
    """Count."""
    clear = [row for row in rows if row.of_class and not row.near]
    near = [row for row in rows if row.of_class and row.near]
    followed = [row for row in clear if row.settled is not None]
    return Cell(
        name=name,
        n=len(clear),
        wrong=sum(row.wrong for row in clear),
        undecided=sum(not row.firm for row in clear),
        near=len(near),
        near_wrong=sum(row.wrong for row in near),
        followed=len(followed),
        settled=sum(bool(row.settled) for row in followed),
    )


def cells(rows: Sequence[Row]) -> list[Cell]:
    """Return the cells of each class under each condition, and of each class over all conditions."""
    found = [cell(f"{truth}, all", some) for truth in TRUTHS if (some := [row for row in rows if row.truth == truth])]
    for truth in TRUTHS:
        for condition in CONDITIONS:
            some = [row for row in rows if (row.truth, row.condition) == (truth, condition)]
            if some:
                found.append(cell(f"{truth}, {condition}", some))
    return found


def above(some: Sequence[Cell]) -> set[str]:
    """Return the cells whose rate of wrong answers is shown to be above 5% (Holm over all)."""
    shown: set[str] = set()
    ordered = sorted(some, key=lambda one: one.p_value)
    for rank, one in enumerate(ordered):
        if one.p_value > LEVEL / (len(ordered) - rank):
            break
        shown.add(one.name)
    return shown


def tables(rows: Sequence[Row]) -> str:
    """Return one table for each number of test cases, and what must hold."""
    parts = []
    for n_test in sorted({row.n_test for row in rows}):
        some = [row for row in rows if row.n_test == n_test]
        parts.append(f"## {n_test} test cases\n\n{summary(some, n_test)}\n{calibration(some)}\n{table(some)}")
    return "\n".join(parts)


def summary(rows: Sequence[Row], n_test: int) -> str:
    """Return what must hold, and whether it does."""
    every = cells(rows)
    shown = above(every)
    firm = cell("", [row for row in rows if row.truth in FIRM])
    whole = cell("", rows)
    lines = [
        (
            "classes (in all, and by condition) shown above 5% firm and wrong",
            f"{len(shown)} of {len(every)}",
            "0",
            not shown,
        ),
        ("firm and wrong, all", share(whole.wrong, whole.n), "", True),
    ]
    if n_test in MOST_UNDECIDED:
        limit = MOST_UNDECIDED[n_test]
        lines.append(
            ("undecided, keys given", share(firm.undecided, firm.n), f"at most {limit:.0%}",
             firm.undecided <= limit * firm.n)
        )  # fmt: skip
    lines.append(
        ("next step settles it", share(whole.settled, whole.followed), f"at least {FEWEST_SETTLED:.0%}",
         whole.settled >= FEWEST_SETTLED * whole.followed)
    )  # fmt: skip
    head = ("what", "figure", "wanted", "reached")
    return _markdown(head, [(*line[:3], "" if not line[2] else "yes" if line[3] else "**no**") for line in lines])


def calibration(rows: Sequence[Row]) -> str:
    """Return how often the step that was named settled the question alone, by the chance that was stated."""
    stated = [row for row in rows if row.of_class and not row.near and row.settled is not None and row.chance]
    lines = []
    for low, high in pairwise(BANDS):
        some = [row for row in stated if low <= (row.chance or 0.0) < high]
        if some:
            mean = sum(row.chance or 0.0 for row in some) / len(some)
            settled = share(sum(row.at_once for row in some), len(some))
            lines.append((f"{low:.0%} to {high:.0%}", f"{mean:.1%}", settled))
    return _markdown(("stated chance", "mean", "settled by that step"), lines)


def table(rows: Sequence[Row]) -> str:
    """Return the rates of each class, of each condition, and of each class under a condition that is above 5%."""
    every = cells(rows)
    shown = above(every)
    every = [one for one in every if one.name.endswith(", all") or one.name in shown]
    pooled = [cell(f"all, {name}", [row for row in rows if row.condition == name]) for name in CONDITIONS]
    head = ("class", "n", "right", "wrong", "at most", "undecided", "near: n", "near: wrong", "step settles")
    lines = []
    for one in [*every, *(one for one in pooled if one.n)]:
        bound = upper_bound(one.wrong, one.n) if one.n else 1.0
        lines.append(
            (
                one.name,
                str(one.n),
                _rate(one.n - one.wrong - one.undecided, one.n),
                _rate(one.wrong, one.n) + (f" {TOO_MANY}" if one.name in shown else ""),
                f"{bound:.1%}",
                _rate(one.undecided, one.n),
                str(one.near),
                str(one.near_wrong),
                share(one.settled, one.followed) if one.followed else "",
            )
        )
    return _markdown(head, lines)


def codes(rows: Sequence[Row], *, wrong: bool = True) -> str:
    """Return which rules give the wrong answers, and which steps settle nothing."""
    some = [row for row in rows if row.of_class and not row.near]
    counts = Counter((row.truth, row.condition, row.code) for row in some if row.wrong)
    open_still = Counter((row.truth, row.condition, " > ".join(row.steps)) for row in some if row.settled is False)
    lines = [f"{n:4d}  {truth}, {condition}: {code}" for (truth, condition, code), n in counts.most_common()]
    lines += ["not settled:"]
    lines += [f"{n:4d}  {truth}, {condition}: {steps}" for (truth, condition, steps), n in open_still.most_common()]
    return "\n".join(lines)


def share(k: int, n: int) -> str:
    """Return a count with its share."""
    return f"{k} of {n} ({k / n:.1%})" if n else "0"


def _rate(k: int, n: int) -> str:
    return f"{k / n:.1%}" if n else ""


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
