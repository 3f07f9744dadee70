"""Which training fits, where the answer is to train. Pure."""

from typing import Final

from tuneworthy.verdict.base import Method
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.outcome import Ruling

# Share of right samples between which a model can learn from its own answers.
LEARNABLE: Final = (0.1, 0.7)


def method_of(evidence: Evidence, ruling: Ruling) -> Method:
    """Return the method: distil from what meets the target; else pairs, then a grader, then labelled examples.

    Without enough examples a grader may teach instead (`rl`), if 10 to 70% of the samples pass; for a label task a
    classifier is tuned where the classical baseline is as good as any language model that was measured.
    """
    if ruling.code in {"cost", "constraint"}:
        return "distil"
    if evidence.preferences:
        return "preference"
    rate = evidence.pass_rate
    if not evidence.has_examples and rate is not None and LEARNABLE[0] <= rate <= LEARNABLE[1]:
        return "rl"
    if evidence.kind == "label" and evidence.best == "classical":
        return "classifier"
    return "sft"
