"""What traffic asks and the cases do not: named where it is so, not where it is not, with the command that helps."""

from __future__ import annotations

import random
import shlex
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.shadow.traffic import write_traffic_project
from tuneworthy.cases import read_cases
from tuneworthy.cases.normalize import question_of
from tuneworthy.cli import invoke
from tuneworthy.shadow.drift import TrafficDrift, drift, first_questions
from tuneworthy.shadow.recording import TRAFFIC
from tuneworthy.store import Folder

VOWELS, CONSONANTS = "aeiou", "bdfgklmnprstvz"


def vocabulary(name: object, n: int = 12) -> list[str]:
    """Words of a topic: the same at each call, others for each name."""
    draw = random.Random(str(name))
    return ["".join(draw.choice(CONSONANTS) + draw.choice(VOWELS) for _ in range(3)) for _ in range(n)]


USUAL = vocabulary("usual", 40)


def asked(n: int, seed: object, topics: int = 15, new: float = 0.0) -> list[str]:
    """Return questions of topics that all share some words; the share `new` is of a topic that no other has."""
    draw = random.Random(str(seed))
    names = ["new" if draw.random() < new else draw.randrange(topics) for _ in range(n)]
    return [" ".join([*draw.sample(vocabulary(name), 4), *draw.sample(USUAL, 4)]) for name in names]


def found(cases: list[str], traffic: list[str], **more: Any) -> TrafficDrift:
    result = drift(cases, {f"s{n}": text for n, text in enumerate(traffic)}, **more)
    assert result is not None
    return result


def test_what_the_cases_lack_is_named_with_its_words_and_how_many_sessions_ask_it() -> None:
    traffic = asked(500, "t", new=0.05)
    result = found(asked(200, "c"), [*traffic, *(f"{text} 1" for text in traffic)])
    assert result.shown and result.low > result.expected
    topic = result.topics[0]
    assert len({*topic.words} & {*vocabulary("new")}) >= 4 and topic.n_sessions == 2 * topic.n_questions >= 8
    assert all({*text.split()} & {*vocabulary("new")} for text in topic.examples)
    assert "Traffic asks what the cases hardly cover" in result.sentence and "n = 200 cases" in result.sentence


@pytest.mark.slow
def test_traffic_that_asks_what_the_cases_ask_is_rarely_named() -> None:
    alarms = [found(asked(100, f"c{n}"), asked(300, f"t{n}"), seed=n).shown for n in range(10)]
    assert sum(alarms) <= 2, "at 5% more than 2 of 10 have a chance of 1%"
    quiet = found(asked(100, "c0"), asked(300, "t0"))
    assert not quiet.topics and "Nothing shows" in quiet.sentence


def test_cases_of_the_new_topic_end_the_alarm() -> None:
    assert not found(asked(200, "c", new=0.05), asked(500, "t", new=0.05)).shown


def test_what_many_users_ask_in_the_same_words_is_not_new() -> None:
    cases, traffic = asked(100, "c"), asked(300, "t")
    often = [f"{traffic[0]} {n}" for n in range(200)]
    plain, repeated = found(cases, traffic), found(cases, [*traffic, *often])
    assert (repeated.n_questions, repeated.share) == (plain.n_questions, plain.share) and repeated.n_sessions == 500


def test_the_order_of_cases_and_sessions_changes_nothing() -> None:
    cases, traffic = asked(100, "c"), asked(300, "t", new=0.1)
    assert found(cases[::-1], traffic[::-1]) == found(cases, traffic)


def test_vectors_of_an_encoder_are_used_where_there_is_one() -> None:
    import numpy as np

    def encode(texts: list[str]) -> Any:
        new = np.array([bool({*text.split()} & {*vocabulary("new")}) for text in texts])
        angles = np.where(new, 2.0, 0.0) + np.random.default_rng(0).random(len(texts))
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    result = found(asked(100, "c"), asked(300, "t", new=0.1), encode=encode)
    assert result.shown and sum(topic.n_questions for topic in result.topics) >= 20


def test_too_little_says_nothing() -> None:
    assert drift(asked(29, "c"), {str(n): text for n, text in enumerate(asked(300, "t"))}) is None
    assert drift(asked(100, "c"), {"s": "one"}) is None


def test_a_session_is_compared_by_its_first_question() -> None:
    rows = [{"session": "a", "question": "one\nanswer\ntwo"}, {"session": "a", "question": "one"}]
    assert first_questions([*rows, {"session": "b", "question": "three"}]) == {"a": "one", "b": "three"}


def write_project(root: Path, cases: list[str], traffic: list[str]) -> None:
    """Write a project with these cases, and what its proxy recorded."""
    write_traffic_project(root, "equal", extra="[shadow]\nturns = 1\n")
    rows = [{"id": f"c{n}", "input": text, "expected": "red"} for n, text in enumerate(cases)]
    (root / "cases.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    path = Folder(root).path / TRAFFIC
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for n, text in enumerate(traffic):
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": "red"}]
        lines.append({"messages": turns, "session_id": f"s{n}", "written": n, "clean": True})
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def report(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert invoke(["shadow", "report", "--project", str(root), *words]) == 4
    return capsys.readouterr().out


@pytest.mark.moved
def test_the_report_names_it_everywhere_and_its_command_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "p"
    # the simulated task is about items; the questions are told apart by what else is in them
    cases = [f"item {n} {text}" for n, text in enumerate(asked(200, "c"))]
    traffic = [f"item {n} {text} ada@example.com" for n, text in enumerate(asked(500, "t", new=0.05))]
    write_project(root, cases, traffic)
    invoke(["shadow", "replay", "--candidate", "current", "--project", str(root)])
    answer = orjson.loads(report(root, capsys, "--json"))["drift"]
    assert answer["shown"] and len({*answer["topics"][0]["words"]} & {*vocabulary("new")}) >= 3
    assert "ada@" not in str(answer) and "EMAIL" not in str(answer), "personal data is no topic"
    text = report(root, capsys)
    assert "Traffic asks what the cases hardly cover" in text and "tuneworthy cases sample" in text
    for name in ("page.html", "page.md"):
        report(root, capsys, "--out", str(tmp_path / name))
        page = (tmp_path / name).read_text()
        assert "What traffic asks and the cases hardly cover" in page and "cases sample" in page and "ada@" not in page
    (line,) = [line for line in text.splitlines() if "cases sample" in line]
    command = shlex.split(line.partition("tuneworthy ")[2])
    command[command.index("--out") + 1] = str(tmp_path / "new.jsonl")
    assert invoke(command) == 0
    drawn = [question_of(case) for case in read_cases(tmp_path / "new.jsonl").cases]
    assert sum(bool({*text.split()} & {*vocabulary("new")}) for text in drawn) >= 4


def test_the_report_of_the_same_traffic_names_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases, traffic = (
        [f"item {n} {text}" for n, text in enumerate(some)] for some in (asked(120, "c"), asked(300, "t"))
    )
    write_project(tmp_path / "p", cases, traffic)
    invoke(["shadow", "replay", "--candidate", "current", "--project", str(tmp_path / "p")])
    text = report(tmp_path / "p", capsys)
    assert "Nothing shows that the cases leave out" in text and "cases sample" not in text
