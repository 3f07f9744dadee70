"""The JSON and short-answer classical baselines: tasks planted for each, how fields are learnt, restaurant8k."""

from __future__ import annotations

import json
import random

import pytest
from classical_data import example, micro_f1, restaurant8k

from tuneworthy.classical import fit
from tuneworthy.classical.fields import flatten, learn_fields, read_object
from tuneworthy.classical.objects import fit_tagger
from tuneworthy.classical.runtime import unflatten
from tuneworthy.classical.spans import CopyRules, Text
from tuneworthy.classical.tagger import WordTagger, split_segments, text_features
from tuneworthy.errors import Undecided

NAMES = ["Ada", "Bo", "Cleo", "Dov", "Eva", "Finn", "Gus", "Hal", "Ines", "Jo", "Kim", "Lev"]
NEW_NAMES = ["Mona", "Nils", "Olga", "Pia"]
CITIES = ["Oslo", "Rome", "Lima", "Bonn", "Graz", "Turku"]


def trip(rng: random.Random, names: list[str]) -> tuple[str, dict[str, object]]:
    """A question whose fields are copied (name, city), numeric (seats) and inferred (class, pets)."""
    name, city, seats = rng.choice(names), rng.choice(CITIES), rng.randint(1, 40)
    cheap, pets = rng.random() < 0.5, rng.random() < 0.3
    words = [
        rng.choice(["this is", "my name is", "here is"]) + f" {name}",
        f"I need {seats} seats to {city.lower() if rng.random() < 0.5 else city}",
        "the cheap ones" if cheap else "the comfortable ones",
        *(["my dog comes along"] if pets else []),
    ]
    answer: dict[str, object] = {"who": {"name": name}, "seats": seats, "class": "economy" if cheap else "business"}
    answer["city"] = city.upper()
    answer["pets"] = True if pets else None
    return ", ".join(words), answer


def trips(n: int, seed: int, names: list[str] = NAMES) -> list[tuple[str, dict[str, object]]]:
    rng = random.Random(seed)
    return [trip(rng, names) for _ in range(n)]


def share_right(name: str, train, test) -> float:
    classical = fit(name, [example(q, a) for q, a in train], 7)
    answers = [json.loads(a) for a in classical.predict([q for q, _ in test])]
    return sum(p == a for p, (_, a) in zip(answers, test, strict=True)) / len(test)


def test_the_tagger_fills_copied_numeric_nested_and_inferred_fields_of_unseen_values():
    train, test = trips(200, 1), trips(100, 2, NEW_NAMES)
    assert share_right("field_tagger", train, test) >= 0.95


def test_the_nearest_classical_baseline_wins_where_objects_belong_to_questions():
    opening = {"lost my card": "freeze", "charged twice": "refund", "app is slow": "wait", "new address": "update"}
    train = [(f"{q} says {n}", {"do": do}) for q, do in opening.items() for n in NAMES[:6]]
    test = [(f"{q} says {n}", {"do": do}) for q, do in opening.items() for n in NEW_NAMES]
    assert share_right("nearest_object", train, test) == 1.0
    assert share_right("constant", train, test) == 0.25


def test_the_constant_classical_baseline_wins_where_the_question_says_nothing():
    rng = random.Random(5)
    pairs = [("".join(rng.choices("bcdfgh", k=9)), {"ok": rng.random() < 0.8}) for _ in range(300)]
    assert share_right("constant", pairs[:200], pairs[200:]) >= share_right("nearest_object", pairs[:200], pairs[200:])


@pytest.mark.parametrize(
    "render",
    [
        "{text}\nAsked: {asked}",
        '{{"asked": "{asked}", "text": "{text}"}}',
        "<asked>{asked}</asked><text>{text}</text>",
    ],
)
def test_another_variable_of_the_template_decides_what_a_bare_number_means(render):
    rng = random.Random(4)
    rows = [(str(rng.randint(1, 12)), rng.choice(["time", "people"])) for _ in range(120)]
    pairs = [(render.format(text=text, asked=asked), {asked: text}) for text, asked in rows]
    assert share_right("field_tagger", pairs[:80], pairs[80:]) == 1.0


def test_a_list_field_takes_every_span_and_an_empty_one_stays_a_list():
    rng = random.Random(6)
    pairs = []
    for _ in range(160):
        chosen = rng.sample(["ham", "egg", "leek", "corn", "kale"], rng.randint(0, 3))
        pairs.append((f"pizza with {' and '.join(chosen) or 'nothing'} please", {"toppings": chosen}))
    assert share_right("field_tagger", pairs[:120], pairs[120:]) >= 0.95


def test_words_that_two_fields_share_are_given_to_both():
    pairs = [(f"can we come {w}", {"date": w, "time": w}) for w in ("now", "in an hour", "in 2 hours")] * 6
    pairs += [(f"can we come {w}", {"date": w}) for w in ("today", "on monday", "tomorrow")] * 6
    assert share_right("field_tagger", pairs, pairs) == 1.0


def test_a_field_left_out_stays_left_out_and_a_null_stays_null():
    texts = [Text(f"hi {n}") for n in NAMES] + [Text("hi")]
    fields = learn_fields(texts, [{("name",): n.lower()} for n in NAMES] + [{}])
    assert fields[0].copied
    assert fields[0].case == "lower"
    assert fields[0].empty == "absent"
    assert learn_fields(texts, [{("name",): n} for n in NAMES] + [{("name",): None}])[0].empty == "null"


def test_rows_that_are_not_json_objects_are_counted():
    good = [example("a", {"x": 1}), example("b", '```json\n{"x": 2}\n```')]
    classical = fit("constant", [*good, example("c", "sorry"), example("d", "[1]")], 0)
    assert classical.identity["parameters"]["unreadable_rows"] == 2
    with pytest.raises(Undecided, match="the 1 examples has a JSON object"):
        fit("field_tagger", [example("c", "sorry")], 0)


def test_flattening_is_undone_and_odd_trees_are_borne():
    value = {"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}], "f": None}
    assert unflatten(flatten(value)) == value
    assert unflatten({("a",): None, ("a", "b"): 1}) == {"a": {"b": 1}}
    assert read_object("[]") is None
    assert read_object("") is None


def test_spans_ignore_case_and_spacing_and_split_unspaced_scripts():
    assert Text("Table for 2 at 7PM").find("7 pm") == [(4, 6)]
    text = Text("予約は二人です")
    assert [text.slice(s) for s in text.find("二人")] == ["二人"]
    assert Text("anything").find("") == []


def test_segments_cover_the_text_without_gaps():
    for raw in ("", "a", "a\n\nb\n", '{"k": "v", "l": {"m": 1}}', "<a>x</a>y<b>z</b>"):
        assert "".join(raw[a:b] for a, b in split_segments(raw)) == raw


def test_copy_rules_without_examples_find_nothing():
    assert CopyRules().best(Text("some words")) is None
    assert WordTagger(**fit_tagger([Text("a b")], [[[]]], 1)).spans(Text("a b")) == [[]]


def orders(n: int, seed: int, names: list[str]) -> list[tuple[str, str]]:
    """Questions whose answer is the word after "called"."""
    rng = random.Random(seed)
    fill = ["I met a man", "yesterday", "there is a shop", "he said", "we saw a dog", "in spring"]
    return [
        (f"{rng.choice(fill)} called {who} and {rng.choice(fill)} with {rng.choice(names)}", who)
        for who in (rng.choice(names) for _ in range(n))
    ]


@pytest.mark.parametrize("name", ["copy_rules", "answer_tagger"])
def test_short_answers_are_copied_from_the_place_where_answers_stand(name):
    train, test = orders(80, 1, NAMES), orders(60, 2, NEW_NAMES)
    right = {}
    for classical in (name, "nearest", "majority"):
        answers = fit(classical, [example(q, a) for q, a in train], 7).predict([q for q, _ in test])
        right[classical] = sum(p == a for p, (_, a) in zip(answers, test, strict=True)) / len(test)
    assert right[name] >= 0.95
    assert right["nearest"] == right["majority"] == 0.0


@pytest.mark.parametrize("name", ["copy_rules", "answer_tagger"])
def test_short_answers_that_are_not_copied_come_from_the_nearest_example(name):
    rows = [example("capital of Norway", "Oslo"), example("capital of Peru", "Lima")]
    assert fit(name, rows, 7).predict(["the capital of peru?"]) == ["Lima"]


@pytest.mark.slow
def test_restaurant8k_with_1500_rows_is_above_80_percent_f1():
    train = random.Random(1).sample(restaurant8k("train"), 1500)
    test = random.Random(2).sample(restaurant8k("test"), 600)
    classical = fit("field_tagger", [example(q, a) for q, a in train], 7)
    answers = [json.loads(a) for a in classical.predict([q for q, _ in test])]
    assert micro_f1(answers, [a for _, a in test]) >= 0.84


def test_restaurant8k_is_ranked_constant_nearest_tagger():
    train = random.Random(1).sample(restaurant8k("train"), 500)
    test = random.Random(2).sample(restaurant8k("test"), 300)
    scores = []
    for name in ("constant", "nearest_object", "field_tagger"):
        answers = fit(name, [example(q, a) for q, a in train], 7).predict([q for q, _ in test])
        scores.append(micro_f1([json.loads(a) for a in answers], [a for _, a in test]))
    assert scores[0] < scores[1] - 0.05 < scores[2] - 0.6


def test_features_are_numbered_in_the_order_of_the_text_not_of_a_hash():
    text = Text("table for Ada at 7")
    state = fit_tagger([text], [[[(2, 3)]]], 1)
    assert state["names"] == list(dict.fromkeys(name for row in text_features(text) for name in row))
