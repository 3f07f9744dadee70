"""From files to cases and examples: reading, kinds, splits, leaks, sampling, labels.

Importing this loads neither pyarrow nor yaml nor scikit-learn; what needs them imports them when called.
"""

from tuneworthy.cases.faults import DataFaults, DroppedRow
from tuneworthy.cases.kind import Kind, guess_kind, labels_of
from tuneworthy.cases.leaks import Leak, Leaks, find_leaks
from tuneworthy.cases.readers import CaseFile, ExampleFile, read_cases, read_examples
from tuneworthy.cases.splits import Changes, CleanSplit, Split, changes, make_split, split_without_leaks

__all__ = [
    "CaseFile",
    "Changes",
    "CleanSplit",
    "DataFaults",
    "DroppedRow",
    "ExampleFile",
    "Kind",
    "Leak",
    "Leaks",
    "Split",
    "changes",
    "find_leaks",
    "guess_kind",
    "labels_of",
    "make_split",
    "read_cases",
    "read_examples",
    "split_without_leaks",
]
