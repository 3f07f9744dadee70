"""Two watchers of traffic: the confidence of the candidate's answers, and whether a certificate still applies.

`decode uncertainty` measured on dev which answers have low confidence, their share, and their error rate. The same
signal is used here: from log-probabilities, or from as many sampled answers as on dev. An alert says that low
confidence is more frequent than on dev. A session is one bet; a part of the bets begins at each session, so that a late
rise is found. False alerts are at most `ALPHA` at any number of looks, half for the interval of dev's share.

Bets on "more than the certified share differs" begin with every kept answer, so that a change late in the traffic is
found soon. If the share is within the bound, the chance that the certificate is ever withdrawn is at most `ALPHA`, for
answers that are independent of one another given those before.
"""

import math
from dataclasses import replace
from itertools import groupby
from typing import Literal

import numpy as np

from tuneworthy.arrays import Floats
from tuneworthy.decoding.confidence import DISAGREEMENT, PRIMARY, disagreement, signals, tokens_of
from tuneworthy.ladder.cascade import confidence_of
from tuneworthy.ladder.commands.uncertainty import (
    DOCUMENT,
    StoredUncertainty,
    Threshold,
    gives_logprobs,
    sampled_answers,
)
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.rung_details import Certificate
from tuneworthy.ladder.session import Session
from tuneworthy.shadow import messages
from tuneworthy.shadow.pairs import AnswerPair, AnswerPairs
from tuneworthy.shadow.verdict import ALPHA, ShadowRules, ShadowVerdict, metric_stream
from tuneworthy.stats.betting import confidence_sequence, log_capital_of_any_start, start_of_rise
from tuneworthy.stats.intervals import Interval
from tuneworthy.store import Folder
from tuneworthy.text import plural
from tuneworthy.types import Cases, NamedFloats, Trace, Variant, frozen

# Score of a pair: 1 if the candidate's answer is not below the threshold of confidence.
CONFIDENCE = "confidence"
# Of so many of the last sessions, more than half must have a signal, or it is not known how confident answers are.
RECENT = 100


@frozen
class ConfidenceWatch:
    """Threshold of low confidence, and the tolerated rise above dev.

    Attributes:
        margin: The tolerated difference between the shares in traffic and on dev.
        logprobs: Whether the candidate is asked for log-probabilities.
        threshold: Of `decode uncertainty`; None without one.
        refused: Why there is no threshold.
        samples: Answers that were sampled on dev.
    """

    margin: float
    logprobs: bool
    threshold: Threshold | None = None
    refused: str = ""
    samples: int = 0


@frozen
class ConfidenceVerdict:
    """Whether low confidence is more frequent in traffic than on dev.

    Attributes:
        status: `unknown` where it is not measured, or no longer.
        detail: The result in sentences.
        n: Sessions from `since` to the alert; without one, or if their order is not that of time, all.
        share: Share of their answers with low confidence, with its confidence sequence.
        low: See `share`.
        high: See `share`.
        since: The first session of the rise, counted from 1; the first of all without an alert.
        alert_at: Session at which the rise was shown.
        after: `share` of the sessions after the alert, where their order is that of time.
        dev: Share of the answers with low confidence on dev.
    """

    status: Literal["alert", "quiet", "unknown"]
    detail: str
    n: int = 0
    share: float | None = None
    low: float = 0.0
    high: float = 1.0
    since: int = 1
    alert_at: int | None = None
    after: Interval | None = None
    dev: Interval | None = None


def watch_of(session: Session, candidate: Variant) -> ConfidenceWatch | None:
    """Return how low confidence of the candidate is recognised; None if `[shadow]` sets no margin.

    Raises:
        DamagedRecord: What `decode uncertainty` stored is damaged.
    """
    margin = session.project.shadow.confidence_margin
    if margin is None:
        return None
    watch = ConfidenceWatch(margin=margin, logprobs=gives_logprobs(session, candidate))
    stored = session.folder.read(DOCUMENT, StoredUncertainty)
    if stored is None or stored.variant_id != candidate.id:
        options = candidate.id if watch.logprobs else f"{candidate.id} --samples 3"
        other = f" (what is stored was measured with {stored.variant}, {stored.variant_id})" if stored else ""
        return replace(
            watch, refused=f"it is not measured on dev{other}. Run `tuneworthy decode uncertainty --variant {options}`."
        )
    threshold = stored.calibration.threshold
    return replace(
        watch,
        threshold=threshold,
        refused="" if threshold else f"on dev, {stored.calibration.refused}.",
        samples=stored.samples,
    )


async def ask_watched(
    session: Session, candidate: Variant, cases: Cases, watch: ConfidenceWatch | None
) -> tuple[list[Trace], dict[str, float]]:
    """Return the candidate's answers, and by case the signal of those that have one; higher is less certain."""
    if watch is None or watch.threshold is None:
        return await session.ask(candidate, cases), {}
    sampled = watch.threshold.signal == DISAGREEMENT  # stored answers without log-probabilities then count as they are
    traces = await session.ask(candidate, cases, logprobs=1 if watch.logprobs and not sampled else None)
    if sampled:
        samples = await sampled_answers(session, candidate, cases, watch.samples)
        return traces, {case: disagreement(texts) for case, texts in samples.items() if len(texts) == watch.samples}
    given = {trace.case_id: trace.response.logprobs for trace in traces if trace.response and trace.response.logprobs}
    return traces, {case: signals(tokens_of(logprobs))[PRIMARY] for case, logprobs in given.items()}


def with_confidence(pairs: AnswerPairs, values: NamedFloats, watch: ConfidenceWatch | None) -> list[AnswerPair]:
    """Return pairs with the score `CONFIDENCE`, where the candidate's answer has a signal."""
    bound = watch.threshold.value if watch and watch.threshold else 0.0
    return [
        replace(pair, scores={**pair.scores, CONFIDENCE: (1.0, float(values[pair.turn.case.id] <= bound))})
        if pair.turn.case.id in values
        else pair
        for pair in pairs
    ]


def judged_confidence(
    pairs: AnswerPairs, rules: ShadowRules, watch: ConfidenceWatch | None, *, live: bool, file: str
) -> ConfidenceVerdict | None:
    """Return whether low confidence is more frequent in pairs than on dev.

    Args:
        pairs: Those for which the candidate was asked, in the order of their sessions.
        rules: Of the replay.
        watch: How low confidence is recognised; None does not watch.
        live: Whether that is the order of time.
        file: Where the pairs can be read.
    """
    if watch is None:
        return None
    stream = metric_stream(pairs, rules, CONFIDENCE)
    n, threshold = len(stream.values), watch.threshold
    if threshold is None or not n:
        return _unknown(watch.refused or "no answer of the candidate has log-probabilities, and none is sampled.")
    ceiling = min(1.0, threshold.above.hi + watch.margin)
    if ceiling == 1.0:  # no bet on a mean above 1 can be won
        most = math.floor(1000 * (1 - threshold.above.hi)) / 1000
        return _unknown(
            f"a margin of {100 * watch.margin:.1f} points can never alert, because dev's share may be as high as "
            f"{threshold.above.hi:.1%}. Set `shadow.confidence_margin` below {most:.3f}, or measure more dev "
            "cases."
        )
    alert_at, start = rise(-stream.values, stream.weights, ceiling)
    sessions = groupby(pairs, key=lambda pair: pair.session.name)
    recent = [any(CONFIDENCE in pair.scores for pair in members) for _, members in sessions][-RECENT:]
    if alert_at is None and 2 * sum(recent) < len(recent):
        return _unknown(
            f"of the last {len(recent):,} {plural(len(recent), 'session', 'sessions')}, "
            f"{len(recent) - sum(recent):,} have neither log-probabilities nor sampled answers, and "
            f"{sum(recent):,} have. Check that the server still returns them."
        )
    start, end = (start, alert_at or n) if live else (0, n)
    # the start was chosen after the fact: its part of the error is what its bets had of the capital
    found = _share(-stream.values[start:end], stream.weights[start:end], ALPHA / ((start + 1) * (start + 2)))
    verdict = ConfidenceVerdict(
        status="alert" if alert_at else "quiet",
        detail="",
        n=found.n,
        share=found.value,
        low=found.lo,
        high=found.hi,
        since=start + 1,
        alert_at=alert_at,
        after=_share(-stream.values[end:], stream.weights[end:], ALPHA) if end < n else None,
        dev=threshold.above,
    )
    detail = _sentences(verdict, threshold, watch.margin)
    if alert_at:
        detail += (
            " Check which model the server runs, then read the answers with low confidence: the key `confidence` in "
            f".tuneworthy/{file}."
        )
    return replace(verdict, detail=detail)


def _unknown(why: str) -> ConfidenceVerdict:
    return ConfidenceVerdict(status="unknown", detail=messages.say("confidence_unknown", why=why))


def _share(unsure: Floats, weights: Floats, alpha: float) -> Interval:
    (low,), (high,) = confidence_sequence(2 * unsure - 1, weights, np.array([len(unsure)]), alpha)
    return Interval(
        float((weights * unsure).sum() / weights.sum()),
        float(1 + low) / 2,
        float(1 + high) / 2,
        len(unsure),
        len(unsure),
        alpha,
        "betting",
    )


def rise(unsure: Floats, weights: Floats, ceiling: float) -> tuple[int | None, int]:
    """Return after how many sessions it was shown that the mean rose above `ceiling`, and after how many it did.

    Args:
        unsure: `(n,)`, share of answers with low confidence per session.
        weights: `(n,)` in [0, 1].
        ceiling: Largest allowed mean.

    Returns:
        None and 0 if it was not shown.
    """
    values, null = 2 * unsure - 1, 2 * ceiling - 1  # bets are on values in [-1, 1]
    alerts = np.flatnonzero(log_capital_of_any_start(values, null, weights) >= np.log(2 / ALPHA))
    if not len(alerts):
        return None, 0
    alert_at = int(alerts[0]) + 1
    return alert_at, start_of_rise(values[:alert_at], null, weights[:alert_at])


def _sentences(verdict: ConfidenceVerdict, threshold: Threshold, margin: float) -> str:
    production = messages.say("rate", share=verdict.share, low=verdict.low, high=verdict.high)
    dev, wrong, others = (
        messages.say("rate", share=one.value, low=one.lo, high=one.hi)
        for one in (threshold.above, threshold.wrong_flagged, threshold.wrong_others)
    )
    name = "confidence_alert" if verdict.alert_at else "confidence_quiet"
    since = f", since about session {verdict.since:,}" if verdict.since > 1 else ""
    n, n_dev, after = verdict.n, threshold.above.n, verdict.after
    shares = (
        f"It is {production} in production (n = {n:,} {plural(n, 'session', 'sessions')}) and {dev} on dev (n = "
        f"{n_dev:,})."
    )
    if after:
        now = messages.say("rate", share=after.value, low=after.lo, high=after.hi)
        shares = (
            f"Up to the alert at session {verdict.alert_at:,} it was {production} (n = {n:,} "
            f"{plural(n, 'session', 'sessions')}), after the alert {now} (n = {after.n:,}). On dev it is {dev} (n "
            f"= {n_dev:,})."
        )
    return (
        f"{messages.say(name, since=since, margin=100 * margin)} {shares} On dev, {wrong} of the answers with low "
        f"confidence are wrong, and {others} of the others."
    )


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
    return replace(verdict, status="fail", detail=withdrawn, fix=messages.say("withdrawn")) if withdrawn else verdict


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
