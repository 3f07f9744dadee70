"""Statistics of the ladder: intervals, paired tests, power, acceptance and comparison plans; numpy and scipy only.

A case contributes a numerator and a denominator to a score (`ratios`); cases that share a source are one cluster.
"""

from tuneworthy.stats.comparisons import ComparisonPlan

from .acceptance import operating_characteristic
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
    mcnemar_power,
    n_for_difference,
    n_for_non_inferiority,
)

__all__ = [
    "ComparisonPlan",
    "Interval",
    "NonInferiority",
    "PairedResult",
    "clopper_pearson",
    "compare",
    "detectable",
    "lower_bound",
    "mcnemar_p_value",
    "mcnemar_power",
    "n_for_difference",
    "n_for_non_inferiority",
    "non_inferior",
    "operating_characteristic",
    "score_bound",
    "score_interval",
    "upper_bound",
    "wilson",
    "worst_case",
]
