"""The sets: clean rows and clean test rows of one source, for labels, slots and free text.

A set of ours is drawn from weighted wordings, so that some of what is tested is rare among the rows, and holds many
wordings of each question, which such a set is collected for.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """A question, its answer, what the row is (`clean`, or the kind of poison), and the wording that it is made of."""

    question: str
    answer: str
    kind: str = "clean"
    core: str = ""


class CleanSet(NamedTuple):
    """Rows to build from, cases that the project has, test rows that nobody but the measurement sees."""

    task: str
    rows: list[Row]
    cases: list[Row]
    test: list[Row]


def zipf(rng: random.Random, items: Sequence[str], power: float = 0.8) -> str:
    """Draw one of `items`, the first ones more often."""
    return rng.choices(items, [1 / (rank + 1) ** power for rank in range(len(items))])[0]


OPENERS = ("", "", "", "hi, ", "hello, ", "please help, ", "quick question: ", "excuse me, ", "so ", "hey, ")
PEOPLE = ("my mother", "a colleague", "our landlord", "my son", "the neighbour", "our accountant", "a friend of mine",
          "the caretaker", "my wife", "the new trainee", "our club", "the shop downstairs")  # fmt: skip
TIMES = (
    "since the storm",
    "after the holidays",
    "two days ago",
    "at noon",
    "before the weekend",
    "in the evening",
    "right after lunch",
    "on my way home",
    "during the match",
    "in early spring",
    "all day long",
    "at midnight",
)
PLACES = (
    "in the kitchen",
    "at the station",
    "from the office",
    "on the balcony",
    "in the old town",
    "by the lake",
    "at the counter",
    "in the garage",
    "from abroad",
    "next to the school",
    "on the train",
    "at my desk",
)
TAILS = (
    "and {who} noticed it {when}",
    "because {who} asked me {when} {where}",
    "{when} {where}",
    "which {who} set up {when}",
    "while I was {where} with {who}",
    "as {who} told me {where}",
    "that {who} paid for {when}",
    "so that {who} can use it {where}",
    "{where}, where {who} lives",
    "although {who} called {when}",
)


def context(rng: random.Random) -> str:
    """Return what people tell beside their question, or nothing."""
    tail = rng.choice(TAILS).format(who=rng.choice(PEOPLE), when=rng.choice(TIMES), where=rng.choice(PLACES))
    return f" {tail}" if rng.random() < 0.7 else ""


CLOSERS = ("", "", "", "?", "?", " please", " thanks", " as soon as you can", " if that is possible", ", any idea")
OBJECTS = {
    "parcel": ("parcel", "package", "delivery", "shipment", "box that I ordered", "order"),
    "invoice": ("invoice", "bill", "receipt", "statement of charges", "monthly bill", "order"),
    "contract": ("contract", "agreement", "plan", "subscription", "tariff", "membership"),
    "router": ("router", "modem", "wifi box", "wireless router", "internet box", "device"),
    "phone": ("phone", "handset", "mobile", "smartphone", "cell phone", "device"),
    "sim": ("sim card", "sim", "chip card", "e-sim", "phone card", "card"),
    "password": ("password", "passcode", "login", "credentials", "sign-in code", "account access"),
    "address": ("address", "home address", "street and city", "place of residence", "postal details", "details"),
    "payment": ("payment", "direct debit", "transfer", "card charge", "instalment", "transaction"),
    "voucher": ("voucher", "gift code", "coupon", "discount code", "promo code", "code"),
    "appointment": ("appointment", "visit of the technician", "booking", "time slot", "service visit", "date"),
    "number": ("phone number", "number", "mobile number", "line", "extension", "contact number"),
}
ACTIONS = {
    "change": ("how do I change my {}", "I want to change the {}", "can the {} be changed", "switch my {} to another",
               "the {} needs an update", "I would like a different {}", "is it possible to edit the {}",
               "replace my {} with a new one"),
    "cancel": ("how do I cancel my {}", "I no longer want the {}", "please stop the {}", "get rid of my {}",
               "end the {} for me", "I would like to give up the {}", "is there a way out of the {}",
               "undo the {} from last week"),
    "missing": ("my {} has not arrived", "where is my {}", "I never got the {}", "still waiting for the {}",
                "the {} should have come days ago", "there is no sign of my {}", "I cannot find my {}",
                "when does the {} come"),
    "broken": ("my {} does not work", "the {} is broken", "something is wrong with the {}", "the {} keeps failing",
               "there is an error with my {}", "I have trouble with the {}", "why does my {} not work any more",
               "the {} stopped this morning"),
    "cost": ("how much is the {}", "what does the {} cost", "is there a fee for the {}", "why is the {} so expensive",
             "what will I pay for a {}", "the price of the {}", "am I charged for the {}", "do I pay extra for the {}"),
    "add": ("I need a second {}", "how do I get another {}", "add a {} to my account", "can I have one more {}",
            "set up an extra {}", "I would like an additional {}", "register a new {}", "order one more {} for my son"),
}  # fmt: skip


def intents(rng: random.Random, n: int) -> CleanSet:
    """Return 72 intents; the wordings of objects overlap, so that no classifier gets all right."""

    def drawn() -> Row:
        action, name = rng.choice([*ACTIONS]), zipf(rng, [*OBJECTS], 0.3)
        core = zipf(rng, ACTIONS[action]).format(zipf(rng, OBJECTS[name]))
        return Row(zipf(rng, OPENERS) + core + context(rng) + zipf(rng, CLOSERS), f"{action}_{name}", core=core)

    return _split("intents", _distinct(drawn, n), rng)


NAMES = ("Ines", "Tomas", "Maren", "Olu", "Priya", "Jonas", "Lucia", "Henrik", "Aiko", "Samir", "Greta", "Pavel")
CITIES = ("Bremen", "Lyon", "Porto", "Gdansk", "Graz", "Turin", "Malaga", "Aarhus", "Ghent", "Tartu", "Split", "Cork")
DAYS = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "tomorrow",
    "tonight",
    "next week",
)
SLOTS = (
    "book a room in {city} for {people} people on {day}", "I need {people} beds in {city} {day}",
    "{day} in {city}, {people} of us, name {name}", "reserve under {name} for {people}, {day}",
    "could you hold a room for {name} in {city} on {day}", "we are {people} and arrive {day}",
    "is there anything free in {city} {day} for {people} guests", "put it under {name} please",
    "change my booking to {day}", "make that {people} people instead", "the city is {city}", "it is {name}, on {day}",
)  # fmt: skip


def slots(rng: random.Random, n: int) -> CleanSet:
    """Return bookings with city, people, day and name as JSON."""

    def drawn() -> Row:
        values = {"city": rng.choice(CITIES), "people": str(rng.randint(1, 12)), "day": rng.choice(DAYS),
                  "name": rng.choice(NAMES) + rng.choice(["", "", f" {rng.choice(CITIES)}son"])}  # fmt: skip
        wording = zipf(rng, SLOTS, 0.5)
        question = zipf(rng, OPENERS) + wording.format(**values) + context(rng) + zipf(rng, CLOSERS)
        return Row(question, json.dumps({k: v for k, v in values.items() if f"{{{k}}}" in wording}), core=wording)

    return _split("slots", _distinct(drawn, n), rng)


PRODUCTS = ("Aster", "Birch", "Cedar", "Dahlia", "Elder", "Fennel", "Ginkgo", "Hazel", "Iris", "Juniper", "Kapok",
            "Larch", "Maple", "Nettle", "Olive", "Poplar", "Quince", "Rowan", "Sorrel", "Tamarisk")  # fmt: skip
ASPECTS = {
    "cleaning": ("how do I clean the {} grill", "what gets grease off my {}", "is the {} dishwasher safe",
                 "my {} is full of soot, what now", "which brush is right for the {}"),
    "warranty": ("how long is the warranty of the {}", "is my {} still covered", "the {} broke after a year, who pays",
                 "does the guarantee of the {} include the lid", "what proof do I need for a {} claim"),
    "gas": ("which gas bottle fits the {}", "how long does a bottle last on the {}", "can the {} run on butane",
            "my {} smells of gas", "how do I connect the bottle to my {}"),
    "assembly": ("how do I put the {} together", "which screws go into the legs of the {}", "a part of my {} lacks",
                 "how long does it take to build the {}", "do I need a second person for the {}"),
    "heat": ("how hot does the {} get", "my {} does not get warm", "one side of the {} is colder than the other",
             "how long must I preheat the {}", "can I sear steaks on the {}"),
    "winter": ("can the {} stay outside in winter", "does my {} need a cover", "the {} has rust after the winter",
               "where do I store the {} when it snows", "may the {} get wet"),
}  # fmt: skip
ADVICE = {
    "cleaning": "Let the {p} cool down, take out the grates, and soak them for {n} minutes in warm water with soap. "
                "Then use the {c} brush and dry every part, as the {p} does not belong in the dishwasher.",
    "warranty": "The warranty of the {p} is {n} months from the day of purchase and covers burner and lid. Send "
                "the receipt and a picture to desk {c}, and a new part leaves within a week.",
    "gas": "Use a {c} bottle of propane with the {p} and the regulator in the box. It lasts about {n} hours. If it "
           "smells, close the valve and brush soapy water on the hose to find the leak.",
    "assembly": "Lay out the parts of the {p}, start with the legs and use the screws from bag {c}. Two people need "
                "about {n} minutes, and the last page of the booklet lists where to order what is missing.",
    "heat": "Preheat the {p} with a closed lid for {n} minutes on level {c}. If one side stays cold, swap the burners "
            "and clean the small holes with a needle, since fat closes them first.",
    "winter": "The {p} may stay outside to minus {n} degrees under the cover {c}. Dry it first, oil the grate, and "
              "leave the lid open by a finger so that no rust begins.",
}  # fmt: skip


def answers(rng: random.Random, n: int) -> CleanSet:
    """Return questions about 20 products with 120 answers, each asked in several wordings."""

    def drawn() -> Row:
        product, aspect = rng.choice(PRODUCTS), rng.choice([*ASPECTS])
        place = PRODUCTS.index(product)
        answer = ADVICE[aspect].format(p=product, n=10 + 3 * place, c="ABCDEFG"[(place + len(aspect)) % 7])
        core = zipf(rng, ASPECTS[aspect], 0.5).format(product)
        return Row(zipf(rng, OPENERS) + core + context(rng) + zipf(rng, CLOSERS), answer, core=core)

    return _split("answers", _distinct(drawn, n), rng)


def _distinct(drawn, n: int) -> list[Row]:  # type: ignore[no-untyped-def]
    """Draw `n` rows for building and a fifth more for cases and test, no question twice."""
    rows: dict[str, Row] = {}
    wanted = n + max(700, n // 5)
    for _ in range(20 * wanted):
        row = drawn()
        rows.setdefault(row.question, row)
        if len(rows) == wanted:
            break
    return [*rows.values()]


def _split(task: str, rows: list[Row], rng: random.Random) -> CleanSet:
    """Hold a seventh of the wordings out for the cases, so that no clean row overlaps with a case."""
    cores = sorted({row.core for row in rows})
    held = set(rng.sample(cores, max(1, len(cores) // 7)))
    rest = [row for row in rows if row.core not in held]
    n_test = max(500, len(rest) // 7)
    return CleanSet(task, rest[n_test:], [row for row in rows if row.core in held][:300], rest[:n_test])


def banking77(folder: Path, rng: random.Random, n: int) -> CleanSet:
    """Return banking77: intents of real customers (CC-BY-4.0, PolyAI), read in place."""

    def read(name: str) -> list[Row]:
        with (folder / "banking77" / name).open(newline="") as file:
            return [Row(one["text"].strip(), one["category"]) for one in csv.DictReader(file)]

    rows, test = read("train.csv"), read("test.csv")
    rng.shuffle(rows)
    rng.shuffle(test)
    return CleanSet("banking77", rows[:n], test[:300], test[300:])


def restaurant8k(folder: Path, rng: random.Random, n: int) -> CleanSet:
    """Return restaurant8k: slots in bookings of real people (CC-BY-4.0, PolyAI), read in place."""

    def read(name: str) -> list[Row]:
        rows = []
        for one in json.loads((folder / "restaurant8k" / name).read_text()):
            text, wanted = one["userInput"]["text"], (one.get("context") or {}).get("requestedSlots", [])
            spans = {
                label["slot"]: text[label["valueSpan"].get("startIndex", 0) : label["valueSpan"]["endIndex"]]
                for label in one.get("labels", [])
            }
            rows.append(Row(f"{text} ({', '.join(wanted) or 'none'})", json.dumps(spans, sort_keys=True)))
        return rows

    rows, test = read("train.json"), read("test.json")
    rng.shuffle(rows)
    rng.shuffle(test)
    return CleanSet("restaurant8k", rows[:n], test[:300], test[300:])


OURS = {"intents": intents, "slots": slots, "answers": answers}
REAL = {"banking77": banking77, "restaurant8k": restaurant8k}
