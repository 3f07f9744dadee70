"""Checks of the plan: the budget, the estimate of a run, the power, waivers."""

from collections.abc import Iterator
from contextlib import closing
from math import inf

from tuneworthy.config.ladder import NEVER_WAIVED
from tuneworthy.ladder.checks import check
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.estimate import SPREAD
from tuneworthy.providers.prices import price_for
from tuneworthy.retrieval.library import paid_servers
from tuneworthy.rules import Finding, Sentences
from tuneworthy.stats.power import LOSS, MOST_CASES
from tuneworthy.store import ResponseStore
from tuneworthy.text import count, plural


@check(severity="warning", fix="Set task.target to the lowest acceptable score on the first grader.")
def target_missing(facts: Facts) -> str:
    """The project sets no `task.target`: `decide` then shows the options and their prices, and gives no outcome."""
    return (
        "task.target is not set, so `decide` shows options and prices, and the verdict stays undecided."
        if facts.project.task.target is None
        else ""
    )


@check(severity="warning", fix="Set economics.requests_per_month to the number of requests that you expect.")
def traffic_missing(facts: Facts) -> str:
    """The project sets no `economics.requests_per_month`: there is no monthly bill, and no month in which training has
    paid back."""
    return (
        "economics.requests_per_month is not set, so `decide` shows no monthly cost of answers, and whether "
        "training saves money stays undecided."
        if facts.project.economics.requests_per_month is None
        else ""
    )


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


@check("power", severity="note")
def power_of_test(facts: Facts) -> Iterator[Finding | str]:
    """Smallest difference that the test set can show at its size and the alpha per comparison, against `task.margin`.

    A warning if a gain of `margin` will mostly stay unresolved. Assumed: the better variant gets 5% of the cases wrong
    that the other gets right; and 10% of the cases differ where two variants are equally good.
    """
    power = facts.power
    if power is None:
        return
    gain, grouped = (
        "no gain can be detected" if value == inf else f"{least} {100 * value:.1f} points"
        for value, least in (
            (power.difference, "the smallest gain that can be detected is"),
            (power.grouped, "the smallest gain is"),
        )
    )
    text = (
        f"The test set has {power.n} cases for {count(power.comparisons, 'comparison')} at a one-sided alpha of "
        f"{power.alpha:.2g} or more. If {LOSS:.1%} of the cases get worse, {gain} (80% power)."
    )
    if power.n_groups < power.n:
        text += f" If all cases of a group change together ({power.n_groups} groups), {grouped}."
    text += f" Showing non-inferiority within the margin takes {power.n_no_worse:,} cases."
    text += f" `compare` on dev has {len(facts.data.split.dev) if facts.data else 0}."
    if power.difference <= power.margin:
        yield f"{text} A gain as large as the margin ({100 * power.margin:.1f} points) can be detected."
        return
    needed = f"about {power.n_for_margin:,}" if power.n_for_margin else f"more than {MOST_CASES:,}"
    yield Finding(
        message=f"{text} A gain as small as the margin ({100 * power.margin:.1f} points) can remain undetected.",
        fix=(
            f"Detecting such a gain takes {needed} test cases. Add cases, or set task.margin to the smallest "
            "difference that matters."
        ),
        severity="warning",
    )


@check(severity="note")
def estimate(facts: Facts) -> Sentences:
    """Calls, dollars and minutes of the whole run, from the candidates that the rungs would propose.

    Expected values: each rung builds on today's variant or on the variant of the rung before. Tokens
    are bytes / 4, and times are assumed where no run has measured them; the JSON form lists the assumptions.
    """
    if facts.estimate is None:
        return
    stored = 0
    if facts.folder.responses.exists():
        with closing(ResponseStore(facts.folder.responses)) as store:
            stored = len(store) - sum(store.measured_elsewhere().values())
    more = f"; {stored:,} cached {plural(stored, 'answer is', 'answers are')} free" if stored else ""
    yield f"{facts.estimate}{more}."


@check(fix="Remove this waiver.")
def waiver(facts: Facts) -> list[str]:
    """A gate is waived that cannot be: `test_set`, `baseline`, `judge` or `parity`."""
    return [
        f"The gate {entry.gate!r} in [[waivers]] of tuneworthy.toml cannot be waived."
        for entry in facts.project.waivers
        if entry.gate in NEVER_WAIVED
    ]
