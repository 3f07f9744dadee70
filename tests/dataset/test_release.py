"""Faults planted in banking77's training set, walked through one `data build` of a project."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.dataset.test_planted_faults import DATA, PLACES, SEED, edited, personal
from tests.real_data import needs_real_data
from tuneworthy.cases import read_cases, read_examples
from tuneworthy.cases.dataset import search
from tuneworthy.cli import invoke
from tuneworthy.dataset.freeze import Version, open_version
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.store import Folder

pytestmark = needs_real_data
FAQ_SHARE = 0.3
LEFT = "banking77: "


@dataclass
class Corpus:
    """Rows by file, and where each planted fault stands: kind to sources (`file:line`)."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"logs.jsonl": [], "more.jsonl": []})
    planted: dict[str, list[str]] = field(default_factory=dict)

    def add(self, file: str, question: str, answer: str, kind: str = "") -> None:
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        self.rows[file].append({"messages": messages})
        if kind:
            self.planted.setdefault(kind, []).append(f"{file}:{len(self.rows[file])}")

    def write(self, folder: Path) -> list[str]:
        for name, rows in self.rows.items():
            (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return [str(folder / name) for name in self.rows]


def faq(rng: random.Random) -> str:
    """One question in many words: what is asked stays, all around it changes."""
    who = rng.choice(["I", "my wife", "a colleague", "my son", "the two of us", "somebody here", "our office"])
    when = rng.choice(["on Monday", "last night", "in June", "after the update", "abroad", "at the airport", "at noon"])
    what = rng.choice(["forgot", "lost", "mistyped", "cannot recall", "no longer know", "was asked for", "locked"])
    how = rng.choice(
        ["how is it reset", "please reset it", "how to get a new one", "what now", "reset it", "a new one?"]
    )
    end = rng.choice(["", "thanks", "it is urgent", "no hurry", "by mail if possible", "on the phone", "in the app"])
    return f"{when} {who} {what} the password of the online account, {how} {end}".strip()


def plant(n_train: int, n_overlaps: int, n_wrong: int) -> Corpus:
    """Return banking77's training set, or a part of it, with faults."""
    rng = random.Random(SEED)
    train = list(read_examples(DATA / "train.csv").examples)
    cases = list(read_cases(DATA / "test.csv").cases)
    train = train if n_train >= len(train) else rng.sample(train, n_train)
    labels = sorted({each.answer for each in train})
    innocent = sorted(set(range(len(train))) - {hit.row for hit in search(train, cases)})
    wrong = set(rng.sample(innocent, n_wrong))
    corpus = Corpus()
    for number, each in enumerate(train):
        if number in wrong:
            other = rng.choice([label for label in labels if label != each.answer])
            corpus.add("logs.jsonl", each.question, other, "wrong_label")
        else:
            corpus.add("logs.jsonl", each.question, each.answer)
    for kind, values in zip(("valid", "invalid"), personal(rng), strict=True):
        for number, value in enumerate(values):
            corpus.add("logs.jsonl", PLACES[number % len(PLACES)].format(value), rng.choice(labels), kind)
    for _ in range(int(len(corpus.rows["logs.jsonl"]) * FAQ_SHARE / (1 - FAQ_SHARE))):
        corpus.add("logs.jsonl", faq(rng), "passcode_forgotten", "faq")
    drawn = rng.sample(cases, n_overlaps)
    for number, case in enumerate(drawn):
        shouted = case.text.upper() if number % 2 else f"{case.text.lower().rstrip('?.!')} !"
        text = (case.text, shouted, edited(case.text, rng))[number % 3]
        corpus.add("more.jsonl", text, str(case.expected), ("exact", "case", "edited")[number % 3])
    return corpus


def built(folder: Path, corpus: Corpus, data: str) -> Version:
    """Make a project of the real data, import the corpus, build once."""
    root = folder / "project"
    files = ["--data", str(DATA / "test.csv"), "--examples", str(DATA / "train.csv")]
    assert invoke(["init", str(root), *files, "--input", "text", "--expected", "category"]) == 0
    toml = root / "tuneworthy.toml"
    toml.write_text(f"{toml.read_text()}\n[data]\n{data}\n")
    assert invoke(["data", "build", *corpus.write(folder), "--project", str(root)]) == 0
    assert invoke(["report", "data", "--out", str(folder / "card.md"), "--project", str(root)]) == 0
    return open_version(Folder(root))


class Told:
    """What a version says of the planted rows."""

    def __init__(self, version: Version, corpus: Corpus) -> None:
        self.corpus, self.reasons = corpus, Counter[str]()
        self.by_source: dict[str, set[str]] = {}
        self.doubted: list[str] = []
        self.set: list[str] = []
        for one in [*version.rejects(), *version.findings()]:
            if not one.source:
                self.set.append(f"{one.reason} {one.detail}")
                continue
            self.by_source.setdefault(one.source, set()).add(one.reason)
            if one.reason == "label_error":
                self.doubted.append(one.source)
        self.kept = {row.source for row in version.examples()}

    def found(self, kinds: Sequence[str], reasons: Sequence[str]) -> tuple[int, int]:
        """Return how many planted rows are told for one of `reasons`, and how many there are."""
        rows = [source for kind in kinds for source in self.corpus.planted[kind]]
        return sum(bool(self.by_source.get(source, set()) & set(reasons)) for source in rows), len(rows)

    def figure(self, what: str, found: int, n: int) -> float:
        low, high = clopper_pearson(found, n)
        print(f"{LEFT}{what}: {found} of {n}, {found / n:.3f} [{low:.3f}, {high:.3f}]")
        return found / n


LEAK = ("overlap_exact", "overlap_ngram", "overlap_edit", "overlap_short_edit")
REPEATS = ("exact_duplicate", "near_duplicate", "over_cap")
DATA_KINDS = ("personal_data", "secret")


def hold_what_words_tell(told: Told, card: str) -> None:
    """Overlaps by words, personal data, the blown-up question: with or without an encoder."""
    assert told.figure("overlaps, exact or edited", *told.found(("exact", "case", "edited"), LEAK)) >= 0.98
    assert told.figure("valid personal data", *told.found(("valid",), DATA_KINDS)) >= 0.95
    n_invalid, n = told.found(("invalid",), DATA_KINDS)
    told.figure("invalid personal data taken for valid", n_invalid, n)
    assert n_invalid == 0
    left = [source for source in told.corpus.planted["faq"] if source in told.kept]
    told.figure("rows of the blown-up question that stay, of all that stay", len(left), len(told.kept))
    assert len(left) / len(told.kept) <= 0.13
    n_found, n = told.found(("faq",), REPEATS)
    assert n_found == n - len(left)
    page = card.replace("\\", "")
    for word in ("overlap_exact", "overlap_edit", "personal_data", "Rows by check", *{r for r in REPEATS if any(
        r in told.by_source.get(source, ()) for source in told.corpus.planted["faq"])}):  # fmt: skip
        assert word in page


@pytest.mark.slow
def test_planted_faults_are_found_in_one_build(tmp_path: Path) -> None:
    corpus = plant(1500, 60, 0)
    off = 'encoder = "off"\noff = ["label_errors"]'
    version = built(tmp_path, corpus, off)
    hold_what_words_tell(Told(version, corpus), (tmp_path / "card.md").read_text())
