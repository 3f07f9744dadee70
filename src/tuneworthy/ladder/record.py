"""Records of a run: one for the whole and one per rung. The only place that turns records to JSON and back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import orjson

from tuneworthy.errors import UserError
from tuneworthy.graders.dev_answers import DevAnswer, DevCase
from tuneworthy.ladder.rung_details import Certificate, Detail
from tuneworthy.search.racing import Exit
from tuneworthy.stats.calibration import LabelCalibration
from tuneworthy.stats.intervals import LEVEL, Target, lower_bound, target_status, upper_bound
from tuneworthy.stats.ratios import LEAST_GROUPS
from tuneworthy.store import Folder
from tuneworthy.store.history import keep
from tuneworthy.store.shapes import shaped
from tuneworthy.store.signatures import UNSIGNED, document_origin, signed_document
from tuneworthy.text import Shown, Summary, since
from tuneworthy.types import (
    MOST_UNSCORED,
    Bounds,
    Dollars,
    Ids,
    JsonMapping,
    JsonObject,
    NamedFloats,
    NamedInts,
    NamedTexts,
    OpenBounds,
    RungStatus,
    Texts,
    Variant,
    frozen,
)

RunKind = Literal["run", "quick"]
D = TypeVar("D")
# Reason code of the rungs that a run did not reach, as it was stopped once the target was met.
NOT_REACHED = "target_met"


@frozen
class CandidateResult:
    """A candidate on dev.

    Attributes:
        variant: Id.
        name: For people.
        n: Dev cases that it was asked.
        score: Of those that could be scored, with its 95 % interval.
        cost_usd: What its answers cost.
        unscored: Cases that could not be scored.
        dropped: Why it was asked no further; "" if it saw as much of dev as the winner.
        calibration: Calibration of its probabilities on these cases; None without probabilities.
    """

    variant: str
    name: str
    n: int
    score: float
    ci95: Bounds
    cost_usd: Dollars = 0.0
    unscored: int = 0
    dropped: Exit = ""
    calibration: LabelCalibration | None = None


@frozen
class FieldScores:
    """How well one field of a JSON task is filled in; None where that is not defined."""

    precision: float | None
    recall: float | None
    f1: float | None


@frozen
class DistinctScore:
    """Score on some test cases, such as those without a near-duplicate in the examples, training rows or dev cases.

    Attributes:
        n: Distinct test cases.
        score: Primary grader, with its 95 % interval.
        n_effective: Independent right/wrong cases that would be as precise.
    """

    n: int
    score: float
    ci95: Bounds
    n_effective: float


@frozen
class RungRecord:
    """One rung. Scores, intervals and latencies are of test; `candidates` and most of `detail` are of dev.

    Attributes:
        rung: Its name.
        status: Outcome of the rung.
        reason_code: Why, for machines.
        reason: Why, for people.
        variant: Id of the variant compared on test (in a quick run: of the leader on dev).
        name: Its name.
        compared_to: Id of the best language-model variant before this rung, which `delta` is to.
        candidates_tried: Variants asked on dev (or preregistered).
        n: Test cases.
        unscored: Those that could not be scored; lost repeats count in proportion, rounded up.
        score: Primary grader, with its 95 % interval.
        n_effective: Independent right/wrong cases that would be as precise.
        on_distinct_cases: The same on the distinct test cases; None without such cases.
        by_origin: The same on `real` and on `drafted` test cases; empty without drafted cases.
        delta_today: Paired difference to today's option, with its 95 % interval; descriptive.
        beats_majority: Whether it is shown to beat always giving the most frequent answer; None without a frequent
            answer.
        unread: Share of the test answers that the grader calls wrong although they are an expected answer in another
            Unicode form.
        constant: Whether it answers the same to every case.
        recall: Score on the test cases by label, for a label task.
        recall_n: Scored test cases by label, as independent right/wrong cases that would be as precise.
        recall_cases: Scored test cases by label.
        delta: Paired difference to `compared_to`, with its two-sided 95 % interval.
        p_value: One-sided; None, like `alpha`, if the difference is only described.
        alpha: Of this comparison, one-sided, with the α that earlier rungs passed on.
        beats_today: Whether a comparison of the plan shows it to be better than today's option, where no earlier
            comparison does.
        cost_usd: All calls that this rung was the first to need: the race, test, latency, a judge's; stored calls too.
        usd_per_1k: A thousand test answers.
        latency_p50_ms: Single calls at concurrency 1, as many as `latency_n`.
        latency_p95_ci: Its 95 % interval; the upper end is None where it is open.
        memory_mib: Of the model's file and of its process; None unless the project compares quantised forms.
        input_tokens: Mean of an answer.
        output_tokens: Mean of an answer.
        cached_tokens: Mean of those of the prompt that came from the provider's cache; None where not reported.
        unreported: Answers on test that cost something without usable token counts: they count at their maximum.
        repeats: Answers to each test case.
        graders: Every grader's score, by type.
        fields: Scores by field of a JSON task.
        candidates: Best first.
        calls: Dev cases answered in the race.
        examined: Further calls on dev that a closer look at the winner was the first to need.
        dev_answers: Answers of the winner to the first dev cases, by case.
        halves: Score on the first and on the second half of the test cases, in the order of their file.
        detail: What only this rung has.
        calibration: Calibration of its probabilities on test; None without probabilities.
        certificate: What it may keep, where it is compared with today's model; None elsewhere.
        violated: The constraint that the variant breaks, in words; "" without one. Such a variant is never the best.
        notes: Skipped or dropped items.
    """

    rung: str
    status: RungStatus
    reason: str = ""
    reason_code: str = ""
    variant: str | None = None
    name: str | None = None
    compared_to: str | None = None
    candidates_tried: int = 0
    n: int = 0
    unscored: int = 0
    score: float | None = None
    ci95: Bounds | None = None
    n_effective: float | None = None
    on_distinct_cases: DistinctScore | None = None
    by_origin: Mapping[str, DistinctScore] = field(default_factory=dict)
    delta_today: float | None = None
    delta_today_ci: Bounds | None = None
    beats_majority: bool | None = None
    unread: float = 0.0
    constant: bool = False
    recall: NamedFloats = field(default_factory=dict)
    recall_n: NamedFloats = field(default_factory=dict)
    recall_cases: NamedInts = field(default_factory=dict)
    delta: float | None = None
    delta_ci: Bounds | None = None
    p_value: float | None = None
    alpha: float | None = None
    beats_today: bool = False
    cost_usd: Dollars = 0.0
    usd_per_1k: Dollars | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p95_ci: OpenBounds | None = None
    latency_n: int = 0
    memory_mib: Bounds | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    cached_tokens: float | None = None
    unreported: int = 0
    repeats: int = 1
    graders: NamedFloats = field(default_factory=dict)
    fields: Mapping[str, FieldScores] = field(default_factory=dict)
    candidates: Sequence[CandidateResult] = ()
    calls: int = 0
    examined: int = 0
    dev_answers: Mapping[str, DevAnswer] = field(default_factory=dict)
    halves: Sequence[DistinctScore] = ()
    detail: Detail | None = None
    calibration: LabelCalibration | None = None
    certificate: Certificate | None = None
    violated: str = ""
    notes: Texts = ()

    @property
    def unreported_share(self) -> float:
        """Share of the answers on test that count at their maximum cost; 0 where nothing is paid."""
        return self.unreported / max(1, self.n * self.repeats) if self.usd_per_1k else 0.0

    @property
    def has_holes(self) -> bool:
        """Whether so many test cases could not be scored that the score says nothing of the target."""
        return self.unscored > MOST_UNSCORED * self.n


def target_of(
    rung: RungRecord,
    target: float,
    margin: float,
    *,
    options: int,
    additions: int,
    groups: float | None,
    critical: NamedFloats,
    to_beat: bool,
) -> Target:
    """Say whether a measured variant meets the target: the rule of the run, its report and the verdict.

    One with holes settles nothing; where one answer is frequent, always giving that must be beaten; and the recall of
    each critical label must be reached.

    Args:
        rung: The variant.
        target: See `target_status`, like `margin` and `additions`.
        options: See `RunRecord.options`; of a fine-tuned model always 1.
        groups: As how many independent cases the test cases count; None where that is not known.
        critical: Label to the recall that it needs.
        to_beat: Whether always giving the most frequent answer must be beaten, and it is not shown.
    """
    if (
        rung.has_holes
        or rung.score is None
        or rung.n_effective is None
        or (groups is not None and groups < LEAST_GROUPS)
    ):
        return "unresolved"
    if rung.constant and rung.beats_majority is False:
        return "missed"
    options = 1 if rung.rung == "fine_tune" else options
    statuses: list[Target] = [
        target_status(rung.score, rung.n_effective, target, margin, options=options, additions=additions),
        *(recall_status(rung, label, needed, options=options) for label, needed in critical.items()),
    ]
    return min([*statuses, "unresolved"] if to_beat else statuses, key=("missed", "unresolved", "met").index)


def recall_status(rung: RungRecord, label: str, needed: float, *, options: int, more: int = 0) -> Target:
    """Say whether the recall of a label is reached, by its one-sided bound at 0.05 / `options`.

    Args:
        rung: The variant.
        label: Of the task.
        needed: Recall.
        options: See `target_of`.
        more: Cases of the label that may be added, answered as well as those so far.
    """
    n, alpha = rung.recall_n.get(label, 0.0) + more, LEVEL / (1 if rung.rung == "fine_tune" else options)
    k = min(n, rung.recall.get(label, 0.0) * n)
    return (
        "met"
        if n and lower_bound(k, n, alpha) >= needed
        else "missed"
        if n and upper_bound(k, n, alpha) < needed
        else "unresolved"
    )


def shown_better(rungs: Iterable[RungRecord]) -> set[tuple[str, str]]:
    """Return pairs of rungs (a, b) where planned comparisons, one or a chain, show a to be better than b."""
    rungs = list(rungs)
    by_variant = {one.variant: one.rung for one in reversed(rungs) if one.variant}
    known = {one.rung for one in rungs}
    found = {(one.rung, by_variant.get(one.compared_to or "", "")) for one in rungs if one.reason_code == "better"}
    found |= {(one.rung, "baseline") for one in rungs if one.beats_today}
    while more := {(a, d) for a, b in found for c, d in found if b == c} - found:
        found |= more
    return {pair for pair in found if known.issuperset(pair)}


@frozen
class RungDifference:
    """The paired difference of two measured variants on test; descriptive, no comparison of the plan.

    Attributes:
        a: Rung.
        b: Rung.
        delta: Score of `b` less that of `a`, with its 95 % interval.
        no_worse: Whether `b` is non-inferior to `a` by the margin, one-sided 5 %.
        p_value: One-sided, of "`b` is not better".
    """

    a: str
    b: str
    delta: float
    ci95: Bounds
    no_worse: bool
    p_value: float = 1.0


@frozen
class LabelBalance:
    """The most frequent label of a label task.

    Attributes:
        label: The one that dev has most often.
        share: Its share of dev.
        n: Dev cases.
        score: What always answering it scores on test.
        rarest: Share of the rarest label of dev.
    """

    label: str
    share: float
    n: int
    score: float
    rarest: float


@dataclass(frozen=True, slots=True)
class ComparisonCount:
    """Comparisons on test.

    Attributes:
        planned: For the ladder.
        made: By anyone.
        options: Options without training that the plan lets meet the target; 1 in records of older versions.
    """

    planned: int
    made: int
    options: int = 1


@dataclass(frozen=True, slots=True)
class BestVariant:
    """The rung with the best variant, and the variant's id."""

    rung: str
    variant: str


@frozen
class SplitRecord:
    """How dev and test were drawn.

    Attributes:
        origin: `cases` or `examples`: where dev comes from.
        reasons: How and why it was drawn so, in words.
        counts: Numbers by name.
        effective_groups: As how many independent cases the test cases count.
        additions: How often cases were added to test.
    """

    origin: str
    reasons: Texts = ()
    counts: NamedInts = field(default_factory=dict)
    effective_groups: float | None = None
    additions: int = 0


@frozen
class OverlapCounts:
    """Rows that overlap, by reason.

    Attributes:
        cases: Examples that overlap a case, and were dropped.
        dev: Examples that overlap a dev case, and were dropped.
        dev_test: Dev cases that overlap a test case.
    """

    cases: NamedInts = field(default_factory=dict)
    dev: NamedInts = field(default_factory=dict)
    dev_test: NamedInts = field(default_factory=dict)


@frozen
class Provenance:
    """Versions, seed, hashes and settings: what someone needs to get the same numbers.

    Attributes:
        tuneworthy: Version of this package.
        seed: Of the split.
        project: Hash of the project file.
        split: Hash of the ids of dev and test.
        labels: Hash of the right answers.
        groups: Hash of the groups of the cases.
        graders: Name to hash; those whose identity can be had.
        examples: Hash of the shot pool.
        documents: Hash of all documents; "" without documents.
        models: Their names.
        settings: Values of the project file that numbers and decisions depend on, in addition to prompt and models.
    """

    tuneworthy: str
    seed: int
    project: str
    split: str
    labels: str
    groups: str
    graders: NamedTexts
    examples: str
    documents: str
    models: Texts
    settings: JsonMapping


@frozen
class RunRecord(Shown):
    """A run of the ladder.

    Attributes:
        task: Name.
        kind: Of the task.
        primary: Type of the grader that decides.
        target: Of the project file; None if not set.
        margin: Of the project file.
        quick: Whether test was not used; then all scores are None and `candidates` have the results.
        n_dev: Dev cases.
        n_test: Test cases.
        explored: Whether dev was large enough to explore.
        alpha: Of each planned comparison before any passes its own on; None in a quick run.
        comparisons: Planned and made.
        cost_usd: All calls of the run, those of a rung that did not end included.
        rungs: In the order of the run.
        best: A variant that breaks no constraint; the classical baseline where nothing above it is worth its price;
            None if nothing that was compared on test is eligible.
        partial: Why the run is incomplete, set by readers unless an error stopped it; "" for a whole one.
        at: Of an unfinished run: its rung, since when (seconds since the epoch), and the number of its process.
        split: How dev and test were drawn.
        overlaps: Rows dropped from the examples.
        differences: Of every two variants that were measured on test.
        distinct_cases: Ids of the test cases without a near-duplicate in the examples, training rows or dev cases.
        distinct_differences: `differences` on these cases.
        distillation: Steps from today's option to a student: `rung` is the step, `compared_to` the teacher, and
            `usd_per_1k` includes servers and upkeep. Empty unless a fine-tuned model learned from a teacher.
        balance: The most frequent label; None for other tasks.
        agreement: The model whose recorded answers the scores are agreement with; "" if people gave right answers.
        variants: Variants compared on test, by id.
        dev_cases: The first dev cases.
        judges: Model that judges to its identity.
        provenance: What someone needs to get the same numbers.
        stale: What changed since, in words; set by readers.
        elsewhere: The key that signed it, if the user does not accept that; "" otherwise; set by readers.
        notes: Notes on the data.
    """

    task: str
    kind: str
    primary: str
    target: float | None
    margin: float
    quick: bool
    n_dev: int
    n_test: int
    explored: bool
    alpha: float | None
    comparisons: ComparisonCount
    cost_usd: Dollars
    rungs: Sequence[RungRecord]
    best: BestVariant | None
    partial: str = ""
    at: tuple[str, float, str] | None = None
    split: SplitRecord
    overlaps: OverlapCounts = field(default_factory=OverlapCounts)
    differences: Sequence[RungDifference] = ()
    distinct_cases: Ids = ()
    distinct_differences: Sequence[RungDifference] = ()
    distillation: Sequence[RungRecord] = ()
    balance: LabelBalance | None = None
    agreement: str = ""
    variants: Mapping[str, Variant] = field(default_factory=dict)
    dev_cases: Sequence[DevCase] = ()
    judges: Mapping[str, JsonMapping] = field(default_factory=dict)
    provenance: Provenance
    stale: Texts = ()
    elsewhere: str = ""
    notes: Texts = ()

    def to_dict(self) -> JsonObject:
        return dict(orjson.loads(orjson.dumps(self)))

    def summary(self) -> Summary:
        line = f"Run of {self.task}: {self.n_dev} dev and {self.n_test} test cases, ${self.cost_usd:,.2f}"
        scored = [one for rung in self.rungs for one in (rung.candidates if self.quick else [rung])]
        scores = {one.variant: f"{one.score:.1%}" for one in scored if one.score is not None}
        rows = [[one.rung, one.status, one.name, scores.get(one.variant, "")] for one in self.rungs]
        why = [f"The run is incomplete: {self.partial}."] if self.partial else self.stale[:1]
        return [line, *why], [["rung", "status", "variant", self.measure], *rows]

    @property
    def measure(self) -> str:
        """What the scores are, as a heading."""
        return "agreement" if self.agreement else "score"

    @property
    def options(self) -> int:
        """How many chances options without training have to meet the target: those of the plan, or more if tested."""
        return max(
            self.comparisons.options, sum(rung.score is not None and rung.rung != "fine_tune" for rung in self.rungs)
        )

    @property
    def accept(self) -> str:
        """How a run of another signer becomes usable, as sentences; "" for any other run."""
        if self.elsewhere in {"", UNSIGNED}:
            return ""
        return (
            f"If you trust the signer of the last run, run `tuneworthy doctor --accept {self.elsewhere}`, else run "
            "`tuneworthy doctor --remeasure`. Then run `tuneworthy run`."
        )

    def rung(self, name: str) -> RungRecord | None:
        return next((record for record in self.rungs if record.rung == name), None)

    def difference(self, a: str, b: str) -> RungDifference | None:
        return next((row for row in self.differences if (row.a, row.b) == (a, b)), None)

    def detail(self, kind: type[D]) -> D | None:
        return next((record.detail for record in self.rungs if isinstance(record.detail, kind)), None)

    def variant_of(self, rung: RungRecord) -> Variant | None:
        return self.variants.get(rung.variant or "")


def write_record(folder: Folder, record: RunRecord) -> None:
    name = "quick" if record.quick else "run"
    folder.write(f"{name}-unfinished" if record.at else name, signed_document(record.to_dict()))
    if not record.at:
        (folder.path / f"{name}-unfinished.json").unlink(missing_ok=True)
        short = replace(
            record,
            rungs=[replace(row, dev_answers={}) for row in record.rungs],
            dev_cases=(),
            distinct_cases=(),
            differences=(),
            distinct_differences=(),
        )
        keep(folder, signed_document(short.to_dict()))


def read_record(folder: Folder, name: RunKind = "run", *, unfinished: bool = False) -> RunRecord | None:
    """Return the record of the last whole run, or of the unfinished one; None without one.

    Raises:
        UserError: The document is no such record.
    """
    file = f"{name}-unfinished" if unfinished else name
    document = folder.read(file, dict)
    if document is None:
        return None
    record = record_from(document, f"{folder.path / file}.json")
    if record.at and not record.partial:
        rung, start, pid = record.at
        is_running = (folder.holder() or [""])[0] == pid
        record = replace(
            record,
            partial=f"the rung {rung} has been running {since(start)}" if is_running else f"stopped at the rung {rung}",
        )
    return replace(record, elsewhere=document_origin(document))


def record_from(document: Any, where: str = "record") -> RunRecord:
    """Return the record that `RunRecord.to_dict` wrote; keys that this version does not know are left out.

    Args:
        document: Plain data.
        where: Its container, for the message.

    Raises:
        UserError: It is no such record.
    """
    record = shaped(document, RunRecord, where)
    if record.best and record.best.variant not in record.variants:
        raise UserError(
            f"{where} cannot be read, because the best variant is missing from the run record.",
            hint="Run `tuneworthy run` again. Finished calls are cached and never paid for twice.",
        )
    return record
