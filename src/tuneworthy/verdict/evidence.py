"""What a verdict rests on: measurements of a project gathered in one value, with what has gone stale named."""

from collections.abc import Mapping, Sequence
from dataclasses import field, fields, replace
from typing import Literal

from tuneworthy.config import Project, serving
from tuneworthy.config.ladder import Constraints, Economics
from tuneworthy.config.task import Motivation
from tuneworthy.dataset.records import Effect
from tuneworthy.ladder.bills import bills_of, known_usd
from tuneworthy.ladder.record import (
    NOT_REACHED,
    BestVariant,
    LabelBalance,
    RungDifference,
    RungRecord,
    RunRecord,
    recall_status,
    shown_better,
    target_of,
)
from tuneworthy.ladder.rung_details import CascadeDetail, RetrievalDetail, TunedDetail
from tuneworthy.money.serving import Bill
from tuneworthy.money.sources import EconomicsResult
from tuneworthy.regressions.compare import RegressionResult
from tuneworthy.stats.intervals import Target, lower_bound, upper_bound
from tuneworthy.stats.ratios import LEAST_GROUPS
from tuneworthy.types import Bounds, JsonMapping, NamedFloats, NamedInts, NamedTexts, TextPair, Texts, frozen
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import TUNED, DomainText, ErrorShare, Forecast, LabelCeiling, TrainingReason

STRUCTURE = ("xml", "xml_contract")
FEWEST_SHOTS = 3
# One-sided error of "most failures belong to this class", and of "at most half do".
LEVER_ALPHA = 0.1
# What training may lack, as it is named in the row of training.
ROWS, RIGHTS, BASE = "training rows", "rights to train on the rows", "a base model with weights"
# The classical baseline that copies the answer of the nearest example.
COPIES = "classical/nearest"


@frozen
class RungEvidence(RungRecord):
    """A rung of a run as the verdict reads it: its price and its constraints are those of the project file now.

    Attributes:
        model: Key of `[models]`, or the name of a classical baseline.
        hosted: Whether its model runs elsewhere.
        may_forward: Whether that is open, as a server on this machine may pass calls on.
    """

    name: str = ""
    model: str = ""
    hosted: bool = False
    may_forward: bool = False

    @property
    def names(self) -> list[str]:
        """Names of all candidates tried on dev, or of the one that was compared on test."""
        return [candidate.name for candidate in self.candidates] or [self.name]

    @property
    def share_sent(self) -> float | None:
        """Share of test that a cascade sends on to its large model; None for all others."""
        return self.detail.sent if isinstance(self.detail, CascadeDetail) else None

    @property
    def tested(self) -> bool:
        return self.score is not None

    @property
    def eligible(self) -> bool:
        """Whether the constraints allow it."""
        return self.status != "violates_constraint" and not self.violated

    def may_be_barred(self, limits: Constraints) -> bool:
        """Return whether it is open that the constraints bar its model, as a hosted one."""
        return self.may_forward and not serving.may_serve(limits, hosted=True)

    @property
    def blocked(self) -> bool:
        """Whether the last run could not compare it, so that the same run would not either."""
        return (
            not self.tested
            and self.reason_code != NOT_REACHED
            and self.status in {"skipped", "failed", "violates_constraint"}
        )

    @property
    def failure(self) -> str:
        return f"The rung {self.rung} failed: {self.reason.rstrip('.')}."

    @property
    def label(self) -> str:
        """Rung and variant in words.

        >>> RungEvidence(rung="few_shot", status="adopted", name="few_shot/per_case-8").label
        'the few-shot prompt (per_case-8)'
        """
        label = ("" if self.rung == "baseline" else "the ") + messages.RUNG_LABELS.get(self.rung, self.rung)
        return f"{label} ({self.name.partition('/')[2] or self.name})"

    def score_on(self, n_test: int) -> str:
        """Return the score in words: `84.0% (95% interval [78.3%, 88.4%], 200 test cases)`.

        Cases without a score are taken off `n_test`.
        """
        if self.score is None:
            return "no score"
        bounds = f"95% interval [{self.ci95[0]:.1%}, {self.ci95[1]:.1%}], " if self.ci95 else ""
        return f"{self.score:.1%} ({bounds}{n_test - self.unscored} test cases)"


@frozen
class SearchEvidence:
    """How well documents were found for the rung `retrieval`, on dev.

    Attributes:
        failed: Wrong answers to cases that name their documents.
        not_retrieved: Those that were shown none of their documents, or whose documents were not read.
        lower: Lower 95% bound of their share of `failed`, of shared sources; 0 if nothing failed.
        oracle: Score where the right documents are handed over; None if it was not measured.
        oracle_upper: Upper end of its 95% interval.
    """

    failed: int
    not_retrieved: int
    lower: float
    oracle: float | None
    oracle_upper: float | None = None


@frozen
class JudgeEvidence:
    """The validation of a model that grades; None in `Evidence` where no model grades.

    Attributes:
        valid: Whether it may decide.
        detail: Why, with kappa, sensitivity and specificity, as a sentence.
        fix: What to do, as a sentence; "" if it may decide.
        numbers: The stored validation.
    """

    valid: bool
    detail: str
    fix: str = ""
    numbers: JsonMapping = field(default_factory=dict)


@frozen
class DatasetEvidence:
    """A frozen version of the training data.

    Attributes:
        version: Its hash.
        n_rows: Its rows.
        broken: Why its files are not what was frozen; "" if they are.
        failed: Gates of its build that failed, in words: it was frozen with `--unsafe`.
        overlaps: What the overlap check of the build says if it did not pass; "" if it did.
        n_near: Rows that resemble a case, which were reported and are still in it.
        changed: What differs now from what it was checked against, in words.
        review: How far the review by people is.
        review_words: What it says.
        bound: The share of good rows that was shown; None before.
        effect: What its build does to accuracy.
        effect_words: The same for people.
        curve: The finding of its learning curves, in a clause; "" before `data curve`.
        lost: Labels that cases expect and of which its build dropped every row.
        terms: Whether the terms of the models that wrote rows allow training on them.
        terms_words: Why.
        n_overlapping: Rows that a model to ship may learn from as well, as they were dropped only as overlaps.
        newer: The version that was frozen after it, which a tuned model was not trained on; "" without one.
    """

    version: str
    n_rows: int
    broken: str = ""
    failed: Texts = ()
    overlaps: str = ""
    n_near: int = 0
    changed: Texts = ()
    review: Literal["no_plan", "open", "accepted", "rejected"]
    review_words: str
    bound: float | None
    effect: Effect | None
    effect_words: str
    curve: str = ""
    lost: Texts = ()
    terms: Literal["pass", "fail", "unknown", "not_applicable"]
    terms_words: str
    n_overlapping: int = 0
    newer: str = ""


@frozen
class ContinuedPilot:
    """Part of a pilot that is about continued pretraining."""

    helps: bool = False
    detail: str = ""


@frozen
class PilotEvidence:
    """A pilot: small trainings of growing size.

    Attributes:
        n: Trainings.
        changed: Why it says nothing of the dataset and base at hand, in words; its points are then not used.
        built_gain: Gain of the built over the raw rows at equal steps, with its interval; None if it was not measured.
        continued: Continued pretraining: whether it helps, and the figures or why it was not compared.
    """

    n: int
    changed: Texts = ()
    built_gain: tuple[float, Bounds] | None = None
    continued: ContinuedPilot = ContinuedPilot()


@frozen
class ProofEvidence:
    """A proof of a model: that its file is the one that was measured (`parity`), that it is served (`serving`), or that
    it does no worse on recorded traffic (`shadow`).

    Attributes:
        status: What it says.
        detail: What was measured, and what caused a failure.
        changed: Why it is about another model than the one on test, in words; it is then not used.
        numbers: Ids and checks, for the record.
    """

    status: Literal["pass", "fail", "unknown"]
    detail: str
    changed: Texts = ()
    numbers: JsonMapping = field(default_factory=dict)


@frozen
class TrainingEvidence:
    """All that is known of training and shipping.

    Attributes:
        dataset: The version that the tuned model was trained on; the latest one before training.
        pilot: As far as there is one, like the proofs.
        parity: That the forms of the model are one model.
        serving: That it is served.
        shadow: That it does no worse on recorded traffic.
        release: Number of the release of the tuned model; 0 if only other models are releases, None without releases.
        started: Number of the current release, if `serve` started it.
        adapter: The adapter or classifier that was trained last.
        tuned: The artifacts that were compared on test, and what was measured besides the score.
        regressions: Of the run, for the sets that have not changed since.
        sets_missing: Regression sets of the project without answers, or that have changed since.
        changed: What was made since the tuned model was compared on test, in words.
    """

    dataset: DatasetEvidence | None = None
    pilot: PilotEvidence | None = None
    parity: ProofEvidence | None = None
    serving: ProofEvidence | None = None
    shadow: ProofEvidence | None = None
    release: int | None = None
    started: int | None = None
    adapter: str | None = None
    tuned: TunedDetail | None = None
    regressions: Sequence[RegressionResult] = ()
    sets_missing: Texts = ()
    changed: Texts = ()

    @property
    def rival(self) -> str:
        """The model that the regression sets compare the fine-tuned model with."""
        return (self.tuned.compared_with if self.tuned else "") or "a different model"

    @property
    def all_changes(self) -> list[str]:
        """What changed since the tuned model was compared, and since each proof."""
        proofs = (self.pilot, self.parity, self.serving, self.shadow)
        return [*self.changed, *(change for proof in proofs if proof for change in proof.changed)]

    @property
    def compares_base(self) -> bool:
        """Whether the regression sets compare the fine-tuned model with its own base model."""
        tuned = self.tuned
        return tuned is not None and tuned.base is not None and tuned.compared_base == tuned.base


@frozen
class Evidence:
    """All measurements that gates and decision look at.

    Attributes:
        target: Of the primary grader, like `margin`; None if the project sets none.
        kind: Of the task (see `Task`).
        answers_open: Whether the answers are no closed set and are not contained in the input.
        motivation: The reason that the team has in mind; it orders the text and decides nothing.
        waivers: Gate to reason.
        rungs: By name; empty before a run.
        best: Name of the rung that the run calls best (`classical` possible); see `top`.
        alpha: Of a comparison.
        n_test: Test cases.
        options: How many chances there are to meet the target (see `RunRecord.options`).
        additions: How often cases were added to test.
        n_groups: As how many independent cases these count; None where that is not known.
        n_drafted: Test cases that a model drafted.
        n_real_groups: As how many independent cases the others count.
        overlaps: Rows that still overlap cases, by kind (those that were dropped from the examples are not counted).
        stale: What changed since the run, in words; such evidence is not used.
        incomplete: How far an unfinished run is, as a sentence; "" for a whole one.
        accept: How a run that another signer measured becomes usable; "" for any other run.
        errors_stale: What changed since the failures were analysed; `errors` is then None.
        learned: Examples that are left for shots and training, and all; None unless many overlap cases.
        has_examples: Whether there is anything to take shots from.
        only_dev: Whether that is dev cases alone, which nothing is trained on.
        lacking: Requirements of training that are missing (`ROWS`, `RIGHTS`, `BASE`), with the step that gets each.
        left_out: Rungs that the project file does not list.
        other_models: Models besides the baseline's that may serve.
        forms: Quantised forms of models, which are no other models.
        barred_models: Those that a constraint bars from serving.
        differences: Of every two rungs that were measured on test.
        distinct_differences: The same on the test cases without a near-duplicate in what an option learned from.
        balance: The most frequent label; None for other tasks.
        agreement: The model whose recorded answers the scores are agreement with; "" if people gave right answers.
        label_cases: Number of test cases by label of cases and examples; empty for other tasks.
        critical: Label to the recall that an option needs to meet the target.
        style_grader: Whether the primary grader judges style.
        preferences: Whether there are pairs or ratings of answers.
        limits: The constraints.
        unpriced: Hosted models whose price is not known, so that no run calls them.
        long_prompt: Whether the baseline's system prompt is long enough to try its half.
        documents: Whether documents are there.
        documents_named: Whether cases name the documents that hold their answers.
        judge: Its validation; None if no model grades.
        search: How well documents were found; None without the rung `retrieval`.
        errors: Classes of failure on dev; None if not probed.
        suspects: Failures that people are to label again next; None if not known.
        relabel_chances: That their labels show wrong labels to be most of the failures, and not to be.
        relabelled: Failures that people labelled again.
        label_chance: Probability that wrong labels are most of the failures, from the votes of models.
        labels_confirmed: Whether people's labels show that wrong labels are most of the failures; None where they do
            not settle it.
        wrong_labels: Dev cases whose label people found to be wrong, corrected labels included, of those they labelled.
        contradicted: Share of the failures whose label models contradict, as far as people labelled no failure again.
        label_ceiling: Findings of people about the labels of test; None before they labelled a part.
        pass_rate: Share of samples on dev that pass; None if failures were not sampled again.
        domain: How strange the text of the domain is to the base.
        forecast: Of the pilot.
        bills: Cost of an answer, by measured rung.
        smaller_usd: Least cost of a thousand answers among all models that were called; None if none was.
        economics: Settings of `[economics]`.
        facts_open: Facts that split the outcome; filled in by the decision, like the next three.
        training_reasons: Reasons to train, each with its status.
        recommended: Rung of what should run without training, once that is decided.
        money: What training costs and saves against that option.
        training: The training data, the pilot, and the proofs of a tuned model.
        expires: Dates on which something in the evidence changes: (ISO date, what).
    """

    target: float | None
    margin: float
    kind: str = ""
    answers_open: bool = False
    motivation: Motivation | None = None
    waivers: NamedTexts = field(default_factory=dict)
    rungs: Mapping[str, RungEvidence] = field(default_factory=dict)
    best: str | None = None
    alpha: float | None = None
    n_test: int = 0
    options: int = 1
    additions: int = 0
    n_groups: float | None = None
    n_drafted: int = 0
    n_real_groups: float = 0.0
    overlaps: NamedInts = field(default_factory=dict)
    stale: Texts = ()
    incomplete: str = ""
    accept: str = ""
    errors_stale: Texts = ()
    learned: tuple[int, int] | None = None
    has_examples: bool = True
    only_dev: bool = False
    lacking: NamedTexts = field(default_factory=dict)
    left_out: Texts = ()
    other_models: int = 0
    forms: Texts = ()
    barred_models: int = 0
    differences: Sequence[RungDifference] = ()
    distinct_differences: Sequence[RungDifference] = ()
    balance: LabelBalance | None = None
    agreement: str = ""
    label_cases: NamedInts = field(default_factory=dict)
    critical: NamedFloats = field(default_factory=dict)
    style_grader: bool = False
    preferences: bool = False
    limits: Constraints = field(default_factory=Constraints)
    unpriced: Texts = ()
    long_prompt: bool = False
    documents: bool = False
    documents_named: bool = False
    judge: JudgeEvidence | None = None
    search: SearchEvidence | None = None
    errors: Sequence[ErrorShare] | None = None
    suspects: int | None = None
    relabel_chances: Bounds = (0.0, 0.0)
    relabelled: int = 0
    label_chance: float = 0.0
    labels_confirmed: bool | None = None
    wrong_labels: tuple[int, int] = (0, 0)
    label_ceiling: LabelCeiling | None = None
    contradicted: float = 0.0
    pass_rate: float | None = None
    domain: DomainText = field(default_factory=lambda: DomainText(why=messages.DOMAIN_UNKNOWN))
    forecast: Forecast = field(default_factory=lambda: Forecast(status="unknown"))
    bills: Mapping[str, Bill] = field(default_factory=dict)
    smaller_usd: float | None = None
    economics: Economics = field(default_factory=Economics)
    facts_open: Sequence[TextPair] = ()
    training_reasons: Sequence[TrainingReason] = ()
    recommended: str | None = None
    money: EconomicsResult = field(default_factory=lambda: EconomicsResult(status="unknown"))
    training: TrainingEvidence = field(default_factory=TrainingEvidence)
    expires: Sequence[TextPair] = ()

    @property
    def few_groups(self) -> bool:
        """Whether the test cases share so few sources that nothing may be claimed."""
        return self.n_groups is not None and self.n_groups < LEAST_GROUPS

    @property
    def forms_open(self) -> bool:
        """Whether quantised forms were not compared, and an option may meet the target: they are hardly ever better.

        A waiver of other models counts for them once a run could not make them.
        """
        tested = {name: self.target_of(rung) for name, rung in self.rungs.items() if rung.tested}
        is_waived = "other_models" in self.waivers and "model" in self.rungs and self.rungs["model"].blocked
        return bool(self.forms) and not is_waived and "model" not in tested and {*tested.values()} != {"missed"}

    @property
    def one_label(self) -> bool:
        """Whether all test cases have the same label, so that one answer is always right."""
        return sum(map(bool, self.label_cases.values())) == 1

    @property
    def labels_in_doubt(self) -> bool:
        """Whether the findings of people on dev ask for an audit of test.

        They do where most relabelled failures are the label's, or as many on test would decide about the target.
        """
        wrong, n = self.wrong_labels
        return bool(wrong) and self.label_ceiling is None and (2 * wrong >= n or self.labels_matter(wrong / n))

    def labels_matter(self, share: float) -> bool:
        """Return whether labels decide if this share of the failures on test is the label's.

        Either the ceiling is then below the target, or the best option meets it with right labels.
        """
        score = self.top.score if self.top and self.top.score is not None else 0.0
        wrong, target = share * (1 - score), self.target or 0.0
        return 1 - wrong < target or (wrong > 0 and score < target <= score + wrong)

    @property
    def upstream(self) -> Mapping[str, RungEvidence]:
        """What needs no training."""
        return {name: rung for name, rung in self.rungs.items() if name != TUNED}

    @property
    def top(self) -> RungEvidence | None:
        """The best that may be used without training (see `best_eligible`)."""
        return best_eligible(self.upstream, self.best)

    @property
    def better(self) -> frozenset[TextPair]:
        """Names of options (a, b) where a is shown to be better than b; see `shown_better`."""
        copies = self.accepts_copies and "classical" not in self.waivers
        return frozenset(
            (self.rungs[a].name, self.rungs[b].name)
            for a, b in shown_better(
                [one for one in self.rungs.values() if one.tested and not (copies and one.rung == "classical")]
            )
        )

    def difference(self, a: RungEvidence | None, b: RungEvidence | None) -> RungDifference | None:
        """Return the paired difference of `b` to `a` on test; None if it was not measured, or shows nothing."""
        return (
            None
            if a is None or b is None or self.few_groups
            else next((row for row in self.differences if (row.a, row.b) == (a.rung, b.rung)), None)
        )

    def bill(self, rung: RungEvidence | None) -> Bill:
        """Return what an answer of a rung costs; of none, one without a name and a price."""
        if rung is None:
            first = next(iter(self.bills.values()), Bill(name="", usd_per_1k=None))
            bill = replace(first, name="", usd_per_1k=None, price=None, own_server=False, yours=False, tuned=False)
        else:
            bill = self.bills.get(rung.rung) or Bill(name=rung.name, usd_per_1k=rung.usd_per_1k)
        # after a pilot, only the model that it trained is in question
        return replace(bill, trainings=("own",)) if self.forecast.status == "measured" else bill

    def difference_words(self, rung: RungEvidence) -> str:
        """Return how a rung compares with the best before it, as the end of a sentence; "" if it was not compared."""
        against = next((other for other in self.rungs.values() if other.variant == rung.compared_to), None)
        return (
            ""
            if against is None or rung.delta is None or rung.delta_ci is None
            else "; " + messages.difference(against.label, rung.delta, rung.delta_ci)
        )

    @property
    def without_training(self) -> RungEvidence | None:
        """What should run without training: the recommended option, else the best."""
        return self.rungs.get(self.recommended or "", self.top)

    @property
    def tuned(self) -> RungEvidence | None:
        """The tuned variant, if one was compared on test."""
        found = self.rungs.get(TUNED)
        return found if found is not None and found.tested else None

    @property
    def accepts_copies(self) -> bool:
        """Whether copied answers come within the margin of the target, so that the grader checks form or tone only.

        In a task of free text an answer copied from another question is wrong; and a style grader does not see whether
        any answer without a language model fits its question.
        """
        rung = self.rungs.get("classical")
        if rung is None or rung.score is None or self.target is None:
            return False
        return (
            self.style_grader or (self.kind == "free_text" and rung.name == COPIES)
        ) and rung.score > self.target - self.margin

    def target_of(self, rung: RungEvidence | None) -> Target | None:
        """Say whether a measured variant meets the target; None without a target.

        Copied answers settle nothing, unless the team waives that; see `record.target_of`.
        """
        if self.target is None:
            return None
        if (
            rung is None
            or self.one_label
            or (rung.rung == "classical" and self.accepts_copies and "classical" not in self.waivers)
        ):
            return "unresolved"
        return target_of(
            rung,
            self.target,
            self.margin,
            options=self.options,
            additions=self.additions,
            groups=self.n_groups,
            critical=self.critical,
            to_beat=bool(self.to_beat(rung)),
        )

    def to_beat(self, rung: RungEvidence) -> float:
        """Return the score of always giving the most frequent answer, if it is not shown that an option beats that.

        0 where it is shown, or another critical label has to be found; its own score where that score is not known.
        """
        if rung.beats_majority is not False or self.critical.keys() - {self.balance.label if self.balance else ""}:
            return 0.0
        return self.balance.score if self.balance else rung.score or 0.0

    def recall_of(self, rung: RungEvidence, label: str, more: int = 0) -> Target:
        """Say whether the recall of a critical label is reached, if `more` of its cases are answered as well."""
        return recall_status(rung, label, self.critical[label], options=self.options, more=more)


def best_eligible(rungs: Mapping[str, RungEvidence], best: str | None) -> RungEvidence | None:
    """Return the best of what was compared on test and breaks no constraint; None if there is nothing.

    That is what the run calls best; where a constraint forbids it, the last variant that was adopted, else the first
    one in the order of the ladder, else the classical baseline. The highest of several scores would flatter.

    Args:
        rungs: By name, in the order of the ladder.
        best: The rung that the run calls best.
    """
    allowed = [rung for rung in rungs.values() if rung.tested and rung.eligible]
    named = next((rung for rung in allowed if rung.rung == best), None)
    if named is not None or best is None:
        return named
    models = [rung for rung in allowed if rung.rung != "classical"]
    adopted = [rung for rung in models if rung.status == "adopted"]
    return adopted[-1] if adopted else next(iter(models or allowed), None)


def may_need_documents(evidence: Evidence) -> bool:
    """Return whether documents may fix most failures, given or not: whoever removes them learns nothing.

    They may where cases name them; else where answers are open, what only a document or no probe explains is possibly
    most of the failures, and no option meets the target without them.
    """
    if evidence.documents_named:
        return True
    if not evidence.answers_open or any(evidence.target_of(rung) == "met" for rung in evidence.upstream.values()):
        return False
    if evidence.errors is None:
        return True
    rows = [row for row in evidence.errors if row.name in {"unexplained", "knowledge"}]
    return bool(rows) and upper_bound(sum(row.n_failed for row in rows), rows[0].n, LEVER_ALPHA) > 0.5


def most_of(row: ErrorShare) -> bool | None:
    """Return whether a class is more than half of the failures; None if their number does not settle it."""
    if lower_bound(row.n_failed, row.n, LEVER_ALPHA) > 0.5:
        return True
    return None if upper_bound(row.n_failed, row.n, LEVER_ALPHA) > 0.5 else False


def rungs_of(record: RunRecord, project: Project) -> dict[str, RungEvidence]:
    """Return the rungs of a run by name, checked against the constraints of `project`."""
    bills, numbers, rungs = bills_of(project, record), project.economics, {}
    for row in record.rungs:
        variant, bill = record.variant_of(row), bills.get(row.rung)
        name = variant.model if variant else ""
        usd = own_usd = known_usd(row, name, project)
        if bill:
            served = bill.running(numbers).usd_per_1k_at(numbers.requests_per_month)
            usd = usd if served is None else served
        model = project.models.get(name)
        hosted = model is not None and model.hosted
        known = {field.name: getattr(row, field.name) for field in fields(row)} | {
            "name": row.name or "",
            "score": None if row.status == "failed" else row.score,
            "usd_per_1k": own_usd,
            "violated": (
                row.violated
                or serving.violation(
                    project.constraints,
                    model=name,
                    hosted=hosted,
                    p95_ms=row.latency_p95_ms,
                    p95_interval=row.latency_p95_ci,
                    usd_per_1k=usd,
                )
            ),
        }
        rungs[row.rung] = RungEvidence(
            **known, model=name, hosted=hosted, may_forward=model is not None and model.may_forward
        )
    return rungs


def without_tuned(record: RunRecord, project: Project) -> RunRecord:
    """Return a run as it was before tuned models, with its best variant (see `best_eligible`)."""
    return with_eligible_best(replace(record, rungs=[row for row in record.rungs if row.rung != TUNED]), project)


def search_of(record: RunRecord) -> SearchEvidence | None:
    """Return how well documents were found in a run; None if none were searched."""
    found = record.detail(RetrievalDetail)
    if found is None:
        return None
    counts = found.causes.counts
    return SearchEvidence(
        failed=sum(count for name, count in counts.items() if name != "no_document_named"),
        not_retrieved=counts.get("not_retrieved", 0) + counts.get("not_in_index", 0),
        lower=found.causes.lost_ci95[0] if found.causes.lost_ci95 else 0.0,
        oracle=found.oracle.score if found.oracle else None,
        oracle_upper=found.oracle.winner + found.oracle.ci95[1] if found.oracle else None,
    )


def with_eligible_best(record: RunRecord, project: Project) -> RunRecord:
    """Return a run whose `best` is eligible (see `best_eligible`), so that nothing else is built upon."""
    top = best_eligible(rungs_of(record, project), record.best.rung if record.best else None)
    return replace(record, best=BestVariant(top.rung, top.variant) if top and top.variant else None)
