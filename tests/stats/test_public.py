"""Each public function against a reference implementation, a published number or brute force; and what it refuses."""

from __future__ import annotations

import doctest
import math
import subprocess
import sys
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportion_confint

from tuneworthy import stats
from tuneworthy.stats import public

RNG = np.random.default_rng(3)


def test_score_interval_equals_statsmodels_and_counts_copies_once() -> None:
    for k, n in ((0, 20), (13, 50), (200, 200)):
        ours = stats.score_interval([1] * k + [0] * (n - k))
        assert (ours.lo, ours.hi) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)
    scores = RNG.random(60) < 0.7
    once = stats.score_interval(scores, np.arange(60) // 2)
    copies = stats.score_interval(np.repeat(scores, 5), np.repeat(np.arange(60) // 2, 5))
    assert (copies.lo, copies.hi) == pytest.approx((once.lo, once.hi), abs=0.025)
    width = stats.score_interval(np.repeat(scores, 5))
    assert copies.hi - copies.lo > 1.8 * (width.hi - width.lo)


def test_paired_test_equals_statsmodels_and_a_permutation_of_scipy() -> None:
    gains, losses = 9, 3
    a, b = [0] * gains + [1] * losses + [1] * 20, [1] * gains + [0] * losses + [1] * 20
    ours = stats.paired_test(a, b)
    both = mcnemar([[20, losses], [gains, 0]], exact=True).pvalue
    assert 2 * ours.p_value == pytest.approx(both - scipy_stats.binom.pmf(gains, gains + losses, 0.5))
    x, y = RNG.random(9), RNG.random(9)
    test = scipy_stats.permutation_test(
        (y, x), lambda u, v: (u - v).mean(), permutation_type="samples", alternative="greater"
    )
    assert stats.paired_test(x, y).p_value == pytest.approx(test.pvalue)


def test_non_inferiority_inverts_the_score_test_of_tango() -> None:
    """The bound is the difference at which Tango's statistic reaches the quantile; here by brute force."""
    gains, losses, n = 6, 8, 200
    a = [1] * losses + [0] * gains + [1] * (n - gains - losses)
    b = [0] * losses + [1] * gains + [1] * (n - gains - losses)
    bound = stats.non_inferiority(a, b, 0.05)

    def z(delta: float) -> float:
        p, q = 2 * n, -gains - losses + (2 * n - gains + losses) * delta  # the share of losses is a root
        rate = (math.sqrt(q * q + 4 * p * losses * delta * (1 - delta)) - q) / (2 * p)
        return (gains - losses - n * delta) / math.sqrt(n * (2 * rate + delta * (1 - delta)))

    assert z(bound.lower) == pytest.approx(scipy_stats.norm.ppf(0.95), abs=1e-6)
    assert bound.holds and not stats.non_inferiority(a, b, -bound.lower - 1e-6).holds


def test_power_equals_an_enumeration_of_all_tables() -> None:
    n, loss, gain, alpha = 18, 0.1, 0.5, 0.05
    total = sum(
        scipy_stats.multinomial.pmf([losses, gains, n - losses - gains], n, [loss, gain, 1 - loss - gain])
        for losses, gains in product(range(n + 1), repeat=2)
        if losses + gains <= n
        and gains + losses
        and scipy_stats.binom.sf(gains, gains + losses, 0.5) + scipy_stats.binom.pmf(gains, gains + losses, 0.5) / 2
        <= alpha
    )
    assert stats.paired_power(n, loss, gain, alpha) == pytest.approx(total, abs=1e-10)


def test_sample_size_and_detectable_gain_invert_the_power() -> None:
    n = stats.sample_size(loss=0.05, gain=0.15)
    assert stats.paired_power(n, 0.05, 0.15) >= 0.8 > stats.paired_power(n - 1, 0.05, 0.15)
    z = scipy_stats.norm.ppf([0.95, 0.8])  # Connor 1987: the normal approximation
    connor = (z[0] * math.sqrt(0.2) + z[1] * math.sqrt(0.2 - 0.1**2)) ** 2 / 0.1**2
    assert n == pytest.approx(connor, rel=0.05)
    gain = stats.detectable_gain(n, 0.05, loss=0.05)
    assert stats.paired_power(n, 0.05, 0.05 + gain) >= 0.8 > stats.paired_power(n, 0.05, 0.05 + gain - 3e-4)


def test_correct_judge_is_the_estimator_of_ppi() -> None:
    truth = RNG.random((400, 2)) < (0.6, 0.7)
    judge = np.where(RNG.random((400, 2)) < 0.8, truth, True)
    human = np.where(np.arange(400)[:, None] < 100, truth, np.nan)
    ours = stats.correct_judge(*judge.T, *human.T)
    d = judge[:, 1].astype(float) - judge[:, 0]
    h = (human[:, 1] - human[:, 0])[:100]
    assert 0 < ours.weight <= 1
    everywhere = (h - ours.weight * d[:100]).mean() + ours.weight * d.mean()  # PPI++: the judge's mean is of all cases
    assert ours.delta == pytest.approx(everywhere)


def test_anytime_test_is_the_mean_capital_of_the_bettors_and_keeps_its_level() -> None:
    values = RNG.uniform(-1, 1, 50)
    capital = np.mean([np.cumprod(1 + bet * values) for bet in np.linspace(0.1, 0.9, 9)], axis=0)
    ours = stats.anytime_test(values)
    np.testing.assert_allclose(ours.capital, capital, rtol=1e-9)
    assert ours.p_value == pytest.approx(min(1, 1 / capital.max()))
    assert ours.interval[0] <= values.mean() <= ours.interval[1]
    shown = [stats.anytime_test(RNG.choice([-1.0, 1.0], 100)).rejected_at is not None for _ in range(300)]
    assert np.mean(shown) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert stats.anytime_test([1.0] * 20).rejected_at == 7


def test_cohen_kappa_equals_sklearn_and_statsmodels() -> None:
    a, b = RNG.integers(0, 3, 80), RNG.integers(0, 3, 80)
    b = np.where(RNG.random(80) < 0.5, a, b)
    table = np.histogram2d(a, b, bins=3)[0]
    for reference in (cohen_kappa_score(a, b), cohens_kappa(table).kappa):
        assert stats.cohen_kappa(a.tolist(), b.tolist()) == pytest.approx(reference)
    assert stats.cohen_kappa(["x"] * 5, ["x"] * 5) is None


def test_roc_area_equals_sklearn_and_the_error_of_delong() -> None:
    values = np.round(RNG.normal(size=120), 1)
    yes = RNG.random(120) < 1 / (1 + np.exp(-values))
    ours = stats.roc_area(values, yes)
    assert ours.area == pytest.approx(roc_auc_score(yes, values))
    a, b = values[yes], values[~yes]
    wins = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    error = math.sqrt(wins.mean(1).var(ddof=1) / len(a) + wins.mean(0).var(ddof=1) / len(b))
    logit = [math.log(p / (1 - p)) for p in (ours.lo, ours.hi)]
    assert logit[1] - logit[0] == pytest.approx(2 * 1.959964 * error / (ours.area * (1 - ours.area)), rel=1e-3)


def test_rows_to_review_is_the_smallest_sample_that_scipy_accepts() -> None:
    for rows, share, bad in ((900, 0.05, 0), (500, 0.1, 3)):
        n = stats.rows_to_review(rows, share, bad)
        worst = math.floor(rows * share) + 1
        assert scipy_stats.hypergeom.cdf(bad, rows, worst, n) <= 0.05
        assert scipy_stats.hypergeom.cdf(bad, rows, worst, n - 1) > 0.05


def test_quantile_interval_equals_scipy() -> None:
    values = RNG.exponential(size=200)
    theirs = scipy_stats.quantile_test(values, p=0.9, q=1.0).confidence_interval(0.95)
    assert stats.quantile_interval(values, 0.9) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.score_interval([]),
        lambda: stats.score_interval([1, 2]),
        lambda: stats.score_interval([1, 0], ["a"]),
        lambda: stats.paired_test([1, 0], [1]),
        lambda: stats.paired_test([1, float("nan")], [1, 0]),
        lambda: stats.non_inferiority([1, 0], [1, 0], 0),
        lambda: stats.anytime_test([]),
        lambda: stats.anytime_test([2.0]),
        lambda: stats.anytime_test([float("nan")]),
        lambda: stats.anytime_test([0.5], alpha=0),
        lambda: stats.paired_power(0, 0.1, 0.2),
        lambda: stats.sample_size(0.2, 0.1),
        lambda: stats.correct_judge([1, 0], [1, 0], [1, 0], [1, 0]),
        lambda: stats.cohen_kappa(["a"], []),
        lambda: stats.roc_area(np.array([1.0]), np.array([True])),
        lambda: stats.rows_to_review(0, 0.05),
        lambda: stats.quantile_interval([], 0.5),
        lambda: stats.quantile_interval([1.0], 1.5),
        lambda: stats.quantile_interval([-1.0], 0.5),
        lambda: stats.score_interval([1, 0], alpha=95),
        lambda: stats.score_interval([1, 0], ["a", None]),
        lambda: stats.score_interval([1, 0], [1.0, float("nan")]),
        lambda: stats.score_interval(["right", "wrong"]),
        lambda: stats.paired_test([1, 0], [1, 0], seed=-1),
        lambda: stats.paired_power(50.5, 0.1, 0.2),
        lambda: stats.paired_power(50, 0.1, 0.2, alpha=95),
        lambda: stats.paired_power(50, 0.6, 0.6),
        lambda: stats.detectable_gain(300, 5),
        lambda: stats.detectable_gain(0, 0.05),
        lambda: stats.detectable_gain(300, 0.05, design_effect=-1),
        lambda: stats.roc_area([0.1, float("nan")], [True, False]),
        lambda: stats.roc_area([0.1, 0.2], ["yes", "no"]),
        lambda: stats.roc_area([0.1, 0.2, 0.3], [True, False]),
        lambda: stats.correct_judge([1] * 9, [1] * 9, [1] * 9, [2] * 9),
        lambda: stats.cohen_kappa(["a", None], ["a", "b"]),
        lambda: stats.rows_to_review(900.5, 0.05),
        lambda: stats.rows_to_review(900, 0.05, bad=-1),
        lambda: stats.anytime_test([[0.5]]),
    ],
)
def test_arrays_that_do_not_fit_are_refused(call: Any) -> None:
    with pytest.raises(ValueError, match=r"^[a-z_]+,? .*\w") as raised:
        call()
    assert not any(name in str(raised.value) for name in ("numerator", "lot", "accept_at", "shape"))


def test_arrays_of_numpy_and_open_ends_fit() -> None:
    assert stats.score_interval(np.array([True, False]), np.array(["a", "b"])).value == 0.5
    assert stats.paired_power(np.int64(50), np.float64(0.1), 0) < 0.01
    assert len(repr(stats.anytime_test([0.5] * 500))) < 200


def test_at_most_twelve_functions_are_public_and_their_examples_run() -> None:
    assert len(public.__all__) <= 12 and set(dir(stats)) == set(public.__all__)
    for name in public.__all__:
        function = getattr(stats, name)
        text = function.__doc__
        assert all(part in text for part in ("Args:", "Raises:", "Source:", ">>>")), name
        names = {**vars(sys.modules[function.__module__]), "stats": stats}
        for test in doctest.DocTestFinder().find(function, name, globs=names):
            assert doctest.DocTestRunner().run(test).failed == 0
    with pytest.raises(AttributeError):
        stats.no_such_function


def test_the_statistics_load_numpy_and_scipy_only() -> None:
    code = (
        "import sys; from tuneworthy import stats; [getattr(stats, name) for name in dir(stats)]; "
        "print(sorted({m.split('.')[0] for m in sys.modules if m[0] != '_'} - sys.stdlib_module_names), "
        "sorted({m.split('.')[1] for m in sys.modules if m.startswith('tuneworthy.')}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in (
        "['cython_runtime', 'numpy', 'scipy', 'tuneworthy'] ['arrays', 'stats']",
        "['numpy', 'scipy', 'tuneworthy'] ['arrays', 'stats']",
    )
