"""From files to cases and examples: reading, kinds, splits, leaks, sampling, labels.

Importing this loads neither pyarrow nor yaml nor scikit-learn; what needs them imports them when called.
"""

from tuneworthy.cases.faults import DroppedRow, Reject, Rejects
from tuneworthy.cases.kind import Kind, guess_kind, labels_of
from tuneworthy.cases.label import (
    Agreement,
    Applied,
    Label,
    LabelSession,
    agreement,
    apply_labels,
    read_labels,
    run_terminal,
)
from tuneworthy.cases.leaks import Leak, Leaks, find_leaks
from tuneworthy.cases.readers import CaseFile, ExampleFile, ExampleStream, read_cases, read_examples, stream_examples
from tuneworthy.cases.sample import Sample, sample_cases
from tuneworthy.cases.splits import (
    Changes,
    CleanSplit,
    Split,
    changes,
    example_case,
    make_split,
    split_without_leaks,
)
from tuneworthy.cases.write import write_cases, write_examples
from tuneworthy.errors import DataFaults

__all__ = [
    "Agreement",
    "Applied",
    "CaseFile",
    "Changes",
    "CleanSplit",
    "DataFaults",
    "DroppedRow",
    "ExampleFile",
    "ExampleStream",
    "Kind",
    "Label",
    "LabelSession",
    "Leak",
    "Leaks",
    "Reject",
    "Rejects",
    "Sample",
    "Split",
    "agreement",
    "apply_labels",
    "changes",
    "example_case",
    "find_leaks",
    "guess_kind",
    "labels_of",
    "make_split",
    "read_cases",
    "read_examples",
    "read_labels",
    "run_terminal",
    "sample_cases",
    "split_without_leaks",
    "stream_examples",
    "write_cases",
    "write_examples",
]
