"""Statistics of the ladder: intervals, paired tests, power, acceptance and comparison plans; numpy and scipy only.

A case contributes a numerator and a denominator to a score (`ratios`); cases that share a source are one cluster.
"""

from tuneworthy.stats.comparisons import ComparisonPlan

from .acceptance import most_bad, operating_characteristic, plan_size
from .intervals import (
    Interval,
    clopper_pearson,
    lower_bound,
    score_bound,
    score_interval,
    upper_bound,
    wilson,
)
from .paired import NonInferiority, PairedResult, compare, mcnemar_p_value, non_inferior, worst_case
from .power import (
    detectable,
    fewest_discordant,
    mcnemar_mde,
    mcnemar_power,
    n_for_difference,
    n_for_non_inferiority,
    winners_curse,
)

__all__ = [
    "ComparisonPlan",
    "Interval",
    "NonInferiority",
    "PairedResult",
    "clopper_pearson",
    "compare",
    "detectable",
    "fewest_discordant",
    "lower_bound",
    "mcnemar_mde",
    "mcnemar_p_value",
    "mcnemar_power",
    "most_bad",
    "n_for_difference",
    "n_for_non_inferiority",
    "non_inferior",
    "operating_characteristic",
    "plan_size",
    "score_bound",
    "score_interval",
    "upper_bound",
    "wilson",
    "winners_curse",
    "worst_case",
]
