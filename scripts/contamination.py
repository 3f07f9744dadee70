"""Measure what the check `contamination` finds, and whether what it drops was to be dropped.

    python -m scripts.contamination --seed 1 [--cases 400] [--data ../shared/data] [--corpus FILE.jsonl]

Rows and cases of real data (BANKING77: labels; RESTAURANT-8K: JSON; XQuAD: short answers), read where they lie, and of
a corpus of lines ``{"prompt": ..., "completion": ...}`` (free text), whose cases are drawn from its rows. Copies of
cases are planted, each with the answer of its case: equal texts; folded ones (letters that look alike, characters that
are not seen, other case and punctuation); quoted in a system prompt; one or two words replaced, added, left out or
moved. Recall is the share of the copies that is dropped. Precision is judged by the answers, not by the check: of all
rows that are dropped, the share that was planted, or whose answer is the one of the case that is named.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, overload

from tuneworthy.cases.dataset import search
from tuneworthy.types import Case, Example, Message

DATA = Path(__file__).parents[2] / "shared" / "data"
LOOKALIKES = str.maketrans("aceiopxysAEOTMH", "асеіорхуѕАЕОТМН")
UNSEEN = ("\u200b", "\u200d", "\u2060", "\u00ad", "\u202e")
# Words that people add.
FILLERS = ["please", "now", "just", "really", "today", "again", "maybe", "here", "then", "actually"]


class Pairs(Sequence[Example]):
    """Rows that are made on access.

    Args:
        pairs: System prompt, question and answer of each.
    """

    def __init__(self, pairs: list[tuple[str, str, str]]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    @overload
    def __getitem__(self, number: int) -> Example: ...
    @overload
    def __getitem__(self, number: slice) -> list[Example]: ...
    def __getitem__(self, number: int | slice) -> Example | list[Example]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        system, question, answer = self.pairs[number]
        turns: list[Message] = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        head: list[Message] = [{"role": "system", "content": system}] if system else []
        return Example(messages=(*head, *turns), id=str(number))


@dataclass(frozen=True)
class DataSet:
    """Clean rows and cases.

    Attributes:
        rows: Question and answer of each.
        cases: Question and answer of each; answers as rows write them.
        same: Whether a row's answer is a case's.
    """

    rows: list[tuple[str, str]]
    cases: list[tuple[str, str]]
    same: Callable[[str, str], bool]


def equal_texts(one: str, other: str) -> bool:
    """Whether two answers are letter by letter the same."""
    return one.strip().lower() == other.strip().lower()


def equal_json(one: str, other: str) -> bool:
    """Whether two answers are the same JSON, but for the punctuation of their texts ("3 pm", "3 p.m.")."""
    plain = [json.dumps(json.loads(text.lower().replace(".", "").replace(" ", "")), sort_keys=True)
             for text in (one, other)]  # fmt: skip
    return plain[0] == plain[1]


def alike(one: str, other: str) -> bool:
    """Whether two free texts have half of their words in common, in order."""
    return SequenceMatcher(None, one.lower().split(), other.lower().split(), autojunk=False).ratio() >= 0.5


def intents(folder: Path) -> DataSet:
    """Return BANKING77."""
    rows, cases = ([(row["text"], row["category"]) for row in csv.DictReader((folder / "banking77" / name).open())]
                   for name in ("train.csv", "test.csv"))  # fmt: skip
    return DataSet(rows, cases, equal_texts)


def slots(folder: Path) -> DataSet:
    """Return RESTAURANT-8K: what was asked for appears in front of the text."""
    parts = []
    for name in ("train.json", "test.json"):
        part = []
        for row in json.loads((folder / "restaurant8k" / name).read_text()):
            text, asked = row["userInput"]["text"], (row.get("context") or {}).get("requestedSlots", [])
            spans = {one["slot"]: one["valueSpan"] for one in row.get("labels", [])}
            answer = {slot: text[span.get("startIndex", 0) : span["endIndex"]] for slot, span in spans.items()}
            part.append((f"{', '.join(asked) or 'none'}\n{text}", json.dumps(answer)))
        parts.append(part)
    return DataSet(parts[0], parts[1], equal_json)


def answers(folder: Path) -> DataSet:
    """Return XQuAD: the questions of one half of the articles are cases, those of the other are rows."""
    data = json.loads((folder / "xquad" / "xquad.en.json").read_text())["data"]
    halves: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for number, article in enumerate(data):
        for paragraph in article["paragraphs"]:
            halves[number % 2].extend((qa["question"], qa["answers"][0]["text"]) for qa in paragraph["qas"])
    return DataSet(*halves, equal_texts)


def chats(path: Path, n_cases: int, seed: int) -> DataSet:
    """Return a corpus; its cases are drawn from it, and the rows with their very question leave it."""
    with path.open(encoding="utf-8") as lines:
        rows = [(row["prompt"], row["completion"]) for row in map(json.loads, lines)]
    cases = random.Random(seed).sample(rows, n_cases)
    asked = {question for question, _ in cases}
    return DataSet([row for row in rows if row[0] not in asked], cases, alike)


def edited(text: str, n: int, vocabulary: Sequence[str], rng: random.Random) -> str:
    """Return `text` with `n` words replaced, added, left out or moved by one; names and numbers stay.

    A question with another name or number is another question.
    """
    words = text.split(" ")
    plain = [place for place, word in enumerate(words) if not place or (word.islower() and word.isascii())]
    plain = [place for place in plain if not any(map(str.isdigit, words[place]))]
    for place in sorted(rng.sample(plain, min(n, len(plain))), reverse=True):
        kind = rng.choice(("replace", "add", "drop", "move"))
        if kind == "replace":
            words[place] = rng.choice(vocabulary)
        elif kind == "add":
            words.insert(place, rng.choice(FILLERS))
        elif kind == "drop" and len(words) > 2:
            del words[place]
        elif place:
            words[place - 1 : place + 1] = words[place], words[place - 1]
    return " ".join(words)


def folded(text: str, rng: random.Random) -> str:
    """Return `text` as somebody writes it who hides it from an exact comparison."""
    kind = rng.randrange(4)
    if kind == 0:
        return text.upper() if rng.random() < 0.5 else text.lower().rstrip("?.!") + " !!"
    if kind == 1:
        return text.translate(LOOKALIKES)
    if kind == 2:
        return "".join(letter + (rng.choice(UNSEEN) if rng.random() < 0.2 else "") for letter in text)
    return "  " + text.replace(" ", "\u00a0").replace("'", "’") + "…"


def planted(cases: list[tuple[str, str]], rows: list[tuple[str, str]], rng: random.Random) -> dict[str, list[Any]]:
    """Return copies of cases by kind, each of a case of its own where there are enough of at least 4 words."""
    vocabulary = [
        word
        for question, _ in rng.sample(rows, min(len(rows), 2000))
        for word in question.split()
        if word.islower() and not any(map(str.isdigit, word))
    ]
    long = [case for case in cases if len(case[0].split()) >= 4]
    quoted = [case for case in cases if len(case[0].split()) >= 6]
    label = "{} (sure)" if all(answer.isidentifier() for _, answer in cases) else "{}"
    return {
        "exact": [("", *case) for case in cases],
        "folded": [("", folded(question, rng), answer) for question, answer in cases],
        "system prompt": [
            (f"You answer customers. An example of what they ask: {case[0]} Be brief.", *rng.choice(rows))
            for case in quoted
        ],
        "one word": [("", edited(question, 1, vocabulary, rng), answer) for question, answer in long],
        "two words": [("", edited(question, 2, vocabulary, rng), answer) for question, answer in long],
        "wrapped": [("", f"hello, {question} thanks for your help", answer) for question, answer in long],
        "other answer": [("", edited(question, 1, vocabulary, rng), label.format(answer)) for question, answer in long],
    }


def measure(name: str, data: DataSet, n_cases: int, seed: int) -> str:
    """Return a line of figures; copies of one kind at a time stand beside all clean rows."""
    rng = random.Random(seed)
    chosen = rng.sample(data.cases, min(n_cases, len(data.cases)))
    cases = []
    for number, (question, answer) in enumerate(chosen):
        cases.append(Case(id=str(number), input=question, expected=_expected(answer, data)))
    copies = planted(chosen, data.rows, rng)
    clean = [("", *row) for row in data.rows]
    if len(clean) > 100_000:  # all kinds at once: each search of a million rows takes a minute
        copies = {"all": [copy for some in copies.values() for copy in some], **copies}
    found: Counter[str] = Counter()
    right = n_dropped = n_clean = 0
    started = time.process_time()
    for kind in ("all",) if "all" in copies else tuple(copies):
        rows = Pairs([*clean, *copies[kind]])
        hits = [hit for hit in search(rows, cases) if hit.certain]
        kinds = [kind] * len(copies[kind])
        if kind == "all":
            kinds = [each for each in copies if each != "all" for _ in copies[each]]
        for hit in hits:
            if hit.row >= len(clean):
                found[kinds[hit.row - len(clean)]] += 1
            else:
                right += data.same(rows[hit.row].answer, chosen[int(hit.case_id)][1])
        n_clean = sum(hit.row < len(clean) for hit in hits)
        n_dropped += n_clean
    seconds = time.process_time() - started
    recall = ", ".join(f"{kind} {found[kind] / len(some):.3f}" for kind, some in copies.items() if kind != "all")
    n_found = found.total()
    return (
        f"{name}: n = {len(clean)} rows, {len(cases)} cases. Recall: {recall}. Precision: "
        f"{(right + n_found) / max(1, n_dropped + n_found):.3f}; of clean rows alone {right} of {n_dropped}. "
        f"Clean rows dropped: {n_clean / len(clean):.2%}. {seconds:.0f} s."
    )


def _expected(answer: str, data: DataSet) -> Any:
    return json.loads(answer) if data.same is equal_json else answer


def main() -> None:
    """Measure each set and print its line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--corpus", type=Path)
    args = parser.parse_args()
    if args.corpus:
        print(measure(args.corpus.stem, chats(args.corpus, args.cases, args.seed), args.cases, args.seed), flush=True)
    for name, read in (("intents", intents), ("slots", slots), ("answers", answers)):
        if args.data.is_dir():
            print(measure(name, read(args.data), args.cases, args.seed), flush=True)
    print(f"Largest resident size: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
