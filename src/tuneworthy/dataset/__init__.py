"""From raw examples to training data: what the checks find in them, and which rows are kept, changed or dropped.

Importing this loads neither scikit-learn nor a model; what needs them imports them when called.
"""

from tuneworthy.dataset.base import (
    DATA_CHECKS,
    WHOLE_SET,
    CheckContext,
    DataCheck,
    RowFinding,
    data_checks,
)
from tuneworthy.dataset.records import Action

__all__ = ["DATA_CHECKS", "WHOLE_SET", "Action", "CheckContext", "DataCheck", "RowFinding", "data_checks"]
