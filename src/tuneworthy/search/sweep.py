"""A sweep of sampling settings: Optuna proposes, racing stops weak settings, unsearched cases decide.

Cases are dealt to two halves. On one, batches of proposals race against the best so far; on the other, the winner is
compared with the current setting, once, paired: however many settings were tried, that comparison is one. So a sweep
over parameters that do nothing adopts something in at most alpha / 2 of all sweeps.

Everything is decided by answers that are stored, and proposals come from a seed: a sweep that was cut short and runs
again proposes the same, makes only the missing calls, and ends the same.

Source: docs/evidence/facts.md#test-scores (the best of many); Optuna's TPE (Bergstra et al. 2011).
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tuneworthy.cases.stratified import numbered
from tuneworthy.decoding.engines import NEUTRAL, engine_of
from tuneworthy.decoding.presets import engine_for
from tuneworthy.errors import Undecided, UserError
from tuneworthy.providers.capabilities import Capabilities, takes_temperature
from tuneworthy.search.racing import DevScores, Entry, Measure, race, schedule
from tuneworthy.stats.paired import PairedResult, compare
from tuneworthy.text import count
from tuneworthy.types import Case, Cases, JsonMapping, JsonObject, Variant, frozen, grouped

ALPHA = 0.025
WIDTH = 4
# Cases per half, at least.
FEWEST = 20
ADD_CASES = "Append labelled cases to the file of [cases]. `tuneworthy cases sample` draws cases from logs."
# Random proposals before Optuna learns from results.
STARTUP = 8

Make = Callable[[JsonMapping], Variant]
# Takes an Optuna trial, returns a setting.
Suggest = Callable[[Any], JsonObject]


@frozen
class SettingTrial:
    """One setting.

    Attributes:
        setting: Its parameters as they are sent.
        variant: Id.
        n: Cases that it saw.
        objective: Mean on these.
    """

    setting: JsonMapping
    variant: str
    n: int
    objective: float


@frozen
class Sweep:
    """Result of a sweep.

    Attributes:
        tried: Every setting, best first; their number is part of the result.
        winner: The best of the search; the current setting if nothing was better.
        adopted: Whether it is better on the unsearched cases.
        paired: That comparison; None if the current setting stayed the best of the search.
        calls: Answers that were wanted.
        budget: Most that were allowed.
        n_search: Cases of the half that is searched on.
        n_confirm: Cases of the half that confirms.
        stopped: Why it ended.
    """

    tried: Sequence[SettingTrial]
    winner: Variant
    adopted: bool
    paired: PairedResult | None
    calls: int
    budget: int
    n_search: int
    n_confirm: int
    stopped: str

    @property
    def setting(self) -> JsonMapping:
        return self.winner.decoding


@frozen
class SweepPlan:
    """How much may be asked.

    Attributes:
        calls: Answers, at most.
        repeats: Answers to each case.
        seed: Of proposals and halves.
        width: Proposals that race together against the best so far.
        first: Settings that are tried before Optuna proposes any.
    """

    calls: int
    repeats: int = 1
    width: int = WIDTH
    seed: int = 0
    first: Sequence[JsonMapping] = ()


def halves(cases: Cases, seed: int) -> tuple[list[Case], list[Case]]:
    """Deal cases to a half to search on and one to confirm on; a group stays together.

    Raises:
        Undecided: A half would have fewer than 20 cases.
    """
    order = list(grouped((case.source, case) for case in sorted(cases, key=lambda one: one.id)).values())
    random.Random(seed).shuffle(order)
    search, confirm = list[Case](), list[Case]()
    for group in order:
        (search if len(search) <= len(confirm) else confirm).extend(group)
    if min(len(search), len(confirm)) < FEWEST:
        raise Undecided(
            f"A sweep needs at least {2 * FEWEST} dev cases, but the project has {len(cases)}.",
            hint=ADD_CASES,
        )
    return search, confirm


def fewest_calls(search: int, confirm: int, plan: SweepPlan) -> int:
    return plan.repeats * (_race_cost(plan.width, search) + 2 * confirm)


async def sweep(
    incumbent: Variant, make: Make, suggest: Suggest, cases: Cases, *, measure: Measure, plan: SweepPlan
) -> Sweep:
    """Look for a better setting than that of `incumbent`.

    Args:
        incumbent: The current setting.
        make: Turns a setting into a variant.
        suggest: Draws a setting from an Optuna trial.
        cases: Of dev.
        measure: Answers and grades; `num` and `den` are of the objective.
        plan: How much may be asked.

    Raises:
        UserError: Optuna is not installed, or the calls do not suffice for one batch.
        Undecided: Too few cases.
    """
    search, confirm = halves(cases, plan.seed)
    least = fewest_calls(len(search), len(confirm), plan)
    if plan.calls < least:
        raise UserError(
            f"A sweep over {len(cases)} dev cases takes at least {least} calls, but the limit is {plan.calls}.",
            hint=f"Pass `--calls {least}` or more.",
        )
    seeking = _Search(incumbent, make, suggest, plan)
    confirming = 2 * len(confirm) * plan.repeats
    batch_cost = _race_cost(plan.width, len(search)) * plan.repeats
    stopped = "not enough calls left for another batch and the final comparison"
    while seeking.calls() + batch_cost + confirming <= plan.calls:
        batch = seeking.next_batch()
        if not batch:
            stopped = "every setting has been tried"
            break
        await seeking.race(batch, search, measure)
    winner = seeking.leader
    paired = (
        _compared(await measure(incumbent, confirm), await measure(winner, confirm), confirm, plan.seed)
        if winner.id != incumbent.id
        else None
    )
    return Sweep(
        tried=seeking.tried(),
        winner=winner,
        adopted=paired is not None and paired.better,
        paired=paired,
        calls=seeking.calls() + (confirming if paired else 0),
        budget=plan.calls,
        n_search=len(search),
        n_confirm=len(confirm),
        stopped=stopped,
    )


class _Search:
    def __init__(self, incumbent: Variant, make: Make, suggest: Suggest, plan: SweepPlan) -> None:
        self.make, self.suggest, self.plan = make, suggest, plan
        self.leader = incumbent
        self.proposed: dict[str, Variant] = {}
        self.entries: dict[str, Entry] = {}
        self.study = open_study(plan.seed)
        self._queue = list(plan.first)
        self._trials: JsonObject = {}
        self._incumbent = incumbent

    def next_batch(self) -> list[Variant]:
        """Return new variants: those that were named first, then Optuna's; [] if it only repeats itself."""
        batch: dict[str, Variant] = {}
        for _ in range(12 * self.plan.width):
            if len(batch) == self.plan.width:
                break
            if self._queue:
                setting, trial = dict(self._queue.pop(0)), None
            else:
                trial = self.study.ask()
                setting = self.suggest(trial)
            variant = self.make(setting)
            before = self.entries.get(variant.id)
            if before is not None or variant.id in batch or variant.id == self._incumbent.id:
                self._tell(trial, before.score if before else None)  # nothing is asked again
                continue
            batch[variant.id] = variant
            self.proposed[variant.id] = variant
            if trial is not None:
                self._trials[variant.id] = trial
        return list(batch.values())

    async def race(self, batch: Sequence[Variant], cases: Cases, measure: Measure) -> None:
        found = await race([self.leader, *batch], cases, measure)
        for entry in found.entries:
            before = self.entries.get(entry.variant.id)
            if before is None or entry.n >= before.n:
                self.entries[entry.variant.id] = entry
        for variant in batch:
            self._tell(self._trials.pop(variant.id, None), self.entries[variant.id].score)
        self.leader = found.winner

    def _tell(self, trial: Any, value: float | None) -> None:
        """Tell Optuna how a setting did; one that is not known yet counts as failed, which it ignores."""
        if trial is None:
            return
        from optuna.trial import TrialState

        self.study.tell(trial, value, state=TrialState.FAIL if value is None else None)

    def calls(self) -> int:
        return self.plan.repeats * sum(entry.n for entry in self.entries.values())

    def tried(self) -> list[SettingTrial]:
        return sorted(
            (
                SettingTrial(setting=self.proposed[name].decoding, variant=name, n=entry.n, objective=entry.score)
                for name, entry in self.entries.items()
                if name in self.proposed
            ),
            key=lambda trial: (-trial.n, -trial.objective),
        )


def open_study(seed: int) -> Any:
    """Return an Optuna study in memory: its results are replayed from stored answers.

    Raises:
        UserError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("Optuna is not installed.", hint='Run `pip install "tuneworthy[sweep]"`.') from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
    )


def _race_cost(width: int, n: int) -> int:
    """Return the answers, one to a case, that a race of so many new variants and the leader takes at most."""
    rounds = schedule(width + 1, n)
    heads = [0, *[end for _, end in rounds]]
    return sum(alive * (end - start) for (alive, end), start in zip(rounds, heads, strict=False))


def _compared(a: DevScores, b: DevScores, cases: Cases, seed: int) -> PairedResult:
    both = ~(np.isnan(a.num) | np.isnan(b.num))
    if both.sum() < FEWEST // 2:
        raise Undecided(
            f"Only {count(int(both.sum()), 'case has', 'cases have')} a score for both settings, but at least "
            f"{FEWEST // 2} are needed.",
            hint=ADD_CASES,
        )
    groups = np.array(numbered(case.source for case in cases))[both]
    return compare(a.num[both], a.den[both], b.num[both], b.den[both], groups, alpha=ALPHA, seed=seed)


# (least, most, step).
TEMPERATURE, TOP_P, MIN_P, PENALTY = (0.1, 1.5, 0.1), (0.5, 0.95, 0.05), (0.02, 0.3, 0.02), (0.0, 0.6, 0.2)


def space(provider: str, capabilities: Capabilities, *, long_answers: bool) -> Suggest:
    """Return a function that draws a setting.

    One cut at a time is drawn (no cut, top_p or min_p): two together hide one another. Defaults of the
    engine (or of the model's generation_config.json) are set to neutral.

    Args:
        provider: As in the project file.
        capabilities: Parameters that the model accepts.
        long_answers: Whether answers are long enough to repeat themselves: then a frequency penalty is drawn too.
    """
    takes = list(capabilities.parameters)
    if not takes_temperature(capabilities):
        return lambda trial: {"effort": trial.suggest_categorical("effort", list(capabilities.efforts))}
    cuts = [
        "none",
        *[
            name
            for name in ("top_p", "min_p")
            if name in takes and "temperature" not in capabilities.parameters[name].excludes
        ],
    ]
    engine = engine_for(provider)
    unset = engine_of(engine).may_differ(NEUTRAL) if engine else {}
    off = {name: value for name, value in unset.items() if name in takes}
    most = min(TEMPERATURE[1], capabilities.parameters["temperature"].high or TEMPERATURE[1])

    def suggest(trial: Any) -> JsonObject:
        if trial.suggest_categorical("greedy", [True, False]):
            return {"temperature": 0.0}
        setting = {**off, "temperature": _step(trial, "temperature", (TEMPERATURE[0], most, TEMPERATURE[2]))}
        cut = trial.suggest_categorical("cut", cuts)
        if cut != "none":
            setting[cut] = _step(trial, cut, TOP_P if cut == "top_p" else MIN_P)
        if long_answers and "frequency_penalty" in takes and (value := _step(trial, "frequency_penalty", PENALTY)):
            setting["frequency_penalty"] = value
        return setting

    return suggest


def _step(trial: Any, name: str, span: tuple[float, float, float]) -> float:
    return round(float(trial.suggest_float(name, span[0], span[1], step=span[2])), 3)
