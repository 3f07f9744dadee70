"""A hand-made task: cases with a known truth, models whose answers are written down, and the commands that are run.

Every answer reads 20 tokens, so that $50 per million of them is a dollar per 1,000 answers.
"""

from __future__ import annotations

import atexit
import json
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from tuneworthy.cli import invoke
from tuneworthy.types import content_hash

WORDS = """
    amber anchor apple arrow autumn bacon badge bamboo basket beacon berry bishop blanket border bottle branch
    bridge bronze bucket butter cabin camel candle canyon carpet castle cellar cherry circle cliff cloud cobra
    coffee comet copper coral cotton cradle crystal dagger daisy desert diamond dragon eagle ember engine falcon
    feather fiddle flame forest fossil galaxy garden ginger glacier goblet granite hammer harbor hazel helmet
    hollow honey island ivory jacket jasmine jungle kettle ladder lantern lemon lily lizard magnet maple marble
    meadow melon mirror monkey mountain needle nickel oak ocean olive onion orchid otter oyster palace panther
    parrot pearl pebble pepper pigeon pillow planet plum pocket poppy prairie puzzle quartz rabbit raven ribbon
    river rocket saddle sailor salmon sapphire shadow shell silver spider spoon squirrel statue storm summit
    sunset temple thistle thunder tiger timber tulip tunnel turtle valley velvet violet walnut water whisper
    willow window winter wizard yellow zebra
""".split()  # noqa: SIM905

FUNCTIONS = """
import json
import re
from pathlib import Path

from tuneworthy.types import Response

MODELS = json.loads((Path(__file__).parent / "models.json").read_text())
DIGITS = str.maketrans("abcdefghij", "0123456789")


def reply(name, request):
    model, text = MODELS[name], request.messages[-1]["content"]
    number = re.findall(r"\\bq(\\d+|[a-j]+)q\\b", text)[-1].translate(DIGITS)
    shots = any(message["role"] == "assistant" for message in request.messages)
    documents = "DOCUMENT" in " ".join(message["content"] for message in request.messages)
    which = "documents" if documents and "documents" in model else "shots" if shots and "shots" in model else "answers"
    usage = {} if model.get("silent") else {"input_tokens": 20, "output_tokens": 1}
    return Response(text=model[which][number], **usage)
"""

Answer = Callable[[int], str]
LETTERS = str.maketrans("0123456789", "abcdefghij")


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """A model: what it answers to question number `i`, at what price and how fast.

    Attributes:
        answers: To the plain prompt.
        shots: With examples in the prompt, if that differs.
        documents: With a document in the prompt, if that differs.
        usd_per_1k: A thousand answers; None leaves the price out.
        silent: Whether it reports no token counts.
    """

    answers: Answer
    shots: Answer | None = None
    documents: Answer | None = None
    usd_per_1k: float | None = None
    latency_ms: float = 0.0
    hosted: bool = False
    silent: bool = False

    def section(self, name: str) -> str:
        lines = [f"[models.{name}]", 'provider = "scripted"', f'function = "replies.py:{name}"']
        if self.usd_per_1k is not None:
            lines += [f"input_usd_per_mtok = {50 * self.usd_per_1k}", "output_usd_per_mtok = 0.0"]
        if self.latency_ms:
            lines.append(f"latency_ms = {self.latency_ms}")
        return "\n".join([*lines, *(["plays_hosted = true"] if self.hosted else [])])


def share(p: float, salt: str = "") -> Callable[[int], bool]:
    """True for exactly that share of every hundred questions, the same ones every time."""
    chosen: dict[int, set[int]] = {}

    def holds(i: int) -> bool:
        block = i // 100
        if block not in chosen:
            chosen[block] = set(random.Random(f"{salt}{block}").sample(range(100), round(100 * p)))
        return i % 100 in chosen[block]

    return holds


@dataclass(kw_only=True)
class HandMade:
    """A project that is written, run and decided through the command line."""

    root: Path
    truth: Answer
    models: Mapping[str, Scripted]
    n: int = 200
    n_examples: int = 300
    labels: Answer | None = None
    text: Callable[[int], str] | None = None
    rewords: bool = False
    task: Mapping[str, Any] = field(default_factory=dict)
    sections: str = ""
    case: Callable[[int], Mapping[str, Any]] = field(default=lambda i: {})
    graders: str = '[[graders]]\ntype = "exact"'
    documents: Mapping[str, str] = field(default_factory=dict)
    ladder: str = ""

    def write(self) -> HandMade:
        """Write the project."""
        root = self.root
        root.mkdir(parents=True)
        total = [*range(self.n), *range(1000, 1000 + self.n_examples)]
        models = {
            name: {
                which: {str(i): reply(i) for i in total}
                for which, reply in (("answers", one.answers), ("shots", one.shots), ("documents", one.documents))
                if reply
            }
            | ({"silent": True} if one.silent else {})
            for name, one in self.models.items()
        }
        (root / "models.json").write_text(json.dumps(models))
        source = f"# Part of what the answers depend on: {content_hash(models)}\n{FUNCTIONS}"
        functions = [f'def {name}(request):\n    return reply("{name}", request)\n' for name in self.models]
        (root / "replies.py").write_text("\n\n".join([source, *functions]))
        labels = self.labels or self.truth
        cases = [{"input": self.question(i), "expected": labels(i), **self.case(i)} for i in range(self.n)]
        (root / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in cases))
        rows = [
            {"messages": [{"role": "user", "content": self.question(i)}, {"role": "assistant", "content": labels(i)}]}
            for i in total[self.n :]
        ]
        if rows:
            (root / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for name, content in self.documents.items():
            (root / "documents").mkdir(exist_ok=True)
            (root / "documents" / name).write_text(content)
        task = {"name": "hand-made", "target": 0.9} | self.task
        lines = [f"{key} = {json.dumps(value)}" for key, value in task.items() if value is not None]
        body = ["[task]", *lines, *(["[examples]"] if rows else []), "[prompt]", 'system = "Answer."']
        body += [self.graders, *(one.section(name) for name, one in self.models.items())]
        body += ["[ladder]", f'baseline = "{next(iter(self.models))}"', self.ladder, self.sections]
        (root / "tuneworthy.toml").write_text("\n".join(body) + "\n")
        return self

    def question(self, i: int) -> str:
        """The text of question `i`: words that tell nothing of the answer, unless `text` says otherwise."""
        words = " ".join(random.Random(i).sample(WORDS, 12))
        return f"{self.marker(i)} {self.text(i) if self.text else words}"

    def marker(self, i: int) -> str:
        """The number in the text by which a model knows the question: an identifier, or a word where texts reword."""
        return f"q{str(i).translate(LETTERS) if self.rewords else i}q"

    def edit(self, old: str, new: str) -> HandMade:
        """Change the project file."""
        path = self.root / "tuneworthy.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
        return self


@dataclass(frozen=True)
class Told:
    """What the commands say of a task.

    Attributes:
        verdict: `decide --json`.
        status: Its exit status.
        terminal: What `decide` prints.
        paragraph: What `report` prints.
        page: The report.
        record: `run --json`.
    """

    verdict: dict[str, Any]
    status: int
    terminal: str
    paragraph: str
    page: str
    record: dict[str, Any]

    @property
    def outcome(self) -> str:
        return str(self.verdict["outcome"])

    def option(self, name: str) -> dict[str, Any]:
        return next(row for row in self.verdict["options"] if row["option"] == name)

    def reason(self, name: str) -> str:
        return next(row["status"] for row in self.verdict["training"]["reasons"] if row["reason"] == name)

    @property
    def everything(self) -> str:
        return " ".join([self.terminal, self.paragraph, re.sub(r"<[^>]+>", " ", self.page)])

    def says_none_of(self, *phrases: str) -> None:
        for phrase in phrases:
            assert phrase not in self.everything, phrase


@cache
def kept_answers() -> Path:
    """A folder for the answers of this process's tasks."""
    folder = Path(mkdtemp(prefix="tasks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def keep(answers: Path, kept: Path) -> None:
    """Add the free answers of a store to those that are kept."""
    with closing(sqlite3.connect(answers)) as store:
        if not kept.exists():
            store.execute("VACUUM INTO ?", [str(kept)])
        store.execute("ATTACH ? AS kept", [str(kept)])
        store.execute("INSERT OR IGNORE INTO kept.responses SELECT * FROM responses")
        store.execute("DELETE FROM kept.responses WHERE cost_usd > 0")
        store.execute("DELETE FROM kept.open_calls")
        store.execute("DELETE FROM kept.further_answers")
        store.commit()


def ask(made: HandMade, capsys: pytest.CaptureFixture[str], *, probe: bool = True, rungs: Sequence[str] = ()) -> Told:
    """Run, decide and report a task through the command line.

    Free answers are kept for the session: a task with the cases, examples and models of an earlier one asks nothing
    twice, and one with its cases and examples trains no classical model for it again.
    """
    root = str(made.root)
    capsys.readouterr()
    answers = made.root / ".tuneworthy" / "responses.sqlite"
    rows = [path.read_text() for path in sorted(made.root.glob("*.jsonl"))]
    kept = kept_answers() / f"{content_hash(rows)}.sqlite"
    if kept.exists() and not answers.exists():
        answers.parent.mkdir(exist_ok=True)
        shutil.copy(kept, answers)
    picked = [part for name in rungs for part in ("--rung", name)]
    assert invoke(["run", "--project", root, "--yes", "--json", *picked]) == 0, capsys.readouterr().err
    record = json.loads(capsys.readouterr().out)
    status = invoke(["decide", "--project", root, "--yes", *(["--probe"] if probe else [])])
    terminal = capsys.readouterr().out
    assert invoke(["decide", "--project", root, "--json"]) == status
    verdict = json.loads(capsys.readouterr().out)
    keep(answers, kept)
    assert invoke(["report", "--project", root, "--out", str(made.root / "report.md")]) == 0
    paragraph = capsys.readouterr().out
    wide = [line for line in terminal.splitlines() if len(line) > 80 and "[" in line[:50] and "  " in line.strip()]
    assert not wide, wide
    return Told(verdict, status, terminal, paragraph, (made.root / "report.md").read_text(), record)
