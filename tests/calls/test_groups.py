"""From recorded calls to groups of one template, to a project, to the verdict without labels."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import tuneworthy
from tests.calls.servers import written
from tests.chat_server import chat_server, completion
from tuneworthy.calls.groups import CallGroup, read_calls
from tuneworthy.cli import invoke
from tuneworthy.prompts.templates import chat
from tuneworthy.types import Variant

WORDS = [
    "alpha",
    "bravo",
    "charlie",
    "delta",
    "echo",
    "foxtrot",
    "golf",
    "hotel",
    "india",
    "juliet",
    "kilo",
    "lima",
    "mike",
    "november",
    "oscar",
    "papa",
]
COLOURS = ("red", "green", "blue")
LANGUAGES = ("English", "French", "German")
HINTS = ("crimson apple", "leafy meadow", "deep ocean")


def said(rng: random.Random, n: int = 8) -> str:
    return " ".join(rng.choice(WORDS) + str(rng.randint(0, 999)) for _ in range(n))


def call(system: str, user: str, answer: str | None, *, at: float = 0.0, **more: Any) -> dict[str, Any]:
    turns = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": user}]
    response = {
        "choices": [{"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }
    return {
        "name": None, "written": 1_780_000_000 + at, "seconds": 0.5, "model": "gpt-4o-mini", "provider": "openai",
        "base_url": "https://api.openai.com/v1", "request": {"messages": turns, "temperature": 0}, "response": response,
    } | more  # fmt: skip


def groups_of(path: Path, rows: list[dict[str, Any]]) -> list[CallGroup]:
    random.Random(1).shuffle(rows)
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return [*read_calls(path).groups]


Template = Callable[[random.Random], tuple[str, str, str]]
LONG = "You work for the bank. Be kind, be brief, never promise money. Policies follow, all forty pages of them. " * 5
MIXTURES: dict[str, list[Template]] = {
    "four templates": [
        lambda r: ("Sort the ticket. Answer with a colour.", said(r), r.choice(COLOURS)),
        lambda r: ("", f"Translate into French:\n\n{said(r)}", said(r)),
        lambda r: ("Extract the order as JSON.", said(r), json.dumps({"item": r.choice(WORDS), "n": r.randint(1, 9)})),
        lambda r: ("", f"Text: {said(r, 40)}\nQuestion: {said(r)}?\nAnswer:", r.choice(WORDS)),
    ],
    "two tasks behind one long preamble": [
        lambda r: (f"{LONG}Now sort the message by colour.", said(r), r.choice(COLOURS)),
        lambda r: (f"{LONG}Now write a reply to the customer.", said(r), said(r, 40)),
    ],
    "the date and the customer's name in the system text": [
        lambda r: (
            f"Today is 2026-{r.randint(1, 12):02}-{r.randint(1, 28):02}. You help {r.choice(WORDS)}{r.randint(1, 99)}. "
            "Sort what they say by colour.",
            said(r), r.choice(COLOURS),
        ),
        lambda r: ("Extract the order as JSON.", said(r), json.dumps({"item": r.choice(WORDS), "n": 1})),
    ],
    "one line, with a value of three languages": [
        lambda r: ("", f"Language: {r.choice(LANGUAGES)}. Sort this ticket: {said(r)}", r.choice(COLOURS)),
        lambda r: ("", f"Write a reply to this ticket, two sentences, friendly: {said(r)}", said(r, 40)),
    ],
    "short instructions in the user's text, one after its value": [
        lambda r: ("", f"{said(r)}\n\nSort the message above by colour.", r.choice(COLOURS)),
        lambda r: ("", f"Summarise the following in five words:\n{said(r)}", said(r, 5)),
        lambda r: ("", f'Is this urgent? Answer yes or no.\n"""{said(r)}"""', r.choice(("yes", "no"))),
    ],
    "braces and Jinja in the prompt": [
        lambda r: ('Return {{ colour }} as {"a": {}} {% raw %}.', f"{said(r)} {{{{ x }}}} {{% if %}}", "red"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", MIXTURES)
def test_every_call_is_in_the_group_of_its_template(tmp_path, name):
    rng = random.Random(2)
    rows = []
    for number, template in enumerate(MIXTURES[name]):
        for _ in range(150):
            rows.append(call(*template(rng), metadata={"template": number}))
    found = groups_of(tmp_path / "calls.jsonl", rows)
    assert sorted(len(group.prompts) for group in found) == [150] * len(MIXTURES[name])
    for group in found:
        for case in group.cases("gpt-4o-mini", "openai:gpt-4o-mini"):
            assert case.input is not None  # the template writes the recorded request, message by message


def test_chat_without_a_template_is_one_group(tmp_path):
    rng = random.Random(3)
    (group,) = groups_of(tmp_path / "calls.jsonl", [call("", said(rng), said(rng, 20)) for _ in range(200)])
    assert len(group.prompts) == 200 and group.remark == "agreement needs a judge"


def asked(group: CallGroup) -> list[Any]:
    """The messages that the group's prompt makes of its cases."""
    system, user = group.templates
    prompt = Variant(name="", model="", model_identity={}, system=system and system.source, user=user.source)
    return [[*chat(prompt, case, ())] for case in group.cases("gpt-4o-mini", "m")]


def turns_of(*texts: str) -> list[dict[str, str]]:
    """A system text, then questions and answers in turn."""
    roles = ["system", *["user", "assistant"] * len(texts)]
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


def test_chats_whose_system_text_changes_are_asked_as_recorded(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TUNEWORTHY_TRUST", str(tmp_path))
    rng, rows = random.Random(8), []
    for number in range(140):
        texts = [f"You help {rng.choice(WORDS)}. Today is day {number}. Be kind."]
        for _ in range(3):
            texts.append(said(rng))
            rows.append(call("", "", said(rng, 20), request={"messages": turns_of(*texts)}))
            texts.append(rows[-1]["response"]["choices"][0]["message"]["content"])
    (group,) = groups_of(tmp_path / "calls.jsonl", rows)
    assert sorted(map(str, asked(group))) == sorted(str(row["request"]["messages"]) for row in rows)
    assert len({case.group for case in group.cases("gpt-4o-mini", "m")}) == 140
    assert invoke(["init", str(tmp_path / "p"), "--from", str(tmp_path / "calls.jsonl")]) == 0
    invoke(["check", "--project", str(tmp_path / "p"), "--json"])
    assert "is undefined" not in capsys.readouterr().out


def test_a_question_that_does_not_fit_the_template_breaks_no_project(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TUNEWORTHY_TRUST", str(tmp_path))
    rng, rows = random.Random(9), []
    for number in range(500):  # values in the texts of system and user; 3% of the questions are written otherwise
        text = f"Text: {said(rng)}\nQuestion: {said(rng, 3)}\nAnswer:" if number % 33 else said(rng, 4)
        rows.append(call(f"Be kind to {rng.choice(WORDS)}, who is a customer. Sort.", text, COLOURS[number % 3]))
    groups_of(tmp_path / "calls.jsonl", rows)
    assert invoke(["init", str(tmp_path / "p"), "--from", str(tmp_path / "calls.jsonl")]) == 0
    invoke(["check", "--project", str(tmp_path / "p"), "--json"])
    assert "is undefined" not in capsys.readouterr().out


def test_shots_are_no_conversation(tmp_path):
    rng, rows = random.Random(11), []
    shots = [(said(rng), rng.choice(COLOURS)) for _ in range(10)]
    for number in range(60):  # the same two shots, others each time, and a shot's question without shots
        chosen = shots[:2] if number < 30 else rng.sample(shots, 3)
        messages = turns_of("Sort by colour.", *(text for shot in chosen for text in shot), said(rng))
        rows.append(call("", "", rng.choice(COLOURS), request={"messages": messages}))
    rows.append(call("Sort by colour.", *shots[0]))
    (group,) = groups_of(tmp_path / "calls.jsonl", rows)
    assert sorted(map(str, asked(group))) == sorted(str(row["request"]["messages"]) for row in rows)
    assert len({case.group for case in group.cases("gpt-4o-mini", "m")}) >= 60


@pytest.mark.parametrize(
    ("system", "user", "opening", "names"),
    [
        ("Help {}. Sort.", "{}", "Help …. Sort.", ["part_1", "part_2"]),
        ("Sort.", "Is {}, in {}: positive?", "Sort. Is …: positive?", ["input"]),
        ("", "{}.", "", ["input"]),
        ("Help {}. The user is {}. Sort.", "{}", "Help …. The user is …. Sort.", ["part_1", "part_2", "part_3"]),
    ],
)
def test_the_opening_shows_where_values_are(tmp_path, system, user, opening, names):
    rng = random.Random(12)
    rows = []
    for _ in range(60):
        texts = [text.format(*(f"{rng.choice(WORDS)} {rng.random()}" for _ in range(2))) for text in (system, user)]
        rows.append(call(*texts, rng.choice(COLOURS)))
    (group,) = groups_of(tmp_path / "calls.jsonl", rows)
    found = group.templates
    assert group.opening == opening and [name for one in found if one for name in one.names] == names


def test_a_frequent_greeting_is_no_template(tmp_path):
    rng = random.Random(10)
    greetings = ["", "", "Dear customer service team,\n\n"]
    labels = [f"{word} {colour} {n}" for word in WORDS for colour in COLOURS for n in range(3)]
    rows = [call("Sort.", rng.choice(greetings) + said(rng), rng.choice(labels)) for _ in range(900)]
    assert len(groups_of(tmp_path / "calls.jsonl", rows)) == 1


def test_traffic_cost_and_repetitions_are_those_of_the_calls(tmp_path):
    rng = random.Random(4)
    rows = []
    for at in range(100):
        question = said(rng)
        for repeat in range(3):  # ten days; each prompt three times, the third time answered otherwise in 20
            answer = COLOURS[(at + (repeat == 2 and at < 20)) % 3]
            rows.append(call("Sort.", question, answer, at=at * 8640, share=0.5))
    (group,) = groups_of(tmp_path / "calls.jsonl", rows)
    assert group.calls == 600  # half of the calls were recorded
    assert group.calls_a_month == pytest.approx(600 / 9.9 * 365 / 12, rel=0.01)
    assert group.usd == pytest.approx(600 * (100 * 0.15 + 10 * 0.6) / 1e6)
    assert group.repeated == pytest.approx(2 / 3) and group.differing == pytest.approx(20 / 300)
    case = next(case for case in group.cases("gpt-4o-mini", "m") if case.today.same == 2)
    assert case.today.calls == 3


def test_what_was_not_recorded_is_counted_by_reason(tmp_path):
    rng, path = random.Random(5), tmp_path / "calls.jsonl"
    rows = [call("Sort.", said(rng), "red") for _ in range(30)] + [call("Sort.", said(rng), None)]
    rows += [{"name": None, "written": 1, "skipped": "cancelled"}] * 2
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    calls = read_calls(path)
    assert calls.n_calls == 30 and sum(calls.skipped.values()) == 3
    assert any("cancelled" in reason for reason in calls.skipped)


def test_several_groups_are_listed_and_one_must_be_named(tmp_path, capsys):
    rng = random.Random(6)
    rows = [call(*template(rng)) for template in MIXTURES["four templates"] for _ in range(60)]
    groups_of(tmp_path / "calls.jsonl", rows)
    command = ["init", str(tmp_path / "p"), "--from", str(tmp_path / "calls.jsonl")]
    assert invoke(command) == 2
    out, err = capsys.readouterr()
    assert "in 4 groups: which can be cheaper?" in out and "--call" in err
    assert max(map(len, out.splitlines())) <= 80
    assert invoke([*command, "--call", "9"]) == 2
    assert invoke([*command, "--data", "x.csv"]) == 2
    assert invoke(["init", str(tmp_path / "p")]) == 2
    assert not (tmp_path / "p").exists()


def sorter(body: dict[str, Any]) -> dict[str, Any]:
    """Answer as a chat model that knows the colours of HINTS."""
    text = body["messages"][-1]["content"]
    return completion(body, next(colour for colour, hint in zip(COLOURS, HINTS, strict=True) if hint in text))


@pytest.fixture
def address() -> Iterator[str]:
    with chat_server(sorter) as found:
        yield found


def test_a_running_program_is_recorded_and_answers_in_four_commands_what_can_be_cheaper(
    tmp_path, address, capsys, monkeypatch
):
    openai = pytest.importorskip("openai")
    calls, root, rng = tmp_path / "calls.jsonl", tmp_path / "tickets", random.Random(7)
    client = tuneworthy.record(openai.OpenAI(base_url=address, api_key="sk-secret-1234567890"), to=calls)
    for at in range(420):
        question = f"{said(rng, 4)} {HINTS[at % 3]} {said(rng, 2)}"
        messages = [
            {"role": "system", "content": "Name the colour."},
            {"role": "user", "content": f"Ticket: {question}"},
        ]
        client.chat.completions.create(model="local", messages=messages, temperature=0)
    assert len(written(calls)) == 420
    assert b"sk-secret" not in calls.read_bytes()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234567890")
    monkeypatch.setenv("TUNEWORTHY_TRUST", str(tmp_path))
    assert invoke(["init", str(root), "--from", str(calls)]) == 0
    out, _ = capsys.readouterr()
    assert "tuneworthy run" in out
    row = orjson.loads((root / "cases.jsonl").read_bytes().splitlines()[0])
    assert "expected" not in row and row["today"]["answer"] in COLOURS and not row["input"].startswith("Ticket")
    assert invoke(["run", "--project", str(root), "--yes", "--rung", "classical"]) == 0
    capsys.readouterr()
    assert invoke(["decide", "--project", str(root)]) == 4
    out, _ = capsys.readouterr()
    assert "not accuracy" in out and "of the traffic" in out
    assert "Label 100 test cases" in out


@pytest.mark.parametrize(("n", "examples"), [(30, None), (60, 0), (120, 60)])
def test_a_project_of_few_calls_has_examples_for_a_classifier_or_says_how_many_it_needs(tmp_path, n, examples, capsys):
    rng, log = random.Random(4), tmp_path / "calls.jsonl"
    rows = [call("Sort.", said(rng), rng.choice(COLOURS), at=i) for i in range(n)]
    for row in rows:
        row["request"].pop("temperature")
    log.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    code = invoke(["init", str(tmp_path / "p"), "--from", str(log)])
    if examples is None:
        assert code == 2 and "at least 50" in capsys.readouterr().err and not (tmp_path / "p").exists()
        return
    assert code == 0
    file = tmp_path / "p/examples.jsonl"
    assert (len(file.read_bytes().splitlines()) if file.exists() else 0) == examples
    prompt = (tmp_path / "p/tuneworthy.toml").read_text()
    # as the program asked: no stop, no temperature, and room for twice the longest answer
    assert "max_tokens = 20" in prompt and "\nstop" not in prompt and "\nparameters" not in prompt
