"""Printed steps lead to an answer in project folders: each is followed with the real commands, as a person would.

Sixty random projects with scripted models, in twelve kinds.
"""

from __future__ import annotations

import json
import random
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from tests.verdict.random_projects import IMPERATIVE
from tests.verdict.tasks.scripted_task import HandMade, Scripted, share
from tests.verdict.tasks.test_tasks import colour, other, serial

from tuneworthy.cli import invoke, label_terminal
from tuneworthy.config.ladder import Economics
from tuneworthy.ladder.checks import documents
from tuneworthy.ladder.rungs import retrieval
from tuneworthy.money.economics import SET_TRAFFIC, SPREADING
from tuneworthy.verdict import messages

pytestmark = pytest.mark.slow

KINDS: Final = (
    "plain", "broken_grader", "missing_package", "judge_fooled", "judge_unvalidated", "label_noise", "few_cases",
    "no_traffic", "no_price", "no_other_model", "no_target", "left_out",
)  # fmt: skip
POOL: Final = 1500
MOST_STEPS: Final = 10
WORDS_ALONE: Final = '[documents]\n[retrieval]\nencoder = { type = "off" }\nreranker = { type = "off" }\n'
JUDGES: Final = """

def fair(request):
    seen = json.loads(request.messages[-1]["content"].split("\\n")[1])
    return "good" if seen["answer"] == seen["reference"] else "bad"


def fooled(request):
    return "good"
"""
NO_PACKAGE: Final = 'The search index needs LanceDB. Run `pip install "tuneworthy[rag]"`.'


def right_on(p: float, salt: str) -> Callable[[int], str]:
    holds = share(p, salt)
    return lambda i: colour(i) if holds(i) else other(i)


def made(root: Path, seed: int) -> HandMade:
    """Write a random project; its kind follows from the seed."""
    rng, kind = random.Random(seed), KINDS[seed % len(KINDS)]
    p, q = rng.uniform(0.55, 0.97), rng.uniform(0.55, 0.97)
    usd = rng.choice([None, 0.5, 2.0]) if kind != "no_traffic" else 2.0
    models = {
        "gpt_a": Scripted(answers=right_on(p, "a"), usd_per_1k=usd),
        "claude_b": Scripted(answers=right_on(q, "b"), usd_per_1k=usd and 0.1 * usd, hosted=kind == "no_price"),
    }
    fields: dict[str, Any] = {"truth": colour, "n": POOL, "n_examples": 0, "ladder": ""}
    rungs = ["baseline", "prompt", "model", "few_shot"]
    target = round(min(0.97, max(p, q) + rng.uniform(-0.1, 0.1)), 2)
    sections = "" if kind == "no_traffic" or rng.random() < 0.3 else "[economics]\nrequests_per_month = 100_000\n"
    if kind == "missing_package":
        guess = share(0.2, "guess")
        fields["truth"] = serial
        models = {"gpt_a": Scripted(answers=lambda i: serial(i) if guess(i) else "000000", documents=serial)}
        fields["documents"] = {f"{i}.md": f"# DOCUMENT {i}\n\nq{i}q has the number {serial(i)}.\n" for i in range(120)}
        sections += WORDS_ALONE
        rungs += ["retrieval"]
    if kind == "label_noise":
        noise = share(0.12, "noise")
        fields["labels"] = lambda i: other(i) if noise(i) else colour(i)
        models = {name: Scripted(answers=right_on(0.97, name)) for name in ("gpt_a", "claude_b")}
        target = 0.95
    if kind == "no_other_model":
        del models["claude_b"]
    if kind == "no_price":
        models["claude_b"] = Scripted(answers=right_on(q, "b"), hosted=True)
    if kind == "left_out":
        rungs = ["baseline", "prompt"]
    if kind == "broken_grader":
        fields["graders"] = '[[graders]]\ntype = "python"\nfunction = "grade.py:grade"'
    if kind.startswith("judge"):
        name = "fooled" if kind == "judge_fooled" else "fair"
        fields["graders"] = f'[[graders]]\ntype = "judge"\nmodel = "{name}"\nrubric = "It names the colour."'
        rungs, target = ["baseline", "prompt", "model", "few_shot"], round(max(p, q) - 0.15, 2)
    for gate in ("classical", "decoding"):
        sections += f'[[waivers]]\ngate = "{gate}"\nreason = "left out to save time"\n'
    task = None if kind == "no_target" else target
    fields["ladder"] = f"rungs = {json.dumps(rungs)}"
    project = HandMade(root=root, models=models, task={"target": task}, sections=sections, **fields).write()
    n = 45 if kind == "few_cases" else rng.choice([110, 150])
    lines = (root / "cases.jsonl").read_text().splitlines(keepends=True)
    (root / "cases.jsonl").write_text("".join(lines[:n]))
    (root / "pool.jsonl").write_text("".join(lines[n:]))
    with (root / "replies.py").open("a") as file:
        file.write(JUDGES)
    if kind.startswith("judge"):
        with (root / "tuneworthy.toml").open("a") as file:
            file.writelines(
                f'\n[models.{one}]\nprovider = "scripted"\nfunction = "replies.py:{one}"\n'
                for one in ("fair", "fooled")
            )
    (root / "grade.py").write_text("def grade(answer, expected):\n    return answer == expected\n")
    return project


@dataclass
class Person:
    """A careful person at a project folder.

    Attributes:
        installed: Whether the package of the search is installed.
        shown: The last text of a labelling session.
        faults: Commands that did not run, loops and dead ends.
    """

    project: HandMade
    kind: str
    capsys: pytest.CaptureFixture[str]
    installed: bool = True
    shown: str = ""
    settled: bool = False
    steps: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def invoke(self, *words: str) -> tuple[int, str]:
        status = invoke([*words, "--project", str(self.project.root)])
        shown = self.capsys.readouterr()
        return status, shown.out if status in {0, 3, 4} else shown.err

    def command(self, text: str) -> None:
        """Run a printed command, with a file where one has to be supplied."""
        words = shlex.split(text)
        if words[0] == "pip":
            self.installed = True
            return
        if words[1] in {"run", "decide"}:
            words.append("--yes")
        if "FILE" in words:
            rows = self.project.root / "rows.jsonl"
            row = {"messages": [{"role": "user", "content": "q0q"}, {"role": "assistant", "content": "red"}]}
            rows.write_text(json.dumps(row) + "\n")
            words[words.index("FILE")] = str(rows)
        status, shown = self.invoke(*words[1:])
        if status not in {0, 3, 4}:
            self.faults.append(f"`{text}` ends with {status}: {shown[-400:]}")

    def answer(self, prompt: str) -> str:
        """Label a case, or rate an answer, by the truth."""
        if match := re.search(r"reference: (.*)\nanswer: (.*)", self.shown):
            return "good" if match[1].strip() == match[2].strip() else "bad"
        number = int(re.findall(r"q(\d+)q", self.shown)[-1])
        return self.project.truth(number)

    def show(self, *texts: str) -> None:
        self.shown = next((text for text in reversed(texts) if re.search(r"q\d+q", text)), self.shown)

    def edit(self, pattern: str, new: str) -> None:
        path = self.project.root / "tuneworthy.toml"
        path.write_text(re.sub(pattern, lambda _: new, path.read_text(), count=1, flags=re.MULTILINE))

    def section(self, name: str, line: str) -> None:
        """Set a key of a section."""
        text = (self.project.root / "tuneworthy.toml").read_text()
        key = line.partition(" =")[0]
        if re.search(rf"^{key} = ", text, re.MULTILINE):
            self.edit(rf"^{key} = .*$", line)
        elif f"[{name}]" in text:
            self.edit(rf"^\[{re.escape(name)}\]$", f"[{name}]\n{line}")
        else:
            self.edit(r"\Z", f"\n[{name}]\n{line}\n")

    def waive(self, gate: str) -> None:
        self.edit(r"\Z", f'\n[[waivers]]\ngate = "{gate}"\nreason = "the team knows"\n')

    def add_cases(self, n: int) -> None:
        pool, cases = self.project.root / "pool.jsonl", self.project.root / "cases.jsonl"
        rows = pool.read_text().splitlines(keepends=True)
        cases.write_text(cases.read_text() + "".join(rows[:n]))
        pool.write_text("".join(rows[n:]))

    def act(self, text: str, command: str) -> bool:
        """Do a step; return whether it named something to do."""
        before = (self.project.root / "tuneworthy.toml").read_text()
        if match := re.search(r"Add (\d[\d,]*) test cases", text):
            self.add_cases(int(match[1].replace(",", "")))
        elif "Append labelled cases" in text:
            self.add_cases(60)
        edits: dict[str, Callable[[], None]] = {
            re.escape(SET_TRAFFIC): lambda: self.section("economics", "requests_per_month = 100_000"),
            r"Set the price of the model|Set `input_usd": self.set_prices,
            re.escape(messages.SET_COSTS): self.set_costs,
            r"Set another `model` or `rubric`": lambda: self.edit(r'model = "fooled"$', 'model = "fair"'),
            r"Set `task.target` in": lambda: self.section("task", "target = 0.8"),
            r"Add a model to \[models\]": lambda: self.waive("other_models"),
            r"Add the documents that": lambda: self.waive("retrieval"),
            r"^List `dev` in": lambda: self.waive("dev"),
            r"Set `k` in \[few_shot\]": lambda: self.section("few_shot", "k = [4]"),
        }
        for pattern, change in edits.items():
            if re.search(pattern, text):
                change()
        if match := re.search(r"Set `task.target` to (\d+)%", text):
            self.edit(r"^target = .*$", f"target = {int(match[1]) / 100}")
        for rung in re.findall(r"Add `(\w+)` to `ladder.rungs`", text):
            self.edit(r"^rungs = \[", f'rungs = ["{rung}", ')
        named = [one for one in re.findall(r"`([^`]+)`", text) if one.startswith(("tuneworthy", "pip"))]
        commands = [part for one in named for part in one.split(" && ")]
        commands += [part for part in command.split(" && ") if part and part not in commands]
        if "sample" in " ".join(commands):
            commands = [one for one in commands if "sample" not in one]
        for one in commands:
            self.command(one)
        after = (self.project.root / "tuneworthy.toml").read_text()
        return bool(commands) or before != after

    def set_prices(self) -> None:
        price = "input_usd_per_mtok = 25.0\noutput_usd_per_mtok = 0.0"
        for name in re.findall(
            r"^\[models\.(\w+)\]", (self.project.root / "tuneworthy.toml").read_text(), re.MULTILINE
        ):
            text = (self.project.root / "tuneworthy.toml").read_text().split(f"[models.{name}]")[1].split("\n[")[0]
            if "input_usd_per_mtok" not in text:
                self.edit(rf"^\[models\.{name}\]$", f"[models.{name}]\n{price}")

    def set_costs(self) -> None:
        own = {name: getattr(Economics(), name) for name in SPREADING} | {"serve_capacity_per_month": 1e6}
        for name, value in own.items():
            self.section("economics", f"{name} = {value}")

    def settle(self) -> bool:
        """Check, run and decide, and follow the steps; return whether the answer is yes or no."""
        status, _ = self.invoke("check", "--offline")
        if status == 2 and self.kind == "broken_grader":
            grade = "def grade(answer, expected, case):\n    return answer == expected\n"
            (self.project.root / "grade.py").write_text(grade)
        if status == 2 and self.kind == "no_price":
            self.set_prices()
        if status == 2 and self.kind == "few_cases":
            self.add_cases(60)
        self.command("tuneworthy run")
        last = ""
        while len(self.steps) < MOST_STEPS:
            status, out = self.invoke("decide", "--json")
            if status not in {0, 3, 4}:
                self.faults.append(f"`decide` ends with {status}")
                return False
            verdict = json.loads(out)
            action = verdict["next_action"]
            text = f"{action['why']} Run `{action['command']}`." if action["command"] else action["why"]
            if not text.startswith(IMPERATIVE):
                self.faults.append(f"no imperative: {text}")
            if status != 4:
                if status == 0 and action["command"]:
                    self.command(action["command"])
                return True
            if text == last:
                self.faults.append(f"loop: {text}")
            if self.faults:
                return False
            self.steps.append(text)
            if not self.act(text, action["command"]):
                self.faults.append(f"dead end: {text}")
            last = text
        return False


def follow(seed: int, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Person:
    person = Person(made(root, seed), KINDS[seed % len(KINDS)], capsys)
    person.installed = person.kind != "missing_package"
    for module in (documents, retrieval):
        monkeypatch.setattr(module, "lancedb_missing", lambda: "" if person.installed else NO_PACKAGE)
    monkeypatch.setattr(label_terminal, "ask_line", person.answer)
    monkeypatch.setattr(label_terminal, "note", person.show)
    person.settled = person.settle()
    return person


def test_steps_lead_to_an_answer_in_sixty_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [follow(seed, tmp_path / str(seed), capsys, monkeypatch) for seed in range(60)]
    faults = [(one.kind, one.faults, one.steps) for one in people if one.faults]
    assert not faults, faults
    settled = [one for one in people if one.settled]
    assert len(settled) >= 54
    assert sum(len(one.steps) for one in settled) / len(settled) <= 4


def test_a_run_that_changed_nothing_is_not_the_next_step_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    person = Person(made(tmp_path / "project", KINDS.index("judge_fooled")), "judge_fooled", capsys)
    person.command("tuneworthy run")
    commands = []
    for _ in range(2):  # to decide again is no attempt
        commands += [json.loads(person.invoke("decide", "--json")[1])["next_action"]["command"] for _ in range(2)]
        person.command("tuneworthy run")
    assert commands == ["tuneworthy run"] * 2 + [""] * 2, commands
    person.edit(r'model = "fooled"$', 'model = "fair"')
    assert json.loads(person.invoke("decide", "--json")[1])["next_action"]["command"] == "tuneworthy run"
