"""Projects of the frozen behaviour: hand-made tasks with scripted models, written as files.

Every answer reads 20 tokens, so $50 per million tokens is a dollar per 1,000 answers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

VOCABULARY = (
    "amber anchor apple arrow autumn bacon badge bamboo basket beacon berry bishop blanket border bottle branch "
    "bridge bronze bucket butter cabin camel candle canyon carpet castle cellar cherry circle cliff cloud cobra "
    "coffee comet copper coral cotton cradle crystal dagger daisy desert diamond dragon eagle ember engine "
    "falcon feather fiddle flame forest fossil galaxy garden ginger glacier goblet granite hammer harbor hazel "
    "helmet hollow honey island ivory jacket jasmine jungle kettle ladder lantern lemon lily lizard magnet maple "
    "marble meadow melon mirror monkey mountain needle nickel oak ocean olive onion orchid otter oyster palace "
    "panther parrot pearl pebble pepper pigeon pillow planet plum pocket poppy prairie puzzle quartz rabbit "
    "raven ribbon river rocket saddle sailor salmon sapphire shadow shell silver spider spoon squirrel statue "
    "storm summit sunset temple thistle thunder tiger timber tulip tunnel turtle valley velvet violet walnut "
    "water whisper willow window winter wizard yellow zebra"
)
WORDS = VOCABULARY.split()
LABELS = ("red", "green", "blue")
Answer = Callable[[int], Any]
LETTERS = str.maketrans("0123456789", "abcdefghij")

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


def judge(request):
    return "good"


def short(answer, expected, case):
    return min(1.0, 40 / (len(answer) + 1))
"""


@dataclass(frozen=True, kw_only=True)
class Model:
    """Scripted model: its answers to the plain prompt, to one with examples, and to one with a document."""

    answers: Answer
    shots: Answer | None = None
    documents: Answer | None = None
    usd: float | None = None
    """Dollars per 1,000 answers; None leaves the price out."""
    latency_ms: float = 0.0
    hosted: bool = False
    silent: bool = False

    def section(self, name: str) -> str:
        lines = [f"[models.{name}]", 'provider = "scripted"', f'function = "replies.py:{name}"']
        if self.usd is not None:
            lines += [f"input_usd_per_mtok = {50 * self.usd}", "output_usd_per_mtok = 0.0"]
        if self.latency_ms:
            lines.append(f"latency_ms = {self.latency_ms}")
        return "\n".join([*lines, *(["plays_hosted = true"] if self.hosted else [])])


def share(p: float, salt: str = "") -> Callable[[int], bool]:
    """Return a predicate that is true for that share of every hundred numbers."""
    chosen: dict[int, set[int]] = {}

    def holds(i: int) -> bool:
        block = i // 100
        if block not in chosen:
            chosen[block] = set(random.Random(f"{salt}{block}").sample(range(100), round(100 * p)))
        return i % 100 in chosen[block]

    return holds


def colour(i: int) -> str:
    return LABELS[random.Random(f"truth{i}").randrange(3)]


def other(i: int) -> str:
    return LABELS[(LABELS.index(colour(i)) + 1) % 3]


def right_on(p: float, salt: str = "", truth: Answer = colour, wrong: Answer = other) -> Answer:
    """Return answers that are right for a share of the questions."""
    holds = share(p, salt)
    return lambda i: truth(i) if holds(i) else wrong(i)


def weak(p: float = 0.6, **more: Any) -> Model:
    return Model(answers=right_on(p, "weak"), **more)


def strong(p: float = 0.96, **more: Any) -> Model:
    return Model(answers=right_on(p, "strong"), **more)


def fraud(i: int) -> str:
    return "fraud" if share(0.07, "fraud")(i) else "ok"


def serial(i: int) -> str:
    """Return a fact that no input holds."""
    return f"{random.Random(f'serial{i}').randrange(10**6):06d}"


def noisy(p: float, test_only: bool = False) -> Answer:
    """Return labels of which a share is wrong."""
    holds = share(p, "noise")
    return lambda i: other(i) if holds(i) and not (test_only and i >= 1000) else colour(i)


def uneven(i: int) -> str:
    """Return one of three labels: 90%, 7% and 3%."""
    return "refund" if i % 100 < 3 else "parts" if i % 100 < 10 else "other"


def brand(i: int) -> str:
    words = [f"{word}, dear friend!" for word in ("Grand idea", "Right away", "We love that", "Done", "Lovely", "Yes")]
    return f"{words[i % 6]} {random.Random(i).choice(words)}"


def plain(i: int) -> str:
    return f"The {WORDS[i % 6]} was processed. The {WORDS[i % 5]} was processed."


@dataclass(kw_only=True)
class Task:
    """Project with scripted models, which rungs are run, and changes after which the commands are run again."""

    models: Mapping[str, Model]
    truth: Answer = colour
    n: int = 100
    n_examples: int = 80
    labels: Answer | None = None
    text: Callable[[int], str] | None = None
    rewords: bool = False
    task: Mapping[str, Any] = field(default_factory=dict)
    sections: str = ""
    graders: str = '[[graders]]\ntype = "exact"'
    documents: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    ladder: str = ""
    rungs: Sequence[str] = ()
    probe: bool = True
    then: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def changed(self, name: str) -> Task:
        """Return the task after one of its changes."""
        return replace(self, **self.then[name])

    def write(self, root: Path) -> None:
        """Write the project."""
        root.mkdir(parents=True)
        numbers = [*range(self.n), *range(1000, 1000 + self.n_examples)]
        replies: dict[str, dict[str, Any]] = {}
        for name, model in self.models.items():
            kinds = {"answers": model.answers, "shots": model.shots, "documents": model.documents}
            replies[name] = {kind: {str(i): say(i) for i in numbers} for kind, say in kinds.items() if say}
            replies[name]["silent"] = model.silent
        (root / "models.json").write_text(json.dumps(replies))
        functions = [f'def {name}(request):\n    return reply("{name}", request)\n' for name in self.models]
        (root / "replies.py").write_text("\n\n".join([FUNCTIONS, *functions]))
        labels = self.labels or self.truth
        _write_rows(root / "cases.jsonl", [{"input": self.question(i), "expected": labels(i)} for i in range(self.n)])
        rows = [_chat(self.question(i), labels(i)) for i in numbers[self.n :]]
        if rows:
            _write_rows(root / "examples.jsonl", rows)
        for name, content in [*self.documents.items(), *self.extra.items()]:
            path = root / ("documents" if name in self.documents else "") / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        self.write_settings(root)

    def write_settings(self, root: Path) -> None:
        """Write the project file."""
        task = {"name": "hand-made", "target": 0.9} | self.task
        body = ["[task]", *(f"{key} = {json.dumps(value)}" for key, value in task.items() if value is not None)]
        body += [*(["[examples]"] if self.n_examples else []), "[prompt]", 'system = "Answer."', self.graders]
        body += [model.section(name) for name, model in self.models.items()]
        body += ["[ladder]", f'baseline = "{next(iter(self.models))}"', self.ladder, self.sections]
        (root / "tuneworthy.toml").write_text("\n".join(body) + "\n")

    def question(self, i: int) -> str:
        """Return question `i`: words that do not tell the answer, unless `text` says otherwise."""
        number = str(i).translate(LETTERS) if self.rewords else i
        return f"q{number}q {self.text(i) if self.text else ' '.join(random.Random(i).sample(WORDS, 12))}"


def _chat(question: str, answer: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def _write_rows(path: Path, rows: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def reworded(size: int) -> Callable[[int], str]:
    """Return texts of which `size` reword one source."""
    return lambda i: " ".join(random.Random(i).sample(random.Random(i // size).sample(WORDS, 12), 12))


BUSY = "[economics]\nrequests_per_month = 20_000_000\n"
FEW = "[economics]\nrequests_per_month = 1000\n"
DEVICE = "[constraints]\non_device = true\n"
CONFUSED = {"today": weak(0.65), "second": Model(answers=right_on(0.66, "weak"))}
COSTLY = {"today": strong(0.94, usd=1.02555), "small": weak(0.74, usd=0.05)}
HOSTED = {"today": weak(0.7), "strong": strong(0.97, hosted=True, usd=1.0)}
GUESS = right_on(0.11, "", serial, lambda i: "000000")
GUESSES = {"today": Model(answers=GUESS), "second": Model(answers=GUESS)}
CHATTY = Model(answers=lambda i: f"I think it is {colour(i)}, maybe.", shots=right_on(0.97, "shots"))
SAME = right_on(0.7, "shared")
HINTS = {"red": "crimson rose apple", "green": "meadow leaf grass", "blue": "ocean sky wave"}
NO_RECORDS = '[[waivers]]\ngate = "retrieval"\nreason = "no documents exist"\n'
NO_OTHERS = '[[waivers]]\ngate = "other_models"\nreason = "must run on the device of the customer"\n'
NO_DEV = '[[waivers]]\ngate = "dev"\nreason = "the cases are newer than the examples"\n'
JUDGE = '[[graders]]\ntype = "judge"\nmodel = "judge"\nrubric = "It names the colour."'
STYLE = '[[graders]]\ntype = "style"\ngeneric = "generic.jsonl"'
SMALL: dict[str, Any] = {"n": 80, "n_examples": 0}


def as_json(reply: Answer) -> Answer:
    return lambda i: json.dumps({"colour": reply(i)})


def tags(i: int) -> list[str]:
    names = ("food", "music", "sport", "travel", "work")
    return [names[i % 5], names[(i + 1 + i // 5 % 3) % 5]]


def tagged(p: float, salt: str = "") -> Model:
    return Model(answers=right_on(p, salt, lambda i: ", ".join(tags(i)), lambda i: "none"))


def finder(i: int) -> str:
    return "fraud" if fraud(i) == "fraud" or share(0.02, "false alarm")(i) else "ok"


def near(limit: float) -> Answer:
    """Return answers of which the cheaper model loses some more."""
    holds = share(0.915, "a")
    return lambda i: colour(i) if (holds(i) and i % 25 >= limit) or i % 100 < 1 - limit else other(i)


def records(i: int) -> str:
    return f"The serial number of item q{i}q is {serial(i)}."


def phrase(i: int) -> Any:
    """Return an expected text; of every eighth question none, of every ninth one of two."""
    words = f"The {WORDS[i % 60]} costs {i % 7 + 1},{i % 10:03d} euros at the {WORDS[i * 7 % 50]}"
    return None if i % 8 == 5 else [words, words.upper()] if i % 9 == 4 else words


def worded(i: int) -> str:
    """Return an answer whose form differs from the expected text in one of twelve ways."""
    right = f"The {WORDS[i % 60]} costs {i % 7 + 1},{i % 10:03d} euros at the {WORDS[i * 7 % 50]}"
    other_words = f"A {WORDS[i % 59]} is {i % 7} euros"
    forms = (right, right.upper(), f"{right}.", f"Answer: **{right}**", right.replace("The", "the  "), other_words,
             f"I think {right}, don't you?", right.replace(",", "."), "I don't know.", "", f"<think>{right}</think>no",
             f"Ich weiß es nicht. {right[:20]}")  # fmt: skip
    return forms[i % 12]


def booking(i: int) -> dict[str, Any]:
    guests = {"people": i % 5 + 1, "names": [LABELS[i % 3], "Ada"]}
    return {"place": WORDS[i % 20], **({} if i % 6 == 3 else guests), "when": {"day": f"2026-0{i % 9 + 1}-11"}}


def booked(i: int) -> str:
    """Return a booking as JSON in one of ten forms, some with wrong values."""
    right = booking(i)
    wrong = right | {"place": "nowhere", "people": "2"}
    forms = (json.dumps(right), f"```json\n{json.dumps(right)}\n```", f"Sure: {json.dumps(right)} Done.", "{}", "none",
             json.dumps(wrong), json.dumps(right).upper(), json.dumps([right]), json.dumps(right)[:-1],
             json.dumps({key: right[key] for key in ("place", "when")}))  # fmt: skip
    return forms[i % 10]


def amount(i: int) -> str:
    """Return a number in one of eight forms."""
    value = i * 37 % 5000
    forms = (f"{value}", f"{value:,}", f"It is {value} euros.", f"{value}.0", f"-{value}", f"{value + 1}",
             f"first 3, then {value}", f"{value / 1000}e3")  # fmt: skip
    return forms[i % 8]


TEXT_GRADERS = (
    "\n".join(
        f'[[graders]]\ntype = "{name}"'
        for name in ("normalised_exact", "exact", "includes", "squad_em", "squad_f1", "rouge_l", "chrf", "abstention")
    )
    + '\n[[graders]]\ntype = "regex"\npattern = "\\\\d,\\\\d{3} euros"'
)
JSON_GRADERS = (
    '[[graders]]\ntype = "json_fields"\n[[graders]]\ntype = "json_schema"\npath = "schema.json"\n'
    '[[graders]]\ntype = "python"\nfunction = "replies.py:short"'
)
SCHEMA = {"type": "object", "required": ["place", "people"], "properties": {"people": {"type": "integer"}}}
WORDS_ALONE = '[documents]\n[retrieval]\nencoder = { type = "off" }\nreranker = { type = "off" }\n'
HALF = {"today": strong(0.95, usd=1.0), "second": strong(0.95, usd=0.5)}
TWO_FAMILIES = {"gpt_a": strong(0.98), "claude_b": Model(answers=right_on(0.97, "b"))}
TWO_EQUALS = {"gpt_a": strong(0.9), "claude_b": Model(answers=right_on(0.89, "b"))}
TASKS: dict[str, Task] = {
    "rare_label_found": Task(
        models={"today": Model(answers=lambda i: "ok"), "strong": Model(answers=finder)},
        truth=fraud,
        task={"target": 0.93},
        n=100,
    ),
    "rare_label_named": Task(
        models={
            "today": Model(answers=lambda i: "other" if uneven(i) == "refund" else uneven(i)),
            "strong": Model(answers=lambda i: "other" if i == 57 else uneven(i)),
        },
        truth=uneven,
        task={"target": 0.95},
        n=100,
        n_examples=60,
    ),
    "constant_number": Task(
        models={"today": Model(answers=lambda i: "{}" if i % 37 == 7 else "0")},
        truth=lambda i: str(10 + i) if share(0.04, "rare")(i) else "0",
        graders='[[graders]]\ntype = "numeric"',
        n=200,
        n_examples=0,
        rungs=["baseline"],
        probe=False,
    ),
    "all_tried": Task(
        models=CONFUSED,
        task={"target": 0.85, "motivation": "style", "problem": "reasoning"},
        n=120,
        then={
            "no_target": {"task": {"target": None}},
            "never_pays": {"task": {"target": 0.85}, "sections": FEW + "usd_per_wrong_answer = 0.01\n"},
        },
    ),
    "facts": Task(models=GUESSES, truth=serial, then={"waived": {"sections": NO_RECORDS}}, **SMALL),
    "facts_in_documents": Task(
        models={
            name: Model(answers=GUESS, documents=right_on(0.97, "found", serial, lambda i: "000000"))
            for name in ("today", "second")
        },
        truth=serial,
        documents={f"{i}.md": f"# DOCUMENT {i}\n\n{records(i)}\n" for i in range(100)},
        sections=WORDS_ALONE,
        ladder='rungs = ["baseline", "retrieval"]',
        probe=False,
        **SMALL,
    ),
    "costly": Task(
        models=COSTLY,
        task={"target": 0.88},
        sections=BUSY,
        n=160,
        n_examples=0,
        then={
            "traffic_unknown": {"sections": ""},
            "little_traffic": {"sections": "[economics]\nrequests_per_month = 50_000\n"},
        },
    ),
    "costly_without_token_counts": Task(
        models={name: Model(answers=each.answers, usd=each.usd, silent=True) for name, each in COSTLY.items()},
        task={"target": 0.88},
        sections=BUSY,
        **SMALL,
    ),
    "cheaper_loses_target": Task(
        models={"today": Model(answers=near(0), usd=1.0), "small": Model(answers=near(1), usd=0.1)},
        task={"margin": 0.09},
        sections=FEW,
        ladder='rungs = ["baseline", "model"]',
        n=200,
        n_examples=0,
    ),
    "better_is_dearer": Task(
        models={"today": strong(0.97, usd=1.0), "small": weak(0.91, usd=0.1)},
        task={"target": 0.85},
        sections=BUSY,
        n=100,
        n_examples=0,
    ),
    "slow_teacher": Task(
        models={"today": weak(0.74), "strong": strong(0.97, latency_ms=150.0)},
        task={"target": 0.88},
        sections="[constraints]\np95_ms = 100\n",
        n=60,
        n_examples=0,
    ),
    "device": Task(
        models=HOSTED,
        sections=DEVICE,
        n=100,
        n_examples=0,
        then={"data_stays": {"sections": DEVICE + "data_stays = true\n"}},
    ),
    "device_good_enough": Task(
        models={"today": strong(0.95), "hosted": strong(0.99, hosted=True, usd=1.0)},
        sections=DEVICE,
        n=100,
        n_examples=0,
    ),
    "model_not_run": Task(
        models={"today": weak(0.6), "strong": strong()}, rungs=["classical", "prompt", "few_shot", "decoding"]
    ),
    "one_model": Task(models={"today": weak(0.6)}, then={"waived": {"sections": NO_OTHERS}}),
    "labels_suspected": Task(models=TWO_FAMILIES, labels=noisy(0.16), n=120, n_examples=80),
    "labels_wrong_in_test": Task(
        models=TWO_EQUALS,
        labels=noisy(0.25, test_only=True),
        n=120,
        n_examples=100,
        then={"waived": {"sections": NO_DEV}},
    ),
    "format_fixed_by_shots": Task(models={"today": CHATTY, "second": CHATTY}),
    "half_the_price": Task(
        models=HALF,
        sections="[economics]\nrequests_per_month = 1_000_000\n",
        n=100,
        n_examples=0,
        probe=False,
        then={"little_traffic": {"sections": FEW, "task": {"target": 0.85}}},
    ),
    "too_dear": Task(
        models={"today": weak(0.6, usd=0.1), "strong": strong(0.97, usd=6.0)},
        sections="[constraints]\nusd_per_1k = 1.0\n",
        **SMALL,
    ),
    "classical_as_good": Task(
        models={"today": strong(0.93, usd=1.0), "second": strong(0.93, usd=1.0)},
        text=lambda i: f"{HINTS[colour(i)]} {i * 7919 % 104729}",
        sections=FEW,
        n=80,
        n_examples=80,
    ),
    "few_cases": Task(models=CONFUSED, n=40, n_examples=220, probe=False, rungs=["baseline", "model"]),
    "forty_sources": Task(
        models={"today": Model(answers=right_on(0.86, "a", lambda i: colour(i // 5)))},
        truth=lambda i: colour(i // 5),
        text=reworded(5),
        rewords=True,
        task={"target": 0.85},
        n=200,
        n_examples=0,
        rungs=["baseline"],
        probe=False,
    ),
    "ten_sources": Task(
        models={
            "today": Model(answers=lambda i: colour(i // 20)),
            "second": Model(answers=right_on(0.3, "b", lambda i: colour(i // 20))),
        },
        truth=lambda i: colour(i // 20),
        text=reworded(20),
        rewords=True,
        task={"target": 0.85},
        n=200,
        n_examples=0,
        rungs=["baseline", "model"],
        probe=False,
    ),
    "judge_not_checked": Task(
        models={"today": strong(0.95), "second": strong(0.5)},
        graders=JUDGE + '\n[models.judge]\nprovider = "scripted"\nfunction = "replies.py:judge"\n',
        ladder='rungs = ["baseline", "prompt"]',
        probe=False,
        **SMALL,
    ),
    "style": Task(
        models={name: Model(answers=plain) for name in ("today", "second")},
        truth=brand,
        graders=STYLE,
        extra={"generic.jsonl": "".join(json.dumps({"text": plain(i)}) + "\n" for i in range(60))},
        ladder='rungs = ["baseline", "few_shot"]',
        probe=False,
        n=70,
        n_examples=60,
    ),
    "json_labels": Task(
        models={name: Model(answers=as_json(right_on(0.6))) for name in ("today", "second")},
        labels=lambda i: {"colour": colour(i)},
        graders='[[graders]]\ntype = "json_fields"',
        probe=False,
        **SMALL,
    ),
    "several_labels": Task(
        models={"today": tagged(0.6), "strong": tagged(0.97, "s")},
        labels=tags,
        graders='[[graders]]\ntype = "includes"',
        probe=False,
        **SMALL,
    ),
    "balanced": Task(
        models={"today": Model(answers=lambda i: "ok"), "strong": Model(answers=finder)},
        truth=fraud,
        graders='[[graders]]\ntype = "balanced_accuracy"',
        n=160,
        n_examples=0,
        rungs=["baseline", "model", "prompt"],
    ),
    "graders_of_text": Task(
        models={"today": Model(answers=worded)},
        truth=phrase,
        graders=TEXT_GRADERS,
        task={"target": 0.5},
        rungs=["baseline"],
        probe=False,
        n=120,
        n_examples=0,
    ),
    "graders_of_json": Task(
        models={"today": Model(answers=booked)},
        truth=booking,
        graders=JSON_GRADERS,
        extra={"schema.json": json.dumps(SCHEMA)},
        task={"target": 0.5},
        rungs=["baseline"],
        probe=False,
        n=120,
        n_examples=0,
    ),
    "graders_of_numbers": Task(
        models={"today": Model(answers=amount)},
        truth=lambda i: str(i * 37 % 5000),
        graders='[[graders]]\ntype = "numeric"\n[[graders]]\ntype = "exact"',
        task={"target": 0.5},
        rungs=["baseline"],
        probe=False,
        n=120,
        n_examples=0,
    ),
    "budget_spent": Task(
        models={"today": weak(0.7, usd=1.0), "second": strong(0.8, usd=2.0)},
        ladder="budget_usd = 0.3",
        probe=False,
        **SMALL,
    ),
}
