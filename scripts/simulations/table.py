"""Count verdicts over simulations and write `docs/simulations.md`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.simulations.truth import TRUTHS, Simulation, Truth

from tuneworthy.stats import clopper_pearson
from tuneworthy.stats.comparisons import ALPHA

TEXT = Path(__file__).with_name("simulations.md")
OUTCOMES = ("fine_tune", "do_not_fine_tune", "undecided")
MOST_FALSE, FEWEST_TRUE = 0.038, 0.8


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided in a simulation, and whether a variant was adopted as better that truly is not."""

    world: Simulation
    outcome: str
    reason_code: str
    falsely_better: bool


def page(found: Sequence[Decided], seed: int, simulations: int) -> str:
    """Return the page."""
    parts = [
        TEXT.read_text(encoding="utf-8"),
        f"\n## Figures\n\nMade by `{command(seed, simulations)}`.\n\n{figures(found)}",
    ]
    sides = [(truth, _of(found, truth)) for truth in TRUTHS]
    head = ("simulations", "n", *OUTCOMES)
    parts.append("\n## Verdicts by truth\n\n" + table(head, [row(truth, some) for truth, some in sides]))
    codes = sorted({(one.outcome, one.reason_code) for one in found}, key=lambda it: (OUTCOMES.index(it[0]), it[1]))
    counts = {truth: Counter((one.outcome, one.reason_code) for one in some) for truth, some in sides}
    rows = [(*code, *(str(counts[truth][code]) for truth in TRUTHS)) for code in codes]
    parts.append("\n## Reason codes\n\n" + table(("outcome", "reason code", *TRUTHS), rows))
    for title, truths, name in STRATA:
        rows = [
            row(f"{truth}, {key}", some)
            for truth in truths
            for key, some in sorted(_by(_of(found, truth), name).items())
        ]
        parts.append(f"\n## {title}\n\n" + table(head, rows))
    return "".join(parts)


def command(seed: int, simulations: int) -> str:
    """Return what makes the page."""
    return f"python -m scripts.simulations --seed {seed} --simulations {simulations} --out docs/simulations.md"


def figures(found: Sequence[Decided]) -> str:
    """Return the figures that verdict and ladder are held to."""
    no, yes = (_of(found, truth) for truth in ("no", "yes"))
    wrong, right = (sum(one.outcome == "fine_tune" for one in some) for some in (no, yes))
    rows = [
        (
            "not worth it, and `fine_tune`",
            share(wrong, len(no)),
            f"at most {MOST_FALSE:.1%}",
            _yes(wrong <= MOST_FALSE * len(no)),
        ),
        (
            "clearly worth it, and `fine_tune`",
            share(right, len(yes)),
            f"at least {FEWEST_TRUE:.0%}",
            _yes(right >= FEWEST_TRUE * len(yes)),
        ),
    ]
    adopted = sum(one.falsely_better for one in found)
    kept = _yes(adopted <= ALPHA * len(found))
    what = "all, and a variant adopted as better that truly is not"
    rows.append((what, share(adopted, len(found)), f"at most {ALPHA:.0%}", kept))
    return table(("simulations", "got", "wanted", "reached"), rows)


def share(k: int, n: int) -> str:
    """Return a count with its share and exact 95 % interval."""
    if not n:
        return "0"
    low, high = clopper_pearson(k, n)
    return f"{k} of {n} ({k / n:.1%}; {low:.1%} to {high:.1%})"


def row(name: str, some: Sequence[Decided]) -> tuple[str, ...]:
    """Return the row of some simulations: how many got each outcome."""
    counts = Counter(one.outcome for one in some)
    cells = (share(counts[outcome], len(some)).replace(f" of {len(some)}", "") for outcome in OUTCOMES)
    return (name, str(len(some)), *cells)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _yes(reached: bool) -> str:
    return "yes" if reached else "**no**"


def _of(found: Sequence[Decided], truth: str) -> list[Decided]:
    return [one for one in found if one.world.truth == truth]


def _by(found: Sequence[Decided], name: Callable[[Simulation], str]) -> dict[str, list[Decided]]:
    groups: dict[str, list[Decided]] = {}
    for one in found:
        groups.setdefault(name(one.world), []).append(one)
    return groups


def _reason(world: Simulation) -> str:
    return f"{REASONS[world.reason]}: {world.detail}" if world.detail else REASONS[world.reason]


def _nearness(world: Simulation) -> str:
    near = world.reason == "met" and max(world.best, world.classical) < world.target + world.margin
    return "met by less than a margin" if near else "all others"


def _grading(world: Simulation) -> str:
    return "a judge grades" if world.sensitivity else "a rule grades"


def _setting(world: Simulation) -> str:
    return f"{world.setting}, {world.motivation}"


REASONS = {"met": "target met", "lever": "lever", "money": "never pays", "motivation": "no reason", "": "none"}
BOTH: tuple[Truth, ...] = ("yes", "no")
STRATA: tuple[tuple[str, tuple[Truth, ...], Callable[[Simulation], str]], ...] = (
    ("What speaks against training", ("no",), _reason),
    ("How near the target is", ("no",), _nearness),
    ("Test cases", BOTH, lambda world: f"n = {world.shape.n_test:03}"),
    ("Groups", BOTH, lambda world: f"{world.shape.group_size} cases a source"),
    ("Grading", BOTH, _grading),
    ("Constraint and reason to train", BOTH, _setting),
)
