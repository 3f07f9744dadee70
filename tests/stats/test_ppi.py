"""The corrected paired difference covers the truth whatever the judge does, and the uncorrected one does not.

1,000 projects each: 95 % has a Monte Carlo error of 0.7 points.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from tuneworthy.stats.paired import compare
from tuneworthy.stats.ppi import correct_judge

FAST = 1_000
SLOW = pytest.param(10_000, marks=pytest.mark.slow)


@dataclass(frozen=True)
class World:
    """Answers of A and B with a known truth, and a judge of known sensitivity and specificity on each.

    `shared` is the share of the cases on which A and B stand or fall together; cases come in clusters of `size`, of
    which `alike` behave alike.
    """

    name: str
    n: int
    n_human: int
    a: float = 0.7
    b: float = 0.75
    sensitivity: tuple[float, float] = (0.9, 0.9)
    specificity: tuple[float, float] = (0.8, 0.8)
    shared: float = 0.7
    size: int = 1
    alike: float = 0.0

    def draw(self, rng):
        """Give judge_a, judge_b, human_a, human_b and groups of one project."""
        u = np.repeat(rng.random(self.n // self.size), self.size)
        u = np.where(rng.random(self.n) < max(self.alike, float(self.size == 1)), u, rng.random(self.n))
        v = np.where(rng.random(self.n) < self.shared, u, rng.random(self.n))
        truth = u < self.a, v < self.b
        judge = [
            np.where(good, rng.random(self.n) < hit, rng.random(self.n) >= miss)
            for good, hit, miss in zip(truth, self.sensitivity, self.specificity, strict=True)
        ]
        seen = np.zeros(self.n, dtype=bool)
        seen[rng.permutation(self.n)[: self.n_human]] = True
        human = [np.where(seen, good, np.nan) for good in truth]
        groups = np.repeat(np.arange(self.n // self.size), self.size) if self.size > 1 else None
        return *judge, *human, groups


BIASED = World("biased for B", 300, 100, sensitivity=(0.9, 0.97), specificity=(0.8, 0.5))
WORLDS = [
    World("alike", 300, 50),
    World("no difference", 300, 50, b=0.7),
    BIASED,
    World("biased for B, no difference, few people", 300, 50, b=0.7, sensitivity=(0.9, 0.97), specificity=(0.8, 0.5)),
    World("biased for A", 300, 50, sensitivity=(0.97, 0.85), specificity=(0.5, 0.9)),
    World("worthless", 300, 50, sensitivity=(0.5, 0.5), specificity=(0.5, 0.5)),
    World("against the truth", 300, 50, sensitivity=(0.2, 0.2), specificity=(0.2, 0.2)),
    World("nearly perfect", 1000, 50, a=0.5, b=0.6, sensitivity=(0.98, 0.98), specificity=(0.98, 0.98), shared=0.5),
    World("people on all", 60, 60),
    World("nearly all on people", 60, 50),
    World("clusters", 300, 60, size=5, alike=0.7, sensitivity=(0.9, 0.97), specificity=(0.8, 0.5)),
]


def coverage(world, runs, alpha=0.05, corrected=True):
    rng = np.random.default_rng(11)
    truth, hits = world.b - world.a, 0
    for _ in range(runs):
        judge_a, judge_b, human_a, human_b, groups = world.draw(rng)
        if corrected:
            low, high = correct_judge(judge_a, judge_b, human_a, human_b, groups).interval(alpha)
        else:
            ones = np.ones(world.n)
            low, high = compare(judge_a, ones, judge_b, ones, groups, alpha=alpha).ci
        hits += low <= truth <= high
    return hits / runs


@pytest.mark.parametrize("runs", [FAST, SLOW])
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
@pytest.mark.slow
def test_the_corrected_difference_covers_the_truth(world, runs):
    assert coverage(world, runs) >= 0.94


@pytest.mark.slow
@pytest.mark.parametrize("world", [WORLDS[0], BIASED], ids=lambda world: world.name)
def test_it_covers_at_the_alpha_of_a_look_too(world):
    assert coverage(world, 2_000, alpha=0.008) >= 0.987


def test_the_uncorrected_difference_of_a_biased_judge_hardly_ever_covers_it():
    assert coverage(BIASED, 200, corrected=False) < 0.3


def test_it_is_right_on_average():
    rng = np.random.default_rng(3)
    found = [correct_judge(*BIASED.draw(rng)).delta for _ in range(FAST)]
    assert np.mean(found) == pytest.approx(BIASED.b - BIASED.a, abs=4 * np.std(found) / np.sqrt(FAST))


def test_a_good_judge_narrows_the_interval_and_a_worthless_one_does_not():
    rng = np.random.default_rng(5)
    drawn = {name: [[*WORLDS[place].draw(rng)] for _ in range(50)] for name, place in (("good", 7), ("worthless", 5))}
    found = {name: [correct_judge(*arrays) for arrays in many] for name, many in drawn.items()}
    alone = {name: [correct_judge(a * 0, b * 0, *rest).error for a, b, *rest in many] for name, many in drawn.items()}
    effective_n = {  # cases with verdicts of people that would be as precise without the judge
        name: np.mean([50 * (error / one.error) ** 2 for error, one in zip(alone[name], found[name], strict=True)])
        for name in found
    }
    assert np.mean([one.weight for one in found["good"]]) > 0.7 and effective_n["good"] > 100
    assert np.mean([one.weight for one in found["worthless"]]) < 0.1
    assert effective_n["worthless"] == pytest.approx(50, rel=0.1)


def test_people_on_all_cases_leave_the_judge_no_say():
    rng = np.random.default_rng(6)
    judge_a, judge_b, human_a, human_b, _ = World("all", 80, 80).draw(rng)
    found = correct_judge(judge_a, judge_b, human_a, human_b)
    assert found.delta == pytest.approx(human_b.mean() - human_a.mean())
    assert (found.a, found.b) == pytest.approx((human_a.mean(), human_b.mean()))


def test_a_case_counts_only_if_people_judged_both_variants():
    human_a = np.r_[np.ones(20), np.full(80, np.nan)]
    human_b = np.r_[np.full(8, np.nan), np.ones(22), np.full(70, np.nan)]
    assert correct_judge(np.ones(100), np.ones(100), human_a, human_b).n_human == 12


def test_no_disagreement_at_all_still_has_a_width():
    human = np.r_[np.ones(50), np.full(250, np.nan)]
    low, high = correct_judge(np.ones(300), np.ones(300), human, human).interval()
    assert low < -0.03
    assert high > 0.03


def test_interval_p_value_and_bound_are_of_one_mind():
    rng = np.random.default_rng(8)
    for _ in range(50):
        found = correct_judge(*World("shift", 200, 50, b=0.85).draw(rng))
        paired = found.paired(0.02)
        assert (paired.p_value < 0.02) == paired.better
        bound = found.non_inferior(0.05, 0.02)
        assert bound.lower == found.interval(0.04)[0] and bound.holds == (bound.lower > -0.05)
        assert (paired.method, paired.n, paired.n_groups) == ("ppi", 200, 50)


def test_groups_that_are_all_single_change_nothing():
    rng = np.random.default_rng(9)
    *arrays, _ = BIASED.draw(rng)
    assert correct_judge(*arrays, np.arange(BIASED.n)) == correct_judge(*arrays)


def test_clusters_widen_the_interval():
    rng = np.random.default_rng(10)
    world = World("clusters", 300, 100, size=10, alike=1.0)
    *arrays, groups = world.draw(rng)
    assert correct_judge(*arrays, groups).error > 1.3 * correct_judge(*arrays).error


def test_what_cannot_be_computed_is_refused():
    ones, few = np.ones(100), np.r_[np.ones(7), np.full(93, np.nan)]
    with pytest.raises(ValueError, match="at least 8 cases"):
        correct_judge(ones, ones, few, few)
    with pytest.raises(ValueError, match="the same length"):
        correct_judge(ones, ones, ones[:50], ones[:50])
    with pytest.raises(ValueError, match="judge_a must be finite numbers"):
        correct_judge(few, ones, ones, ones)
    with pytest.raises(ValueError, match="human_a must be numbers"):
        correct_judge(ones, ones, 2 * ones, ones)
