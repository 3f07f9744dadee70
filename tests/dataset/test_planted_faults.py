"""Faults planted in banking77's training set: how many of them the checks find, and what else they call a fault."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from tests.dataset.check_rows import row
from tests.real_data import REAL_DATA, needs_real_data
from tuneworthy.cases import read_cases, read_examples
from tuneworthy.cases.pii import iban_length, is_card
from tuneworthy.dataset import CheckContext
from tuneworthy.dataset.checks.contamination import ContaminationCheck
from tuneworthy.dataset.checks.label_errors import LabelErrors
from tuneworthy.dataset.checks.personal_data import PersonalData
from tuneworthy.types import Case, Example

DATA = REAL_DATA / "banking77"
pytestmark = [needs_real_data, pytest.mark.slow]
SEED = 11


@pytest.fixture(scope="module")
def train() -> list[Example]:
    return list(read_examples(DATA / "train.csv").examples)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(read_cases(DATA / "test.csv").cases)


class Overlaps(NamedTuple):
    """Planted rows by kind, and the training rows that give nothing away."""

    exact: list[Example]
    case: list[Example]
    edited: list[Example]


def edited(text: str, rng: random.Random) -> str:
    """Return `text` with one word more, less, or another one."""
    words = text.split()
    place = rng.randrange(len(words))
    kind = rng.choice(("more", "less", "other"))
    return " ".join([*words[:place], *([] if kind == "less" else ["really"]), *words[place + (kind != "more") :]])


@pytest.fixture(scope="module")
def overlaps(cases: list[Case]) -> Overlaps:
    rng = random.Random(SEED)
    drawn = rng.sample([case.text for case in cases], 225)
    return Overlaps(
        [row(text) for text in drawn[:75]],
        [row(text.upper() if i % 2 else text.lower().rstrip("?.!") + " !") for i, text in enumerate(drawn[75:150])],
        [row(edited(text, rng)) for text in drawn[150:]],
    )


def test_overlaps_that_are_equal_or_edited_are_found(
    overlaps: Overlaps, train: list[Example], cases: list[Case]
) -> None:
    planted = [*overlaps.exact, *overlaps.case, *overlaps.edited]
    rows = [*train, *planted]
    found = {finding.row: finding for finding in ContaminationCheck()(rows, CheckContext(cases=cases))}
    recall = sum(len(train) + i in found for i in range(len(planted))) / len(planted)
    assert recall >= 0.98
    assert all(found[len(train) + i].code == "overlap_exact" for i in range(150))
    dropped = sum(finding.action == "drop" for number, finding in found.items() if number < len(train))
    assert dropped / len(train) < 0.13  # training and test set were cut from one stock: many rows differ in a word


def iban(rng: random.Random, *, valid: bool) -> str:
    country = rng.choice(["DE", "GB", "NL", "FR", "ES"])
    body = "".join(rng.choice("0123456789") for _ in range(iban_length(country) - 4))
    if country == "GB":
        body = "WEST" + body[4:]
    number = "".join(str(int(char, 36)) for char in f"{body}{country}00")
    check = 98 - int(number) % 97 if valid else (98 - int(number) % 97) % 97 + 1
    plain = f"{country}{check:02d}{body}"
    return " ".join(plain[i : i + 4] for i in range(0, len(plain), 4)) if rng.random() < 0.5 else plain


def card(rng: random.Random, *, valid: bool) -> str:
    while True:
        digits = rng.choice(["4", "51", "2221"]) + "".join(rng.choice("0123456789") for _ in range(16))
        digits = digits[:16]
        if is_card(digits) is valid:
            gap = rng.choice(["", " ", "-"])
            return gap.join(digits[i : i + 4] for i in range(0, 16, 4))


def personal(rng: random.Random) -> tuple[list[str], list[str]]:
    """Return 120 strings that are personal data, and 80 that only look like it."""
    digits = lambda n: "".join(rng.choice("0123456789") for _ in range(n))  # noqa: E731
    name = lambda: "".join(rng.choice("abcdefghij") for _ in range(7))  # noqa: E731
    valid = [iban(rng, valid=True) for _ in range(30)] + [card(rng, valid=True) for _ in range(30)]
    valid += [f"{name()}.{name()}@{name()}.{rng.choice(['com', 'co.uk', 'org', 'de'])}" for _ in range(20)]
    valid += [f"+{rng.choice(['49 30', '44 20', '1 415', '33 1'])} {digits(4)} {digits(4)}" for _ in range(15)]
    valid += [".".join(str(rng.randrange(11, 250)) for _ in range(4)) for _ in range(10)]
    valid += [f"AKIA{digits(16)}" for _ in range(5)] + [f"ghp_{digits(36)}" for _ in range(5)]
    valid += [f"sk-proj-{digits(30)}" for _ in range(5)]
    invalid = [iban(rng, valid=False) for _ in range(30)] + [card(rng, valid=False) for _ in range(30)]
    invalid += [f"{rng.randrange(256, 999)}.{digits(2)}.1.{digits(1)}" for _ in range(10)]
    invalid += [f"{name()}@{name()}" for _ in range(10)]
    return valid, invalid


PLACES = (
    "My number is {}, please check.",
    "{}",
    "Is {} right? I got it in 2024",
    "It is {} since 12/27",
    "send it to {}!",
)


def test_valid_personal_data_is_found_and_what_has_a_wrong_checksum_is_not(train: list[Example]) -> None:
    valid, invalid = personal(random.Random(SEED))
    assert len(valid) + len(invalid) == 200
    planted = [row(PLACES[i % len(PLACES)].format(value)) for i, value in enumerate([*valid, *invalid])]
    findings = list(PersonalData()([*train, *planted], CheckContext()))
    there = {finding.row - len(train) for finding in findings}
    assert sum(i in there for i in range(len(valid))) / len(valid) >= 0.95
    assert [planted[i].question for i in range(len(valid), len(planted)) if i in there] == []
    assert sum(i < 0 for i in there) <= 0.001 * len(train)
    shown = " ".join(finding.message for finding in findings)
    assert not any(value in shown for value in valid)


@pytest.mark.slow
def test_wrong_labels_are_ranked_first(train: list[Example]) -> None:
    rng = random.Random(SEED)
    labels = sorted({each.answer for each in train})
    wrong = {number: rng.choice([label for label in labels if label != train[number].answer])
             for number in rng.sample(range(len(train)), 100)}  # fmt: skip
    rows = [row(each.question, wrong.get(number, each.answer)) for number, each in enumerate(train)]
    findings = list(LabelErrors()(rows, CheckContext(labels=labels, seed=SEED)))
    first = {finding.row for finding in findings[:200]}
    assert len(first & wrong.keys()) >= 60
    assert [finding.score for finding in findings] == sorted(finding.score or 0 for finding in findings)


CORES = (
    "how do I reset the password of my online account", "what must I do to get a new password for the online account",
    "I forgot my account password, how is it reset", "password reset for my account please",
    "can you reset my online password", "the password for my account is lost, I need a reset",
)  # fmt: skip
BEFORE = ("", "hi, ", "hello there, ", "please help: ", "good morning, ", "quick question, ", "sorry, ", "hey team, ")
AFTER = ("", "?", " thanks", " as soon as possible", " today", " from my phone", " on the website", " since yesterday")
