"""From files to cases and examples: reading, kinds, splits, leaks. Sampling, labels and writing are modules beside.

Importing this loads neither pyarrow nor yaml nor scikit-learn; what needs them imports them when called.
"""

from tuneworthy.cases.faults import DroppedRow, Reject, Rejects
from tuneworthy.cases.kind import Kind, guess_kind, labels_of
from tuneworthy.cases.leaks import Leak, Leaks, find_leaks
from tuneworthy.cases.readers import CaseFile, ExampleFile, ExampleStream, read_cases, read_examples, stream_examples
from tuneworthy.cases.splits import (
    Changes,
    CleanSplit,
    Split,
    changes,
    example_case,
    make_split,
    split_without_leaks,
)
from tuneworthy.errors import DataFaults

__all__ = [
    "CaseFile",
    "Changes",
    "CleanSplit",
    "DataFaults",
    "DroppedRow",
    "ExampleFile",
    "ExampleStream",
    "Kind",
    "Leak",
    "Leaks",
    "Reject",
    "Rejects",
    "Split",
    "changes",
    "example_case",
    "find_leaks",
    "guess_kind",
    "labels_of",
    "make_split",
    "read_cases",
    "read_examples",
    "split_without_leaks",
    "stream_examples",
]
