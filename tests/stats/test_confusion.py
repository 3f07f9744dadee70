"""The golden values of docs/evidence/facts.md#data on judges."""

from dataclasses import replace

import pytest
from scipy.stats import beta

from tuneworthy.stats.confusion import Confusion


def test_always_good_at_a_base_rate_of_ninety_percent_agrees_on_ninety_and_has_kappa_zero():
    table = Confusion.of([(True, True)] * 90 + [(False, True)] * 10)
    assert table.agreement == pytest.approx(0.9)
    assert table.kappa == pytest.approx(0, abs=1e-12)


def test_a_sensitive_judge_that_misses_half_of_the_bad_looks_well_and_is_not():
    table = Confusion(good_good=855, good_bad=45, bad_good=50, bad_bad=50)  # sensitivity .95, specificity .5
    assert table.agreement == pytest.approx(0.905)
    assert table.kappa == pytest.approx(0.46, abs=0.005)
    half = Confusion(good_good=874, good_bad=46, bad_good=40, bad_bad=40)
    assert half.residual_bad == pytest.approx(0.044, abs=0.0005)
    assert replace(half, bad_good=16, bad_bad=64).residual_bad == pytest.approx(0.018, abs=0.0005)


def test_the_intervals_are_clopper_pearsons():
    table = Confusion(good_good=45, good_bad=5, bad_good=10, bad_bad=30)
    assert table.sensitivity_interval() == pytest.approx((beta.ppf(0.025, 45, 6), beta.ppf(0.975, 46, 5)))
    assert table.specificity_interval() == pytest.approx((beta.ppf(0.025, 30, 11), beta.ppf(0.975, 31, 10)))


def test_kappa_is_that_of_cohens_for_labellers():
    from tuneworthy.stats.confusion import cohen_kappa

    pairs = [(True, True)] * 7 + [(True, False)] * 3 + [(False, True)] * 2 + [(False, False)] * 8
    assert Confusion.of(pairs).kappa == pytest.approx(cohen_kappa(*zip(*pairs, strict=True)))


def test_what_was_never_seen_is_not_known():
    table = Confusion.of([(True, True)] * 60)
    assert table.specificity is None
    assert table.specificity_interval() == (0.0, 1.0)
    assert table.kappa is None
    assert table.tells_apart() is None
    assert Confusion().agreement is None


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        (Confusion(good_good=45, good_bad=5, bad_good=5, bad_bad=45), True),
        (Confusion(good_good=5, good_bad=45, bad_good=45, bad_bad=5), False),
        (Confusion(good_good=90, good_bad=0, bad_good=10, bad_bad=0), None),
        (Confusion(good_good=25, good_bad=25, bad_good=25, bad_bad=25), None),
    ],
)
def test_telling_good_from_bad_must_be_shown(table, wanted):
    assert table.tells_apart() is wanted
