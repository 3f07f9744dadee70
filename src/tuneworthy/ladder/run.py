"""The walk up the ladder: explore on dev, test the winner once, adopt or not; rung by rung, resumable.

Everything that is asked is stored first, so that a walk that was cut short, or is walked again, gives the same
record and asks nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from tuneworthy.classical.messages import METHODS
from tuneworthy.config import Project
from tuneworthy.errors import BudgetSpent, ModelError, OutsideFault, TuneworthyError, UserError
from tuneworthy.evaluate.runner import Progress
from tuneworthy.graders.breakdown import breakdown
from tuneworthy.graders.judge import JudgeGrader
from tuneworthy.ladder.comparisons import measure_today, plan_comparisons, read_comparisons, take_comparison
from tuneworthy.ladder.dev_scores import measure, shuffled
from tuneworthy.ladder.measurement import answer_test, decide, first_error, measured, with_decision
from tuneworthy.ladder.provenance import provenance
from tuneworthy.ladder.record import (
    BestVariant,
    CandidateResult,
    ComparisonCount,
    OverlapCounts,
    RungRecord,
    RunRecord,
    SplitRecord,
    read_record,
    write_record,
)
from tuneworthy.ladder.rung import RUNGS, Contender, Examines, Proposal, Rung, Searches, View
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.search.racing import Entry, Race, differences, race
from tuneworthy.stats.comparisons import SHARED
from tuneworthy.types import MOST_UNSCORED, Case, RungStatus, Trace, Variant

QUICK_DEV = 40
REFERENCE_RUNGS = ("classical", "baseline")

Say = Callable[[RungRecord], None]


def _nothing(_: object) -> None:
    """Say nothing."""


async def run_ladder(
    project: Project,
    rungs: Sequence[str] = (),
    *,
    quick: bool = False,
    max_usd: float | None = None,
    progress: Progress | None = None,
    say: Say = _nothing,
    waiting: Callable[[str], None] = _nothing,
    stopped: Callable[[RunRecord], None] = _nothing,
) -> RunRecord:
    """Walk the ladder of `project` and leave the record in its folder.

    A walk that has to stop leaves a partial record, unless a whole one is there: that stays.

    Args:
        project: From `config.load`.
        rungs: Those to walk (those walked before are walked again, from the store); all if empty.
        quick: Use at most 40 dev cases and never look at test.
        max_usd: Most that this walk may spend.
        progress: Told what is asked.
        say: Told of each rung when it is done.
        waiting: Told if another process works on the project.
        stopped: Told the partial record if the walk has to stop.

    Raises:
        UserError: The data or a model cannot be used, or a rung is unknown.
        BudgetSpent: The next call could exceed the budget. OutsideFault: A provider is down. Both can go on later.
    """
    check_rungs(rungs)
    async with open_session(project, progress=progress, max_usd=max_usd, waiting=waiting) as session:
        last = read_record(session.folder) if rungs else None
        walked = {record.rung for record in last.rungs} if last else set()
        wanted = set(rungs) | walked or set(project.ladder.rungs)
        walking = LadderRun(session, quick=quick, say=say)
        try:
            record = await walking.walk(sorted(wanted))
        except Exception as error:
            if not walking.records and not isinstance(error, BudgetSpent | OutsideFault):
                raise  # nothing could be begun: the project is to be mended first
            why = error.message if isinstance(error, TuneworthyError) else f"unexpected {type(error).__name__}"
            record = walking.record(partial=f"stopped in the rung {walking.at}: {why}")
            if not _whole(session, record):
                write_record(session.folder, record)
            stopped(record)
            raise
        write_record(session.folder, record)
        return record


def _whole(session: Session, record: RunRecord) -> bool:
    """Whether the record of a whole run of this kind is stored."""
    with suppress(UserError):
        last = read_record(session.folder, "quick" if record.quick else "run")
        return last is not None and not last.partial
    return False


class LadderRun:
    """One walk.

    Args:
        session: The opened project.
        quick: Use at most 40 dev cases and never look at test.
        say: Told of each rung when it is done.

    Attributes:
        at: The rung that is walked.
        records: Of the rungs that were walked, in their order.
        best: What the next rung builds on.
        contender: The best language-model variant so far; an ineligible one only until an eligible one was tested.
        highest: The highest-scoring one ever adopted.
    """

    def __init__(self, session: Session, *, quick: bool = False, say: Say = _nothing) -> None:
        self.session = session
        self.quick = quick
        self.say = say
        self.at = ""
        self.records: dict[str, RungRecord] = {}
        self.variants: dict[str, Variant] = {}
        self.best: Variant | None = None
        self.contender: Contender | None = None
        self.highest: Contender | None = None
        self.classical: Contender | None = None
        dev = shuffled(session.split.dev, session.project.split.seed)
        self.dev = dev[:QUICK_DEV] if quick else dev
        self._seen: dict[str, int] = {}

    async def walk(self, rungs: Sequence[str]) -> RunRecord:
        """Walk `rungs` in the order of the ladder, the references first; `baseline` is always walked."""
        names = [name for name in self.session.project.ladder.rungs if name in rungs and name not in REFERENCE_RUNGS]
        order = [*(["classical"] if "classical" in rungs else []), "baseline", *names]
        if not self.quick:
            plan_comparisons(self.session)
        for self.at in order:
            record = self.records[self.at] = await self._paid(self.at)
            if self.at != "classical" or self.quick:
                self.say(record)
        if "classical" in order and not self.quick:
            if self.classical and self.contender:
                self.records["classical"] = await self._against_classical(self.classical, self.contender)
            self.say(self.records["classical"])
        return self.record()

    async def _paid(self, name: str) -> RungRecord:
        """Walk one rung and add up what it was the first to ask."""
        with self.session.runner.metered() as spent:
            record = await self._rung(name)
        return replace(record, cost_usd=spent.usd)

    async def _rung(self, name: str) -> RungRecord:
        """Walk one rung."""
        if self.best is None and name not in REFERENCE_RUNGS:
            why = f"there is nothing to build on: {self.records['baseline'].reason}"
            return RungRecord(rung=name, status=RungStatus.SKIPPED, reason=why, reason_code="baseline_failed")
        session = self.session
        rung: Rung = RUNGS.get(name)()
        view = View(
            project=session.project,
            task=session.task,
            pool=session.pool,
            models=session.models,
            best=self.best,
            seed=session.project.split.seed,
            n_dev=len(self.dev),
            library=session.library,
            dev=self.dev,
            searched=session.split.explore and not self.quick,
        )
        proposal = await rung.propose(view)
        if proposal.candidates and isinstance(rung, Searches):
            more = await rung.search(session, view)
            proposal = replace(proposal, candidates=_distinct([*proposal.candidates, *more]))
        gone = await self._gone(proposal.candidates)
        notes = [*view.notes, *proposal.not_eligible, *gone.values()]
        if gone:
            proposal = replace(proposal, candidates=[one for one in proposal.candidates if one.model not in gone])
        if gone and not proposal.candidates:
            reason = "; ".join(gone.values())
            return RungRecord(rung=name, status=RungStatus.FAILED, reason=reason, reason_code="unavailable")
        if not proposal.candidates:
            code = "constraint" if proposal.skip_code == "constraint" else proposal.skip_code or "nothing_to_try"
            status = RungStatus.VIOLATES_CONSTRAINT if code == "constraint" else RungStatus.SKIPPED
            reason = proposal.skipped or "nothing to try"
            return RungRecord(rung=name, status=status, reason=reason, reason_code=code, notes=notes)
        unseen = [case for case in self.dev if case.id not in view.made_from]
        found = await self._explore(proposal, unseen)
        winner = found.winner if found else proposal.candidates[0]
        self.variants[winner.id] = winner
        explored = _explored(found, len(proposal.candidates) if session.split.explore else 1, notes)
        explored["reasons"] = await self._reasons(winner, found.entries if found else (), unseen)
        if isinstance(rung, Examines):
            with session.runner.metered() as spent:
                explored["detail"] = await rung.examine(session, winner, self.dev)
            explored |= {"examined": spent.calls, "examined_usd": spent.usd}
        if self.quick:
            return await self._quick_record(name, winner, explored)
        record = await self._test(name, winner, explored)
        if record.score is not None and (beside := getattr(rung, "beside", None)):
            record = replace(record, detail=await beside(session, winner, self.dev or session.split.dev))
        return record

    async def _gone(self, candidates: Sequence[Variant]) -> dict[str, str]:
        """Ask each model but the best's own one case of dev; return those that refuse whatever is asked, and why."""
        found: dict[str, str] = {}
        for one in {one.model: one for one in reversed(candidates)}.values():
            if self.best is not None and one.model != self.best.model:
                try:
                    await self.session.ask(one, self.dev[:1])
                except ModelError as error:
                    found[one.model] = f"{one.model} is not available: {error.message}"
        return found

    async def _explore(self, proposal: Proposal, unseen: Sequence[Case]) -> Race | None:
        """Race the candidates on dev; where dev is too small the first is preregistered (only a quick look asks it).

        Args:
            proposal: The candidates.
            unseen: The cases of dev that none of them was made from.
        """
        ask = partial(measure, self.session)
        if self.session.split.explore:
            return await race(proposal.candidates, unseen, ask, n_dev=len(self.dev))
        return await race(proposal.candidates[:1], self.dev, ask) if self.quick else None

    async def _reasons(self, winner: Variant, entries: Sequence[Entry], raced: Sequence[Case]) -> dict[str, int]:
        """Count why the winner's answers are wrong, on what it saw of `raced` (never on test); nothing is asked."""
        seen = next((entry.n for entry in entries if entry.variant.id == winner.id), 0)
        if not self.session.split.explore or not seen:
            return {}
        cases = raced[:seen]
        traces = await self.session.ask(winner, cases)
        _, _, scores = await self.session.score(traces, cases)
        return dict(breakdown(scores).reasons)

    async def _quick_record(self, name: str, winner: Variant, explored: dict[str, Any]) -> RungRecord:
        """Build on the winner if it is ahead on dev; decide nothing."""
        record = RungRecord(
            rung=name,
            status=RungStatus.REFERENCE if name in REFERENCE_RUNGS else RungStatus.INCONCLUSIVE,
            reason_code="quick",
            variant=winner.id,
            name=winner.name,
            **explored,
        )
        seen = next((row for row in record.candidates if row.variant == winner.id), None)
        if seen is None:
            return _failed(record, await self.session.ask(winner, self.dev))
        score, n = seen.score, seen.n
        self._seen[winner.id] = n
        if name != "classical" and await self._ahead(winner):
            self.best = winner
        return replace(record, reason=f"dev only: {score:.3f} on {n} cases; test was not looked at")

    async def _ahead(self, winner: Variant) -> bool:
        """Whether `winner` is ahead of the best so far on the dev cases that both have answered and scored."""
        if self.best is None:
            return True
        head = self.dev[: min(self._seen[winner.id], self._seen[self.best.id])]
        ours, best = [await measure(self.session, one, head) for one in (winner, self.best)]
        return float(differences(ours, best).sum()) > 0

    async def _test(self, name: str, winner: Variant, explored: dict[str, Any]) -> RungRecord:
        """Put the winner to test and decide."""
        best = self.contender
        alpha = (
            take_comparison(self.session, name, best.variant, winner) if best and name not in REFERENCE_RUNGS else None
        )
        if name == "baseline" and measure_today(self.session, winner):
            explored["notes"] = [*explored["notes"], "today's variant was measured on test before, as another: a look"]
        trial = await answer_test(self.session, name, winner, self.dev)
        record = await measured(self.session, trial, explored)
        if trial.unscored == len(trial.num):
            return _failed(record, trial.traces)
        if name == "classical":
            self.classical = trial
            return _reference(record, "no language model")
        if best is None or alpha is None or self.highest is None:
            self._stand(trial)
            return _reference(record, "as it is today")
        gain, decision = await decide(self.session, best, self.highest, trial, alpha)
        record = with_decision(record, best.variant, gain, decision)
        if decision.status is RungStatus.ADOPTED or _takes_over(best, trial):
            self._stand(trial)
        if decision.status is not RungStatus.ADOPTED and _takes_over(best, trial):
            words = f"not adopted, but the best so far, because {best.variant.name} is not eligible: {best.violated}"
            record = replace(record, reason=f"{record.reason}; {words}")
        return record

    def _stand(self, trial: Contender) -> None:
        """Let a trial be the best language-model variant; the highest one starts anew with the first eligible one."""
        if self.highest is None or self.highest.violated or trial.score > self.highest.score:
            self.highest = trial
        self.contender, self.best = trial, trial.variant

    async def _against_classical(self, classical: Contender, best: Contender) -> RungRecord:
        """Compare the classical baseline with the best language-model variant: the last look."""
        alpha = take_comparison(self.session, "classical", best.variant, classical.variant)
        gain, decision = await decide(self.session, best, self.highest or best, classical, alpha)
        words = {
            "better": "no language model, and better than every one tried",
            "cheaper": "no language model, and no worse than the best one tried",
            "no_gain": "no language model; the best one tried is at least as good",
            "constraint": "no language model, and not eligible",
        }.get(decision.reason_code, "no language model; neither better nor worse is shown")
        if _takes_over(best, classical):
            words += f" (and the best, because {best.variant.name} is not eligible: {best.violated})"
        record = with_decision(self.records["classical"], best.variant, gain, decision)
        return replace(record, status=RungStatus.REFERENCE, reason=f"{words}: {decision.reason}")

    def _best(self) -> BestVariant | None:
        """Return the best variant that breaks no constraint: the classical baseline only if it was compared."""
        best, classical = self.contender, self.classical
        if best and classical and self.records["classical"].compared_to and not classical.violated:
            wins = self.records["classical"].reason_code in {"better", "cheaper"}
            best = classical if wins or _takes_over(best, classical) else best
        if best is None or best.violated:
            return None
        return BestVariant(best.rung, best.variant.id)

    def _classical_wins(self) -> str:
        """Say so if the classical baseline is shown to be better than every prompt."""
        classical, best = self.classical, self.contender
        if classical is None or best is None or self.records["classical"].reason_code != "better":
            return ""
        what = METHODS.get(classical.variant.name.removeprefix("classical/"), "A method without a language model")
        return (
            f"{what} beats every prompt here: {classical.variant.name} scores {classical.score:.3f}, the best "
            f"language-model variant ({best.variant.name}) {best.score:.3f}."
        )

    def record(self, *, partial: str = "") -> RunRecord:
        """Return the record of the rungs that were walked.

        Args:
            partial: Why the walk stopped before its end.
        """
        session, project = self.session, self.session.project
        comparisons = read_comparisons(session.folder)
        return RunRecord(
            task=project.task.name,
            kind=session.task.kind,
            primary=project.graders[0].type,
            target=project.task.target,
            margin=project.task.margin,
            quick=self.quick,
            n_dev=len(self.dev),
            n_test=len(session.split.test),
            explored=session.split.explore,
            alpha=SHARED / len(comparisons.planned) if comparisons.planned and not self.quick else None,
            comparisons=ComparisonCount(len(comparisons.planned), comparisons.n_taken),
            cost_usd=session.runner.spending.usd,
            rungs=list(self.records.values()),
            best=self._best(),
            partial=partial,
            classical_wins=self._classical_wins(),
            split=SplitRecord(
                origin=session.split.origin, reasons=list(session.split.reasons), counts=session.split.counts
            ),
            overlaps=OverlapCounts(**session.data.overlaps),
            variants=self.variants,
            judges={
                grader.model: dict(session.asker.identity(grader.model))
                for grader in session.graders.values()
                if isinstance(grader, JudgeGrader)
            },
            provenance=provenance(project, session.split, session.graders, session.pool.hash, session.library),
            notes=session.data.notes,
        )


def _distinct(variants: Sequence[Variant]) -> list[Variant]:
    """Return the variants, of equal ones the first."""
    first: dict[str, Variant] = {}
    for one in variants:
        first.setdefault(one.id, one)
    return list(first.values())


def _takes_over(best: Contender, trial: Contender) -> bool:
    """Whether a trial is the best only because it is the first that breaks no constraint."""
    return bool(best.violated) and not trial.violated and trial.unscored <= MOST_UNSCORED * len(trial.num)


def _reference(record: RungRecord, words: str) -> RungRecord:
    """Return the record of what others are compared with; it may break a constraint, and then says so."""
    words += f"; not eligible: {record.violated}" if record.violated else ""
    return replace(record, status=RungStatus.REFERENCE, reason=words, reason_code="reference")


def _failed(record: RungRecord, traces: Sequence[Trace]) -> RungRecord:
    return replace(record, status=RungStatus.FAILED, reason=first_error(traces), reason_code="unscored")


def _explored(found: Race | None, tried: int, notes: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a record that come from dev; what could not be scored there has no row, but a note."""
    if found is None:
        return {"candidates_tried": tried, "candidates": [], "notes": [*notes]}
    rows = [
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
        for entry in found.entries
        if entry.scored
    ]
    mute = [f"{one.variant.name}: none of {one.n} dev cases could be scored" for one in found.entries if not one.scored]
    calls = {"calls": found.calls, "calls_full": found.calls_full, "saved_usd": found.saved_usd}
    return {"candidates_tried": tried, "candidates": rows, "notes": [*notes, *mute], **calls}


def check_rungs(names: Sequence[str]) -> None:
    """Refuse names that are not rungs.

    Raises:
        UserError: One is unknown.
    """
    unknown = [name for name in names if name not in RUNGS.names()]
    if unknown:
        raise UserError(f"expected a rung ({', '.join(RUNGS)}), got {unknown[0]!r}")
