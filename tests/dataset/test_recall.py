"""No check switches itself off: at half of the rows it finds as large a share as at 2%, or the build asks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dataset.check_rows import ASKED, LABELS, TOPICS, Says, chat, row, worse
from tuneworthy.cases.writer import json_lines
from tuneworthy.dataset import CheckContext, data_checks
from tuneworthy.dataset.base import are_many
from tuneworthy.dataset.check_runner import CheckedRows, run_checks
from tuneworthy.dataset.records import row_of
from tuneworthy.types import Case, Example

N = 400
ADVERBS = ("soon", "today", "again", "now", "maybe", "still", "often", "then")
Fault = Callable[[Example, int, random.Random], Example]


def question(i: int, rng: random.Random) -> str:
    aside = " ".join(rng.sample(ADVERBS, 3))
    return f"{ASKED[i % 6].format(TOPICS[i % 10])} It is {aside}, number {rng.randrange(10**6)}."


def about(i: int) -> str:
    return f"Case {i}: will the terms of {TOPICS[i % 10]} change?"


def label(i: int, rng: random.Random) -> Example:
    return row(question(i, rng), f"about_{TOPICS[i % 10]}")


def prose(i: int, rng: random.Random) -> Example:
    return row(
        question(i, rng), f"Open the page on {TOPICS[i % 10]} {rng.randrange(10**6)}. Then choose the second entry."
    )


def slots(i: int, rng: random.Random) -> Example:
    place = f"{rng.choice(ADVERBS)} {rng.choice(TOPICS)} {rng.choice(ADVERBS)}"
    return row(f"{rng.randrange(10**6)}: a table at the {place} inn", json.dumps({"place": place}))


def other(one: Example, answer: str) -> Example:
    return row(one.question, answer)


def wrong_label(one: Example, i: int, rng: random.Random) -> Example:
    return other(one, rng.choice([f"about_{topic}" for topic in TOPICS if f"about_{topic}" != one.answer]))


# Check to the rows of a task, and what is wrong with some of them.
FAULTS: dict[str, tuple[Callable[[int, random.Random], Example], Fault]] = {
    "encoding": (prose, lambda one, i, rng: row(f"{one.question} &amp; more", one.answer)),
    "chat": (prose, lambda one, i, rng: chat(one.messages[0])),
    "feedback": (prose, lambda one, i, rng: row(one.question, one.answer, feedback={"thumbs": "down"})),
    "truncation": (prose, lambda one, i, rng: other(one, "Open the page of your account and then go to the")),
    "truncation open": (prose, lambda one, i, rng: other(one, one.answer.removesuffix("second entry.") + "second ent")),
    "refusal": (prose, lambda one, i, rng: other(one, "As an AI language model, I cannot help with that.")),
    "degenerate": (prose, lambda one, i, rng: other(one, one.question)),
    "degenerate token": (prose, lambda one, i, rng: other(one, f"{one.answer}<|im_end|>")),
    "degenerate placeholder": (prose, lambda one, i, rng: other(one, "Dear {{name}}, it is here.")),
    "label_names": (label, lambda one, i, rng: other(one, f"I think that it is number {i}.")),
    "label_names spelling": (label, lambda one, i, rng: other(one, one.answer.replace("_", " ").upper())),
    "label_names cut": (label, lambda one, i, rng: other(one, one.answer[:-1])),
    "label_names old": (label, lambda one, i, rng: other(one, one.answer.replace("about_", "former_"))),
    "sources": (prose, lambda one, i, rng: row(one.answer, one.question)),
    "contamination": (label, lambda one, i, rng: row(about(i % 60), one.answer)),
    "exact": (prose, lambda one, i, rng: row("Where is it now, please tell me?", "It is here.")),
    "near": (prose, lambda one, i, rng: row(f"So {rng.choice(('please ', ''))}where is it now?", "It is here.")),
    "grounding": (slots, lambda one, i, rng: other(one, slots(i, rng).answer)),
    "personal_data": (prose, lambda one, i, rng: row(f"{one.question} I am ada{i}@example.org", one.answer)),
    "judge_audit": (prose, lambda one, i, rng: other(one, "That is wrong of you.")),
    "label_errors": (label, wrong_label),
    "label_errors topics": (label, lambda one, i, rng: row(f"Who won match {i} of the cup?", rng.choice(LABELS))),
    "declined_share": (prose, lambda one, i, rng: other(one, "I don't know.")),
    "language": (prose, lambda one, i, rng: row(f"Где я могу найти свою карту номер {i}?", one.answer)),
    "pairs": (prose, lambda one, i, rng: worse(one.question, one.answer, one.answer.upper())),
    "pair_length": (prose, lambda one, i, rng: worse(one.question, "It is here.", "No.")),
    "teacher_mix": (prose, lambda one, i, rng: row(one.question, one.answer, teacher={"model": f"m{i % 2}"})),
    "teacher_drift": (
        prose, lambda one, i, rng: row(one.question, "So " * (i % 2 * 30), teacher={"model": f"m{i % 2}"})
    ),
}  # fmt: skip
# Of these any rows with the fault are one finding on the whole set.
WHOLE = {"declined_share", "pair_length", "teacher_mix", "teacher_drift"}


ASKING = ["degenerate", "degenerate placeholder", "label_names", "label_names old", "grounding", "label_errors"]


def checked(name: str, share: float, folder: Path, policy: str = "", subject: str = "") -> tuple[CheckedRows, set[int]]:
    make, spoil = FAULTS[name]
    rng = random.Random(5)
    cases = [make(i, rng) for i in range(120)]
    rows = [make(i, rng) for i in range(N)]
    bad = set(rng.sample(range(N), int(share * N)))
    rows = [spoil(one, i, rng) if i in bad else one for i, one in enumerate(rows)]
    path = folder / f"{share}{policy}.jsonl"
    path.write_bytes(b"".join(json_lines(map(row_of, rows))))
    expected = [Case(id=f"c{i}", input=one.question, expected=one.answer) for i, one in enumerate(cases)]
    if name == "contamination":
        expected = [Case(id=f"c{i}", input=about(i), expected=expected[i].expected) for i in range(60)]
    labels = sorted({case.expected for case in expected}) if make is label else []
    context = CheckContext(cases=expected, labels=labels, auditor=Says(), seed=1)
    check = data_checks()[name.split(maxsplit=1)[0]]
    policies = dict.fromkeys([subject] if subject else check.codes, policy) if policy else {}
    return run_checks(path, [check.configured()], context, policy=policies), bad


def recall(rows: CheckedRows, bad: set[int], *, whole: bool) -> float:
    told = {one.row for stage in rows.stages for one in stage.decisions}
    return float(bool(told)) if whole else len(told & bad) / len(bad)


def test_every_check_is_here() -> None:
    assert {name.split()[0] for name in FAULTS} == set(data_checks())


def questions(rows: CheckedRows) -> list[str]:
    return [gate.detail for gate in rows.gates if not gate.passed and "set policy." in gate.detail]


@pytest.mark.parametrize("name", list(FAULTS))
def test_at_more_of_the_rows_a_check_finds_as_much_as_at_two_percent_or_the_build_asks(
    name: str, tmp_path: Path
) -> None:
    found = recall(*checked(name, 0.02, tmp_path), whole=name in WHOLE)
    for share in (0.25, 0.5):
        rows, bad = checked(name, share, tmp_path)
        assert recall(rows, bad, whole=name in WHOLE) >= found or questions(rows)


@pytest.mark.parametrize("name", ASKING)
def test_a_question_stops_the_build_until_the_policy_answers_it(name: str, tmp_path: Path) -> None:
    always = name == "label_names old"  # an old name is asked about whatever its number of rows
    assert bool(questions(checked(name, 0.05, tmp_path)[0])) == always
    assert questions(checked(name, 0.5, tmp_path)[0])
    assert not questions(checked(name, 0.5, tmp_path, "drop")[0])
    assert not questions(checked(name, 0.5, tmp_path, "report")[0])


def test_a_policy_on_one_old_name_decides_on_its_rows_only(tmp_path: Path) -> None:
    key = "renamed_label:former_card"
    (before, _), (after, _) = (checked("label_names old", 0.5, tmp_path, policy, key) for policy in ("", "report"))
    kept = {one.row for one in after.stages[0].decisions if one.action == "report" and one.row >= 0}
    assert kept == {n for n, one in enumerate(before.before) if one.answer == "former_card"} != set()
    assert key in questions(before)[0] and key not in questions(after)[0] and questions(after)


def test_copies_of_rows_do_not_make_an_old_name_a_label_of_its_own() -> None:
    rng = random.Random(5)
    cases = [Case(id=str(i), input=question(i, rng), expected=f"about_{TOPICS[i % 10]}") for i in range(120)]
    rows = [row(question(10 * i, rng), "former_name") for i in range(12)]
    context = CheckContext(cases=cases, labels=[f"about_{topic}" for topic in TOPICS])
    for copied in (rows, rows * 3):
        found = [one for one in data_checks()["label_names"].run(copied, context) if one.row < 0]
        assert [(one.code, one.subject) for one in found] == [("renamed_label", "former_name")]


@pytest.mark.parametrize(("n", "n_rows", "many"), [(10, 60, False), (11, 60, True), (20, 200, False), (21, 200, True),
                                                  (3, 6, False), (4, 6, True)])  # fmt: skip
def test_a_finding_may_be_the_task_above_a_tenth_of_the_rows_or_half_of_few(n: int, n_rows: int, many: bool) -> None:
    assert are_many(n, n_rows) == many


def test_labels_that_no_model_of_the_rows_can_judge_are_asked_about(tmp_path: Path) -> None:
    rng = random.Random(3)
    cases = [Case(id=str(i), input=question(i, rng), expected=f"about_{TOPICS[i % 10]}") for i in range(120)]
    labels = [f"about_{topic}" for topic in TOPICS]

    def asked(policy: str = "", *, wrong: bool) -> list[str]:
        rows = [row(question(i, rng), rng.choice(labels) if wrong else f"about_{TOPICS[i % 10]}") for i in range(200)]
        path = tmp_path / f"{wrong}{policy}.jsonl"
        path.write_bytes(b"".join(json_lines(map(row_of, rows))))
        context = CheckContext(cases=cases, labels=labels, seed=1)
        policies = {"labels_disagree": policy} if policy else {}
        return questions(run_checks(path, [data_checks()["label_errors"].configured()], context, policy=policies))

    assert len(asked(wrong=True)) == 1 and not asked(wrong=False) and not asked("report", wrong=True)
