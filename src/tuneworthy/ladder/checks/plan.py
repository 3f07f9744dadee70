"""Checks of the plan: the budget, the estimate of a run, the power, waivers."""

from contextlib import closing
from math import inf

from tuneworthy.config.ladder import NEVER_WAIVED
from tuneworthy.ladder.checks import check
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.estimate import SPREAD
from tuneworthy.providers.prices import price_for
from tuneworthy.retrieval.library import paid_servers
from tuneworthy.rules import Finding, Findings, Sentences
from tuneworthy.stats.power import MOST_CASES
from tuneworthy.store import ResponseStore
from tuneworthy.text import count, plural


@check(
    severity="warning",
    fix="Add the lowest score that is good enough to [task] in tuneworthy.toml, such as `target = 0.85`.",
)
def target_missing(facts: Facts) -> str:
    """The project sets no `task.target`: `decide` then shows the options and their prices, and gives no outcome.

    A target is of right answers, so it is not missed where scores are agreement.
    """
    missing = facts.project.task.target is None and not (facts.data and facts.data.dataset.agreement)
    return "task.target is not set, so the verdict of `decide` stays undecided." if missing else ""


@check(
    severity="warning",
    fix="Add your traffic to [economics] in tuneworthy.toml, such as `requests_per_month = 200000`.",
)
def traffic_missing(facts: Facts) -> str:
    """The project sets no `economics.requests_per_month`: there is no monthly bill, and no month in which training has
    paid back."""
    missing = facts.project.economics.requests_per_month is None
    return "economics.requests_per_month is not set, so monthly costs stay undecided." if missing else ""


@check(severity="warning", fix="Set ladder.budget_usd, or pass --max-usd to `tuneworthy run`.")
def budget_missing(facts: Facts) -> Sentences:
    """A model costs money, and `ladder.budget_usd` sets no limit: `run` asks, or needs `--max-usd` or `--yes`."""
    prices = {name: price_for(model) for name, model in facts.project.models.items() if not facts.excluded(name)}
    paid = [name for name, price in prices.items() if price is not None and not price.free]
    paid += paid_servers(facts.project)
    if paid and facts.project.ladder.budget_usd is None:
        yield f"ladder.budget_usd is not set, but these services are billed: {', '.join(paid)}."


@check(severity="warning", fix="Raise the budget, or run fewer rungs (ladder.rungs).")
def budget_short(facts: Facts) -> Sentences:
    """The budget does not cover the expected cost of a run: it would stop on the way (and can be resumed)."""
    budget = facts.project.ladder.budget_usd
    if budget is None or facts.estimate is None or SPREAD * facts.estimate.usd <= budget:
        return
    usd = facts.estimate.usd
    yield (
        f"ladder.budget_usd is ${budget:.2f}, but the estimated cost of a run is ${usd:.2f}, and it can be up to "
        f"${SPREAD * usd:.2f}."
    )


@check("power", severity="warning")
def power_of_test(facts: Facts) -> Findings:
    """A gain of `task.margin` will mostly stay unresolved at the size of the test set and the alpha per comparison.

    Assumed: the better variant gets 5% of the cases wrong that the other gets right; and 10% of the cases differ where
    two variants are equally good. The JSON form has the numbers.
    """
    power = facts.power
    if power is not None and power.difference > power.margin:
        needed = f"about {power.n_for_margin:,}" if power.n_for_margin else f"more than {MOST_CASES:,}"
        yield Finding(
            message=f"A gain as small as the margin ({100 * power.margin:.1f} points) can remain undetected.",
            fix=(
                f"Detecting it takes {needed} test cases. Add cases, or set task.margin to the smallest difference "
                "that matters."
            ),
        )


def plan_lines(facts: Facts) -> list[str]:
    """Return the options that a run compares, its data, its cost without stored answers, and its power."""
    if facts.data is None or facts.estimate is None or facts.power is None:
        return []
    project, split, power, stored = facts.project, facts.data.split, facts.power, 0
    others = [f"`{name}`" for name in project.answering if name != project.ladder.baseline]
    models = f"today's `{project.ladder.baseline}`{' with ' if others else ''}{' and '.join(others)}"
    if facts.folder.responses.exists():
        with closing(ResponseStore(facts.folder.responses)) as store:
            stored = len(store) - sum(store.measured_elsewhere().values())
    more = f"; {stored:,} cached {plural(stored, 'answer is', 'answers are')} free" if stored else ""
    work = {name: facts.estimate.rungs.get(name) for name in project.ladder.rungs}
    rungs = [
        f"{name} (${one.usd:.2f})" if one and one.usd else name
        for name, one in work.items()
        if one or name == "classical"
    ]
    gain = "shows no gain" if power.difference == inf else f"shows gains from {100 * power.difference:.1f} points"
    return [
        f"Compares {models}, in the rungs {', '.join(rungs)}.",
        f"The test set has {count(power.n, 'case')} ({power.n_groups:.0f} independent cases) and {gain} (80% power). "
        f"Dev has {count(len(split.dev), 'case')}, and {count(len(split.shots), 'example')} remain.",
        f"{facts.estimate}{more}.",
    ]


@check(fix="Remove this waiver.")
def waiver(facts: Facts) -> list[str]:
    """A gate is waived that cannot be: `test_set`, `baseline`, `judge` or `parity`."""
    return [
        f"The gate {entry.gate!r} in [[waivers]] of tuneworthy.toml cannot be waived."
        for entry in facts.project.waivers
        if entry.gate in NEVER_WAIVED
    ]
