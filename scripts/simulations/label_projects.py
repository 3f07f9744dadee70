"""Whole projects with wrong labels in dev and test: a careful person follows the printed steps to a firm answer.

Run: `python -m scripts.simulations.label_projects --seed 17 --projects 20 > table`. Prints a Markdown row for each
project and the counts by outcome. Models are scripted, so that the truth is known: a target that an option reaches with
right labels needs no training, and a target that no option reaches needs training or another lever.
"""

import argparse
import contextlib
import io
import json
import os
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.verdict.tasks.scripted_task import HandMade, Scripted

from tuneworthy.cli import invoke, label_terminal

NOISES = (0.05, 0.1, 0.2)
MOST_STEPS = 12
HEAD = ("noise", "best model", "target", "answer", "judged", "steps", "minutes", "audit")
# Rungs that scripted models, which read only the number of a question, could not improve on.
WAIVED = ("prompt", "few_shot", "decoding")
RUNGS = ("--rung", "classical", "--rung", "baseline", "--rung", "model")
# Number of the first question that can be added, and their count.
ADDED, MOST_ADDED = 5000, 3000
LABELS = ("red", "green", "blue", "brown", "black")
Step = Callable[["Person"], None]


@dataclass(frozen=True, slots=True)
class Truth:
    """A drawn project.

    Attributes:
        seed: Of every draw.
        noise: Share of wrong labels, in cases and examples alike.
        accuracy: Share of the answers of each model that are right.
        target: Score that the project asks for.
        sticky: Probability that a wrong label is the answer that a wrong model gives.
        hard: How many times as likely a label is wrong where the first model is wrong.
        n: Cases.
    """

    seed: int
    noise: float
    accuracy: tuple[float, float]
    target: float
    sticky: float
    hard: float
    n: int

    @classmethod
    def draw(cls, seed: int, noise: float) -> "Truth":
        rng = random.Random(f"project {seed} {noise}")
        target = rng.choice((0.85, 0.9, 0.95))
        # Models are clearly above the target or clearly below it: between, further cases are the question.
        good = rng.random() < 0.5
        best = rng.uniform(target + 0.02, 0.995) if good else rng.uniform(0.6, target - 0.08)
        other = max(0.5, best - rng.uniform(0.0, 0.06))
        sticky, hard = rng.choice((0.0, 0.3)), rng.choice((1.0, 2.0))
        return cls(seed, noise, (best, other), target, sticky, hard, rng.choice((200, 300)))

    def right(self, i: int) -> str:
        return LABELS[self._draw("truth", i).randrange(len(LABELS))]

    def label(self, i: int) -> str:
        easy = self.noise / (self.accuracy[0] + self.hard * (1 - self.accuracy[0]))
        chance = easy if self._knows(0, i) else min(1.0, self.hard * easy)
        return self._other(i) if self._draw("noise", i).random() < chance else self.right(i)

    def answer(self, model: int, i: int) -> str:
        if self._knows(model, i):
            return self.right(i)
        return self._other(i) if self._draw("sticky", i).random() < self.sticky else self._other(i, 1 + model)

    def _knows(self, model: int, i: int) -> bool:
        # Two models of different makers share a part of their errors.
        shared = self._draw("shared", i).random() < 0.3
        return self._draw("shared answer" if shared else f"model {model}", i).random() < self.accuracy[model]

    def _other(self, i: int, step: int = 0) -> str:
        wrong = [label for label in LABELS if label != self.right(i)]
        return wrong[(self._draw("other", i).randrange(len(wrong)) + step) % len(wrong)]

    def _draw(self, name: str, i: int) -> random.Random:
        return random.Random(f"{self.seed} {self.noise} {name} {i}")

    @property
    def meets(self) -> bool:
        return max(self.accuracy) >= self.target


def project_of(truth: Truth, root: Path) -> HandMade:
    models = {
        "gpt_a": Scripted(answers=lambda i: truth.answer(0, i)),
        "claude_b": Scripted(answers=lambda i: truth.answer(1, i)),
    }
    made = HandMade(
        root=root,
        truth=truth.right,
        labels=truth.label,
        models=models,
        n=truth.n,
        n_examples=300,
        task={"target": truth.target},
        graders='[[graders]]\ntype = "choice"',
        sections="".join(f'[[waivers]]\ngate = "{gate}"\nreason = "not simulated"\n' for gate in WAIVED),
    ).write()
    path = root / "models.json"
    answers = json.loads(path.read_text())
    for model, name in enumerate(answers):
        more = range(ADDED, ADDED + MOST_ADDED)
        answers[name]["answers"] |= {str(i): truth.answer(model, i) for i in more}
    path.write_text(json.dumps(answers))
    os.environ["TUNEWORTHY_TRUST"] = str(root)
    return made


@dataclass
class Person:
    """Someone who does exactly the step that is printed, and knows the right label of every question."""

    truth: Truth
    made: HandMade
    steps: list[str] = field(default_factory=list)
    verdict: dict[str, Any] = field(default_factory=dict)
    asked: str = ""
    minutes: float = 0.0
    added: int = 0
    audit: dict[str, Any] = field(default_factory=dict)

    def call(self, *words: str) -> str:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = invoke([*words, "--project", str(self.made.root)])
        if status not in {0, 3, 4}:
            raise RuntimeError(f"{words}: {status} {err.getvalue()[-400:]}")
        return out.getvalue()

    def measure(self, *rungs: str) -> None:
        self.call("run", "--yes", "--json", *(rungs or RUNGS))
        self.decide()

    def decide(self, *more: str) -> None:
        if not self.verdict.get("errors") or more:
            self.call("decide", "--probe", "--yes")
        self.verdict = json.loads(self.call("decide", "--json"))
        if self.verdict["label_ceiling"] and not self.audit:
            self.audit = self.verdict["label_ceiling"]

    def label(self, which: str) -> None:
        def note(*lines: str) -> None:
            self.asked = " ".join(lines)

        def ask_line(prompt: str) -> str:
            return self.truth.right(number(self.asked)) if re.search(r"q\d+q", self.asked) else ""

        label_terminal.note, label_terminal.ask_line = note, ask_line
        self.call("label", which, "--labeller", "ada")
        self.decide()

    def apply(self, which: str) -> None:
        said = self.call("label", which, "--apply")
        path = self.made.root / "examples.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        wrong = {number(line) for line in said.splitlines() if line.startswith("Correct this example")}
        for row in rows:
            i = number(row["messages"][0]["content"])
            if i in wrong:
                row["messages"][-1]["content"] = self.truth.right(i)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.call("run", "--yes", "--json", *RUNGS)
        self.decide("again")

    def add(self, n: int) -> None:
        start, self.added = ADDED + self.added, self.added + n
        rows = [{"input": self.made.question(i), "expected": self.truth.label(i)} for i in range(start, start + n)]
        file = self.made.root / f"more{start}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.call("cases", "add", str(file))
        self.measure()

    def step(self) -> bool:
        """Take the printed steps; False if a step cannot be taken."""
        action = self.verdict["next_action"]
        self.minutes += action["person_minutes"] or 0.0
        more = re.search(r"Add ([\d,]+) test cases", action["why"])
        for command in action["command"].split(" && "):
            if "audit" in command or "suspects" in command:
                which = "audit" if "audit" in command else "suspects"
                self.steps.append(f"{which}{' --apply' if '--apply' in command else ''}")
                (self.apply if "--apply" in command else self.label)(which)
            elif more and "cases add" in command:
                self.steps.append("add")
                self.add(min(MOST_ADDED - self.added, int(more[1].replace(",", ""))))
            elif command.startswith("tuneworthy run"):
                self.steps.append("run")
                self.measure(*command.split()[2:])
            elif "--probe" in command:
                self.steps.append("probe")
                self.decide("again")
            else:
                self.steps.append(f"stop: {action['why'][:60]}")
                return False
        return True


def number(text: str) -> int:
    return int(re.findall(r"q(\d+)q", text)[-1])


def follow(truth: Truth) -> tuple[str, Person]:
    """Return the judgement of a project, and who followed its steps.

    A firm answer is wrong if an option meets the target by the truth and training is advised, or the reverse. Where
    training is rightly advised, it is said whether the labels, as they are at the end, allow the target.
    """
    with tempfile.TemporaryDirectory() as folder:
        person = Person(truth, project_of(truth, Path(folder) / "task"))
        person.measure()
        while len(person.steps) < MOST_STEPS:
            verdict = person.verdict
            firm = verdict["outcome"] != "undecided" and " label " not in verdict["next_action"]["command"]
            if firm or not person.step():
                break
        rows = [json.loads(line) for line in (person.made.root / "cases.jsonl").read_text().splitlines()]
    ceiling = sum(row["expected"] == truth.right(number(row["input"])) for row in rows) / len(rows)
    outcome = person.verdict["outcome"]
    if outcome == "undecided" or person.verdict["reason_code"] == "errors_label_or_grader":
        return "open", person
    if outcome == "do_not_fine_tune":
        return ("right" if truth.meets else "wrong"), person
    if truth.meets:
        return "wrong", person
    return ("right, target out of reach" if ceiling < truth.target else "right"), person


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--projects", type=int, default=20, help="at each noise")
    chosen = parser.parse_args()
    os.environ.setdefault("XDG_CONFIG_HOME", tempfile.mkdtemp())
    counts: Counter[tuple[float, str]] = Counter()
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    for noise in NOISES:
        for index in range(chosen.projects):
            truth = Truth.draw(chosen.seed * 1000 + index, noise)
            judged, person = follow(truth)
            counts[noise, judged] += 1
            audit = person.audit and f"{person.audit['share']:.1%} {[round(x, 3) for x in person.audit['ci95']]}"
            answer = f"{person.verdict['outcome']} ({person.verdict['reason_code']})"
            best, steps = f"{max(truth.accuracy):.3f}", ", ".join(person.steps)
            cells = (f"{noise:.0%}", best, truth.target, answer, judged, steps, f"{person.minutes:.0f}", audit)
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print(dict(counts), file=sys.stderr)


if __name__ == "__main__":
    main()
