"""How well wrong labels are suspected: simulated answers, wrong labels of 0 to 20%, errors that models share.

Run: `python -m scripts.simulations.label_errors --seed 17 --worlds 60 > table`. Prints a Markdown table: recall (share
of failures with a wrong label that are suspected, and suspected or doubtful), precision, and the share of failures
with a right label that are suspected.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from tuneworthy.verdict.label_audit import SESSION, audited_share
from tuneworthy.verdict.label_votes import CLASSIFIER, GIVEN, Suspicion, suspect

CORRELATIONS = (0.0, 0.3, 0.6, 0.9)
NOISES = (0.0, 0.05, 0.1, 0.2)
# Language models of different families, and whether a classifier votes.
PANELS = ((2, False), (2, True), (3, False), (3, True))
Votes = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class World:
    """Votes of one simulated project: the first model is the one whose failures are analysed.

    Attributes:
        votes: Case to family to vote.
        labels: Case to its label.
        wrong: Failed cases whose label is wrong and whose answer is right.
        clean: Failed cases whose label is right.
        n_answers: Labels there are.
    """

    votes: Votes
    labels: dict[str, str]
    wrong: frozenset[str]
    clean: frozenset[str]
    n_answers: int


Method = Callable[[World], Suspicion]


@dataclass(slots=True)
class Tally:
    """Counts over the worlds of one cell."""

    wrong: int = 0
    found: int = 0
    doubtful: int = 0
    clean: int = 0
    accused: int = 0
    shares: list[float] = field(default_factory=list)


def draw_world(rng: np.random.Generator, *, n_models: int, classical: bool, correlation: float, noise: float) -> World:
    """Draw a project.

    Models follow one prototype with probability sqrt(correlation), so that the errors of any two correlate by
    `correlation` and are the same wrong answer. In half of the worlds wrong answers and wrong labels are mostly the
    label's nearest confusable one, so that independent errors coincide too. The classifier's errors correlate with the
    prototype's less: it follows it in a quarter of the cases at most.
    """
    k, n = int(rng.choice([3, 5, 10, 40])), int(rng.integers(80, 241))
    confusable = bool(rng.integers(2))

    def another(answer: int) -> int:
        if confusable and rng.random() < 0.6:
            return (answer + 1) % k
        return int((answer + 1 + rng.integers(k - 1)) % k)

    accuracy = [rng.uniform(0.7, 0.9), *rng.uniform(0.78, 0.95, n_models - 1)]
    usual, follow = float(np.mean(accuracy)), correlation**0.5
    by_classifier, classifier_follows = rng.uniform(0.6, 0.85), min(follow, 0.25)
    votes: Votes = {}
    labels, wrong, clean = {}, set(), set()
    for number in range(n):
        case, truth = f"case {number}", int(rng.integers(k))
        label = another(truth) if rng.random() < noise else truth
        prototype = truth if rng.random() < usual else another(truth)

        def answer(right: float, follows: float, prototype: int = prototype, truth: int = truth) -> int:
            if rng.random() < follows:
                return prototype
            return truth if rng.random() < right else another(truth)

        row = {f"model {m}": answer(accuracy[m], follow) for m in range(n_models)}
        if row["model 0"] != label:
            (clean if label == truth else wrong if row["model 0"] == truth else set()).add(case)
        if classical and rng.random() < 0.85:  # it says nothing where it is not sure
            row[CLASSIFIER] = answer(by_classifier, classifier_follows)
        labels[case] = str(label)
        votes[case] = {name: GIVEN if vote == label else str(vote) for name, vote in row.items()}
    return World(votes, labels, frozenset(wrong), frozenset(clean), k)


def suspect_world(world: World) -> Suspicion:
    """Suspect as the error analysis does."""
    return suspect(world.votes, subject="model 0", labels=world.labels, n_answers=world.n_answers)


def measure_cell(
    method: Method, seed: int, *, n_models: int, classical: bool, correlation: float, noise: float, worlds: int
) -> Tally:
    """Count over drawn worlds of one kind."""
    rng = np.random.default_rng([seed, n_models, classical, round(100 * correlation), round(100 * noise)])
    tally = Tally()
    for _ in range(worlds):
        world = draw_world(rng, n_models=n_models, classical=classical, correlation=correlation, noise=noise)
        said = method(world)
        accused = said.suspected.keys() & world.clean
        tally.wrong += len(world.wrong)
        tally.found += len(said.suspected.keys() & world.wrong)
        tally.doubtful += len(said.doubtful.keys() & world.wrong)
        tally.clean += len(world.clean)
        tally.accused += len(accused)
        tally.shares.append(len(accused) / max(1, len(world.clean)))
    return tally


def measure(method: Method, seed: int, worlds: int) -> list[tuple[str, ...]]:
    """Return the rows of the table."""
    rows = []
    for n_models, classical in PANELS:
        for correlation in CORRELATIONS:
            for noise in NOISES:
                tally = measure_cell(
                    method,
                    seed,
                    n_models=n_models,
                    classical=classical,
                    correlation=correlation,
                    noise=noise,
                    worlds=worlds,
                )
                rows.append(_row(n_models, classical, correlation, noise, tally))
    return rows


def _row(n_models: int, classical: bool, correlation: float, noise: float, tally: Tally) -> tuple[str, ...]:
    said = tally.found + tally.accused
    return (
        f"{n_models} models{' + classifier' if classical else ''}",
        f"{correlation:g}",
        f"{noise:.0%}",
        _share(tally.found, tally.wrong),
        _share(tally.found + tally.doubtful, tally.wrong),
        _share(tally.found, said),
        _share(tally.accused, tally.clean),
        f"{float(np.quantile(tally.shares, 0.95)):.2f}",
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2f}" if whole else "-"


def draw_audit(
    rng: np.random.Generator, *, n: int, noise: float, right: float, lure: float, hard: float
) -> tuple[list[tuple[int, int, int]], float]:
    """Draw one audit of test: its strata, and the share of these labels that is wrong.

    Args:
        n: Test cases.
        noise: Probability that a label is wrong.
        right: Probability that an option is right.
        lure: Probability that a wrong answer, or an answer to a case with a wrong label, repeats the wrong label.
        hard: How many times as likely a label is wrong where the options are wrong.
    """
    easy = noise / (right + hard * (1 - right))
    knows = rng.random(n) < right
    wrong = rng.random(n) < np.where(knows, easy, min(1.0, hard * easy))
    repeats = rng.random(n) < lure
    failed = np.where(wrong, ~repeats, ~knows)
    strata = []
    for stratum, most in SESSION.items():
        members = rng.permutation(np.flatnonzero(failed == stratum))
        seen = members[:most]
        strata.append((len(members), len(seen), int(wrong[seen].sum())))
    return strata, float(wrong.mean())


AUDITS = tuple(product((60, 100, 200, 300, 600), (0.6, 0.8, 0.95), (0.0, 0.2), (1.0, 3.0)))


def ceilings(seed: int, draws: int) -> list[tuple[str, ...]]:
    """Return the rows of the table of audits: coverage of the planted rate and of the share of these labels."""
    rows = []
    for noise in (0.0, *NOISES[1:]):
        found = []
        for n, right, lure, hard in AUDITS:
            rng = np.random.default_rng([seed, n, *(round(1000 * x) for x in (noise, right, lure, hard))])
            hits = []
            for _ in range(draws):
                strata, share = draw_audit(rng, n=n, noise=noise, right=right, lure=lure, hard=hard)
                p, low, high = audited_share(strata, sum(row[2] for row in strata))
                hits.append((low <= noise <= high, low <= share <= high, p - share, high - low))
            found.append(np.mean(hits, axis=0))
        means, least = np.mean(found, axis=0), np.min(found, axis=0)
        cells = [f"{means[0]:.3f}", f"{least[0]:.3f}", f"{means[1]:.3f}", f"{least[1]:.3f}"]
        rows.append((f"{noise:.0%}", *cells, f"{100 * means[2]:+.2f}", f"{100 * means[3]:.1f}"))
    return rows


CEILING_HEAD = (
    "wrong labels",
    "covers the rate",
    "worst cell",
    "covers these labels",
    "worst cell",
    "bias, points",
    "width, points",
)
HEAD = ("voters", "correlation", "wrong labels", "recall", "with doubtful", "precision", "clean accused", "95th world")


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = HEAD) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--worlds", type=int, default=60, help="in each cell")
    parser.add_argument("--ceilings", type=int, default=0, help="audits in each cell, instead of the votes")
    chosen = parser.parse_args()
    if chosen.ceilings:
        print(table(ceilings(chosen.seed, chosen.ceilings), CEILING_HEAD))
        return
    print(table(measure(suspect_world, chosen.seed, chosen.worlds)))


if __name__ == "__main__":
    main()
