"""The certificate of a cheap variant: how much of the traffic it may keep so that it rarely differs from today's model.

Test cases, which trained and chose nothing, are the calibration units; dev fixes the order of the thresholds. Each
further certificate of a project, with other cases or another classifier, takes a part of the error that is left, so
that all of them together are wrong with a chance of at most `1 - CONFIDENCE`.
"""

from dataclasses import replace

import numpy as np

from tuneworthy.graders.judge import JudgeGrader
from tuneworthy.ladder.cascade import confidence_of
from tuneworthy.ladder.rung_details import Certificate, KeptLabel
from tuneworthy.ladder.session import Session
from tuneworthy.stats.certificate import (
    CONFIDENCE,
    FEWEST_KEPT,
    FIRST_SHARE,
    MOST_DIFFERENT,
    CalibrationUnits,
    certify,
)
from tuneworthy.stats.intervals import upper_bound, wilson
from tuneworthy.types import Cases, Variant, content_hash, grouped

# The hashes of the looks at the calibration units so far.
LOOKS = "certificates"


async def certificate_of(session: Session, variant: Variant, dev: Cases) -> Certificate | None:
    """Return the certificate of a measured variant; None if its answers come without probabilities.

    Args:
        session: The project, whose cases are compared with today's answers.
        variant: It; of a cascade, the variant that answers first.
        dev: Cases with stored answers, which fix the order of the thresholds.
    """
    variant = variant.cascade.first if variant.cascade else variant
    calibration, answers = await _units(session, variant, session.split.test)
    if not calibration.sure.any():
        return None
    today = [case.today for case in session.split.test if case.today]
    repeated = [one for one in today if one.calls > 1]
    calls = sum(one.calls for one in repeated)
    own = Certificate(
        variant=variant.id,
        name=variant.name,
        n_calibration=len(calibration.sure),
        today_differs=1 - sum(one.same for one in repeated) / calls if repeated else None,
    )
    if isinstance(session.primary, JudgeGrader):
        return replace(own, refused="a judge compares the answers, and its own errors have no bound")
    if len(calibration.sure) < FEWEST_KEPT:
        return replace(own, refused=f"a certificate needs at least {FEWEST_KEPT} test prompts")
    look, alpha = _look(session, variant, calibration)
    order, _ = await _units(session, variant, dev)
    found = certify(calibration, order, alpha=alpha)
    if not found:
        why = f"no confidence level keeps the difference within {MOST_DIFFERENT:.0%} with enough certainty"
        return replace(own, refused=why, look=look)
    kept, weights = calibration.sure >= found.threshold, calibration.weights
    n = float(weights.sum() ** 2 / (weights**2).sum())
    labels = grouped(zip(answers[kept].tolist(), np.ceil(calibration.differs[kept]).astype(int).tolist(), strict=True))
    return replace(
        own,
        threshold=found.threshold,
        share=found.share,
        share_ci=wilson(found.share * n, n),
        difference=found.difference,
        upper=found.upper,
        n=found.n,
        labels={
            label: KeptLabel(
                n=len(differ), differ=sum(differ), upper=upper_bound(sum(differ), len(differ), 1 - CONFIDENCE)
            )
            for label, differ in sorted(labels.items())
        },
        look=look,
    )


async def _units(session: Session, variant: Variant, cases: Cases) -> tuple[CalibrationUnits, np.ndarray]:
    """Return the first case of each group of copies as a unit with the traffic of all, and the answers."""
    traces = {trace.case_id: trace for trace in session.stored(variant, cases)}
    asked = [case for case in cases if case.id in traces]
    num, den, _ = await session.score([traces[case.id] for case in asked], asked)
    right = np.nan_to_num(num / np.maximum(den, 1e-12)) >= 1
    rows = grouped((case.source, at) for at, case in enumerate(asked))
    first = [members[0] for members in rows.values()]
    today = [case.today for case in asked]
    same = np.array([one.same / one.calls if one else 1.0 for one in today])
    calls = np.array([one.calls if one else 1 for one in today], float)
    sure = np.array([confidence_of(traces[case.id]) for case in asked])
    weights = np.array([calls[members].sum() for members in rows.values()])
    units = CalibrationUnits(sure[first], np.where(right, 1 - same, 1.0)[first], weights)
    return units, np.array([traces[asked[at].id].text for at in first], object)


def _look(session: Session, variant: Variant, units: CalibrationUnits) -> tuple[int, float]:
    """Return the number of this look, and its error: the same units and classifier are the same look."""
    names = session.folder.read(LOOKS, list[str]) or []
    name = content_hash([variant.id, units.sure.tolist(), units.differs.tolist(), units.weights.tolist()])
    if name not in names:
        names = [*names, name]
        if session.folder.writable:
            session.folder.write(LOOKS, names)
    look, error = names.index(name), 1 - CONFIDENCE
    return look + 1, error * (FIRST_SHARE if look == 0 else (1 - FIRST_SHARE) / 2**look)
