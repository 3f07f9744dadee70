"""Drafted cases: `cases draft`, the queue `label drafts`, the mark, and what a verdict may claim from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.ladder.simulations import LABELS, write_simulation
from tuneworthy.cases.drafts import apply_drafts, read_drafts
from tuneworthy.cases.labelling import Label
from tuneworthy.cases.readers.reader import read_cases
from tuneworthy.cases.writer import write_cases
from tuneworthy.cli import invoke
from tuneworthy.errors import UserError

WRITER = '''
def _distinct(request, n):
    """Drafts of this prompt only, the first one twice, among other text."""
    text = request.messages[-1]["content"]
    seed = int(hashlib.md5(text.encode()).hexdigest(), 16)
    words = [f"{word}{(seed // 7 ** at) % 9973:x}".translate(DIGITS) for at, word in enumerate(WORDS * n)]
    rows = [" ".join(words[at * 6 : at * 6 + 6]) for at in range(n)]
    none = "should decline" in text
    lines = [json.dumps({"input": row, "expected": None if none else "red"}) for row in [*rows, rows[0]]]
    return "Here you are:\\n" + "\\n".join(lines) + '\\n{"input": "cut off'


import json

DIGITS = str.maketrans("0123456789", "ghijklmnop")
WORDS = ["apple", "river", "stone", "cloud", "tower", "field"]
'''


def project(root: Path, model: str = "_distinct(request, 5)", extra: str = "") -> Path:
    write_simulation(root, {"writer": model}, n_cases=0, n_examples=0, rungs=["baseline"], extra=extra)
    (root / "cases.jsonl").unlink()
    (root / "world.py").write_text((root / "world.py").read_text().replace("\n\ndef number", f"{WRITER}\n\ndef number"))
    return root


def draft(root: Path, *options: str) -> int:
    return invoke(["cases", "draft", "--about", "Sort mails by colour", "--project", str(root), "--json", *options])


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def log(root: Path, decisions: list[Any]) -> None:
    path = root / "drafts.labels.jsonl"
    lines = [
        {"case": case, "labeller": "ada", "label": label, "time": "2026-12-02T10:00:00+00:00"}
        for case, label in decisions
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def drafted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    root = project(tmp_path / "p")
    assert draft(root) == 0
    return root


def test_a_hundred_drafts_fill_the_grid_without_labels_and_without_duplicates(drafted, capsys):
    found = json.loads(capsys.readouterr().out)
    rows = rows_of(drafted / "drafts.jsonl")
    assert found["n"] == len(rows) == 100
    assert found["situations"] == {"common": 25, "rare": 25, "adversarial": 25, "unanswerable": 25}
    assert all(row["drafted"] is True and "expected" not in row for row in rows)
    assert len({row["input"] for row in rows}) == 100 and found["n_near"] > 0
    assert 0.5 < found["spread"] <= 1.0
    suggested = {case.tags[0]: case.expected for case in read_drafts(drafted)}
    assert suggested == {"common": "red", "rare": "red", "adversarial": "red", "unanswerable": None}


def test_a_second_draft_never_overwrites_the_first(drafted, capsys):
    assert draft(drafted) == 2
    assert "already exists" in capsys.readouterr().err


def test_a_model_that_repeats_itself_gives_one_draft_of_each_text(tmp_path, capsys):
    rows = [json.dumps({"input": f"red thing number {n} here", "expected": "red"}) for n in (1, 2)]
    text = repr(" ".join(rows))
    root = project(tmp_path / "p", model=text)
    assert draft(root, "--n", "20") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 1 and found["n_near"] == found["n_read"] - 1


@pytest.mark.parametrize("known", ["please, name the RED thing 7!", "Please name the red thing 8"])
def test_a_draft_that_rewords_a_case_of_the_project_is_dropped(tmp_path, capsys, known):
    root = project(tmp_path / "p", model='\'{"input": "Please name the red thing 7", "expected": "red"}\'')
    (root / "cases.jsonl").write_text(json.dumps({"input": known, "expected": "red"}) + "\n")
    assert draft(root) == 2  # nothing else is drafted
    assert not (root / "drafts.jsonl").exists()


def test_answers_without_a_draft_name_the_fix(tmp_path, capsys):
    assert draft(project(tmp_path / "p", model="'I cannot do that.'")) == 2
    assert "[teacher]" in capsys.readouterr().err


@pytest.mark.parametrize(("about", "words"), [("tsk.md", "There is no file tsk.md."), (" ", "is empty")])
def test_a_description_that_is_no_description_reaches_no_model(tmp_path, capsys, about, words):
    root = project(tmp_path / "p")
    assert invoke(["cases", "draft", "--about", about, "--project", str(root)]) == 2
    assert words in capsys.readouterr().err
    assert not (root / "drafts.jsonl").exists()


def test_personal_data_of_the_description_is_masked(tmp_path, capsys):
    root = project(tmp_path / "p", model="_seen(request) or _distinct(request, 5)")
    world = root / "world.py"
    write = "with open(__file__ + '.seen', 'a') as file:\n        file.write(str(request.messages))"
    seen = f"def _seen(request):\n    {write}\n\n\n"
    world.write_text(world.read_text().replace("def number", f"{seen}def number"))
    about = tmp_path / "about.txt"
    about.write_text("Mails to ada.lovelace@example.org about colours")
    assert invoke(["cases", "draft", "--about", str(about), "--n", "8", "--project", str(root)]) == 0
    text = (root / "world.py.seen").read_text()
    assert "about colours" in text and "lovelace" not in text


def test_a_paid_model_needs_consent(tmp_path, capsys):
    root = project(tmp_path / "p")
    file = root / "tuneworthy.toml"
    text = file.read_text().replace(
        'provider = "scripted"\nfunction = "world.py:writer"', 'provider = "openai"\nmodel = "gpt-6-luna"'
    )
    file.write_text(text)
    assert draft(root) == 2
    assert "--max-usd or --yes" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["a", "e +blue", "e /decline", "q Which colour has the sea?"])
def test_no_decision_of_the_queue_removes_the_mark(drafted, capsys, monkeypatch, line):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(f"{line}\nd\n/quit\n"))
    assert invoke(["label", "drafts", "--labeller", "ada", "--project", str(drafted)]) == 0
    assert invoke(["label", "drafts", "--apply", "--project", str(drafted)]) == 0
    (row,) = rows_of(drafted / "cases.jsonl")
    assert row["drafted"] is True
    assert row["expected"] == ({"e +blue": "blue", "e /decline": None}.get(line, row["expected"]))
    assert (row["input"] == "Which colour has the sea?") is line.startswith("q")
    capsys.readouterr()
    assert invoke(["label", "drafts", "--apply", "--project", str(drafted), "--json"]) == 0  # again: nothing is added
    again = json.loads(capsys.readouterr().out)
    assert again["added"] == [] and again["n_present"] == 1 and again["n_waiting"] == 98
    assert len(rows_of(drafted / "cases.jsonl")) == 1


def test_only_accepted_drafts_join_the_cases(drafted):
    first, second, third, *_ = read_drafts(drafted)
    log(drafted, [(first.id, ["accept", None]), (second.id, ["drop", None]), (third.id, ["answer", "green"])])
    from tuneworthy.cases.labelling import read_labels

    done = apply_drafts(drafted, drafted / "cases.jsonl", read_labels(drafted / "drafts.labels.jsonl"))
    assert [(case.input, case.expected, case.drafted) for case in done.added] == [
        (first.input, first.expected, True),
        (third.input, "green", True),
    ]
    assert done.n_waiting == 97 and done.decisions == {"accept": 1, "drop": 1, "answer": 1}


def test_a_person_may_take_an_acceptance_back(drafted):
    first = read_drafts(drafted)[0]
    labels = [Label(first.id, "ada", ["accept", None], ""), Label(first.id, "ada", ["drop", None], "")]
    assert apply_drafts(drafted, drafted / "cases.jsonl", labels).added == ()


def test_a_label_or_an_addition_keeps_the_mark(tmp_path):
    path = tmp_path / "cases.jsonl"
    path.write_text('{"input": "Is it red?", "drafted": true}\n{"input": "Is it blue?", "expected": "no"}\n')
    from tuneworthy.cases.labelling import apply_labels

    cases = read_cases(path).cases
    apply_labels(path, [Label(cases[0].id, "ada", "yes", "")])
    write_cases(path, read_cases(path).cases)
    assert [case.drafted for case in read_cases(path).cases] == [True, False]
    path.write_text('{"input": "Is it red?", "drafted": "yes"}\n')
    with pytest.raises(UserError, match="true or false"):
        read_cases(path)


# --- the verdict -------------------------------------------------------------------------------------------------


def measured(root: Path, drafted: int) -> Path:
    """A measured project that meets its target; of 120 test cases so many are drafted."""
    write_simulation(root, {"weak": "answer(request, 1.0)"}, n_cases=120, n_examples=210, rungs=["baseline"])
    rows = rows_of(root / "cases.jsonl")
    rows = [row | ({"drafted": True} if at < drafted else {}) for at, row in enumerate(rows)]
    (root / "cases.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    assert invoke(["run", "--project", str(root)]) == 0
    return root


def decision(root: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    invoke(["decide", "--project", str(root), "--json"])
    verdict = json.loads(capsys.readouterr().out)
    return verdict, next(row for row in verdict["gates"] if row["gate"] == "test_set")


@pytest.mark.parametrize(("n", "status"), [(120, "fail"), (71, "fail"), (70, "pass"), (0, "pass")])
def test_drafted_cases_alone_settle_nothing(tmp_path, capsys, n, status):
    verdict, gate = decision(measured(tmp_path / "w", n), capsys)
    assert gate["status"] == status
    if status == "fail":
        assert (verdict["outcome"], verdict["reason_code"]) == ("undecided", "gate_test_set")
        assert f"A model drafted {n} of the 120 test cases" in verdict["reasons"][0]
        assert verdict["next_action"]["command"] == "tuneworthy cases add"


def test_the_fix_of_the_gate_works(tmp_path, capsys):
    root = measured(tmp_path / "w", 120)
    assert decision(root, capsys)[1]["status"] == "fail"
    new = [{"input": f"item {n} other {n * 6007 % 104729} n{n}", "expected": LABELS[n % 3]} for n in range(500, 560)]
    with (root / "cases.jsonl").open("ab") as file:
        file.writelines(orjson.dumps(row) + b"\n" for row in new)
    assert invoke(["cases", "add", "--project", str(root)]) == 0
    assert invoke(["run", "--project", str(root)]) == 0
    assert decision(root, capsys)[1]["status"] == "pass"


FALSE_FRIEND = """
def knows(request, drafted):
    text = question(request)
    return answer(request, 1.0 if ("draft" in text) is drafted else 0.5)
"""


def two_options(root: Path, n_real: int, n_drafted: int, examples: int) -> Path:
    """A measured project: today's model is right on real cases, the other on drafted ones, each on half of the rest."""
    models = {"careful": "knows(request, False)", "glib": "knows(request, True)"}
    write_simulation(root, models, n_cases=n_real, n_examples=examples, rungs=["baseline", "model"])
    world = (root / "world.py").read_text()
    (root / "world.py").write_text(world.replace("def has_shots", f"{FALSE_FRIEND.lstrip()}\n\ndef has_shots"))
    new = [
        {"input": f"item {n} draft {n * 6007 % 104729} n{n}", "expected": LABELS[n % 3], "drafted": True}
        for n in range(500, 500 + n_drafted)
    ]
    with (root / "cases.jsonl").open("ab") as file:
        file.writelines(orjson.dumps(row) + b"\n" for row in new)
    assert invoke(["run", "--project", str(root)]) == 0
    return root


@pytest.mark.parametrize("drafts_first", [False, True])
def test_the_verdict_follows_the_real_cases_where_drafted_cases_say_the_opposite(tmp_path, capsys, drafts_first):
    sizes = (0, 280, 0) if drafts_first else (60, 140, 210)  # without examples, half of the drafted cases are dev
    root = two_options(tmp_path / "w", *sizes)
    if drafts_first:  # a gain that drafted cases showed does not stay shown once real cases decide
        found, gate = decision(root, capsys)
        assert (found["outcome"], gate["status"]) == ("undecided", "fail")
        assert json.loads((root / ".tuneworthy" / "run.json").read_text())["best"]["rung"] == "model"
        new = [{"input": f"item {n} thing {n * 7919 % 104729} n{n}", "expected": LABELS[n % 3]} for n in range(60)]
        with (root / "cases.jsonl").open("ab") as file:
            file.writelines(orjson.dumps(row) + b"\n" for row in new)
        assert invoke(["cases", "add", "--project", str(root)]) == invoke(["run", "--project", str(root)]) == 0
    verdict, gate = decision(root, capsys)
    options = {row["rung"]: row for row in verdict["options"]}
    assert (verdict["outcome"], verdict["recommendation"]) == ("do_not_fine_tune", options["baseline"]["option"])
    assert {name: (part["n"], part["score"]) for name, part in options["baseline"]["by_origin"].items()} == {
        "real": (60, 1.0),
        "drafted": (140, pytest.approx(0.5, abs=0.1)),
    }
    assert options["baseline"]["score"] == options["model"]["by_origin"]["drafted"]["score"] == 1.0
    assert options["model"]["score"] < 0.65
    assert gate["evidence"]["n_test"] == 60


def test_real_cases_go_to_test_first(tmp_path):
    from tuneworthy.cases.splits import make_split

    def cases(n_real: int, n_drafted: int) -> list[Any]:
        from tuneworthy.types import Case

        return [
            Case(id=f"{n:03}", input=f"question {n}", expected=LABELS[n % 3], drafted=n >= n_real)
            for n in range(n_real + n_drafted)
        ]

    sizes = {(60, 100): (50, 30), (200, 100): (100, 50), (30, 100): (30, 35), (0, 80): (0, 50)}
    for (n_real, n_drafted), wanted in sizes.items():
        drawn = make_split(cases(n_real, n_drafted), seed=7, dev_size=100)
        assert (len(drawn.real), len(drawn.test) - len(drawn.real)) == wanted
        apart = drawn.set_apart()
        enough = wanted[0] >= 50
        assert (len(apart.test), len(apart.drafted)) == (wanted if enough else (sum(wanted), 0))
        assert apart.stored() == drawn.stored()  # so that cases which are added later change the side of no case


def test_decide_shows_both_scores_apart(tmp_path, capsys):
    root = measured(tmp_path / "w", 60)
    verdict, _ = decision(root, capsys)
    parts = next(row for row in verdict["options"] if row["rung"] == "baseline")["by_origin"]
    assert {name: part["n"] for name, part in parts.items()} == {"real": 60, "drafted": 60}
    invoke(["decide", "--project", str(root)])
    text = " ".join(capsys.readouterr().out.split())
    assert "100.0% on real test cases (95% interval [" in text and "n = 60) and 100.0% on drafted test cases" in text


def test_no_such_sentence_without_drafted_cases(tmp_path, capsys):
    root = measured(tmp_path / "w", 0)
    capsys.readouterr()
    invoke(["decide", "--project", str(root)])
    assert "drafted" not in capsys.readouterr().out
