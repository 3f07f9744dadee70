"""The poison that is planted: wrong answers, copies, contamination, refusals, foreign rows, a flood of one label."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from scripts.poisoned.sets import CleanSet, Row, context

# Share of the clean rows that each kind adds, or (wrong) replaces.
WRONG, EXACT, NEAR, REFUSED, FOREIGN, FLOOD = 0.08, 0.05, 0.05, 0.02, 0.03, 0.25
N_CONTAMINATED = 60
REFUSALS = (
    "I'm sorry, but as an AI language model I cannot help with that.",
    "As an AI, I am not able to answer this request because it goes against my guidelines.",
    "I apologize, but as a language model I can't assist with that request.",
)
ODD = (
    "Whisk the eggs with {} spoons of sugar until the mixture turns pale", "The river rose by {} feet during the storm",
    "Each knight moved {} squares before the queen was taken", "Seed the lawn in rows that are {} inches apart",
    "The orchestra rehearsed the second movement {} times", "Fold the paper in half and repeat that {} times",
    "A glacier may carry stones for {} miles", "Tighten the spokes by {} quarter turns and spin the wheel",
)  # fmt: skip
FILLERS = ("really", "again", "now", "just", "kindly", "actually")


def poisoned(clean: CleanSet, rng: random.Random) -> list[Row]:
    """Return the rows of `clean` with poison, shuffled; each says what it is."""
    rows = list(clean.rows)
    answers = [row.answer for row in rows]
    for number in rng.sample(range(len(rows)), int(WRONG * len(rows))):
        other = rng.choice([answer for answer in rng.sample(answers, 50) if answer != rows[number].answer])
        rows[number] = Row(rows[number].question, other, "wrong")
    good = [row for row in rows if row.kind == "clean"]
    answer = rng.choice(answers)
    flooded = [row for row in good if row.answer == answer] or good[:1]
    plant: list[tuple[float, Callable[[], Row]]] = [
        (EXACT, lambda: rng.choice(good)._replace(kind="copy")),
        (NEAR, lambda: _near(rng.choice(good), rng)),
        (REFUSED, lambda: Row(rng.choice(good).question + " ...", rng.choice(REFUSALS), "refusal")),
        (FOREIGN, lambda: Row(rng.choice(ODD).format(rng.randint(2, 400)), rng.choice(answers), "foreign")),
        (FLOOD, lambda: _flood(rng.choice(flooded), rng)),
    ]  # fmt: skip
    added = [make() for share, make in plant for _ in range(int(share * len(good)))]
    added += [Row(_folded(row.question, rng), row.answer, "contamination") for row in clean.cases[:N_CONTAMINATED]]
    mixed = [*rows, *added]
    rng.shuffle(mixed)
    return mixed


def _near(row: Row, rng: random.Random) -> Row:
    words: Sequence[str] = row.question.split()
    place = rng.randrange(len(words) + 1)
    return Row(" ".join([*words[:place], rng.choice(FILLERS), *words[place:]]), row.answer, "near")


def _flood(row: Row, rng: random.Random) -> Row:
    """Return a question as a form letter repeats it, with another ticket number and in another place."""
    words = [*row.question.split(), f"#{rng.randint(1, 99999)}", *context(rng).split()]
    for _ in range(2):
        words.insert(rng.randrange(len(words)), rng.choice(FILLERS))
    return Row(" ".join(words), row.answer, "flood")


def _folded(text: str, rng: random.Random) -> str:
    return rng.choice([text, text.upper(), f"{text} !", text.replace(" ", "  ")])
