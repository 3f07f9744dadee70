"""The report of a shadow replay as a page: the verdict, the sequence over the sessions, and what got worse."""

from collections.abc import Sequence
from operator import itemgetter

from tuneworthy.report.charts import FIRST, Line, LineChart
from tuneworthy.report.render import Card, Document, NextStep, PagePart
from tuneworthy.report.text import (
    NONE,
    Column,
    Table,
    clean,
    dollars,
    integer,
    percent,
    percent_range,
    points,
    points_range,
    text_column,
)
from tuneworthy.shadow import messages as shadow_messages
from tuneworthy.shadow.drift import TrafficDrift
from tuneworthy.shadow.messages import METRICS
from tuneworthy.shadow.replay import DECISIVE, ShadowRecord
from tuneworthy.shadow.verdict import LIMITED, SHARES, MetricResult, ShadowVerdict, level
from tuneworthy.text import count, plural
from tuneworthy.types import JsonObject, Texts

OUTCOMES = {"pass": "ship", "fail": "do_not_ship", "unknown": "undecided"}
# Where the sequence is wider, it is not drawn: the first sessions show nothing.
WIDEST = 0.6
# Worse pairs on the page.
MOST_PAIRS = 20
# Longest text of an answer in the table of pairs, characters.
MOST_CHARS = 160


def document(
    record: ShadowRecord, task: str, worse: Sequence[JsonObject], found: TrafficDrift | None = None
) -> Document:
    """Return a replay as a page.

    Args:
        record: Of the replay.
        task: Name of the project.
        worse: Rows of all pairs that got worse, the worst first.
        found: What traffic asks and the cases hardly cover; None where it is not known.
    """
    verdict = record.verdict
    overall = [result for result in verdict.results if not result.stratum]
    quality = overall[0]
    parts = [PagePart("metrics", "All traffic", [*(clean(note, 0) for note in record.notes), _metrics(overall)])]
    if strata := [result for result in verdict.results if result.stratum and result.n]:
        strata.sort(key=lambda result: (result.stopped_at is None, result.estimate or 0.0))
        parts.append(PagePart("strata", "By stratum", [_metrics(strata)]))
    if worse:
        keys = ("source", "question", "production", "candidate")
        columns = [text_column(key, key, itemgetter(key), MOST_CHARS) for key in keys]
        masked = "; personal data is masked" * record.masked
        pairs = Table.of(f"Pairs that {change_words(worse)}{masked}", columns, worse[:MOST_PAIRS])
        shown = f"The {MOST_PAIRS} worst of " if len(worse) > MOST_PAIRS else ""
        parts.append(PagePart("worse", f"{shown}{count(len(worse), 'pair')} that {change_words(worse)}", [pairs]))
    if record.confidence:
        parts.append(PagePart("confidence", "Confidence in production", [clean(record.confidence.detail, 0)]))
    if found:
        lines = [clean(line, 0) for line in drift_lines(found, record.sources)]
        parts.append(PagePart("drift", "What traffic asks and the cases hardly cover", lines))
    chart = min((result for result in overall if result.n > 1), key=lambda one: one.stopped_at is None, default=None)
    return Document(
        title=clean(task),
        kind="shadow replay",
        outcome=OUTCOMES[verdict.status],
        answer=_answer(verdict, clean(record.candidate), quality.margin),
        sentence=clean(verdict.detail, 0),
        basis=(
            f"Compared with {clean(record.production)} answers on {record.n_sessions:,} of {record.n_drawn:,} "
            f"drawn sessions ({record.n_pairs:,} pairs){' of ' * bool(record.days)}"
            f"{clean(' to '.join(dict.fromkeys(record.days)))}, replayed on {record.date}."
        ),
        cards=[
            _quality_card(quality),
            Card(
                "Cost of the candidate",
                dollars(record.cost_usd),
                f"{record.n_pairs:,} answers",
                [] if record.length_ratio is None else [f"{record.length_ratio:.2f} times as long as production's"],
            ),
        ],
        chart=_sequence(chart) if chart else None,
        next_step=NextStep("", _next_step(record, worse)),
        warnings=[record.partial] if record.partial else [],
        sections=[
            *parts,
            PagePart(
                "limits",
                "What a replay cannot know",
                [
                    "A replay shows what the candidate would have answered, not how users would have reacted. "
                    "Later turns follow production's answers, and user outcomes are unknown. Latency was measured "
                    "under the replay's own load."
                ],
            ),
        ],
        made=f"Made by `tuneworthy shadow report`; replayed on {record.date}.",
    )


def drift_lines(found: TrafficDrift, sources: Texts) -> list[str]:
    """Return what traffic asks and the cases hardly cover, and the command that draws new cases, a line each."""
    lines = [found.sentence]
    for topic in found.topics:
        lines.append(
            f"{topic.n_sessions:,} {plural(topic.n_sessions, 'session', 'sessions')}: {', '.join(topic.words)} "
            f"({clean(topic.examples[0], MOST_CHARS)})"
        )
    if found.shown and sources:
        lines.append(shadow_messages.say("sample", command=found.sample_command(sources)))
    return lines


def _answer(verdict: ShadowVerdict, candidate: str, margin: float) -> str:
    stopped = {result.metric for result in verdict.results if result.stopped_at is not None}
    if stopped and stopped <= set(LIMITED):
        return f"{candidate} misses a limit on recorded traffic"
    if verdict.status == "pass":
        return f"{candidate} is at most {100 * margin:.1f} points worse than production on recorded traffic"
    if verdict.status == "fail":
        return f"{candidate} {'does worse on recorded traffic' if stopped else 'was rolled back'}"
    return f"Undecided: it is not yet known whether {candidate} does worse on recorded traffic"


def _quality_card(quality: MetricResult) -> Card:
    if quality.estimate is None:
        labelled = f"{quality.due - quality.waiting} of {quality.due} sessions labelled" if quality.waiting else ""
        return Card("Quality against production", "unknown", labelled)
    return Card(
        "Quality against production",
        points(quality.estimate),
        "points",
        [] if quality.is_open else [points_range((quality.low, quality.high))],
    )


def _next_step(record: ShadowRecord, worse: Sequence[JsonObject]) -> str:
    verdict, candidate = record.verdict, clean(record.candidate)
    if verdict.status == "pass":
        canary = f"To let it answer users, run `tuneworthy shadow proxy URL --candidate {candidate} --canary`."
        return f"Run `tuneworthy decide` for all gates. {canary}" if candidate.startswith("fine_tune") else canary
    stop = "Do not ship this model." if any(one.stopped_at is not None for one in verdict.results) else ""
    pairs = f"See the pairs that {change_words(worse)}." if worse and stop else ""
    return " ".join(filter(None, [stop, verdict.fix, pairs]))


def change_words(rows: Sequence[JsonObject]) -> str:
    """Return what the pairs of `rows` did: without a label it is not known which answer is right."""
    worse = {any(row["changes"].get(name, 0) < 0 for name in DECISIVE) for row in rows}
    return "differ" if worse == {False} else "got worse" if worse == {True} else "got worse or, without a label, differ"


def _sequence(result: MetricResult) -> LineChart:
    narrow = [point for point in result.points if point[3] - point[2] <= WIDEST]
    drawn = narrow if len(narrow) > 1 else result.points[-2:]
    levels = [(0.0, "same as production")]
    if result.margin:
        levels.append((-result.margin, f"margin {points(-result.margin)}"))
    line = Line(
        label=METRICS[result.metric],
        points=[(float(n), estimate) for n, estimate, _, _ in drawn],
        band=[(float(n), low, high) for n, _, low, high in drawn],
        kind="tuned",
    )
    return LineChart(
        title=f"{METRICS[result.metric]}: candidate minus production, in session order",
        lines=[line],
        ticks=[float(n) for n, *_ in drawn],
        x_title="sessions",
        y_title="points",
        y_unit="points",
        levels=levels,
        note="With 95% confidence, the band contains the true difference at all sessions.",
        width=FIRST,
    )


def _metrics(results: Sequence[MetricResult]) -> Table:
    columns = [
        text_column("metric", "metric", lambda result: METRICS[result.metric]),
        text_column("stratum", "stratum"),
        Column("n", "sessions", integer),
        Column("difference", "points", value=lambda result: _ends(result)[0]),
        Column("sequence", "95% interval", value=lambda result: _ends(result)[1]),
        text_column("shown", "shown", _shown),
    ]
    note = "A result that was reached once is final. Agreement and latency are shares, not differences."
    return Table.of("Candidate minus production", columns, results, note).filled()


def _ends(result: MetricResult) -> list[str]:
    if result.estimate is None:
        return [NONE, NONE]
    if result.metric in SHARES:
        share, *ends = level(result)
        return [percent(share), NONE if result.is_open else percent_range(ends)]
    return [points(result.estimate), NONE if result.is_open else points_range((result.low, result.high))]


def _shown(result: MetricResult) -> str:
    if result.stopped_at is not None:
        name = "limit missed" if result.metric in LIMITED else "worse"
        return f"{name}, at session {result.stopped_at}"
    return f"no worse, at session {result.passed_at}" if result.passed_at is not None else ""
