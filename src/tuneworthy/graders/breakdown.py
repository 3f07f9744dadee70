"""Why answers were wrong, counted: reasons for the ladder's report, and fields for JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import field

from tuneworthy.graders.json_fields import Counts
from tuneworthy.types import Score, frozen


@frozen
class Breakdown:
    """Outcomes of a set of traces.

    Attributes:
        n: Traces, unscored traces included.
        reasons: Reason to number of scored traces, most frequent first; `right` for those without a reason.
        unscored: Why infrastructure or judge failed, to number of traces.
        fields: For `json_fields`: dotted path to its counts, with precision, recall and F1.
    """

    n: int
    reasons: dict[str, int] = field(default_factory=dict)
    unscored: dict[str, int] = field(default_factory=dict)
    fields: dict[str, Counts] = field(default_factory=dict)


def breakdown(scores: Sequence[Score]) -> Breakdown:
    """Count the reasons of `scores` and add up their per-field counts.

    >>> breakdown([Score(num=1.0), Score(reason="format"), Score.failed("timeout: 60 s")]).reasons
    {'right': 1, 'format': 1}
    """
    reasons = Counter(score.reason or "right" for score in scores if not score.unscored)
    unscored = Counter(score.unscored.split(":", 1)[0] for score in scores if score.unscored)
    fields: dict[str, Counts] = {}
    for score in scores:
        counts = score.detail.get("fields") if not score.unscored else None
        for path, three in counts.items() if isinstance(counts, dict) else ():
            fields.setdefault(path, Counts()).add(three)
    return Breakdown(
        n=len(scores), reasons=dict(reasons.most_common()), unscored=dict(unscored.most_common()), fields=fields
    )
