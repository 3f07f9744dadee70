"""How far a judge that says good or bad can be trusted: its table against the verdicts of people.

Agreement says little: where 90 % of the answers are good, a judge that always says good agrees on 90 %.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from tuneworthy.arrays import Bounds

from .arguments import checked
from .intervals import clopper_pearson


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Counts of answers by people's and the judge's verdict.

    Attributes:
        good_good: Good by people and by the judge.
        good_bad: Good by people, bad by the judge.
        bad_good: Bad by people, good by the judge.
        bad_bad: Bad by both.

    >>> always = Confusion(good_good=90, good_bad=0, bad_good=10, bad_bad=0)
    >>> always.agreement, always.kappa
    (0.9, 0.0)
    """

    good_good: int = 0
    good_bad: int = 0
    bad_good: int = 0
    bad_bad: int = 0

    @classmethod
    def of(cls, pairs: Iterable[tuple[bool, bool]]) -> Confusion:
        """Count `(people say good, the judge says good)`."""
        counts = Counter(pairs)
        return cls(
            good_good=counts[True, True],
            good_bad=counts[True, False],
            bad_good=counts[False, True],
            bad_bad=counts[False, False],
        )

    @property
    def n_good(self) -> int:
        return self.good_good + self.good_bad

    @property
    def n_bad(self) -> int:
        return self.bad_good + self.bad_bad

    @property
    def n(self) -> int:
        return self.n_good + self.n_bad

    @property
    def agreement(self) -> float | None:
        return (self.good_good + self.bad_bad) / self.n if self.n else None

    @property
    def kappa(self) -> float | None:
        """Agreement beyond chance; None without answers, or if chance would make them always agree.

        Source: Cohen 1960.
        """
        if self.agreement is None:
            return None
        says_good = self.good_good + self.bad_good
        chance = (self.n_good * says_good + self.n_bad * (self.n - says_good)) / self.n**2
        return None if chance >= 1 else (self.agreement - chance) / (1 - chance)

    @property
    def sensitivity(self) -> float | None:
        return self.good_good / self.n_good if self.n_good else None

    @property
    def specificity(self) -> float | None:
        return self.bad_bad / self.n_bad if self.n_bad else None

    def sensitivity_interval(self) -> Bounds:
        """Clopper-Pearson interval of `sensitivity`; all of [0, 1] if there are no good answers."""
        return clopper_pearson(self.good_good, self.n_good) if self.n_good else (0.0, 1.0)

    def specificity_interval(self) -> Bounds:
        """Clopper-Pearson interval of `specificity`; all of [0, 1] if there are no bad answers."""
        return clopper_pearson(self.bad_bad, self.n_bad) if self.n_bad else (0.0, 1.0)

    def tells_apart(self) -> bool | None:
        """Whether the judge calls more good answers good than bad answers; None if that is not shown either way.

        By Newcombe's interval of the difference of the two shares, from their exact intervals.

        Source: Newcombe 1998 (Stat. Med. 17:873), method 10.
        """
        if not self.n_good or not self.n_bad:
            return None
        hit, false = self.good_good / self.n_good, self.bad_good / self.n_bad
        hit_lo, hit_hi = clopper_pearson(self.good_good, self.n_good)
        false_lo, false_hi = clopper_pearson(self.bad_good, self.n_bad)
        low = hit - false - float(((hit - hit_lo) ** 2 + (false_hi - false) ** 2) ** 0.5)
        high = hit - false + float(((hit_hi - hit) ** 2 + (false - false_lo) ** 2) ** 0.5)
        return True if low > 0 else False if high <= 0 else None

    @property
    def residual_bad(self) -> float | None:
        """Share of bad answers among those that the judge lets through, at people's base rate; None if unknown.

        Source: Bayes' rule.

        >>> Confusion(good_good=874, good_bad=46, bad_good=40, bad_bad=40).residual_bad
        0.0437636761487965
        """
        if self.sensitivity is None or self.specificity is None:
            return None
        bad = self.n_bad / self.n
        wrongly, rightly = bad * (1 - self.specificity), (1 - bad) * self.sensitivity
        return wrongly / (wrongly + rightly) if wrongly + rightly else 0.0


@checked
def cohen_kappa(labels_a: Sequence[Hashable], labels_b: Sequence[Hashable]) -> float | None:
    """Return the agreement of two raters beyond chance; None if chance would make them always agree.

    Args:
        labels_a: Labels of the first rater, `(n,)`.
        labels_b: Labels of the second rater for the same items, `(n,)`.

    Raises:
        ValueError: There are no labels, or different numbers.

    Source: Cohen 1960 (Educ. Psychol. Meas. 20:37).

    >>> stats.cohen_kappa(["a", "a", "b", "b"], ["a", "b", "b", "b"])
    0.5
    """
    n, firsts, seconds = len(labels_a), Counter(labels_a), Counter(labels_b)
    agreed = sum(one == other for one, other in zip(labels_a, labels_b, strict=True)) / n
    chance = sum(firsts[label] * seconds[label] for label in firsts) / n**2
    return None if chance >= 1 else (agreed - chance) / (1 - chance)
