"""Whether a certificate still applies: the difference among what is kept, watched at every look.

Bets on "more than the certified share differs" begin with every kept answer, so that a change late in the traffic is
found soon. If the share is within the bound, the chance that the certificate is ever withdrawn is at most `ALPHA`, for
answers that are independent of one another given those before.
"""

from dataclasses import replace

import numpy as np

from tuneworthy.ladder.cascade import confidence_of
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rung_details import Certificate
from tuneworthy.shadow import messages
from tuneworthy.shadow.pairs import AnswerPairs
from tuneworthy.shadow.verdict import ShadowVerdict
from tuneworthy.stats.betting import log_capital_of_any_start
from tuneworthy.store import Folder
from tuneworthy.types import Variant

# Chance that a certificate that applies is ever withdrawn.
ALPHA = 0.05


def certificate_for(folder: Folder, candidate: Variant) -> Certificate | None:
    """Return the certificate of the last run for a candidate, or for the variant that answers first in a cascade."""
    record, names = read_record(folder), {candidate.id, *([candidate.cascade.first.id] if candidate.cascade else [])}
    found = [one for rung in (record.rungs if record else ()) if (one := rung.certificate) and one.variant in names]
    return next((one for one in found if one.threshold is not None), None)


def withdrawn_at(differs: np.ndarray, most: float) -> int | None:
    """Return after how many kept answers more than `most` is shown to differ; None if that was not shown.

    Args:
        differs: `(n,)`, in the order of time, each in [0, 1].
        most: The certified share.

    >>> withdrawn_at(np.ones(40), 0.05), withdrawn_at(np.zeros(400), 0.05)
    (8, None)
    """
    if not len(differs):
        return None
    reached = np.flatnonzero(log_capital_of_any_start(differs, most) >= -np.log(ALPHA))
    return int(reached[0]) + 1 if len(reached) else None


def with_certificate(verdict: ShadowVerdict, certificate: Certificate | None, pairs: AnswerPairs) -> ShadowVerdict:
    """Return a verdict to stop where the certificate is withdrawn, else `verdict`."""
    withdrawn = withdrawal(certificate, pairs) if certificate else ""
    if not withdrawn:
        return verdict
    return replace(verdict, status="fail", detail=withdrawn, fix=messages.say("withdrawn"))


def withdrawal(certificate: Certificate, pairs: AnswerPairs) -> str:
    """Say that a certificate is withdrawn; "" while it applies."""
    threshold = certificate.threshold or 0.0
    kept = [
        1 - pair.scores["agreement"][1]
        for pair in pairs
        if pair.answered and "agreement" in pair.scores and confidence_of(pair.candidate) >= threshold
    ]
    place = withdrawn_at(np.array(kept), certificate.most)
    if place is None:
        return ""
    return (
        f"The certificate is withdrawn: of {place} kept answers, {np.mean(kept[:place]):.1%} differ from production's, "
        f"and more than {certificate.most:.0%} is shown to differ now."
    )
