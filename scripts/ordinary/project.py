"""A task with a known truth: its CSV file, its simulated models, the commands that are run, and the judgement.

The texts are real or generated; the answers of the models are written down, so that their accuracy is known.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

from scripts.ordinary.rows import Row

from tuneworthy.config import load

Outcome = Literal["do_not_fine_tune", "fine_tune", "undecided"]
LIMIT_S: Final = 900
FUNCTIONS: Final = '''
import json
from functools import cache
from pathlib import Path

from tuneworthy.types import Response

QUESTIONS = json.loads((Path(__file__).parent / "answers.json").read_text())


@cache
def question(text):
    """The longest known question in a prompt; parts of a question are lines."""
    text = " ".join(text.split())
    found = (known for known in QUESTIONS if all(part in text for part in known.split("\\n")))
    return text if text in QUESTIONS else max(found, key=len)


def reply(name, request):
    answers = QUESTIONS[question(request.messages[-1]["content"])][name]
    shots = any(message["role"] == "assistant" for message in request.messages)
    documents = "DOCUMENT" in " ".join(message["content"] for message in request.messages)
    which = "documents" if documents and "documents" in answers else "plain"
    which = "shots" if shots and "shots" in answers and which == "plain" else which
    read = sum(len(message["content"]) for message in request.messages) // 4
    return Response(text=answers[which], input_tokens=max(1, read), output_tokens=max(1, len(answers[which]) // 4))
'''


@dataclass(frozen=True, kw_only=True)
class Model:
    """A simulated model.

    Attributes:
        right: Share of the questions that it answers right.
        shots: The share with examples in the prompt, if that differs; `documents`: with a document.
        usd_per_1k: Price of a thousand answers; None leaves it out.
        latency_ms: Of each answer.
        hosted: Whether it simulates a hosted model.
        never: A label that it never says.
    """

    right: float
    shots: float | None = None
    documents: float | None = None
    usd_per_1k: float | None = 1.0
    latency_ms: float = 0.0
    hosted: bool = True
    never: str = ""

    def section(self, name: str, tokens: float) -> str:
        """Return its section, priced for prompts of so many tokens."""
        lines = [f"[models.{name}]", 'provider = "scripted"', f'function = "replies.py:{name}"']
        if self.usd_per_1k is not None:
            lines += [f"input_usd_per_mtok = {1000 * self.usd_per_1k / tokens}", "output_usd_per_mtok = 0.0"]
        if self.latency_ms:
            lines.append(f"latency_ms = {self.latency_ms}")
        return "\n".join([*lines, *(["plays_hosted = true"] if self.hosted else []), ""])


@dataclass(frozen=True, kw_only=True)
class Task:
    """A CSV file, and its truth, which is written before it is run.

    Attributes:
        rows: Makes the rows from the folder of public data. `_truth` is the right answer where the label is wrong; such
            columns are not written.
        question: Columns that are asked; `answer`: the column of the right answer.
        kind: Right kind; `graders`: right first graders.
        outcome: Right outcomes; `recommended`: beginnings of right recommendations, any if empty.
        models: Today's first.
        args: For `init`. Where `asks`, `init` must first stop and name `--expected`; it then gets these.
        examples: Makes the rows of a second file.
        lines: Text that is added to the project file; `ladder`: to its section of that name.
        acceptable: Whether an undecided answer is acceptable.
    """

    name: str
    rows: Callable[[Path], list[Row]]
    question: Sequence[str]
    answer: str
    kind: str
    graders: Sequence[str]
    outcome: Sequence[Outcome]
    models: Mapping[str, Model]
    target: float
    recommended: Sequence[str] = ()
    args: Sequence[str] = ()
    asks: bool = False
    examples: Callable[[Path], list[Row]] | None = None
    requests_per_month: float | None = 200_000
    margin: float = 0.05
    lines: str = ""
    ladder: str = ""
    acceptable: bool = False
    delimiter: str = ","
    bom: bool = False
    documents: Callable[[Path], Mapping[str, str]] | None = None
    public: bool = True


@dataclass
class Judged:
    """How a task ended; `notes` say why."""

    name: str
    kind: bool = False
    grader: bool = False
    column: bool = False
    outcome: str = ""
    recommended: str = ""
    verdict: str = "failed"
    overlap: bool = False
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def read_right(self) -> bool:
        return self.kind and self.grader and self.column

    def line(self) -> str:
        marks = " ".join("yes" if right else "NO " for right in (self.kind, self.grader, self.column))
        overlap = " OVERLAP" if self.overlap else ""
        option = f"{self.outcome} ({self.recommended})" if self.outcome else ""
        notes = " | ".join(self.notes)
        return f"{self.name:22} {marks}  {self.verdict:11}{overlap} {option} {self.seconds:.0f} s  {notes}"


def _order(salt: str, texts: Sequence[str]) -> list[str]:
    return sorted(texts, key=lambda text: sha256(f"{salt}\0{text}".encode()).digest())


def _wrong(kind: str, right: str, others: Sequence[str], draw: random.Random) -> str:
    """Return a wrong answer of the right form."""
    if kind == "json":
        value = json.loads(right)
        other = json.loads(draw.choice(others))
        for name in draw.sample(sorted(value), max(1, len(value) // 2)):
            value[name] = other[name] if other.get(name, value[name]) != value[name] else "unknown"
        return json.dumps(value)
    if re.fullmatch(r"[\d,.]+", right) and kind != "label":
        return str(float(right.replace(",", "")) + draw.randint(1, 9))
    candidates = [text for text in draw.sample(others, min(40, len(others))) if text != right]
    return draw.choice(candidates or [text for text in others if text != right])


def _answers(task: Task, rows: Sequence[Row]) -> dict[str, dict[str, dict[str, str]]]:
    """Return question to model to condition to answer."""
    keys = ["\n".join(" ".join(str(row[name]).split()) for name in task.question) for row in rows]
    groups = {key: str(row.get("group", key)) for key, row in zip(keys, rows, strict=True)}
    truths = [_first(str(row.get("_truth", row[task.answer]))) for row in rows]
    answers: dict[str, dict[str, dict[str, str]]] = {key: {} for key in keys}
    for name, model in task.models.items():
        for which, share in (("plain", model.right), ("shots", model.shots), ("documents", model.documents)):
            if share is None:
                continue
            names = _order(name, sorted({*groups.values()}))
            known = set(names[: round(share * len(names))])
            right = {key for key in keys if groups[key] in known}
            draw = random.Random(f"{task.name}{name}")
            said = [text for text in truths if text != model.never]
            for key, truth in zip(keys, truths, strict=True):
                wrong = _wrong(task.kind, truth, said, draw)
                answers[key].setdefault(name, {})[which] = truth if key in right and truth != model.never else wrong
    return answers


def _first(answer: str) -> str:
    """Return the first of several accepted answers."""
    return str(json.loads(answer)[0]) if answer.startswith("[") else answer


def write_rows(task: Task, rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8-sig" if task.bom else "utf-8") as file:
        columns = [name for name in rows[0] if not name.startswith("_")]
        writer = csv.DictWriter(file, columns, delimiter=task.delimiter, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def command(*words: str | Path, root: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line that belongs to this Python, trusting the task's folder."""
    environment = os.environ | {
        "TUNEWORTHY_TRUST": str(root),
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    words = (sys.executable, "-m", "tuneworthy", *map(str, words))
    return subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False)


def configure(task: Task, root: Path, rows: Sequence[Row]) -> None:
    """Put the simulated models, the target and the traffic into the project that `init` wrote."""
    (root / "answers.json").write_text(json.dumps(_answers(task, rows)))
    functions = [f'def {name}(request):\n    return reply("{name}", request)\n' for name in task.models]
    (root / "replies.py").write_text("\n\n".join([FUNCTIONS, *functions]))
    text = (root / "tuneworthy.toml").read_text()
    before, rest = re.split(r"^(?=\[models\.)", text, maxsplit=1, flags=re.M)
    after = rest[rest.index("[ladder]") :]
    after = re.sub(r'baseline = ".*"', f'baseline = "{next(iter(task.models))}"\n{task.ladder}', after)
    if task.requests_per_month is not None:
        after = after.replace("# requests_per_month =", f"requests_per_month = {task.requests_per_month} #")
    before = before.replace("# target =", f"target = {task.target} #").replace(
        "margin = 0.05", f"margin = {task.margin}"
    )
    system = load(root).text("prompts/system.md") or ""
    letters = sum(len(str(row[name])) for row in rows for name in task.question) / len(rows) + len(system)
    sections = "\n".join(model.section(name, letters / 4) for name, model in task.models.items())
    (root / "tuneworthy.toml").write_text(f"{before}{sections}\n{after}\n{task.lines}\n")


def judge(task: Task, data: Path, folder: Path, *, only_init: bool = False) -> Judged:
    """Write the file, run the commands on it and compare with the truth."""
    started, judged = time.monotonic(), Judged(task.name)
    try:
        _judge(task, data, folder, judged, only_init)
    except (subprocess.TimeoutExpired, json.JSONDecodeError, OSError, KeyError, StopIteration) as error:
        judged.notes.append(f"{type(error).__name__}: {error}"[:200])
    judged.seconds = time.monotonic() - started
    return judged


def _judge(task: Task, data: Path, folder: Path, judged: Judged, only_init: bool) -> None:
    rows = task.rows(data)
    folder.mkdir(parents=True, exist_ok=True)
    source, root = folder / f"{task.name}.csv", folder / task.name
    write_rows(task, rows, source)
    call, args = partial(command, root=root), [*task.args]
    if task.examples:
        more, file = task.examples(data), folder / f"{task.name}.examples.csv"
        write_rows(task, more, file)
        args += ["--examples", str(file)]
        rows = [*rows, *more]
    made = call("init", root, "--data", source, "--json", *(() if task.asks else args))
    if task.asks and made.returncode == 2 and "--expected" in made.stderr:
        made = call("init", root, "--data", source, "--json", *args)
    elif task.asks and made.returncode == 0:
        judged.notes.append("init did not ask for --expected")
    judged.column = made.returncode == 0 and _has_columns(task, rows, root) and not judged.notes
    if made.returncode or not _has_columns(task, rows, root):
        judged.notes.append(f"columns: {_short(made.stderr) or 'wrong'}")
        shutil.rmtree(root, ignore_errors=True)
        names = [word for name in task.question for word in ("--input", name)]
        made = call("init", root, "--data", source, "--json", *names, "--expected", task.answer)
    _judge_init(task, root, json.loads(made.stdout)["kind"], judged)
    if only_init:
        return
    configure(task, root, rows)
    _add_documents(task, data, root)
    checked = call("check", "--project", root)
    if checked.returncode not in (0, 4):
        judged.notes.append(f"check {checked.returncode}: {_short(checked.stderr or checked.stdout)}")
    ran = call("run", "--project", root, "--yes", "--json")
    if ran.returncode:
        judged.notes.append(f"run {ran.returncode}: {_short(ran.stderr)}")
    (folder / f"{task.name}.run.json").write_text(ran.stdout)
    decided = call("decide", "--project", root, "--probe", "--yes", "--json")
    (folder / f"{task.name}.json").write_text(decided.stdout)
    if decided.returncode not in (0, 3, 4):
        judged.notes.append(f"decide {decided.returncode}: {_short(decided.stderr)}")
        return
    _judge_verdict(task, json.loads(decided.stdout), judged)


def _short(text: str) -> str:
    return " ".join(text.split())[-300:]


def _has_columns(task: Task, rows: Sequence[Row], root: Path) -> bool:
    """Return whether the cases have the columns of the question and of the answer."""
    right = {json.dumps(_parsed(row[task.answer])) for row in rows}
    cases = _cases(root)
    questions = "\n".join(" ".join(case["input"].split()) for case in cases)
    known = sum(" ".join(str(row[name]).split()) in questions for row in rows for name in task.question)
    answers = all(json.dumps(case.get("expected")) in right for case in cases)
    return answers and known >= 0.8 * len(cases)


def _judge_init(task: Task, root: Path, kind: str, judged: Judged) -> None:
    judged.kind = kind == task.kind
    grader = re.findall(r'^type = "(\w+)"', (root / "tuneworthy.toml").read_text(), re.M)[0]
    judged.grader = grader in task.graders
    if not judged.kind or not judged.grader:
        judged.notes.append(f"kind {kind}, grader {grader}, e.g. {json.dumps(_cases(root)[0])[:160]}")


def _cases(root: Path) -> list[Any]:
    return [json.loads(line) for line in (root / "cases.jsonl").read_text().splitlines()]


def _parsed(cell: Any) -> Any:
    text = str(cell).strip()
    return json.loads(text) if text[:1] in ("{", "[") else text


def _add_documents(task: Task, data: Path, root: Path) -> None:
    if task.documents:
        (root / "documents").mkdir()
        for name, text in task.documents(data).items():
            (root / "documents" / name).write_text(text)


def _judge_verdict(task: Task, verdict: Mapping[str, Any], judged: Judged) -> None:
    judged.outcome, judged.recommended = verdict["outcome"], str(verdict["recommendation"])
    gates = {gate["gate"]: gate["status"] for gate in verdict["gates"]}
    right = judged.outcome in task.outcome
    option = not task.recommended or judged.recommended.startswith(tuple(task.recommended))
    if judged.outcome == "undecided" and not right:
        judged.verdict = "acceptable" if task.acceptable else "undecided"
        judged.overlap = gates.get("contamination") not in ("pass", "waived")
    else:
        judged.verdict = "right" if right and option else "WRONG"
    if judged.verdict != "right":
        step = (verdict.get("next_action") or {}).get("command") or (verdict.get("next_action") or {}).get("why")
        why = "; ".join(str(reason) for reason in verdict["reasons"][:1])
        judged.notes.append(f"{verdict.get('reason_code')}: {why[:260]} Next: {str(step)[:120]}")
