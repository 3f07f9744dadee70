"""Let the package measure, compare, probe and decide in a world; only the answers are drawn."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
from scripts.simulations.answers import SimulationSession, key_of
from scripts.simulations.rules import Answer, Measured, is_near, right_answer
from scripts.simulations.truth import DECODING, PROMPTS, SHOTS, World

from tuneworthy.ladder.bills import bills_of, smallest_usd
from tuneworthy.ladder.comparison_plan import options_of, read_comparisons
from tuneworthy.ladder.measurement import differences_on_test
from tuneworthy.ladder.own_models import PREFIX
from tuneworthy.ladder.record import (
    CandidateResult,
    ComparisonCount,
    Provenance,
    RungRecord,
    RunRecord,
    SplitRecord,
)
from tuneworthy.ladder.run import TEACHER, LadderRun
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.stats.paired import compare
from tuneworthy.types import OutputFormat, Retrieval, RungStatus, Shots, Variant
from tuneworthy.verdict import probes
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.base import Cost
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.error_analysis import ErrorAnalysis, best_language_model
from tuneworthy.verdict.evidence import Evidence, JudgeEvidence, SearchEvidence, rungs_of, with_eligible_best
from tuneworthy.verdict.label_audit import RELABELLED, drawn, relabelling
from tuneworthy.verdict.probes import analyse_errors

T = TypeVar("T")
PROVENANCE = Provenance(
    tuneworthy="", seed=7, project="", split="", labels="", groups="", graders={}, examples="", documents="", models=(),
    settings={},
)  # fmt: skip
# How often people are right about a label.
PEOPLE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What the package made of a world.

    Attributes:
        evidence: With the probes made. verdict: Of it.
        answer: What is right. near: whether it is right by less than half a margin.
        plan: The comparisons that were made, as they are stored.
    """

    world: World
    evidence: Evidence
    verdict: Verdict
    answer: Answer
    near: bool
    plan: Any

    @property
    def firm(self) -> bool:
        """Whether the verdict is a yes or a no."""
        return self.verdict.outcome != "undecided"

    @property
    def wrong(self) -> bool:
        """Whether it is a yes or a no, and not the right one."""
        return self.firm and self.verdict.outcome != self.answer.outcome


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of what never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("a simulation waited for something")


def simulate(world: World, plan: Any = None) -> Decided:
    """Let the package run the ladder, probe and decide.

    Args:
        world: The truth.
        plan: The comparisons that were made so far, as they are stored.
    """
    session = SimulationSession(world)
    if plan is not None:
        session.folder.write("comparisons", plan)
    run, options = _climb(session)
    record = _record(session, run)
    if world.n_human:
        session.folder.write("run", record.to_dict())
    project = session.project
    best = with_eligible_best(record, project)
    variant = best_language_model(record)
    # Simulated texts say nothing of their labels: a classifier on them would have no vote, and takes long to find out.
    with patch.object(probes, "classifier_votes", lambda _: None):
        errors = wait(analyse_errors(session, variant)) if variant is not None else None
    rungs, labels = rungs_of(best, project), _labels(session, errors) if errors else {}
    again = relabelling(errors, labels) if errors else None
    evidence = Evidence(
        target=world.target,
        margin=world.margin,
        kind=world.kind,
        answers_open=world.kind != "label",
        waivers={waiver.gate: waiver.reason for waiver in project.waivers},
        rungs=rungs,
        best=best.best.rung if best.best else None,
        alpha=0.005,
        n_test=world.n_test,
        additions=len(world.added),
        n_groups=session.split.effective_groups,
        has_examples=True,
        other_models=sum(project.may_serve(name) for name in project.answering if name != world.today),
        barred_models=sum(not project.may_serve(name) for name in project.answering if name != world.today),
        differences=record.differences,
        balance=record.balance,
        limits=project.constraints,
        documents="documents" in world.knows,
        documents_named="documents" in world.knows,
        judge=_judge(record) if world.n_human else None,
        search=_search(session, run) if "retrieval" in world.rungs and "documents" in world.knows else None,
        errors=errors.rows if errors and errors.rated else None,
        suspects=again.to_label if again else None,
        relabel_chances=again.chances if again else (0.0, 0.0),
        relabelled=len(labels),
        label_chance=errors.label_chance if errors else 0.0,
        labels_confirmed=again.wrong if again else None,
        pass_rate=errors.pass_rate if errors else None,
        bills=bills_of(project, record),
        smaller_usd=smallest_usd(project, record),
        economics=project.economics,
    )
    verdict = decide(evidence, lambda: _costs(session, options))
    failures = world.failures(key_of(variant)) if variant else {}
    oracle = world.score(replace(key_of(variant), search="oracle")) if variant else 0.0
    return Decided(
        world=world,
        evidence=evidence,
        verdict=verdict,
        answer=right_answer(world, options, failures, oracle),
        near=is_near(world, options, failures, oracle),
        plan=session.folder.read("comparisons", dict),
    )


def candidates(world: World, rung: str, best: Variant | None) -> list[Variant]:
    """Return what a rung tries."""
    if rung == "classical":
        return [_variant(f"{PREFIX}linear", "classical/linear")]
    if best is None:
        return [_variant(world.today, "baseline/today")]
    if rung == "prompt":
        return [replace(best, name=f"prompt/{name}", system=f"Answer: {name}") for name in PROMPTS]
    if rung == "few_shot":
        return [_with_shots(best, name) for name in SHOTS]
    if rung == "decoding":
        return [
            replace(best, name=f"decoding/{name}", decoding={"temperature": 0.0, "top_p": float(name)})
            for name in DECODING
        ]
    if rung == "retrieval":
        return [replace(best, name="retrieval/search", retrieval=Retrieval(documents="d" * 16, k=5))]
    hosted = world.on_device
    names = [name for name, model in world.models.items() if name != best.model]
    wanted = [name for name in names if (world.models[name].hosted and hosted) == (rung == TEACHER)]
    return [_variant(name, f"model/{name}", best) for name in wanted]


def _variant(model: str, name: str, of: Variant | None = None) -> Variant:
    if of is not None:
        return replace(of, model=model, model_identity={"name": model}, name=name)
    return Variant(
        name=name,
        model=model,
        model_identity={"name": model},
        system="Answer.",
        user="{{ input }}",
        decoding={"temperature": 0.0},
    )


def _with_shots(best: Variant, name: str) -> Variant:
    mode, _, k = name.partition("-")
    shots = Shots(mode="fixed" if mode == "fixed" else "per_case", k=int(k[0]), pool_hash="p")
    output = OutputFormat(kind="choice", choices=("a", "b")) if name.endswith("choice") else best.output
    return replace(best, name=f"few_shot/{name}", shots=shots, output=output)


def _climb(session: SimulationSession) -> tuple[LadderRun, list[Measured]]:
    """Run the rungs in their order, and return what is true of each option, and of the rungs that were not run."""
    world, run = session.world, LadderRun(session)
    options: list[Measured] = []
    for rung in ("classical", "baseline", "prompt", "retrieval", "model", TEACHER, "few_shot", "decoding"):
        possible = rung in world.rungs or (rung == "model" and len(world.models) > 1 and not world.on_device)
        tried = candidates(world, rung, run.best) if possible else []
        if not tried:
            continue
        if rung not in world.rungs:
            options.append(max((_measured(world, rung, one, tried=False) for one in tried), key=lambda one: one.score))
            continue
        rows = [(_on_dev(session, one), one) for one in tried]
        rows.sort(key=lambda row: -row[0])
        winner = rows[0][1]
        run.variants[winner.id] = winner
        record = RungRecord(
            rung=rung,
            status=RungStatus.INCONCLUSIVE,
            variant=winner.id,
            name=winner.name,
            candidates=[
                CandidateResult(
                    variant=one.id, name=one.name, n=world.n_dev, score=score, ci95=(0.0, 1.0),
                    cost_usd=session.usd(one.model) / 1000 * world.n_dev,
                )
                for score, one in rows
            ],
        )  # fmt: skip
        run.current = rung
        run.records[rung] = wait(run._test(record, winner, session.split.dev))
        options.append(_measured(world, rung, winner))
    if run.leader and (classical := run.trials.get("classical")):
        run.records["classical"] = wait(run._against_classical(classical, run.leader))
    return run, options


def _on_dev(session: SimulationSession, variant: Variant) -> float:
    dev = session.split.dev
    num, _, _ = wait(session.score(wait(session.ask(variant, dev)), dev))
    return float(num.mean())


def _measured(world: World, rung: str, variant: Variant, *, tried: bool = True) -> Measured:
    if variant.model.startswith(PREFIX):
        score = world.classical_score
        return Measured(name=rung, score=score, usd_per_1k=0.0, p95_ms=2.0, classical=True)
    model = world.models[variant.model]
    priced = "prices" in world.knows or not model.hosted
    return Measured(
        name=rung,
        score=world.score(key_of(variant)),
        usd_per_1k=(model.usd_per_1k if "prices" in world.knows else 0.0) if priced else None,
        p95_ms=model.p95_ms,
        hosted=model.hosted,
        today=rung == "baseline",
        tried=tried,
    )


def _record(session: SimulationSession, run: LadderRun) -> RunRecord:
    """Return the record of the run; of the differences only those that decide."""
    models = {name: one for name, one in run.trials.items() if name != "classical"}
    best = max(models.values(), key=lambda one: one.score, default=None)
    decisive = [one for one in (best, run.trials.get("classical")) if one is not None]
    return RunRecord(
        task="simulation",
        kind=session.world.kind,
        primary="exact",
        target=session.world.target,
        margin=session.world.margin,
        quick=False,
        n_dev=session.world.n_dev,
        n_test=session.world.n_test,
        explored=True,
        alpha=0.005,
        comparisons=ComparisonCount(0, 0, options_of(read_comparisons(session.folder))),
        cost_usd=0.0,
        rungs=list(run.records.values()),
        best=run._best(),
        split=SplitRecord(origin="examples", reasons=[], counts={}),
        differences=differences_on_test(session, decisive),
        balance=run.balance,
        variants=run.variants,
        provenance=PROVENANCE,
    )


def _judge(record: RunRecord) -> JudgeEvidence:
    bare = [row.rung for row in record.rungs if row.reason_code == "judge"]
    return JudgeEvidence(valid=not bare, detail="validated", fix="" if not bare else "Label.")


def _search(session: SimulationSession, run: LadderRun) -> SearchEvidence | None:
    """Return how well documents were found, on dev, as the rung counts it."""
    variant = run.variants[str(run.records["retrieval"].variant)]
    dev, answers, world = session.split.dev, session.answers, session.world
    needs = answers.cause[: world.n_dev] == 5
    oracle = replace(variant, retrieval=replace(variant.retrieval, mode="oracle")) if variant.retrieval else variant
    num, den, _ = wait(session.score(wait(session.ask(variant, dev)), dev))
    better, _, _ = wait(session.score(wait(session.ask(oracle, dev)), dev))
    found = np.random.default_rng([world.seed, 77]).random(world.n_dev) < world.search
    failed = num < 1
    lost = int((failed & needs & ~found).sum())
    gain = compare(num, den, better, den, session.groups(dev))
    return SearchEvidence(
        failed=int(failed.sum()),
        not_retrieved=lost,
        lower=clopper_pearson(lost, int(failed.sum()))[0] if failed.any() else 0.0,
        oracle=float(better.mean()),
        oracle_upper=float(num.mean()) + gain.ci[1],
    )


def _labels(session: SimulationSession, errors: ErrorAnalysis) -> dict[str, str]:
    """Return what people say who label failures again, until it settles the question, and are right in 95% of them."""
    answers, labels, most = session.answers, dict[str, str](), session.world.relabelled
    while len(labels) < most and relabelling(errors, labels).wrong is None:
        left = [name for name in drawn(errors, labels) if name not in labels]
        if not left:
            break
        for name in left[: min(RELABELLED, most - len(labels))]:
            place = answers.place[name]
            right = np.random.default_rng([session.world.seed, place]).random() < PEOPLE
            labels[name] = answers.labels[(answers.label if right else answers.expected)[place]]
    return labels


def _costs(session: SimulationSession, options: Sequence[Measured]) -> Mapping[str, Cost]:
    calls = session.world.n_dev * 3 + session.world.n_test
    return {one.name: Cost(calls=calls, usd=calls * (one.usd_per_1k or 0.0) / 1000) for one in options if not one.tried}
