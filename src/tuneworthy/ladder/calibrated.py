"""Calibration of a variant's probabilities, from its answers."""

from collections.abc import Sequence

import numpy as np

from tuneworthy.graders.base import accepted
from tuneworthy.stats.calibration import LabelCalibration, calibration
from tuneworthy.types import MOST_UNSCORED, Case, Trace


def calibration_of(traces: Sequence[Trace], cases: Sequence[Case]) -> LabelCalibration | None:
    """Return the calibration of the answers to `cases`; None where (nearly) not all carry probabilities.

    Args:
        traces: Of these cases; repeats after the first are left out.
        cases: Labelled.
    """
    expected = {case.id: case.expected for case in cases}
    rows = [
        (trace.response.label_logprobs, [text.strip().casefold() for text in accepted(expected[trace.case_id])])
        for trace in traces
        if trace.repeat == 0 and trace.response and trace.response.label_logprobs
    ]
    if not rows or len(rows) < (1 - MOST_UNSCORED) * len(cases):
        return None
    labels = sorted({label for logprobs, _ in rows for label in logprobs or ()})
    column = {label: number for number, label in enumerate(labels)}
    shares = np.zeros((len(rows), len(labels)))
    right = np.full(len(rows), -1)
    for number, (logprobs, texts) in enumerate(rows):
        for label, value in (logprobs or {}).items():
            shares[number, column[label]] = np.exp(value)
        fitting = [column[label] for label in logprobs or () if label.casefold() in texts]
        if fitting:  # of several right answers the one that the model finds most probable
            right[number] = max(fitting, key=shares[number].__getitem__)
    return calibration(shares / shares.sum(axis=1, keepdims=True), right)
