"""Planted overlaps are found, and what only looks alike is kept."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import case, example

from tuneworthy.cases import contamination_index, find_overlaps
from tuneworthy.cases.dataset import search
from tuneworthy.cases.near_duplicates import group_near_duplicates
from tuneworthy.cases.normalize import normalise, words
from tuneworthy.stats.ratios import effective_groups
from tuneworthy.types import Case, Example

LONG = "I ordered a new card two weeks ago and it still has not arrived at my home address"


@pytest.mark.parametrize("asks", [
    ("How much is 1.5 percent of 200?", "How much is 15 percent of 200?"),
    ("How do I sort a list in C?", "How do I sort a list in C#?"),
    ("How much is 58 / 49 in all?", "How much is 58 - 49 in all?"),
    ("How much is 20 - 78 in all?", "How much is 78 - 20 in all?"),
])  # fmt: skip
def test_a_sign_a_point_or_an_operator_tells_questions_and_answers_apart(asks: tuple[str, str]) -> None:
    one, other = asks
    rest = [example(f"Question {i} about topic {i * 7}?", f"answer {i}") for i in range(50)]
    found = find_overlaps([example(other, "-58"), *rest], [case(one, "58")])
    assert not found.dropped and all(hit.reason != "exact" for hit in found.hits)
    assert group_near_duplicates([case(one, "58"), case(other, "-58")])[1] == 0
    assert find_overlaps([example(one, "-58"), *rest], [case(one, "58")]).dropped


@pytest.mark.parametrize(
    ("question", "row"),
    [
        ("Pay 1,000 now?", "pay 1000 NOW"),
        ("Where is my card?", "  where IS my—card "),
        ("ﬁnal Ⅳ", "FINAL iv"),
        ("Straße", "STRASSE!"),
        ("???", "???"),
        ("我的卡在哪里？", "我的卡在哪里"),
        ("¿Dónde está mi transacción más reciente?", "donde esta mi transaccion mas reciente"),
        ("Warum fehlt die Rückgabe?", "Warum&nbsp;fehlt die R&uuml;ckgabe&#63;"),
    ],
)
def test_the_same_letters_and_digits_are_a_overlap(question: str, row: str) -> None:
    (leak,) = find_overlaps([example(row)], [case(question)]).dropped
    assert (leak.reason, leak.score, leak.case_id) == ("exact", 1.0, case(question).id)


@pytest.mark.parametrize(
    ("question", "row", "score"),
    [
        (LONG, f"Hello! {LONG}. What now?", 1.0),
        (LONG, " ".join(LONG.split()[:10]) + " but that is fine with me", 10 / 18),
        ("my phone was stolen", "my phone was stolen, what should I do?", 1.0),
        ("can I still use my old card", "can I still use my old phone", 6 / 7),
        ("请问我的银行卡什么时候能够寄到家里", "你好请问我的银行卡什么时候能够寄到公司里", 15 / 17),
    ],
)
def test_covered_words_are_a_overlap(question: str, row: str, score: float) -> None:
    (leak,) = find_overlaps([example(row)], [case(question)]).dropped
    assert leak.reason == "ngram"
    assert leak.score == pytest.approx(score)


@pytest.mark.parametrize(
    ("question", "row"),
    [
        (LONG, " ".join(LONG.split()[:8]) + " but that is fine with me"),
        ("where is my new card", "where is my deposit"),
        ("yes", "yes please do that"),
        ("की", "का"),
        ("Where is my card?", "Where is my car?"),
        ("-5", "+5"),
    ],
)
def test_what_only_looks_alike_is_kept(question: str, row: str) -> None:
    assert not find_overlaps([example(row)], [case(question)]).dropped


def test_an_example_of_the_same_group_is_a_overlap() -> None:
    rows = [example("entirely different", group="faq-7"), example("other", group="faq-8"), example("third")]
    overlaps = find_overlaps(rows, [case("something else", group="faq-7")])
    assert [leak.reason for leak in overlaps.dropped] == ["group"]
    assert overlaps.remaining == tuple(rows[1:])


def test_coverage_is_of_the_single_best_row_and_does_not_add_up() -> None:
    tokens = LONG.split()
    halves = [example(" ".join(tokens[:8])), example(" ".join(tokens[8:16]))]
    assert not find_overlaps(halves, [case(LONG)]).dropped
    assert find_overlaps([example(" ".join(tokens[:16]))], [case(LONG)]).dropped


def test_a_system_prompt_and_an_answer_in_common_are_no_overlap() -> None:
    system = "You are a helpful assistant of a bank and answer in one short sentence only"
    messages = ({"role": "system", "content": system}, {"role": "user", "content": "What is the rate?"})
    chat = Case(id="c", messages=messages)
    assert not find_overlaps([example("Another thing?", system, system=system)], [chat]).dropped


def test_numbers_and_words_say_what_was_found() -> None:
    rows = [example("a"), example("A!"), example("b", group="g"), example("c")]
    overlaps = find_overlaps(rows, [case("a"), case("zz", group="g"), case("y")])
    assert overlaps.by_reason == {"exact": 2, "prompt": 0, "ngram": 0, "edit": 0, "group": 1}
    assert {case for hit in overlaps.dropped for case in hit.cases} == {case("a").id, case("zz").id}


@settings(deadline=None)
@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=20, max_size=40), st.integers(0, 5))
def test_a_case_inside_a_row_is_always_found(tokens: list[str], at: int) -> None:
    question = " ".join(tokens[at : at + 12])
    assert find_overlaps([example(" ".join(tokens))], [case(question)]).dropped


def test_an_apostrophe_does_not_part_a_word() -> None:
    assert words("It’s mine, isn't it?") == ["its", "mine", "isnt", "it"]


@pytest.mark.parametrize(
    "row",
    [
        LONG.replace("a", "\u0430").replace("o", "\u03bf"),  # Cyrillic and Greek
        LONG.replace("h", "\u041d"),  # a capital that only looks like one
        LONG.replace("e", "e\u200b").replace("i", "\u202ei\u00ad"),
        LONG.replace("m", "\uff4d"),
    ],
)
def test_letters_that_look_alike_and_characters_that_are_not_seen_hide_nothing(row: str) -> None:
    (leak,) = find_overlaps([example(row)], [case(LONG)]).dropped
    assert leak.reason == "exact"


def test_words_of_other_scripts_stay_different() -> None:
    assert normalise("вода") != normalise("бода") and normalise("ΝΕΑ") == normalise("νεα")
    assert words("की का") == ["की", "का"]


SHORT = "where can I see my balance abroad"


@pytest.mark.parametrize(
    ("row", "answer", "reason"),
    [
        ("where can I find my balance now abroad", "balance", "edit"),
        ("where can I find my balance now abroad", "travel", None),
        ("can I check my balance abroad", "balance", "edit"),
        ("hello where can I see my balance abroad please thanks", "balance", "ngram"),
        ("hello where can I see my balance abroad please thanks", "travel", None),
        (SHORT.upper(), "travel", "exact"),
        ("where do you find my balance now abroad", "balance", None),
    ],
)
def test_the_answer_says_whether_a_near_text_is_a_copy(row: str, answer: str, reason: str | None) -> None:
    rows = [example(row, answer), *(example(f"question {i} of others", "card") for i in range(40))]
    dropped = find_overlaps(rows, [case(SHORT, "balance"), case("is my card here already", "card")]).dropped
    assert [leak.reason for leak in dropped] == ([reason] if reason else [])


def test_json_answers_are_compared_by_what_they_say() -> None:
    asked = case("a table for four people at 7 pm on Friday", {"people": 4, "time": "7 p.m."})
    same = example("a table for four people at 7 pm next Friday", '{"time": "7pm", "people": 4}')
    other = example("a table for five people at 7 pm on Friday", '{"time": "7pm", "people": 5}')
    assert [leak.row for leak in find_overlaps([same, other], [asked]).dropped] == [0]


def test_a_short_text_with_another_answer_reveals_nothing() -> None:
    rows = [example("4", '{"people": 4}'), example("4", '{"time": 4}')]
    assert [leak.row for leak in find_overlaps(rows, [case("4", {"time": 4})]).dropped] == [1]


def test_an_answer_that_most_rows_have_is_little_evidence_and_a_rare_one_much(monkeypatch: pytest.MonkeyPatch) -> None:
    common = ["can I bring my yoghurt", "can I bring my children", "I want to sit by the door"]
    others = [example(f"{common[i % 3]} {VOCABULARY[i % len(VOCABULARY)]} number {i}", "{}") for i in range(300)]
    copies = [example("to sit by my door", answer) for answer in ("{}", '{"pet": "cat"}')]
    asked = [case("to sit by the door", json) for json in ({}, {"pet": "cat"})]
    rows = [*copies, *others]
    cases = [[one, case("can I bring my yoghurt or my children", {})] for one in asked]
    assert [hit.row for some in cases for hit in find_overlaps(rows, some).dropped] == [1]
    monkeypatch.setattr(contamination_index, "_MAX_ANSWER_BITS", 0.0)  # switched off
    assert not any(find_overlaps(rows, some).dropped for some in cases)


def test_a_pattern_that_hundreds_of_rows_share_is_no_evidence() -> None:
    pattern = "I would like to book a table at the old harbour for"
    rng = random.Random(4)
    rows = [example(f"{pattern} {' '.join(rng.choices(VOCABULARY, k=4))}", "book") for _ in range(300)]
    asked = case(f"{pattern} anna maria jones tomorrow", "book")
    assert not find_overlaps(rows, [asked]).dropped
    assert find_overlaps(rows[:5], [asked]).by_reason["ngram"] == 5


@pytest.mark.parametrize("n", [21, 60, 150])
def test_rows_with_a_whole_test_question_are_copies_however_many_they_are(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(n)
    vocabulary = [f"word{k}" for k in range(500)]
    clean = [example(" ".join(rng.sample(vocabulary, 12)), "yes" if k < 300 else "no") for k in range(600)]
    frames = [rng.sample(vocabulary, 6) for _ in range(n)]
    copies = [example(" ".join([*frame[:3], LONG, *frame[3:]]), "yes") for frame in frames]
    cases = [case(LONG, "yes"), *(case(" ".join(rng.sample(vocabulary, 12)), "no") for _ in range(50))]
    found = [hit.row for hit in search([*clean, *copies], cases) if hit.certain]
    assert found == list(range(600, 600 + n))
    monkeypatch.setattr(contamination_index, "_QUOTED", 1.1)  # only stretches of few rows count
    assert not any(hit.certain for hit in search([*clean, *copies], cases))


def test_a_row_with_another_answer_is_a_near_duplicate_and_stays() -> None:
    verbs = ["find", "lose", "sell", "send", "bend"]
    rows = [example(f"how do i {verb} my card", f"{verb} it") for verb in verbs]
    found = search(rows, [case("how do i block my card", "block it")])
    assert [hit.row for hit in found] == list(range(5)) and not any(hit.certain for hit in found)


def test_a_test_question_in_a_system_prompt_or_an_earlier_turn_is_found() -> None:
    rows = [example(f"question {i}", system="Be short.") for i in range(30)]
    rows.append(example("and now?", system=f"Be short. Example: {LONG} Answer: card_arrival"))
    turns = ({"role": "user", "content": LONG}, {"role": "assistant", "content": "Soon."}, *example("ok?").messages)
    rows.append(Example(id="turns", messages=turns))
    found = find_overlaps(rows, [case(LONG, "card_arrival")])
    assert found.by_reason["prompt"] == 2 and len(found.dropped) == 2


def test_a_prompt_that_all_rows_share_drops_none_of_them() -> None:
    rows = [example(f"question {i}", system=f"Be short. Example: {LONG}") for i in range(30)]
    hits = search(rows, [case(LONG, "card_arrival")])
    assert [hit.reason for hit in hits] == ["prompt"] * 30
    assert not any(hit.certain for hit in hits)


def test_another_question_about_one_passage_is_no_copy_unless_its_answer_is() -> None:
    passage = (
        "The line from Melbourne to Ballarat was rebuilt to the standard gauge in 1995 and carries grain to the port."
    )
    expected = "since that year the narrow line through the mountains only carries tourists in summer and autumn"
    asked = case(f"{passage} What does the narrow line carry nowadays?", expected=expected)
    other = "it is sent to the port on the wide tracks that were laid by the state government long before"
    rows = [
        example(f"{passage} Where is all the grain sent in the end?", answer=other),
        example(f"{passage} Where is all the grain sent in the end?", answer=expected),
        example(f"{passage} What does that narrow line carry nowadays?", answer=other),
        example(f"Read this. {passage} What does the narrow line carry nowadays? Answer in a line.", answer=other),
    ]
    certain = [hit.certain for hit in search(rows, [asked])]
    assert certain == [False, True, True, True]


VOCABULARY = [f"w{i}" for i in range(3000)]
TEMPLATE = " ".join(random.Random(1).choices(VOCABULARY, k=200))


def filled(n: int, seed: int) -> list[str]:
    """The template with `n` questions of 15 words."""
    rng = random.Random(seed)
    return [f"{TEMPLATE} Question: {' '.join(rng.choices(VOCABULARY, k=15))}" for _ in range(n)]


def test_a_template_that_many_cases_share_is_no_overlap_and_hides_none() -> None:
    texts = filled(60, seed=2)
    cases = [case(text) for text in texts]
    rows = [example(text) for text in filled(60, seed=3)]
    near = example(f"{texts[7].rsplit(' ', 2)[0]} and so on")
    found = find_overlaps([*rows, near], cases)
    (leak,) = found.dropped
    assert leak.row == len(rows)
    assert leak.score == pytest.approx(13 / 15)
    assert leak.cases == (cases[7].id,)


def test_the_size_of_a_portion_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(5)
    asked = [f"how do i {' '.join(rng.choices(VOCABULARY[:9], k=3))}" for _ in range(200)]
    cases = [case(text) for text in asked[:50]]
    rows = [example(f"{text} {rng.choice(VOCABULARY[:9])}", system=f"Example: {asked[k % 60]}") for k, text in
            enumerate(asked)]  # fmt: skip
    found = search(rows, cases)
    monkeypatch.setattr(contamination_index, "_PORTION_ROWS", 7)
    assert len(found) > 50 and search(rows, cases) == found


def test_names_numbers_and_identifiers_tell_questions_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "how do I use pandas.Series.{} with the options of version {} in Oslo"
    rows = [example(asked.format("rmod", 2), "docs"), example(asked.format("rdiv", 3), "docs"),
            example(asked.format("rdiv", 2).replace("Oslo", "Rome"), "docs"),
            example(asked.format("rdiv", 2).replace("how do", "when do"), "docs")]  # fmt: skip
    cases = [case(asked.format("rdiv", 2), "docs")]
    assert [hit.certain for hit in search(rows, cases)] == [False, False, False, True]
    monkeypatch.setattr(contamination_index, "_differ", lambda *_: False)  # switched off
    assert all(hit.certain for hit in search(rows, cases))


def test_words_that_take_turns_in_one_place_tell_questions_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    things = ["lamp", "chair", "kettle", "router", "jacket", "drill", "tent", "printer"]
    asked = "please send the receipt of the {} again because we {} it"
    rows = [example(asked.format(*words)) for words in (("lamp", "lost"), ("chair", "lost"), ("bill", "burnt"))]
    rows += [example(asked.format(thing, "tore")) for thing in things]
    rows += [example(f"question {i} about {VOCABULARY[i]} and {VOCABULARY[-i]}") for i in range(300)]
    cases = [case(asked.format(thing, "burnt")) for thing in things[1:]]
    copied = [[case(asked.format(thing, did)) for thing in things] for did in ("burnt", "ate")]

    def found() -> tuple[list[bool], float]:
        hits = search(rows, [case("where is my lamp"), *cases])
        grouped, _ = group_near_duplicates([*copied[0], *copied[1]])
        return [hit.certain for hit in hits[:3]], effective_groups([one.source for one in grouped])

    assert found() == ([False, True, True], 8)
    monkeypatch.setattr(contamination_index, "_TURNS", 99)  # switched off
    assert found() == ([True, True, True], 1)


def test_what_few_cases_share_still_counts() -> None:
    passage = " ".join(TEMPLATE.split()[:40])
    cases = [case(f"{passage} what is {word}") for word in VOCABULARY[:5]]
    rows = [example(f"question number {i} about another thing") for i in range(60)]
    assert find_overlaps([*rows, example(f"{passage} what else")], cases).by_reason["ngram"] == 1


def test_of_cases_that_are_covered_alike_the_first_is_named() -> None:
    twins = [case(f"{LONG} {word}") for word in "abcdefgh"]
    rows = [example(f"question number {i} about another thing") for i in range(60)]
    (leak,) = find_overlaps([*rows, example(f"{LONG} and so on")], twins).dropped
    assert leak.case_id == twins[0].id


def test_5_000_examples_against_500_cases_in_one_template_take_bounded_time() -> None:
    rows, cases = [example(text) for text in filled(5000, seed=2)], [case(text) for text in filled(500, seed=3)]
    start = time.process_time()
    assert not find_overlaps(rows, cases).dropped
    assert time.process_time() - start < 60


def test_10_000_examples_against_300_cases_take_bounded_time() -> None:
    rows = [
        Example(id=str(i), messages=({"role": "user", "content": f"row {i} " + f"word{i % 97} and then " * 8},))
        for i in range(10_000)
    ]
    cases = [case(f"case {i} " + f"word{i} or else " * 8) for i in range(300)]
    start = time.process_time()
    find_overlaps(rows, cases)
    assert time.process_time() - start < 60
