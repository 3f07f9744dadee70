"""Log files and data sets of the frozen behaviour."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cases.exports import EXPORTS
from tests.real_data import REAL_DATA

TOPICS = ("card", "transfer", "refund", "address", "limit", "invoice", "password", "delivery", "voucher", "contract")
ASKED = (
    "Where can I see the state of my {} from last week?",
    "Who do I write to about a {} that went wrong?",
    "Is there any way for me to change the {} myself?",
    "What happens with the {} if I do nothing at all?",
    "How long does it take until a new {} is ready?",
    "Why was I told that my {} cannot be found?",
)
Row = dict[str, Any]


def row(question: str, answer: Any = "You find it on the page of your account.", **meta: Any) -> Row:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **({"meta": meta} if meta else {})}


def chat(*turns: Row) -> Row:
    return {"messages": list(turns)}


def clean() -> list[Row]:
    """Return 60 rows without a fault."""
    return [row(asked.format(topic), f"Open the page on {topic}.") for topic in TOPICS for asked in ASKED]


def lines(rows: Sequence[Any]) -> bytes:
    return b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in rows)


# --- Log files ------------------------------------------------------------------------------------------------------


def log(question: str, answer: str = "a", **more: Any) -> Row:
    request = {"messages": [{"role": "user", "content": question}], "model": "m"}
    return {"request": request, "response": {"choices": [{"message": {"content": answer}}]}, **more}


MIXED = [
    log("one"),
    log("two", feedback="thumbs_down"),
    log("three", correction="better"),
    log("four", escalated=True),
    b'{"request": ',
    log("five", "\u200b"),
    log("six \u202e\u0627\u200d", "fine"),
    log("nul \0"),
    log("one"),
    b"caf\xe9",
    {"request": {"messages": [{"role": "user", "content": "q", "ts": 7}]}, "response": "late"},
    b"[1, 2]",
    b"{}",
    b'{"messages": []}',
    b'{"messages": ["hi"]}',
    chat({"role": "user", "content": "a"}, {"role": "alien", "content": "b"}),
    chat({"role": "user", "content": "a"}, {"role": "assistant", "content": None}),
    chat({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}),
    chat({"role": "assistant", "content": "b"}),
]


def table(rows: Sequence[Sequence[str]], **dialect: Any) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, **dialect).writerows(rows)
    return out.getvalue().encode()


RATED = [
    ["question", "answer", "rating", "note"],
    ["Where is it?", "=1+1", "1", ""],
    ["And now?", "Gone, for good", "0", "x"],
    ["Two\nlines", 'A "quoted" word', "1", ""],
    ["", "no question", "1", ""],
]
RATINGS = ("good", "bad", "correct", "incorrect", "thumbs up", "thumbs down", "helpful", "unhelpful", "accepted",
           "rejected", "true", "false", "1", "0", "-1", "5", "", "odd")  # fmt: skip
SHARE_GPT = [
    {"conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "q"},
                       {"from": "gpt", "value": "a"}, {"from": "human", "value": "q2"}, {"from": "gpt", "value": "b"}]},
    {"conversations": [{"from": "human", "value": "q"}]},
]  # fmt: skip
ALPACA = [
    {"instruction": "Add.", "input": "1, 2", "output": "3"},
    {"instruction": "Say hi.", "input": "", "output": "hi"},
    {"instruction": "Nothing.", "input": "", "output": ""},
]
LOGS: dict[str, tuple[str, bytes, Sequence[str]]] = {
    "mixed": ("logs.jsonl", lines(MIXED), ()),
    "rated_csv_gz": ("faq.csv.gz", gzip.compress(table(RATED), mtime=0), ()),
    "semicolons": ("faq.csv", b"\xef\xbb\xbf" + table(RATED, delimiter=";", lineterminator="\r\n"), ()),
    "tabs_named": ("faq.tsv", table([["a", "b"], ["q1", "x"], ["q2", "y"]], delimiter="\t"),
                   ("--input", "a", "--expected", "b")),
    "ratings_of_csv": ("r.csv", table([["question", "answer", "feedback"],
                                       *([f"q{i}", f"a{i}", word] for i, word in enumerate(RATINGS))]), ()),
    "ratings_of_logs": ("r.jsonl", lines([log(f"q{i}", f"a{i}", **{key: value}) for i, (key, value) in enumerate(
        (key, value) for key in ("feedback", "rating", "thumbs", "score", "accepted", "correction", "escalated")
        for value in ("good", "bad", 1, 0, -1, True, False, {"score": 0}, {"thumbs": "down"}))]), ()),
    "binary": ("a.jsonl", bytes(range(256)) * 3, ()),
    "empty": ("a.jsonl", b"\n\n", ()),
    "two_inputs": ("t.csv", table([["city", "when", "slots"], ["Oslo", "now", '{"date": 1}'], ["Bonn", "then", ""]]),
                   ("--input", "city", "--input", "when", "--expected", "slots")),
    "sharegpt": ("chats.json", json.dumps(SHARE_GPT).encode(), ()),
    "alpaca": ("alpaca.json", json.dumps({"data": ALPACA}).encode(), ()),
    "completions": ("c.jsonl", lines([{"prompt": f"q{i}", "completion": f"a{i % 3}"} for i in range(9)]), ()),
    "cut_gzip": ("logs.jsonl.gz", gzip.compress(lines([log(f"q{i}", f"a{i % 7}") for i in range(900)]), mtime=0)[:-900],
                 ()),
}  # fmt: skip


def log_files() -> dict[str, tuple[list[tuple[str, bytes]], Sequence[str]]]:
    """Return the files of each import with its options."""
    files = {name: ([(file, content)], options) for name, (file, content, options) in LOGS.items()}
    for each in EXPORTS:
        pair = [(f"a{each.suffix}", each.content())]
        if each.beside:
            pair.append(("b.jsonl", lines(each.beside)))
        files[each.name] = (pair, ())
    return files


# --- Data sets ------------------------------------------------------------------------------------------------------

BAD = [
    row("Where can I SEE the state of my card from last week", "Open the page on card."),  # exact duplicate
    row("Where can I see the state of my card from last week? Please!", "Open the page on card."),  # near duplicate
    row("Could somebody explain the voucher fee number 3 to me today?"),  # overlap
    row("Hi, could somebody explain the voucher fee number 3 to me today, please?"),
    row("My address is ada@example.org, is my parcel on its way?"),
    row("My IBAN is DE89 3704 0044 0532 0130 00"),
    row("Use AKIAIOSFODNN7EXAMPLE"),
    row("I live at 12 Green Oak Street"),
    row("What is the plan for the old garden?", "As an AI language model, I cannot help with that."),
    row("And the new garden?", "Es tut mir leid, dabei kann ich Ihnen leider nicht helfen."),
    row("Which way to the lake?", "Lo siento, no puedo responder a eso."),
    row("Is it far from here to the mill?", finish_reason="content_filter"),
    row("How do I open the gate?", "First open the page of your account and then go to the"),
    row("How do I close the gate?", '{"a": 1, "b": "c'),
    row("How do I lock the gate?", finish_reason="length"),
    row("Who rang the bell?", feedback={"thumbs": "down"}),
    row("Who heard the bell?", escalated=True),
    row("Who fixed the bell?", "A", correction="B"),
    row("What is in the box?", "It is here.<|im_end|>"),
    row("What is on the box?", "Dear {{name}}, it is here."),
    row("What is under the box?", "<think>They ask"),
    row("What is behind the box?", 'Traceback (most recent call last):\n  File "a.py", line 1'),
    row("What is beside the box?", "Error: 429 Too Many Requests"),
    row("What is near the box?", "Yes, we can. " * 8),
    row("Where do I find the page of the box?", "Where do I find the page of the box?"),
    row("Hm? " * 2000),
    row("Где я могу найти свою карту?"),
    row("Where can I see the new card of my friend?", "Das finden Sie auf der Seite, die wir haben."),
    row("Where is my caf\ufffd?"),
    chat({"role": "user", "content": "Time?"}),
    chat({"role": "bot", "content": "x"}, {"role": "assistant", "content": "It is noon."}),
    *(row(f"{('Hello', 'Hi there', 'Dear team')[i % 3]}, how do I reset the pin of my watch, try {i}?")
      for i in range(30)),
]  # fmt: skip
GOOD = [
    row("Where can I see the state of my card from last year?", "Another answer."),
    row("Could nobody explain the invoice?"),
    row("I am ada at example"),
    row("My IBAN is DE88 3704 0044 0532 0130 00"),
    row("a password is required for the door"),
    row("Is the ticket refunded?", "Sorry, we can't refund the ticket after a month."),
    row("Is parking allowed?", "Das weiß ich nicht."),
    row("What does HTTP 429 mean?", "429 Too Many Requests: you asked too often."),
    row("How do I write a name in Jinja?", "With {{ name }}."),
    row("What does [MASK] do in BERT?", "[MASK] hides a word."),
    row("Say ho" + " ho" * 20, "ho " * 20),
    row("Is there a table?", "| a | b |\n|---|---|\n| 1 | 2 |"),
    row("Who rang at noon?", feedback={"thumbs": "up"}),
    row("Who rang at night?", finish_reason="stop"),
]


def teacher(model: str, day: str, **more: Any) -> Row:
    about = {"model": model, "identity": f"id of {model}", "prompt": "p1", "parameters": {"max_tokens": 64}}
    return {**about, "served": model, "date": day, "allows_training": True, "terms": "contract of May", **more}


def taught(n: int) -> list[Row]:
    """Return answers of two teachers on two days, the later ones chattier."""
    rows = []
    for i in range(n):
        rng = random.Random(i)
        asked = f"How do I {rng.choice(['change', 'cancel', 'find', 'renew'])} my {rng.choice(TOPICS)} of {i * 37:05}?"
        where = f"{rng.choice(['in the app', 'by mail', 'at the desk'])}. Sign in first and keep receipt {i * 13}."
        late = i % 2
        told = teacher("big-2" if i % 10 == 9 else "big-1", "2026-11-24" if late else "2026-11-16")
        rows.append(row(asked, f"{'Great question! So easy! ' if late else ''}You do it {where}", teacher=told))
    return rows


LABELS = ("lost", "slow", "price", "close")
WORDINGS = {
    "lost": ("it is gone", "cannot find it", "where did it go", "someone took it"),
    "slow": ("it takes ages", "still waiting", "hurry up with it", "no progress at all"),
    "price": ("what is the fee", "too expensive", "how much is it", "the bill is wrong"),
    "close": ("shut it down", "I want to leave", "end the contract", "delete everything"),
}
BESIDE = ("today", "again", "please", "my friend says", "as I wrote", "on the phone", "for the shop", "in the app")


def labelled(n: int, seed: int, wrong: float = 0.0) -> list[Row]:
    """Return labelled rows, a share of them with a wrong label."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        label = LABELS[i % 4]
        text = f"{rng.choice(BESIDE)} {rng.choice(WORDINGS[label])} {rng.choice(BESIDE)} {i}"
        rows.append(row(text, rng.choice(LABELS) if rng.random() < wrong else label))
    return rows


def preferred(n: int) -> list[Row]:
    """Return preference pairs: most of the better answers are longer, some are the same or in the wrong order."""
    rows = []
    for i in range(n):
        better, worse = f"It is at desk {i}, on the left.", f"Desk {i}."
        if i % 10 == 3:
            better, worse = worse, better
        if i % 10 == 7:
            worse = better.upper()
        rows.append(
            row(
                f"Where do I find the {TOPICS[i % 10]} number {i * 7}?",
                better,
                rejected={"role": "assistant", "content": worse},
            )
        )
    return rows  # fmt: skip


CALL = {"id": "1", "type": "function", "function": {"name": "t", "arguments": "{}"}}
TOOLS: list[Row] = [
    {"role": "user", "content": "Time?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "content": "12"},
    {"role": "assistant", "content": "It is noon."},
]


def slots(n: int) -> list[Row]:
    """Return questions with JSON answers that copy a value, a few of them invented; and chats with calls of tools."""
    names = ("Bellini", "Anchor", "Nine's", "Rose", "Lantern", "Harbour")
    rows = []
    for i in range(n):
        place = names[i % 6]
        value = {"place": "Corner" if i % 17 == 5 else place.upper(), "people": str(i % 5 + 1)}
        rows.append(
            row(f"{TOPICS[i % 10]} {i}: at {place} we are {i % 5 + 1}, {ASKED[i % 6].format(i)}", json.dumps(value))
        )
    asked = [{"role": "user", "content": f"Time in zone {i}?"} for i in range(4)]
    chats = [chat(asked[0], *TOOLS[1:]), chat(asked[1], *TOOLS[2:]), chat(asked[2], TOOLS[1], asked[3], TOOLS[3])]
    return [*rows, *chats]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Rows to build a version from, the cases of the project, and its settings."""

    rows: Callable[[], Sequence[Row]]
    cases: Callable[[], Sequence[Row]]
    settings: str = ""
    graders: str = '[[graders]]\ntype = "exact"'
    options: Sequence[str] = ()
    imported: bool = False
    """Whether the rows are a file given to the command, which leaves out rows that it cannot read."""
    private: bool = False
    """Whether people wrote the rows, which are read from TUNEWORTHY_TEST_DATA; only counts and hashes are stored."""

    def write(self, root: Path) -> None:
        """Write the project."""
        root.mkdir()
        (root / ("rows.jsonl" if self.imported else "examples.jsonl")).write_bytes(lines(self.rows()))
        (root / "cases.jsonl").write_bytes(lines(self.cases()))
        model = '[models.m]\nprovider = "scripted"\nfunction = "a.py:a"\n[ladder]\nbaseline = "m"\n'
        settings = '[data]\nencoder = "off"\n' + self.settings
        examples = "" if self.imported else "[examples]\n"
        (root / "tuneworthy.toml").write_text(f'[task]\nname = "t"\n{examples}{self.graders}\n{model}{settings}')


def fees() -> list[Row]:
    leak = {"input": "Could somebody explain the voucher fee number 3 to me today?", "expected": "yes"}
    more = [{"input": f"Could somebody explain the {topic} fee {i}?", "expected": "yes"} for i, topic in
            enumerate(TOPICS * 4)]  # fmt: skip
    return [leak, *more]


def as_cases(rows: Sequence[Row]) -> list[Row]:
    return [{"input": one["messages"][0]["content"], "expected": one["messages"][1]["content"]} for one in rows]


def edited(n: int) -> list[Row]:
    """Return rows of which every second repeats the one before it, but for one to four words or a typing error."""
    rows = []
    fillers = ("please", "now", "kindly", "hello", "today", "really", "just", "thanks")
    for i in range(n):
        rng = random.Random(i)
        topic, other_topic = TOPICS[i % 10], TOPICS[(i + 3) % 10]
        words = f"{ASKED[i % 6].format(topic)} It is about the {other_topic} of desk {i * 31} in town {i * 7}".split()
        copy = list(words)
        for _ in range(i % 4 + 1):
            place = rng.randrange(len(copy))
            if i % 3 == 0:
                copy.insert(place, rng.choice(fillers))
            elif i % 3 == 1:
                copy[place] = copy[place][::-1] if len(copy[place]) < 4 else copy[place][1:]
            else:
                del copy[place]
        answer = f"Open the page on {topic}, then the part on {other_topic}."
        rows += [row(" ".join(words), answer), row(" ".join(copy), answer if i % 5 else "Nobody knows that.")]
    return rows


def planted() -> list[Row]:
    return [*clean(), *BAD, *GOOD]


CHOICE = '[[graders]]\ntype = "choice"'


def banking(file: str, step: int, first: int = 0) -> Callable[[], list[Row]]:
    """Return every `step`-th question of banking77."""

    def read() -> list[Row]:
        with (REAL_DATA / "banking77" / file).open(encoding="utf-8", newline="") as lines_of_file:
            rows = list(csv.DictReader(lines_of_file))[first::step]
        return [row(one["text"], one["category"]) for one in rows]

    return read


def bookings(file: str, step: int) -> Callable[[], list[Row]]:
    """Return every `step`-th utterance of restaurant8k with its slots as JSON."""

    def read() -> list[Row]:
        rows = []
        for one in json.loads((REAL_DATA / "restaurant8k" / file).read_text(encoding="utf-8"))[::step]:
            text, found = one["userInput"]["text"], {}
            for label in one.get("labels", ()):
                span = label["valueSpan"]
                found[label["slot"]] = text[span.get("startIndex", 0) : span.get("endIndex", len(text))]
            rows.append(row(text, json.dumps(found)))
        return rows

    return read


def passages(step: int) -> list[Row]:
    """Return every `step`-th question of XQuAD with its paragraph."""
    rows = []
    for article in json.loads((REAL_DATA / "xquad" / "xquad.en.json").read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for one in paragraph["qas"]:
                asked = f"{paragraph['context']}\n\n{one['question']}"
                rows.append(row(asked, one["answers"][0]["text"]))
    return rows[::step]


# The cases expect a label, and the rows answer in prose: so it is the user who keeps them.
PROSE = 'policy = { outside_labels = "report" }\n'
DATA_SETS: dict[str, DataSet] = {
    "planted": DataSet(rows=planted, cases=fees, imported=True, settings=PROSE),
    "planted_policies": DataSet(
        rows=planted,
        cases=fees,
        settings='off = ["near"]\npolicy = { personal_data = "drop", exact = "report", refusal = '
        '"report", language = "drop", outside_labels = "report" }\n',
        options=("--unsafe",),
        imported=True,
    ),
    "gate_fails": DataSet(rows=planted, cases=fees, imported=True,
                          settings='policy = { contamination = "report", outside_labels = "report" }\n'),
    "labels": DataSet(
        rows=lambda: labelled(160, 1, 0.08), cases=lambda: as_cases(labelled(80, 2)), graders=CHOICE
    ),
    "edited": DataSet(rows=lambda: edited(60), cases=fees, settings=PROSE),
    "pairs": DataSet(rows=lambda: preferred(40), cases=fees, settings=PROSE),
    "taught": DataSet(rows=lambda: taught(160), cases=fees, settings=f"teacher_mix = true\n{PROSE}"),
    "slots": DataSet(
        rows=lambda: slots(140), cases=lambda: as_cases(slots(12)[:12]), graders='[[graders]]\ntype = "json_fields"'
    ),
    "banking77": DataSet(
        rows=banking("train.csv", 80),
        cases=lambda: as_cases(banking("test.csv", 40)()),
        graders=CHOICE,

        private=True,
    ),
    "restaurant8k": DataSet(
        rows=bookings("train.json", 100),
        cases=lambda: as_cases(bookings("test.json", 90)()),
        graders='[[graders]]\ntype = "json_fields"',
        private=True,
    ),
    "xquad": DataSet(
        rows=lambda: passages(20), cases=lambda: as_cases(passages(20)[::4]), private=True
    ),
}  # fmt: skip
