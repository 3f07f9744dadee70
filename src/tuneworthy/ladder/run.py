"""A run of the ladder, rung by rung: explore on dev, compare the winner on test once, adopt it or not.

Every answer is stored first, so that a run that was cut short, or is repeated, gives the same record and calls no
model twice for the same.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from tuneworthy.config import Project
from tuneworthy.engine.rounds import Rounds
from tuneworthy.engine.runner import Progress
from tuneworthy.errors import BudgetSpent, ModelError, OutsideFault, TuneworthyError, UnknownName, UserError
from tuneworthy.graders.apply import refuse_faulty
from tuneworthy.graders.dev_answers import MAX_CASES, DevAnswer, dev_answers, dev_cases
from tuneworthy.graders.judge import JudgeGrader
from tuneworthy.ladder import messages
from tuneworthy.ladder.adopt import Adoption
from tuneworthy.ladder.bills import bill_of
from tuneworthy.ladder.cascade import CASCADE
from tuneworthy.ladder.certificate import certificate_of
from tuneworthy.ladder.comparison_plan import options_of, read_comparisons, slot_name
from tuneworthy.ladder.comparisons import (
    comparison_id,
    forget_agreement,
    measure_today,
    pass_on,
    plan_comparisons,
    planned_alpha,
    take_comparison,
)
from tuneworthy.ladder.distillation import distillation
from tuneworthy.ladder.estimate import Work, estimate_run, most_for
from tuneworthy.ladder.label_sample import draw_sample
from tuneworthy.ladder.measurement import (
    Measurement,
    Pair,
    balance_of,
    beats_constant,
    calibration_of,
    compare_scored,
    constant_score,
    decide,
    describe_on_dev,
    differences_on_test,
    distinct_cases,
    first_error,
    halves_of_test,
    measure_on_test,
    meets_target,
    on_cases,
    with_decision,
)
from tuneworthy.ladder.record import (
    NOT_REACHED,
    BestVariant,
    CandidateResult,
    ComparisonCount,
    OverlapCounts,
    RungRecord,
    RunRecord,
    SplitRecord,
    read_record,
    shown_better,
    write_record,
)
from tuneworthy.ladder.rung import RUNGS, Proposal, SearchResult, View, view_of
from tuneworthy.ladder.rungs.model import TEACHER, on_model, teachers
from tuneworthy.ladder.session import Session, later_of, open_session, provenance
from tuneworthy.ladder.task_data import shuffled
from tuneworthy.search.racing import Race, differences, race
from tuneworthy.stats.paired import PairedResult
from tuneworthy.text import count
from tuneworthy.types import MOST_UNSCORED, Cases, Paths, RungStatus, Say, Texts, Traces, Variant

log = logging.getLogger(__name__)

QUICK_DEV = 40
REFERENCE_RUNGS = ("classical", "baseline")
# Rungs on which nothing is built.
NO_LEADER = frozenset({"classical", CASCADE, TEACHER, "fine_tune"})
# Reasons why the scores of a rung show nothing.
UNFIT = frozenset({"few_groups", "judge", "unscored", "unscored_flip"})
# A rung with nothing to try needs no alpha, unless that will change: a model is still to be trained, say.
KEEPS_ALPHA = frozenset({"baseline_failed", "no_tuned_model", "unavailable"})


class RungWatcher:
    """Observes the outcomes of rungs, and shows nothing; the command line shows them."""

    def plan(self, rungs: Texts, takes: Mapping[str, Work]) -> None:
        """These rungs follow; `takes` has their estimates, as far as known."""

    def start(self, rung: str) -> None:
        """It runs now."""

    def finish(self, record: RungRecord) -> None:
        """It is done; the classical baseline a second time, once it was compared with the best."""

    def target_met(self, variant: str, score: float, usd: float, rest: Work, bill: str) -> bool:
        """Return whether to run the remaining rungs: `variant` meets the target.

        Args:
            variant: Its name.
            score: On test, 0..1.
            usd: Cost of the rungs so far.
            rest: Expected work of the remaining rungs.
            bill: Today's cost, in words, if a remaining rung may lower it; "" otherwise.
        """
        return True


async def run_ladder(
    project: Project,
    rungs: Texts = (),
    *,
    quick: bool = False,
    max_usd: float | None = None,
    progress: Progress | None = None,
    watcher: RungWatcher | None = None,
    waiting: Say = lambda _: None,
    stopped: Callable[[RunRecord], None] = lambda _: None,
    rounds: Callable[[Session], Awaitable[Rounds | None]] | None = None,
    copies: Paths = (),
) -> RunRecord:
    """Run the ladder of `project` and leave the record in its folder.

    Each finished rung is in the record of the unfinished run at once. The last whole record stays until the run ends.

    Args:
        project: From `config.load`.
        rungs: Those to run (those of the last run are repeated, from the store); all if empty.
        quick: Use at most 40 dev cases and leave test alone.
        max_usd: Most that this run may spend.
        progress: Is shown each answer.
        watcher: Is shown each rung.
        waiting: Gets a sentence if another process works on the project.
        stopped: Gets the unfinished record if the run has to stop.
        rounds: Returns the rounds that answer calls that are not timed, if any.
        copies: See `open_session`.

    Raises:
        UserError: The data, a grader or a model cannot be used, or a rung is unknown.
        BudgetSpent: The next call could exceed the budget; the run can be resumed.
        OutsideFault: A provider is down; the run can be resumed.
    """
    check_rungs(project, rungs)
    opening = open_session(project, progress=progress, max_usd=max_usd, waiting=waiting, copies=copies)
    async with opening as session:
        session.runner.rounds = await rounds(session) if rounds else None
        refuse_faulty(session.graders, session.data.cases)
        run = LadderRun(session, quick=quick, watcher=watcher)
        try:
            earlier = (read_record(session.folder, unfinished=some) for some in (False, True) if rungs)
            record = await run.run(
                {
                    *rungs,
                    *(row.rung for one in earlier if one for row in one.rungs if row.reason_code != NOT_REACHED),
                }
            )
        except Exception as error:
            if not run.records and not isinstance(error, BudgetSpent | OutsideFault):
                raise  # nothing could be begun: the project has to be fixed first
            why = error.message if isinstance(error, TuneworthyError) else f"internal error ({type(error).__name__})"
            stopped(run.write(f"stopped at the rung {run.current}: {why.rstrip('.')}"))
            raise
        write_record(session.folder, record)
        return record


def check_rungs(project: Project, names: Texts) -> None:
    """Refuse names that are no rungs of the project.

    Raises:
        UserError: One is unknown, or not in `[ladder].rungs`.
    """
    for name in names:
        if name not in RUNGS.names():
            raise UnknownName("rung", name, RUNGS)
        if name not in {"baseline", *project.ladder.rungs}:
            raise UserError(
                f"The rung {name!r} is not in ladder.rungs. Rungs of this project: {', '.join(project.ladder.rungs)}.",
                hint="Add it to ladder.rungs, or choose another one.",
            )


class LadderRun:
    """One run.

    Args:
        session: The opened project.
        quick: Use at most 40 dev cases and leave test alone.
        watcher: Is shown each rung.

    Attributes:
        current: The rung that is running, and since when (seconds since the epoch).
        earlier: The record of a run that was not finished.
        records: Of the rungs that were run, in their order.
        tried: The candidates of all rungs.
        best: The base of the next rung.
        leader: The best language-model variant so far; an ineligible one only until an eligible one was tested.
        highest: The highest-scoring one ever adopted.
        classical: The classical baseline.
        cascade: The cascade, once it was compared: nothing is built on it, but it may be the best.
        classical_leads: Whether it is ahead of today's variant on dev, so that it is compared with the best.
        trials: Measurements on test, by rung.
        stopped: The variant that meets the target, if the run stopped because of that.
        balance: The most frequent label.
        constant: What always giving the most frequent answer scores, where that is a bar.
    """

    def __init__(self, session: Session, *, quick: bool = False, watcher: RungWatcher | None = None) -> None:
        self.session, self.quick, self.watcher = session, quick, watcher or RungWatcher()
        self.current, self.since = "", 0.0
        self.earlier: RunRecord | None = None
        with suppress(UserError):  # a damaged record is replaced
            self.earlier = read_record(session.folder, "quick" if quick else "run", unfinished=True)
        self.records: dict[str, RungRecord] = {}
        self.variants: dict[str, Variant] = {}
        self.tried: list[Variant] = []
        self.best: Variant | None = None
        self.leader: Measurement | None = None
        self.highest: Measurement | None = None
        self.classical_leads = False
        self.trials: dict[str, Measurement] = {}
        self.stopped: Measurement | None = None
        self.balance = None if quick else balance_of(session)
        self.constant: Pair | None = None
        self.dev = shuffled(session.split.dev, session.project.split.seed)[: QUICK_DEV if quick else None]

    async def run(self, rungs: Collection[str] = ()) -> RunRecord:
        order = self._order(rungs or self.session.project.ladder.rungs)
        takes: Mapping[str, Work] = {}
        if self.quick:  # each rung is compared with today's variant
            order.sort(key="baseline".__ne__)
        else:
            forget_agreement(self.session)
            plan_comparisons(self.session)
            self.constant = await constant_score(self.session)
            estimate = estimate_run(self.session.project, self.session.data, {})
            takes = estimate.rungs if estimate else {}
        self.watcher.plan(order, takes)
        for place, name in enumerate(order, 1):
            await self._metered_rung(name)
            classical = self.trials.get("classical")
            if name == "baseline" and classical and self.leader:
                self.classical_leads = await self._leads(classical, self.leader.variant, self.dev)
                if not self.classical_leads:
                    pass_on(self.session, slot_name("classical", self.session.split))
            if name == "model" and not self.quick:
                await self._metered_rung(TEACHER)
            if name != "classical" and self._stops(order[place:]):
                break
        if not self.quick and not self.stopped:
            await self._last_comparisons()
            draw_sample(self.session, [trial.variant for trial in self.trials.values()])
        return await self._with_steps(self.record())

    def _order(self, rungs: Collection[str]) -> list[str]:
        if self.session.agreement and {*rungs} == {"classical"}:  # compared with answers that today's model gave
            return ["classical"]
        names = [name for name in self.session.project.ladder.rungs if name in rungs and name not in REFERENCE_RUNGS]
        return [*(["classical"] if "classical" in rungs else []), "baseline", *names]

    async def _with_steps(self, record: RunRecord) -> RunRecord:
        """Add the steps of a distillation, and their variants: by its id, a variant can go on teaching."""
        steps = await distillation(self.session, self.trials, self.tried)
        found = {one.id: one for one in self.tried if any(one.id == step.variant for step in steps)}
        return replace(record, distillation=steps, variants=found | self.variants)

    async def try_base(self, record: RunRecord, model: str) -> RunRecord:
        """Return a finished run with its leading variant on another model as one more rung.

        All other answers are stored already. Nothing is written but the plan with this comparison. Its alpha is of the
        reserve, or of the rung `model`; it takes none if the variant does not lead on dev.

        Args:
            record: The run.
            model: Key of `[models]`.

        Raises:
            UserError: The run has no leading variant, or it measured this one; or as `take_comparison`.
            NotStored: An answer of the run is not stored, such as to cases that were added since.
        """
        session, self.variants = self.session, {**record.variants}
        self.records = {row.rung: row for row in record.rungs}
        session.runner.calls = False  # an answer of the run that is not stored is not requested here
        for row in record.rungs:
            if row.score is not None and (variant := record.variant_of(row)):
                _, self.trials[row.rung] = await measure_on_test(session, row, variant, self.dev)
        session.runner.calls = True
        best = record.best.rung if record.best else ""
        for row in sorted(record.rungs, key=lambda row: row.rung == best):  # the leader is the last to lead
            if row.rung in self.trials.keys() - NO_LEADER and (
                row.rung in {"baseline", best} or row.status is RungStatus.ADOPTED
            ):
                self._lead(self.trials[row.rung])
        if self.leader is None:
            raise UserError("The run has no scored baseline.", hint="Run `tuneworthy run` first.")
        moved = replace(
            on_model(self.leader.variant, model, session.models[model].provider),
            name=f"base/{model}",
            notes=(*self.leader.variant.notes, f"model {model}"),
        )
        if moved.id in {trial.variant.id for trial in self.trials.values()}:
            raise UserError(f"The run has measured {model} with its best prompt.", hint="Run `tuneworthy decide`.")
        # as the rung `model` where that has no other model to try: the next run then finds the same comparison
        rung = (
            "base"
            if "model" in self.trials or {*session.project.untuned} - {self.leader.variant.model, model}
            else "model"
        )
        self.variants[moved.id] = moved
        self.constant = await constant_score(session)
        self.records[rung] = await self._test(
            RungRecord(
                rung=rung, status=RungStatus.INCONCLUSIVE, variant=moved.id, name=moved.name, candidates_tried=1
            ),
            moved,
            self.dev,
        )
        return replace(
            self.record(),
            best=BestVariant(rung, moved.id) if self.best is moved else record.best,
            partial=record.partial,
            elsewhere=record.elsewhere,
            provenance=record.provenance,
        )

    async def _last_comparisons(self) -> None:
        """Compare the best with the classical baseline, then with today's option."""
        if self.leader and (classical := self.trials.get("classical")):
            self.records["classical"] = await self._against_classical(classical, self.leader)
        if "classical" in self.records:
            self.watcher.finish(self.records["classical"])
        self._against_today()

    def _stops(self, rest: Texts) -> bool:
        """Return whether the run stops here, as the target is met; then the rungs `rest` are skipped.

        A stop cannot raise the rate of false findings. That a variant meets the target is tested at 0.05/m, with m
        fixed by the plan, whether or not further rungs run. No comparison is made early, and no slot of a skipped rung
        passes its alpha on: a later run finds the plan as it would have been.
        """
        met = [
            one
            for one in self.trials.values()
            if not one.violated and meets_target(self.session, one)
            # An answer copied from another question meets no target.
            if one.rung != "classical" or self.session.task.kind != "free_text"
        ]
        best = max(met, key=lambda one: (one is self.leader, one.score), default=None)
        if best is None or not rest:
            return False
        session, usd = self.session, sum(row.cost_usd for row in self.records.values())
        work = most_for(
            session.project,
            session.data,
            {},
            rest,
            uncounted=[name for name, n in session.runner.doubtful.items() if n],
            spread=1.0,
            best=self.leader.variant if self.leader else None,
        )
        bill = self._bill(best) if "model" in rest or "classical" not in self.trials else ""
        if not work.calls or self.watcher.target_met(best.variant.name, best.score, usd, work, bill):
            return False
        self.stopped = best
        why = "not run, as the target was already met; to continue, run `tuneworthy run`"
        self.records |= {
            name: RungRecord(rung=name, status=RungStatus.SKIPPED, reason=why, reason_code=NOT_REACHED) for name in rest
        }
        return True

    def _bill(self, best: Measurement) -> str:
        """Return the cost of today's setup, in words; "" if it costs nothing, or `best` is another variant."""
        if best.rung != "baseline":
            return ""
        project, row = self.session.project, self.records["baseline"]
        traffic, cost = project.economics.requests_per_month, bill_of(project, row, best.variant)
        month = cost.running(project.economics).monthly_usd(traffic or 0.0)
        if month and traffic:
            return f"${month:,.{2 if month < 10 else 0}f} a month"
        return f"${cost.usd_per_1k:,.2f} per 1,000 answers" if cost.usd_per_1k else ""

    @property
    def today(self) -> Variant | None:
        """The baseline, once it was scored."""
        row = self.records.get("baseline")
        return self.variants[row.variant] if row and row.variant and row.status != "failed" else None

    async def _metered_rung(self, name: str) -> None:
        """Run one rung, store its record with its cost, and pass on the alpha of a rung that compared nothing."""
        self.current, self.since = name, time.time()
        self.write()
        self.watcher.start(name)
        with self.session.runner.metered() as spent:
            record = await (self._teacher() if name == TEACHER else self._rung(name))
        if record is None:
            return
        self.records[name] = replace(record, cost_usd=spent.usd)
        log.info("Rung %s: %s (%s), $%.4f", name, record.status, record.reason_code, spent.usd)
        if record.variant is None and record.reason_code not in KEEPS_ALPHA and not self.quick:
            pass_on(self.session, slot_name(name, self.session.split))
        self.write()
        self.watcher.finish(self.records[name])

    async def _rung(self, name: str) -> RungRecord:
        if self.best is None and name not in REFERENCE_RUNGS:
            return RungRecord(
                rung=name,
                status=RungStatus.SKIPPED,
                reason=f"this rung builds on the baseline, which failed: {self.records['baseline'].reason}",
                reason_code="baseline_failed",
            )
        session, dev = self.session, self.dev or self.session.split.dev
        rung, view = RUNGS.get(name, session.project.root)(), self._view(len(dev))
        proposal = await rung.propose(view)
        found = SearchResult() if proposal.skipped else await rung.search(view)
        distinct: dict[str, Variant] = {}
        for variant in (*proposal.candidates, *found.candidates):
            distinct.setdefault(variant.id, variant)
        candidates = [] if found.skipped else list(distinct.values())
        self.tried.extend(candidates)
        candidates, unavailable = await self._available(candidates)
        notes = [*proposal.notes, *found.notes, *proposal.ineligible, *unavailable]
        if not candidates:
            return _nothing_to_try(name, proposal if proposal.skipped else found, unavailable, notes)
        unseen = [case for case in self.dev if case.id not in found.made_from]
        raced = await self._explore(candidates, unseen)
        raced, more = await rung.combine(view, raced, unseen)
        winner = raced.winner
        self.variants[winner.id] = replace(winner, model_identity=dict(winner.model_identity))
        record = _explored(name, raced, len(candidates) if session.split.explore else 1, [*notes, *more])
        record = replace(record, candidates=self._calibrated(record.candidates, [*candidates, winner], unseen))
        with session.runner.metered() as spent:
            detail = await rung.examine(view, candidates, winner)
        record = replace(
            record,
            detail=detail or found.detail,
            examined=spent.calls,
        )
        measured = self._quick(record, winner) if self.quick else self._test(record, winner, unseen)
        # A later rung may ask more of dev: the stored answers depend on earlier rungs, the race's own cases do not.
        raced_cases = unseen if name == "classical" else unseen[: max((row.n for row in record.candidates), default=0)]
        record = replace(await measured, dev_answers=await self._dev_answers(winner, raced_cases))
        if self.quick:
            return record
        detail = await rung.after_test(replace(view, dev=dev), winner)
        certificate = await certificate_of(session, winner, dev) if session.agreement else None
        return replace(record, detail=detail or record.detail, certificate=certificate)

    def _view(self, n_dev: int) -> View:
        session = self.session
        return view_of(
            session,
            best=self.best,
            n_dev=n_dev,
            dev=self.dev,
            searched=session.split.explore and not self.quick,
            tried=self.tried,
            measured=[
                one.variant
                for one in self.trials.values()
                if one.rung not in {"classical", TEACHER, "fine_tune"} and session.project.may_serve(one.variant.model)
            ],
        )

    async def _teacher(self) -> RungRecord | None:
        """Measure the hosted model that is best on dev where hosted models may not serve: it may teach.

        No comparison is made, as it cannot be adopted.
        """
        variants = teachers(self._view(len(self.dev))) if self.best else []
        candidates, unavailable = await self._available(variants)
        if not candidates:
            return (
                RungRecord(rung=TEACHER, status=RungStatus.FAILED, reason="; ".join(unavailable)) if variants else None
            )
        raced = await self._explore(candidates, self.dev)
        winner = raced.winner
        self.variants[winner.id] = replace(winner, model_identity=dict(winner.model_identity))
        return await self._test(_explored(TEACHER, raced, len(candidates), []), winner, ())

    async def _available(self, candidates: Sequence[Variant]) -> tuple[list[Variant], list[str]]:
        """Ask each model but the best's own one case of dev; return those that answer, and why others do not."""
        refused: dict[str, str] = {}
        for variant in {variant.model: variant for variant in reversed(candidates)}.values():
            if self.best is not None and variant.model != self.best.model:
                try:
                    await self.session.ask(variant, self.dev[:1])
                except ModelError as error:
                    refused[variant.model] = f"{variant.model} is not available: {error.message}"
        return [variant for variant in candidates if variant.model not in refused], list(refused.values())

    async def _explore(self, candidates: Sequence[Variant], unseen: Cases) -> Race:
        """Race the candidates on dev.

        Where dev is too small, the first candidate is preregistered, and only a quick run asks it.

        Args:
            candidates: Variants.
            unseen: The cases of dev from which no candidate was made.
        """
        raced = Race(entries=(), winner=candidates[0], calls=0)
        if self.session.split.explore:
            raced = await race(
                candidates,
                unseen,
                self.session.measure,
                n_dev=len(self.dev),
                together=self.session.runner.rounds is not None,
            )
        winner = raced.winner
        if self.quick:  # the winner answers all of the cases, as today's variant does
            whole = await race([winner], self.dev, self.session.measure)
            entries = [*whole.entries, *(one for one in raced.entries if one.variant is not winner)]
            raced = replace(raced if raced.entries else whole, entries=entries, calls=sum(entry.n for entry in entries))
        return raced

    def _calibrated(
        self, rows: Sequence[CandidateResult], variants: Sequence[Variant], raced: Cases
    ) -> list[CandidateResult]:
        by_id = {variant.id: variant for variant in variants}
        return [
            replace(row, calibration=calibration_of(self.session.stored(by_id[row.variant], cases), cases))
            for row in rows
            for cases in [raced[: row.n]]
        ]

    async def _dev_answers(self, winner: Variant, cases: Cases) -> dict[str, DevAnswer]:
        """Return the answers of a rung's winner to the dev cases of its race, which are stored, or are free."""
        by_id = {case.id: case for case in cases[:MAX_CASES]} if self.session.split.explore else {}
        traces = await self.session.ask(winner, list(by_id.values()))
        answered = [by_id[trace.case_id] for trace in traces]
        labels = self.session.task.labels if self.session.task.kind == "label" else ()
        return dev_answers(labels, answered, traces, (await self.session.score(traces, answered))[2])

    async def _quick(self, record: RungRecord, winner: Variant) -> RungRecord:
        record = replace(
            record,
            status=RungStatus.REFERENCE if record.rung in REFERENCE_RUNGS else RungStatus.INCONCLUSIVE,
            reason_code="quick",
        )
        row = next((row for row in record.candidates if row.variant == winner.id), None)
        if row is None:
            return _failed(record, await self.session.ask(winner, self.dev))
        if record.rung != "classical" and (self.best is None or await self._ahead(winner, self.best, self.dev)):
            self.best = winner
        if self.today:
            gain = await describe_on_dev(self.session, self.today, winner, self.dev)
            record = replace(record, delta=gain.delta, delta_ci=gain.ci)
        return replace(record, reason=f"{row.score:.1%} on {row.n} dev cases, not compared on the test set")

    async def _leads(self, trial: Measurement, best: Variant, dev: Cases) -> bool:
        """Whether a trial may serve and is ahead on dev, so that it is compared; where dev is small, all are."""
        return (not self.session.split.explore or await self._ahead(trial.variant, best, dev)) and not trial.violated

    async def _ahead(self, variant: Variant, best: Variant, dev: Cases) -> bool:
        ours, theirs = [await self.session.measure(one, dev) for one in (variant, best)]
        return float(differences(ours, theirs).sum()) > 0

    async def _test(self, record: RungRecord, winner: Variant, unseen: Cases) -> RungRecord:
        """Measure the winner on test and decide about it.

        Args:
            record: Of the rung, as far as dev tells.
            winner: What leads on dev.
            unseen: The cases of dev that it was not made from.
        """
        best, name = self.leader, record.rung
        if name == "baseline" and measure_today(self.session, winner):
            record = replace(
                record,
                notes=[
                    *record.notes,
                    (
                        "A different baseline has already been measured on the test set, so this one counts as a test "
                        "comparison."
                    ),
                ],
            )
        record, trial = await measure_on_test(self.session, record, winner, self.dev)
        if trial.unscored == len(trial.num):
            return _failed(record, trial.traces)
        if self.constant is not None:
            record = replace(record, beats_majority=beats_constant(self.session, trial, self.constant))
            if self.session.project.task.critical_recall.keys() <= (
                {self.balance.label} if self.balance else set[str]()
            ):  # the recall of others shows it as well
                trial = replace(trial, beats_majority=record.beats_majority)
        self.trials[name] = trial
        if name == TEACHER:
            return replace(
                record, status=RungStatus.VIOLATES_CONSTRAINT, reason=trial.violated, reason_code="constraint"
            )
        if name == "classical":
            return _reference(record, messages.say("classical"))
        if best is None:
            self._lead(trial)
            return _reference(record, "today's prompt and model")
        gain, decision = await self._decide(best, trial, leads=await self._leads(trial, best.variant, unseen))
        record = with_decision(record, best.variant, gain, decision)
        if name == CASCADE:
            if decision.status is RungStatus.ADOPTED and self.highest and trial.score > self.highest.score:
                self.highest = trial
        elif decision.status is RungStatus.ADOPTED:
            self._lead(trial)
        elif _takes_over(best, trial):
            self._lead(trial)
            why = (
                f"not adopted, but now the best variant because {best.variant.name} violates a constraint: "
                f"{best.violated}"
            )
            record = replace(record, reason=f"{record.reason}; {why}")
        return record

    async def _decide(self, best: Measurement, trial: Measurement, *, leads: bool) -> tuple[PairedResult, Adoption]:
        """Compare a trial with the best so far if it leads on dev, and pass on alpha that is unspent.

        Only a gain that was found passes alpha on: where the trial is adopted because it is cheaper, it was spent. The
        classical baseline, compared last, keeps it: a rung before it would have more in the next run than in this one.
        """
        session, name = self.session, trial.rung
        alpha = take_comparison(session, name, best.variant, trial.variant) if leads else None
        gain, decision = await decide(session, best, self.highest or best, trial, alpha)
        if alpha is None:
            pass_on(session, slot_name(name, session.split))
        elif gain.better and decision.reason_code == "better" and name != "classical":
            pass_on(session, comparison_id(session, name, best.variant, trial.variant))
        return gain, decision

    def _lead(self, trial: Measurement) -> None:
        if self.highest is None or self.highest.violated or trial.score > self.highest.score:
            self.highest = trial
        self.leader, self.best = trial, trial.variant

    async def _against_classical(self, classical: Measurement, best: Measurement) -> RungRecord:
        gain, decision = await self._decide(best, classical, leads=self.classical_leads)
        why = (
            messages.say("classical") + messages.say("ineligible", why=decision.reason)
            if decision.reason_code == "constraint"
            else f"no language model; against the best variant of the other rungs: {decision.reason}"
        )
        if _takes_over(best, classical):
            why += f"; now the best variant because {best.variant.name} violates a constraint: {best.violated}"
        return replace(
            with_decision(self.records["classical"], best.variant, gain, decision),
            status=RungStatus.REFERENCE,
            reason=why,
        )

    def _against_today(self) -> None:
        """Compare the best with today's option, with alpha of the reserve, where no chain of comparisons shows it."""
        best, today = self._best(), self.trials.get("baseline")
        shown = shown_better(self.records.values())
        if best is None or today is None or best.rung == "baseline" or (best.rung, "baseline") in shown:
            return
        trial, record, session = self.trials[best.rung], self.records[best.rung], self.session
        if trial.score <= today.score or record.reason_code in UNFIT or record.compared_to == today.variant.id:
            return
        with suppress(UserError):  # the test set may be used up
            gain, _, unvalidated = compare_scored(
                session,
                session.split.test,
                today,
                trial,
                take_comparison(session, "today", today.variant, trial.variant),
            )
            self.records[best.rung] = replace(record, beats_today=gain.better and not unvalidated)

    def _best(self) -> BestVariant | None:
        """Return the best variant that breaks no constraint: the classical baseline only if it was compared.

        Where the run stopped at the target, it is the one that meets the target.
        """
        if self.stopped:
            return BestVariant(self.stopped.rung, self.stopped.variant.id)
        best = leader = self.leader
        for name in (CASCADE, "classical"):
            other, row = self.trials.get(name), self.records.get(name)
            if leader and other and row and row.compared_to and not other.violated:
                wins = row.reason_code in {"better", "cheaper"} and (other.rung, leader.rung) != (CASCADE, "fine_tune")
                best = other if wins or _takes_over(leader, other) else best
        return None if best is None or best.violated else BestVariant(best.rung, best.variant.id)

    def write(self, partial: str = "") -> RunRecord:
        """Write and return the unfinished record: that of an earlier one that got further, if nothing changed since.

        Args:
            partial: The error that stops the run, and where.
        """
        record = replace(
            later_of(self.record(), self.earlier, self.session.project),
            partial=partial,
            at=(self.current, self.since, str(os.getpid())),
        )
        write_record(self.session.folder, record)
        return record

    def record(self) -> RunRecord:
        """Return the record of the rungs that were run."""
        session, project = self.session, self.session.project
        comparisons = read_comparisons(session.folder)
        found = differences_on_test(session, list(self.trials.values()))
        distinct = distinct_cases(session, self.records.get("fine_tune")) if self.trials else []
        parts = {name: on_cases(session, one, distinct) for name, one in self.trials.items()} if distinct else {}
        today, halves = {row.b: row for row in found if row.a == "baseline"}, halves_of_test(session)
        rungs = [
            replace(
                row,
                on_distinct_cases=parts[name][1] if name in parts else None,
                halves=[
                    part
                    for half in halves
                    if name in self.trials and (part := on_cases(session, self.trials[name], half)[1])
                ],
                delta_today=today[name].delta if name in today else None,
                delta_today_ci=today[name].ci95 if name in today else None,
            )
            for name, row in self.records.items()
        ]
        return RunRecord(
            task=project.task.name,
            kind=session.task.kind,
            primary=project.graders[0].type,
            target=session.target,
            margin=project.task.margin,
            quick=self.quick,
            n_dev=len(self.dev),
            n_test=len(session.split.test),
            explored=session.split.explore,
            alpha=None if self.quick else planned_alpha(session),
            comparisons=ComparisonCount(len(comparisons.planned), comparisons.n_taken, options_of(comparisons)),
            cost_usd=session.runner.spending.usd,
            rungs=rungs,
            best=self._best(),
            split=SplitRecord(
                origin=session.split.origin,
                reasons=list(session.split.reasons),
                counts=session.split.counts,
                effective_groups=session.split.effective_groups,
                additions=len(session.split.additions),
            ),
            overlaps=OverlapCounts(**session.data.dataset.contamination.counts),
            differences=found,
            distinct_cases=tuple(case.id for case in distinct),
            distinct_differences=differences_on_test(session, [part for part, _ in parts.values()], distinct),
            balance=self.balance,
            agreement=session.agreement,
            variants=self.variants,
            dev_cases=dev_cases(self.dev[:MAX_CASES]),
            judges={
                grader.model: dict(session.asker.identity(grader.model))
                for grader in session.graders.values()
                if isinstance(grader, JudgeGrader)
            },
            provenance=provenance(project, session.split, session.graders, session.pool.hash, session.library),
            notes=[
                *session.data.notes,
                *(
                    (
                        f"{count(n, 'answer')} from {name} came without usable token counts. Each is charged at its "
                        f"maximum cost, which can be many times its true cost. Let the server of {name} report usage."
                    )
                    for name, n in session.runner.doubtful.items()
                    if n
                ),
            ],
        )


def _nothing_to_try(name: str, proposal: Proposal, unavailable: Texts, notes: Texts) -> RungRecord:
    if unavailable:
        return RungRecord(rung=name, status=RungStatus.FAILED, reason="; ".join(unavailable), reason_code="unavailable")
    return RungRecord(
        rung=name,
        status=RungStatus.VIOLATES_CONSTRAINT if proposal.skip_code == "constraint" else RungStatus.SKIPPED,
        reason=proposal.skipped or "no candidates to try",
        reason_code=proposal.skip_code or "nothing_to_try",
        notes=notes,
    )


def _explored(name: str, raced: Race, tried: int, notes: Texts) -> RungRecord:
    entries, winner = raced.entries, raced.winner
    mute = [
        f"{one.variant.name}: none of the answers to {one.n} dev cases could be scored"
        for one in entries
        if not one.scored
    ]
    return RungRecord(
        rung=name,
        status=RungStatus.INCONCLUSIVE,
        variant=winner.id,
        name=winner.name,
        candidates_tried=tried,
        candidates=[
            CandidateResult(
                variant=entry.variant.id,
                name=entry.variant.name,
                n=entry.n,
                score=entry.score,
                ci95=entry.ci,
                cost_usd=entry.measured.cost_usd,
                unscored=entry.unscored,
                dropped=entry.dropped,
            )
            for entry in entries
            if entry.scored
        ],
        calls=raced.calls,
        notes=[*notes, *mute],
    )


def _takes_over(best: Measurement, trial: Measurement) -> bool:
    return (
        bool(best.violated)
        and trial.score > 0
        and not trial.violated
        and trial.unscored <= MOST_UNSCORED * len(trial.num)
    )


def _reference(record: RungRecord, what: str) -> RungRecord:
    return replace(
        record,
        status=RungStatus.REFERENCE,
        reason=what + (messages.say("ineligible", why=record.violated) if record.violated else ""),
        reason_code="reference",
    )


def _failed(record: RungRecord, traces: Traces) -> RungRecord:
    return replace(record, status=RungStatus.FAILED, reason=first_error(traces), reason_code="unscored")
