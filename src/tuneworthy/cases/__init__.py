"""Cases and examples: reading, kinds, splits, overlaps. Sampling, labels and writing have their own modules.

Importing this loads neither pyarrow nor yaml nor scikit-learn; what needs them imports them when called.
"""

from tuneworthy.cases.dataset import Dataset, Overlaps, answered_today, dataset_of, find_overlaps, read_dataset
from tuneworthy.cases.readers.faults import Reject, Rejects
from tuneworthy.cases.readers.reader import (
    CaseFile,
    ExampleFile,
    ExampleStream,
    read_cases,
    read_examples,
    stream_examples,
)
from tuneworthy.cases.splits import (
    Changes,
    Split,
    changes,
    example_case,
    labels_of,
    make_split,
)
from tuneworthy.cases.task_kind import Kind, guess_kind
from tuneworthy.errors import DataFaults

__all__ = [
    "CaseFile",
    "Changes",
    "DataFaults",
    "Dataset",
    "ExampleFile",
    "ExampleStream",
    "Kind",
    "Overlaps",
    "Reject",
    "Rejects",
    "Split",
    "answered_today",
    "changes",
    "dataset_of",
    "example_case",
    "find_overlaps",
    "guess_kind",
    "labels_of",
    "make_split",
    "read_cases",
    "read_dataset",
    "read_examples",
    "stream_examples",
]
