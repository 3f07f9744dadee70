"""Statistics of the ladder: intervals, paired tests, power, acceptance plans, planned looks; numpy and scipy only."""

from .intervals import (
    Interval,
    clopper_pearson,
    lower_bound,
    score_bound,
    score_interval,
    upper_bound,
    wilson,
)
from .looks import LookPlan
from .paired import NonInferiority, PairedResult, compare, mcnemar_p_value, non_inferior, worst_case

__all__ = [
    "Interval",
    "LookPlan",
    "NonInferiority",
    "PairedResult",
    "clopper_pearson",
    "compare",
    "lower_bound",
    "mcnemar_p_value",
    "non_inferior",
    "score_bound",
    "score_interval",
    "upper_bound",
    "wilson",
    "worst_case",
]
