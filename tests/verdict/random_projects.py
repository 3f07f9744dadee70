"""Random projects with a known truth, and a careful person who does what the next step says, on the pure core.

A project is a state: what is true, what was measured, and what the project file says. `evidence` shows the verdict what
that person would see; `act` does a step and returns the state afterwards, or None if nobody could do it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from tests.verdict.planted import differences, failures, project, rung

from tuneworthy.config.ladder import Constraints, Economics
from tuneworthy.money.economics import SET_TRAFFIC, SPREADING
from tuneworthy.money.serving import Bill
from tuneworthy.stats.intervals import wilson
from tuneworthy.stats.ratios import LEAST_GROUPS
from tuneworthy.verdict import messages
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.base import LabelCeiling, NextAction, Outcome
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import BASE, RIGHTS, ROWS, Evidence, JudgeEvidence, RungEvidence, SearchEvidence
from tuneworthy.verdict.label_audit import chance_to_show

NAMES: Final = {
    "classical": "classical/linear", "baseline": "baseline/today", "prompt": "prompt/xml_contract",
    "retrieval": "retrieval/hybrid-5", "model": "model/other", "few_shot": "few_shot/fixed-4",
    "decoding": "decoding/greedy",
}  # fmt: skip
KINDS: Final = (
    "plain", "no_documents", "missing_package", "judge_fooled", "judge_unvalidated", "label_noise", "few_cases",
    "few_groups", "copies", "no_traffic", "no_price", "latency_straddles", "latency_few_calls", "no_examples",
    "no_other_model", "no_target", "refused_key", "failed_baseline", "dev_differs", "search_fails", "copied_answers",
    "stale", "cheaper_unresolved", "no_rights", "no_base", "price_limit", "forwards", "few_shots", "barred",
    "left_out",
)  # fmt: skip
MOST_STEPS: Final = 12
# What a step that is not a command may begin with.
IMPERATIVE: Final = (
    "Run", "Set", "Add", "Append", "Change", "Compare", "Fix", "Remove", "Relabel", "Try", "Analyse", "Apply", "Keep",
    "Narrow", "Decide", "Deploy", "In [[graders]], put", "Correct", "Measure", "Rewrite", "Use", "Serve",
    "Audit", "Write", "Find", "Check", "List", "Raise",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class State:
    """A project.

    Attributes:
        kind: Its planted difficulty.
        scores: True score of each rung.
        usd: True price of a thousand answers of each rung.
        p95: True p95 latency of each rung, ms.
        requests: True traffic a month.
        labels: True share of the failures that are errors of the label.
        does: What is so, and what was done about it.
    """

    seed: int
    kind: str
    target: float
    margin: float
    scores: dict[str, float]
    usd: dict[str, float]
    p95: dict[str, float]
    requests: float
    labels: float
    n: int
    groups: float | None
    run: frozenset[str]
    relabelled: int = 0
    additions: int = 0
    p95_limit: float | None = None
    does: frozenset[str] = field(default_factory=frozenset)

    def has(self, *names: str) -> bool:
        return self.does.issuperset(names)

    def but(self, *add: str, drop: tuple[str, ...] = (), **more: Any) -> State:
        return replace(self, does=self.does.union(add) - {*drop}, **more)

    @property
    def ladder(self) -> list[str]:
        """Rungs that a run would compare, or try to."""
        absent = {"retrieval"} if not self.has("documents") else set()
        absent |= set() if self.has("other_model") else {"model"}
        absent |= set() if self.has("examples") else {"classical", "few_shot"}
        return [name for name in NAMES if name not in absent]


def draw(seed: int) -> State:
    """Draw a project; its kind follows from the seed."""
    rng, kind = random.Random(seed), KINDS[seed % len(KINDS)]
    best = rng.uniform(0.5, 0.97)
    target = round(min(0.97, max(0.5, best + rng.uniform(-0.12, 0.12))), 2)
    scores = {name: max(0.1, best - rng.uniform(0.0, 0.25)) for name in NAMES}
    scores[rng.choice(list(NAMES))] = best
    scores["classical"] = min(scores["classical"], 0.9)
    dear = rng.choice([0.0, 0.5, 5.0])
    usd = {name: 0.0 if name == "classical" else dear for name in NAMES}
    usd["model"] = rng.choice([0.1 * dear, dear, 4 * dear])
    if kind == "cheaper_unresolved":
        usd = {name: 0.0 if name == "classical" else 1.0 for name in NAMES} | {"model": 0.1}
        scores |= dict.fromkeys(NAMES, target - 0.2) | {"baseline": target + 0.04, "model": target - 0.012}
    if kind == "copied_answers":
        scores["classical"] = target
    does = {"documents", "examples", "other_model", "prices", "package", "errors", "target", "key", "fresh"}
    does -= {
        "no_documents": {"documents"}, "missing_package": {"package"}, "no_examples": {"examples"},
        "no_other_model": {"other_model"}, "no_target": {"target"}, "no_price": {"prices"}, "refused_key": {"key"},
        "stale": {"fresh"},
    }.get(kind, set())  # fmt: skip
    does |= {"traffic"} if kind == "cheaper_unresolved" or (kind != "no_traffic" and rng.random() < 0.6) else set()
    does |= {"facts"} if kind in {"no_documents", "missing_package", "search_fails"} else set()
    does -= {"documents"} if kind not in {"missing_package", "search_fails"} else set()
    does -= {"errors"} if rng.random() < 0.3 else set()
    does |= {name for name in ("rows", "base") if rng.random() < 0.8}
    does -= {"no_rights": {"rows"}, "no_base": {"base"}, "no_examples": {"rows"}}.get(kind, set())
    n = 30 if kind == "few_cases" else rng.choice([60, 120, 200, 400, 800])
    state = State(
        seed=seed, kind=kind, target=target, margin=rng.choice([0.03, 0.05]), scores=scores, usd=usd,
        p95={name: rng.choice([200.0, 600.0, 1500.0]) for name in NAMES},
        requests=float(rng.choice([1_000, 100_000, 3_000_000])), labels=rng.choice([0.1, 0.8]), n=n,
        groups=12.0 if kind == "few_groups" else None, run=frozenset(), does=frozenset(does),
        p95_limit=800.0 if kind.startswith("latency") else None,
    )  # fmt: skip
    if kind == "left_out":
        return replace(state, run=frozenset(set(state.ladder) - {"few_shot", "model"}))
    skipped = {rng.choice(["prompt", "few_shot", "decoding", "model"])} if rng.random() < 0.3 else set()
    return replace(state, run=frozenset(set(state.ladder) - skipped))


def _measured(state: State, name: str) -> RungEvidence:
    kind, price = state.kind, state.usd[name]
    if name == "retrieval" and not state.has("package"):
        reason = 'The search index needs the package LanceDB. Run `pip install "tuneworthy[rag]"`.'
        return rung(name, "", None, status="skipped", reason=reason, reason_code="no_lancedb")
    if name == "model" and not state.has("key"):
        return rung(name, "", None, status="failed", reason="other is not available: the key is refused")
    if name == "baseline" and kind == "failed_baseline" and not state.has("repaired"):
        return rung(name, "", None, status="failed", reason="no answer could be scored")
    variant = NAMES[name]
    if name == "classical" and kind == "copied_answers" and not state.has("grader"):
        variant = "classical/nearest"
    if name == "few_shot" and kind == "few_shots" and not state.has("shots"):
        variant = "few_shot/fixed-2"
    right = np.random.default_rng([state.seed, list(NAMES).index(name)]).random(200_000) < state.scores[name]
    score, effective = float(right[: state.n].mean()), float(min(state.n, state.groups or state.n))
    low, high = state.p95[name] * 0.9, state.p95[name] * 1.1
    if kind == "latency_straddles" and name in {"baseline", "prompt"} and not state.has("limit"):
        low, high = 700.0, 900.0
    few = kind == "latency_few_calls" and state.n < 130
    return rung(
        name, variant, score, status="reference" if name in {"baseline", "classical"} else "no_gain",
        ci95=wilson(score * effective, effective), n=state.n, n_effective=effective,
        usd_per_1k=price if state.has("prices") or name == "classical" or not price else None,
        latency_p95_ms=(low + high) / 2, latency_p95_ci=(low, None if few else high), model=name,
        may_forward=kind == "forwards" and not state.has("forwards") and name != "classical",
        hosted=kind == "barred" and name == "model",
    )  # fmt: skip


def kind_lists(state: State) -> bool:
    """Whether the project file lists every rung."""
    return state.kind != "left_out" or state.has("listed")


def evidence(state: State) -> Evidence:
    """What the verdict sees of a project."""
    rungs = [_measured(state, name) for name in NAMES if name in state.run]
    tested = [one for one in rungs if one.score is not None]
    economics: dict[str, Any] = {"requests_per_month": state.requests} if state.has("traffic") else {}
    if state.has("costs"):
        economics |= {name: getattr(Economics(), name) for name in SPREADING} | {"serve_capacity_per_month": 1e6}
    k = round(60 * state.labels)
    labelled, wrong = min(state.relabelled, 60), round(min(state.relabelled, 60) * state.labels)
    share = "label_or_grader" if state.kind == "label_noise" else "unexplained"
    errors = (failures(share, 55), failures("format", 5)) if state.has("errors") else None
    if state.kind == "search_fails" or state.has("facts") or state.has("named"):
        errors = (failures("knowledge", 50), failures("unexplained", 10)) if errors else None
    search = None
    if "retrieval" in state.run and state.has("package"):
        repaired = state.kind != "search_fails" or state.has("searched")
        search = SearchEvidence(
            failed=50, not_retrieved=5 if repaired else 45, lower=0.0 if repaired else 0.7, oracle=0.9,
            oracle_upper=min(1.0, state.scores["retrieval"] + 0.2),
        )  # fmt: skip
    judge = None
    if state.kind in {"judge_fooled", "judge_unvalidated"}:
        fooled = state.kind == "judge_fooled" and not state.has("other_judge")
        fix = messages.OTHER_JUDGE if fooled else messages.LABEL_JUDGE
        valid = state.has("rated") and not fooled
        judge = JudgeEvidence(valid=valid, detail="Of the judge.", fix="" if valid else fix)
    lacking = {} if state.has("rows") else {ROWS: messages.IMPORT_ROWS}
    lacking |= {RIGHTS: messages.OTHER_TEACHER} if state.kind == "no_rights" and not state.has("rows") else {}
    lacking |= {} if state.has("base") else {BASE: "Set [train] base to a model whose weights are on this machine."}
    waivers = {name.removeprefix("waived "): "as the team says" for name in state.does if name.startswith("waived ")}
    limits: dict[str, Any] = {"p95_ms": state.p95_limit} if state.p95_limit else {}
    limits |= {"on_device": True} if state.kind in {"forwards", "barred"} else {}
    limits |= {"usd_per_1k": 2.0} if state.kind == "price_limit" else {}
    open_answers = state.has("facts") or state.kind == "copied_answers"
    found = project(
        *rungs, target=state.target if state.has("target") else None, margin=state.margin, n_test=state.n,
        additions=state.additions,
        n_groups=state.groups, kind="free_text" if open_answers else "label", answers_open=open_answers,
        documents=state.has("documents"), documents_named=state.has("documents"), has_examples=state.has("examples"),
        left_out=[] if kind_lists(state) else sorted({"few_shot", "model"} - state.run),
        other_models=int(state.has("other_model")), errors=errors, search=search, judge=judge, lacking=lacking,
        waivers=waivers, limits=Constraints(**limits), economics=Economics(**economics),
        stale=() if state.has("fresh") else ("The prompt has changed",),
        overlaps={"copies of cases in examples": 3} if state.kind == "copies" and not state.has("cleaned") else {},
        unpriced=[] if state.has("prices") else ["other"],
        bills={one.rung: Bill(name=one.name, usd_per_1k=one.usd_per_1k) for one in tested},
        smaller_usd=min((one.usd_per_1k for one in tested if one.usd_per_1k is not None), default=None),
        differences=differences(rungs, state.margin),
    )  # fmt: skip
    if state.kind == "dev_differs" and "baseline" in found.rungs:
        found = replace(found, rungs={**found.rungs, "baseline": _unlike(state, found.rungs["baseline"])})
    ceiling = None
    if state.has("audited"):
        decides = state.labels > 0.5 and not state.has("corrected")
        ceiling = LabelCeiling(
            share=0.1, ci95=(0.06, 0.15), ceiling=0.9, n=150, decides=decides, uncorrected=not state.has("corrected")
        )
    found = replace(found, label_ceiling=ceiling)
    if state.kind != "label_noise":
        return found
    confirmed = None if labelled < 15 else state.labels > 0.5 if k in range(20, 60) or labelled > 30 else None
    return replace(
        found, suspects=max(0, 15 if labelled < 15 else 60 - labelled), relabelled=labelled,
        labels_confirmed=confirmed, label_chance=0.5, relabel_chances=chance_to_show(wrong, labelled, 15),
    )  # fmt: skip


def _unlike(state: State, today: RungEvidence) -> RungEvidence:
    from tuneworthy.ladder.record import CandidateResult

    score = (
        0.05
        if not (state.has("labelled twice") or state.has("corrected")) or state.labels < 0.5
        else float(today.score or 0.0)
    )
    row = CandidateResult(variant="v", name=today.name, n=200, score=score, ci95=wilson(score * 200, 200))
    return replace(today, candidates=(row,))


Change = Callable[[State, "re.Match[str]"], State | None]


def _ran(state: State, match: re.Match[str]) -> State:
    rungs = set(re.findall(r"--rung (\w+)", match[0])) or set(state.ladder)
    rungs -= set() if kind_lists(state) else {"few_shot", "model"}
    return state.but("fresh", run=state.run | (rungs & {*state.ladder}) | {"baseline"})


def _added(state: State, match: re.Match[str]) -> State:
    groups = None if state.groups is None else state.groups + LEAST_GROUPS
    return state.but(n=state.n + 100, groups=groups, additions=state.additions + 1)


COMMANDS: Final[dict[str, Change]] = {
    r"pip install \S+": lambda state, _: state.but("package"),
    r"tuneworthy run(?: --rung \w+)*": _ran,
    r"tuneworthy cases add": _added,
    r"tuneworthy label judge": lambda state, _: state.but("rated"),
    r"tuneworthy label suspects --apply": lambda state, _: state.but(labels=0.0, drop=("errors",)),
    r"tuneworthy label suspects": lambda state, _: state.but(relabelled=state.relabelled + 15),
    r"tuneworthy label audit --apply": lambda state, _: state.but("audited", "corrected"),
    r"tuneworthy label audit": lambda state, _: state.but("audited"),
    r"tuneworthy label cases --apply --overwrite": lambda state, _: state,
    r"tuneworthy label cases --all": lambda state, _: state.but("labelled twice"),
    r"tuneworthy decide --probe": lambda state, _: state.but("errors"),
}


def _waived(gate: str) -> Change:
    return lambda state, _: state.but(f"waived {gate}")


def _documents(state: State, match: re.Match[str]) -> State:
    return state.but("documents") if state.seed % 2 else state.but("waived retrieval")


def _other_model(state: State, match: re.Match[str]) -> State:
    return state.but("other_model", run=state.run | {"model"}) if state.seed % 2 else state.but("waived other_models")


def _smaller(state: State) -> State:
    usd = state.usd | {"model": 0.05 * state.usd["baseline"]}
    return state.but("other_model", run=state.run | {"model"}, usd=usd, p95=state.p95 | {"model": 200.0})


def _lower(state: State, match: re.Match[str]) -> State | None:
    best = max((one.score or 0.0 for one in evidence(state).rungs.values() if one.score is not None), default=0.0)
    return replace(state, target=round(best - state.margin, 2))


def _more(state: State, match: re.Match[str]) -> State:
    more = int(match[1].replace(",", ""))
    groups = None if state.groups is None else state.groups + more
    did = ["rated"] if "judge" in state.kind else []
    return state.but(*did, n=state.n + more, groups=groups, additions=state.additions + 1)


def _cause(state: State, match: re.Match[str]) -> State:
    """Repair what a failed or skipped rung needs; what cannot be repaired is waived."""
    if not state.has("key"):
        return state.but("key")
    if state.kind == "failed_baseline" and not state.has("repaired"):
        return state.but("repaired")
    gate = re.search(r"list `(\w+)` in \[\[waivers\]\]", match.string)
    return state.but(f"waived {gate[1]}") if gate else state


# What a sentence asks of a person who edits the project.
EDITS: Final[dict[str, Change]] = {
    re.escape(SET_TRAFFIC): lambda state, _: state.but("traffic"),
    r"Set the price of the model behind|Set `input_usd_per_mtok`": lambda state, _: state.but("prices"),
    re.escape(messages.SET_COSTS): lambda state, _: state.but("costs"),
    r"Add the documents that contain": _documents,
    r"Add a model to \[models\]": _other_model,
    r"Add a smaller (?:or faster )?model": lambda state, _: _smaller(state),
    r"Add the ids of the documents": lambda state, _: state.but("named"),
    r"Change \[retrieval\]": lambda state, _: state.but("searched"),
    r"put a grader first": lambda state, _: state.but("grader") if state.seed % 2 else state.but("waived classical"),
    r"Set another `model` or `rubric`": lambda state, _: state.but("other_judge"),
    r"Set `constraints.p95_ms`": lambda state, _: state.but("limit", p95_limit=950.0),
    r"Set `task.target`": lambda state, _: state.but("target"),
    r"Set `task.target` to (\d+)%": lambda state, match: replace(state, target=int(match[1]) / 100),
    r"Decide whether another target": _lower,
    r"Add (\d[\d,]*) test cases": _more,
    r"Remove the copied": lambda state, _: state.but("cleaned"),
    r"Set `k` in \[few_shot\]": lambda state, _: state.but("shots"),
    r"Set `models.\S+.forwards`": lambda state, _: state.but("forwards"),
    r"Add `\w+` to `ladder.rungs`": lambda state, _: state.but("listed"),
    r"Fix the cause": _cause,
    r"^List `dev` in": _waived("dev"),
}


def act(state: State, action: NextAction) -> State | None:
    """Do a step, or what it names instead if nothing comes of it; None if it names nothing that a person could do."""
    then, gate = _done(state, action), re.search(r"[Ll]ist `(\w+)` in \[\[waivers\]\]", str(action))
    return state.but(f"waived {gate[1]}") if then == state and gate else then


def _done(state: State, action: NextAction) -> State | None:
    did, now, text = False, state, str(action)
    adds = re.search(r"Add \d[\d,]* test cases", text)
    for pattern, change in EDITS.items():
        if match := re.search(pattern, text):
            then = change(now, match)
            now, did = (now, did) if then is None else (then, True)
    for command in [*re.findall(r"`([^`]+)`", text), action.command]:
        for part in filter(None, command.split(" && ")):
            if adds and part == "tuneworthy cases add":
                continue
            for pattern, change in COMMANDS.items():
                if match := re.fullmatch(pattern, part):
                    then = change(now, match)
                    now, did = (now, did) if then is None else (then, True)
    return now if did else None


@dataclass(frozen=True, kw_only=True)
class Followed:
    """What came of following the steps of a project.

    Attributes:
        settled: Whether the answer is yes or no.
        steps: As printed.
        faults: A loop, a dead end, or a step that cannot be done, in words.
    """

    kind: str
    seed: int
    settled: bool
    steps: list[str]
    faults: list[str]
    verdict: Verdict


def follow(seed: int) -> Followed:
    """Follow the printed steps of a project until its outcome is known."""
    state, tried, steps, faults = draw(seed), frozenset[str](), list[str](), list[str]()
    last: tuple[str, State] | None = None
    while True:
        verdict = decide(evidence(state), tried=tried)
        action = verdict.next_action
        text = str(action)
        if not text.startswith(IMPERATIVE):
            faults.append(f"no imperative: {text}")
        if last is not None and last == (text, state):
            faults.append(f"loop: {text}")
        if verdict.outcome is not Outcome.UNDECIDED or faults or len(steps) == MOST_STEPS:
            if verdict.outcome is Outcome.FINE_TUNE and action.command == "tuneworthy data build":
                faults += [] if state.has("rows") else [f"cannot run: {text}"]
            settled = verdict.outcome is not Outcome.UNDECIDED
            return Followed(
                kind=state.kind, seed=seed, settled=settled, steps=steps, faults=faults, verdict=verdict
            )  # fmt: skip
        then = act(state, action)
        if then is None:
            faults.append(f"dead end: {text}")
            then = state
        again = then == state and action.command.startswith("tuneworthy run")
        tried = tried | {action.command} if again else frozenset()
        steps.append(text)
        last, state = (text, state), then
