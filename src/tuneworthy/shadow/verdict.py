"""From pairs to a verdict on the candidate: stop, pass, or not shown yet; the same whether one looks once or often.

Two rules, in this order. **Stop**: a metric is shown to be worse than production by more than the margin, over all
traffic or in one stratum (a limit: shown to be missed). **Pass**: quality, form and answering at all are each shown to
be no worse by the margin. A rule that was satisfied at any look stays so, so looks in between change nothing.

Sessions of one day are correlated, so a finished day is one block: the mean difference of its sessions, weighed by
their turns (`stats.blocks`). A day counts once it is over and all its drawn sessions were asked. Harm of more than
`GROSS` beyond the margin stops at once, with sessions as blocks: `GROSS` is three times the largest standard deviation
between days for which these rules were calibrated. If the user calls a log one period, each session is a block and the
result is about that log only.

Quality counts where it is known: by right answers, or by a validated judge that people correct. People label the
sessions that a hash chooses; each of theirs counts as 1 / share sessions in the correction. The sequence ends before
the first session that waits for its labels, because leaving it out would let the labellers choose.

Invariants: false stops of all metrics and strata together are at most `ALPHA` (Bonferroni, half for the strata);
so is a false pass, since all three must be shown (an intersection-union test). By days both are asymptotic in the
number of days, checked by `scripts.simulations.days` for standard deviations up to 0.1 between days.

Source: `stats.blocks`; Waudby-Smith et al. 2024 (arXiv 2210.10768) and Csillag et al. 2025 (arXiv
2502.04294) for a judge's score plus its error over the share of labels.
"""

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import field, replace
from itertools import groupby
from typing import Literal

import numpy as np

from tuneworthy.arrays import Bools, Floats, Ints
from tuneworthy.cases.stratified import is_drawn
from tuneworthy.shadow import messages
from tuneworthy.shadow.days import MIN_DAYS, Blocks, forecast
from tuneworthy.shadow.pairs import AnswerPair, AnswerPairs, Scores
from tuneworthy.stats.blocks import running_mean
from tuneworthy.text import count
from tuneworthy.types import MOST_UNSCORED, NamedFloats, NamedInts, Texts, frozen

ALPHA = 0.05
# Metrics that must be shown to be no worse, in every stratum.
COMPARED = ("quality", "format", "refusal")
# Metrics that compare the candidate with a limit of the project file.
LIMITED = ("latency", "cost")
# Metrics that are shown as shares and decide nothing: a replay times answers under its own load.
SHARES = ("agreement", "latency")
# Harm beyond the margin that stops at once, whatever the day.
GROSS = 0.3
# Points of a sequence that are kept for its chart, at most.
POINTS = 24
Status = Literal["pass", "fail", "unknown"]
# Returns both scores of a pair; None without a score.
ScoreOf = Callable[[AnswerPair], Scores | None]


@frozen
class Stream:
    """Differences of one metric, in the order of the sessions.

    Attributes:
        values: `(n,)`, differences of candidate and production, each in [-reach, reach].
        weights: `(n,)`, each in [0, 1].
        reach: See `values`.
        waiting: Sessions behind the end of the sequence that wait for labels.
        due: Sessions that people label.
        days: `(n,)`, each session's finished day by number, rising; -1 outside. By default every session is a day.
    """

    values: Floats
    weights: Floats
    reach: float = 1.0
    waiting: int = 0
    due: int = 0
    days: Ints | None = None

    @property
    def blocks(self) -> Blocks:
        return Blocks.of(
            self.values, self.weights, np.arange(self.values.shape[-1]) if self.days is None else self.days, self.reach
        )

    def reached(self, null: float, alpha: float, *, above: bool) -> int | None:
        """Return after how many sessions the mean was shown to be beyond `null`; None if it was not."""
        blocks = self.blocks
        low, high = blocks.ends(alpha)
        places = blocks.places[low > null if above else high < null]
        return int(places[0]) if len(places) else None


@frozen
class MetricResult:
    """Result of a metric, over all traffic or in one stratum; differences in shares, candidate minus production.

    Attributes:
        metric: Its name.
        stratum: "" for all traffic.
        n: Sessions.
        estimate: The difference; None without a session.
        low: Lower end of the 95% confidence sequence at the last session.
        high: Its upper end.
        margin: How much worse is still good enough; 0 of a limit.
        stopped_at: Session at which it was shown to be worse than that.
        passed_at: Session at which it was shown to be no worse.
        below_at: Session at which it was shown to be below production at all.
        waiting: Sessions that wait for labels.
        due: Sessions that people label.
        points: Sessions, estimate, lower and upper end along the way.
        n_days: Finished days.
        forecast: Days to a decision on quality, in a sentence; "" before the first finished day.
    """

    metric: str
    stratum: str = ""
    n: int = 0
    estimate: float | None = None
    low: float = -1.0
    high: float = 1.0
    margin: float = 0.0
    stopped_at: int | None = None
    passed_at: int | None = None
    below_at: int | None = None
    waiting: int = 0
    due: int = 0
    points: Sequence[tuple[int, float, float, float]] = ()
    n_days: int = 0
    forecast: str = ""

    @property
    def is_open(self) -> bool:
        """Whether too few blocks have ended for an interval."""
        return self.high - self.low >= 2


@frozen
class ShadowVerdict:
    """Whether the candidate may take over traffic, as far as recorded traffic shows.

    Attributes:
        status: `fail`: a stop rule held; `pass`; or not shown yet.
        detail: Why, in sentences.
        fix: What to do about it.
        below: Whether quality is shown to be below production, within the margin.
        results: Of each metric, over all traffic and in each stratum.
    """

    status: Status
    detail: str
    fix: str = ""
    below: bool = False
    results: Sequence[MetricResult] = ()


@frozen
class ShadowRules:
    """Input of the rules before any answer: nothing in it may depend on answers.

    Attributes:
        margin: Of the project.
        turns: Most turns of a session.
        strata: Those that are examined one by one.
        limits: Metric to its limit, of those that have one.
        label_share: Share of the sessions that people label.
        complete: Whether that is not needed: the recording has right answers, or the grader works without.
        judge: Whether a validated judge scores all sessions.
        seed: Of the draw.
        most_strata: How many strata there may be in the end; those of now if not set.
        days: Finished day to its drawn sessions.
    """

    margin: float
    turns: int
    strata: Texts = ()
    limits: NamedFloats = field(default_factory=dict)
    label_share: float = 1.0
    complete: bool = False
    judge: bool = False
    seed: int = 0
    most_strata: int = 0
    days: NamedInts = field(default_factory=dict)

    def is_due(self, session: str) -> bool:
        """Whether right answers are needed for this session."""
        return self.complete or is_drawn(self.seed, f"label {session}", self.label_share)

    @property
    def overall_alpha(self) -> float:
        """Error of the stop rule per metric over all traffic."""
        return ALPHA / (2 if self.strata or self.most_strata else 1) / (len(COMPARED) + len(self.limits))

    @property
    def stratum_alpha(self) -> float:
        """Error of the stop rule per metric and stratum."""
        return ALPHA / 2 / (len(COMPARED) * (self.most_strata or len(self.strata)))


def judged(pairs: AnswerPairs, rules: ShadowRules) -> ShadowVerdict:
    sessions = _by_session(pairs)
    counts = Counter(members[0].session.day for members in sessions)
    closed = {day for day, n in counts.items() if rules.days.get(day) == n}
    results = [_result(sessions, name, rules, closed) for name in (*COMPARED, *rules.limits)]
    results += [result for name in SHARES if (result := _result(sessions, name, rules, closed)).n]
    for stratum in rules.strata:
        own = [members for members in sessions if members[0].session.stratum == stratum]
        results += [_result(own, name, rules, closed, stratum) for name in COMPARED]
    return _verdict(results, pairs, rules)


def _by_session(pairs: AnswerPairs) -> list[list[AnswerPair]]:
    return [list(group) for _, group in groupby(pairs, key=lambda pair: pair.session.name)]


def metric_stream(pairs: AnswerPairs, rules: ShadowRules, metric: str) -> Stream:
    """Return the bets on a metric that is known per answered turn; `pairs` are in the order of their sessions."""
    return _plain(_by_session(pairs), rules, lambda pair: pair.scores.get(metric))


def _verdict(results: Sequence[MetricResult], pairs: AnswerPairs, rules: ShadowRules) -> ShadowVerdict:
    stopped = [result for result in results if result.stopped_at is not None]
    quality, *_ = overall = results[: len(COMPARED)]
    missing, unscored = sum(pair.candidate.response is None for pair in pairs), ""
    status: Status = "fail" if stopped else "unknown"
    below, fix = quality.below_at is not None and not stopped, ""
    if missing > MOST_UNSCORED * len(pairs):
        unscored = messages.say("unscored", n=missing, n_all=len(pairs), most=MOST_UNSCORED)
        fix = (
            "Fix the candidate's errors, then run the replay again. Failed copies stay failed: for a new recording, "
            "move `.tuneworthy/shadow/traffic.jsonl` away."
        )
    if stopped:
        detail = " ".join([*(_stop_sentence(result, pairs, rules) for result in stopped), unscored]).rstrip()
    elif unscored:
        detail = unscored
    elif quality.waiting and quality.passed_at is None:
        unlabelled = (
            "The recording does not say which answers are correct. Without this, a candidate can fail but cannot pass. "
        ) * (not quality.n)
        detail = f"{unlabelled}{count(quality.waiting, 'session needs', 'sessions need')} human labels."
        fix = messages.say("label")
    elif first := next((result for result in overall if result.passed_at is None), None):
        detail = (
            f"{messages.METRICS[first.metric]} may be more than {100 * first.margin:.1f} points worse than production: "
            f"{interval(first)} {quality.forecast}"
        ).rstrip()
        is_labels = first.metric == "quality" and not rules.complete and rules.label_share < 1
        fix = messages.say("more_labels" if is_labels else "more_traffic", share=rules.label_share)
        if first.n_days < MIN_DAYS:
            fix = (
                f"A result needs {MIN_DAYS} finished days (UTC) with dates, and often more. The recording has "
                f"{first.n_days}. Let `tuneworthy shadow proxy` run on, or replay a log over more days, with a "
                "`timestamp` in each row. If other days do not matter, add --one-period. "
                f"{fix if is_labels else ''}"
            ).rstrip()
    else:
        status = "pass"
        detail = (
            f"{messages.METRICS[quality.metric]} is at most {100 * quality.margin:.1f} points worse than production: "
            f"{interval(quality)}{' Quality is lower than in production, but by less than the margin.' * below}"
        )
    return ShadowVerdict(status=status, detail=detail, fix=fix, below=below, results=results)


def _stop_sentence(result: MetricResult, pairs: AnswerPairs, rules: ShadowRules) -> str:
    if result.metric == "cost":
        spent = [pair.candidate.cost_usd for pair in pairs if pair.answered]
        return (
            f"Cost exceeds its limit: ${1000 * sum(spent) / len(spent):,.4f} per 1,000 answers (limit: "
            f"${rules.limits['cost']:,.4f})."
        )
    where = f" in {result.stratum}" if result.stratum else ""
    metric, margin = messages.METRICS[result.metric], 100 * result.margin
    return f"{metric} is worse by more than {margin:.1f} points{where}: {interval(result)}"


def interval(result: MetricResult) -> str:
    """Return the difference of a metric with its sequence, in points, and n; of `SHARES`, the share."""
    if result.estimate is None:
        return "no answer was scored."
    is_share = result.metric in SHARES
    estimate, low, high = (
        level(result) if is_share else (100 * end for end in (result.estimate, result.low, result.high))
    )
    name = f"{'open_' * result.is_open}{'level' if is_share else 'interval'}"
    return messages.say(name, estimate=estimate, low=low, high=high, n=result.n, days=MIN_DAYS)


def level(result: MetricResult) -> tuple[float, float, float]:
    """Return a share of `SHARES` with its sequence, from its difference to all answers."""
    estimate, low, high = (min(1.0, max(0.0, 1 + end)) for end in (result.estimate or 0.0, result.low, result.high))
    return estimate, low, high


def _result(
    sessions: Sequence[AnswerPairs],
    metric: str,
    rules: ShadowRules,
    closed: Set[str],
    stratum: str = "",
) -> MetricResult:
    stream = (
        _quality(sessions, rules, closed)
        if metric == "quality"
        else _plain(sessions, rules, lambda pair: pair.scores.get(metric), closed)
    )
    margin, blocks = 0.0 if metric in LIMITED else rules.margin, stream.blocks
    result = MetricResult(
        metric=metric,
        stratum=stratum,
        margin=margin,
        waiting=stream.waiting,
        due=stream.due,
        n_days=len(blocks.means),
    )
    if not len(stream.values):
        return result
    alpha = rules.stratum_alpha if stratum else rules.overall_alpha
    single = replace(stream, days=None)
    harm = [(single, -margin - GROSS), (stream, -margin)] if metric not in SHARES else []
    stops = (bets.reached(bound, alpha, above=False) for bets, bound in harm)
    result = replace(
        result,
        stopped_at=min(filter(None, stops), default=None),
        passed_at=stream.reached(-margin, ALPHA, above=True) if metric in COMPARED else None,
        below_at=stream.reached(0.0, ALPHA, above=False) if metric in COMPARED else None,
        forecast=forecast(margin, ALPHA, alpha, blocks) if metric == "quality" and result.n_days < blocks.n else "",
    )
    return _with_sequence(result, single if result.stopped_at is not None and result.n_days < MIN_DAYS else stream)


def _with_sequence(result: MetricResult, stream: Stream) -> MetricResult:
    """Add estimate and sequence at the end, and along the way: at each session where a rule was met too."""
    met, blocks = (result.stopped_at, result.passed_at, result.below_at), stream.blocks
    n, (low, high), (means, _) = len(blocks.means), blocks.ends(ALPHA / 2), running_mean(blocks.means, blocks.weights)
    spread = np.geomspace(1, max(1, n), 1 if result.stratum else POINTS).round() - 1
    chosen = np.isin(np.arange(n), [*spread, n - 1]) | np.isin(blocks.places, [*filter(None, met)])
    points = [
        (int(place), float(mean), max(-1.0, float(lower)), min(1.0, float(upper)))
        for place, mean, lower, upper in zip(*(one[chosen] for one in (blocks.places, means, low, high)), strict=True)
    ]
    so_far = float((stream.weights * stream.values).sum() / stream.weights.sum())
    _, estimate, lower, upper = points[-1] if points else (0, so_far, -1.0, 1.0)
    return replace(result, n=len(stream.values), estimate=estimate, low=lower, high=upper, points=points)


def _plain(
    sessions: Sequence[AnswerPairs],
    rules: ShadowRules,
    score: ScoreOf,
    closed: Set[str] = frozenset(),
) -> Stream:
    bets = [(_bet(members, rules, score), members[0].session.day) for members in sessions]
    values, weights = np.array([bet for bet, _ in bets if bet is not None], dtype=np.float64).reshape(-1, 2).T
    return Stream(values=values, weights=weights, days=_numbers([day for bet, day in bets if bet is not None], closed))


def _numbers(days: Texts, closed: Set[str]) -> Ints:
    places = {day: place for place, day in enumerate(dict.fromkeys(days)) if day in closed}
    return np.array([places.get(day, -1) for day in days], dtype=np.int64)


def _bet(members: AnswerPairs, rules: ShadowRules, score: ScoreOf) -> tuple[float, float] | None:
    differences = [found[1] - found[0] for pair in members if (found := score(pair)) is not None]
    return (sum(differences) / len(differences), len(differences) / rules.turns) if differences else None


def _quality(sessions: Sequence[AnswerPairs], rules: ShadowRules, closed: Set[str]) -> Stream:
    """Return the differences in quality.

    Without a judge these are the sessions that people label. With one, each session counts with the judge's score; the
    error of the judge in the labelled sessions is added, over the share of labels, so that the mean is that of people.
    How far the judge is trusted depends only on earlier sessions. A day with a session that waits is not finished.
    """
    due = [rules.is_due(members[0].session.name) for members in sessions]
    ready = [
        rules.complete or not needed or all(pair.truth is not None for pair in members if pair.answered)
        for members, needed in zip(sessions, due, strict=True)
    ]
    waiting, end = ready.count(False), [*ready, False].index(False)
    closed = closed - {members[0].session.day for members in sessions[end : end + 1]}
    if rules.complete or not rules.judge:
        labelled = [members for members, needed in zip(sessions[:end], due, strict=False) if needed]
        return replace(_plain(labelled, rules, lambda pair: pair.truth, closed), waiting=waiting, due=sum(due))
    scored = [
        (members, bet, needed)
        for members, needed in zip(sessions[:end], due, strict=False)
        if (bet := _bet(members, rules, lambda pair: pair.judged)) is not None
    ]
    d, w = np.array([bet for _, bet, _ in scored], dtype=np.float64).reshape(-1, 2).T
    people = [_bet(members, rules, lambda pair: pair.truth) if needed else None for members, _, needed in scored]
    h = np.array([bet[0] if bet else np.nan for bet in people], dtype=np.float64)
    return replace(
        corrected(d, h, ~np.isnan(h), w, rules.label_share),
        waiting=waiting,
        due=sum(due),
        days=_numbers([members[0].session.day for members, _, _ in scored], closed),
    )


def corrected(judge: Floats, people: Floats, known: Bools, weights: Floats, share: float) -> Stream:
    """Return bets whose mean is that of people's differences, from a judge's differences of all sessions.

    Args:
        judge: `(..., n)` in [-1, 1].
        people: `(..., n)` in [-1, 1], where `known`.
        known: `(..., n)`: drawn with the chance `share`, whatever was answered.
        weights: `(..., n)` in [0, 1].
        share: Of the sessions that people label.
    """
    # the weight that makes the variance smallest, from earlier labels; 2 disagreements are added
    products = np.cumsum(np.where(known, judge * people, 0.0), axis=-1)
    squares = np.cumsum(np.where(known, judge**2, 0.0), axis=-1) + 2
    trust = np.clip(products / squares, 0, 1)
    trust = np.concatenate([np.zeros_like(trust[..., :1]), trust[..., :-1]], axis=-1)
    return Stream(
        values=trust * judge + np.where(known, people - trust * judge, 0.0) / share,
        weights=weights,
        reach=2 / share - 1,
    )
