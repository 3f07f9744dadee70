"""Each class of failure has a world that it dominates and one that has none of it, and needs its probe."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripts.simulations.label_errors import measure_cell, suspect_world
from tests.ladder.simulations import LABELS, write_simulation

from tuneworthy.config import load
from tuneworthy.errors import BudgetSpent
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.task_data import read_data
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.types import Case
from tuneworthy.verdict.error_analysis import (
    FIXED_BY,
    PROBES,
    ErrorAnalysis,
    FailedCase,
    class_of,
    enough_passes,
    load_error_analysis,
    rows_of,
)
from tuneworthy.verdict.label_votes import (
    CLASSIFIER,
    GIVEN,
    Suspicion,
    classifier_votes,
    shown_stronger,
    suspect,
)
from tuneworthy.verdict.probes import analyse_errors, answer_key, form

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
WEAK = "answer(request, 0.5)"
STRONG = "answer(request, 0.95, 'strong')"
N_CASES = 240
"""Without examples: half of them are dev."""


def probe(root: Path) -> ErrorAnalysis:
    """Probe the project's current prompt on its baseline model."""

    async def ask() -> ErrorAnalysis:
        async with open_session(load(root)) as session:
            return await analyse_errors(session, current(session))

    return asyncio.run(ask())


def share(report: ErrorAnalysis, name: str) -> float:
    return next((row.share for row in report.rows if row.name == name), 0.0)


def edit_cases(root: Path, change: object) -> None:
    """Rewrite every case by ``change(row, index)``."""
    path = root / "cases.jsonl"
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    for index, row in enumerate(rows):
        change(row, index)  # type: ignore[operator]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def world(root: Path, name: str) -> Path:
    """A world that the class `name` dominates; `other` has a model that is wrong for good."""
    models = {
        "refusal": {"weak": "answer(request, 1) if number(question(request)) < 0.5 else 'I cannot answer that.'"},
        "format": {
            "weak": "answer(request, 1) if number(question(request)) < 0.5 or request.output.kind == 'choice' "
            "else 'The colour is ' + answer(request, 1) + '.'"
        },
        "label_or_grader": {
            "weak": "answer(request, 0.95)",
            "strong": "answer(request, 0.97, 'a')",
            "other": "answer(request, 0.97, 'b')",
        },
        "knowledge": {"weak": "document(request)"},
        "tools": {"weak": "tooled(request)"},
        "instability": {"weak": "answer(request, 0.75, request.repeat)"},
        "reasoning": {"weak": WEAK, "strong": STRONG},
        "other": {"weak": WEAK},
    }[name]
    learnable = name == "label_or_grader"  # a classifier then tells wrong labels from errors that models share
    write_simulation(root, models, n_cases=N_CASES, n_examples=0, learnable=learnable)
    if name == "label_or_grader":
        edit_cases(root, _mislabel)
    if name == "knowledge":
        _give_documents(root)
    if name == "tools":
        _give_tools(root)
    return root


def _mislabel(row: dict[str, str], index: int) -> None:
    if index % 4 == 0:
        row["expected"] = LABELS[(LABELS.index(row["expected"]) + 2) % 3]


def _give_documents(root: Path) -> None:
    """Let the model know the colours of documents only."""
    (root / "documents").mkdir()
    for number in range(4):
        (root / "documents" / f"d{number}.md").write_text(f"Facts, part {number}.")
    code = (root / "world.py").read_text()
    (root / "world.py").write_text(
        code
        + """

def document(request):
    text = question(request)
    asked = text.split("</documents>")[-1].strip()
    right = truth(asked)
    known = "Facts" in text or number(asked) < 0.5
    return right if known else LABELS[(LABELS.index(right) + 1) % 3]
"""
    )
    edit_cases(root, lambda row, index: row.update(documents=[f"d{index % 4}"]))


def _give_tools(root: Path) -> None:
    """Let the model be right where it may call a tool."""
    with (root / "tuneworthy.toml").open("a") as file:
        file.write('[[tools]]\nfunction = "colours.py:colour_of"\n')
    (root / "colours.py").write_text(
        'def colour_of(item: int) -> str:\n    """Return the colour of an item."""\n'
        '    return ("red", "green", "blue")[item % 3]\n'
    )
    with (root / "world.py").open("a") as file:
        file.write("""

def tooled(request):
    from tuneworthy.types import Response

    if request.messages[-1]["role"] == "tool":
        return request.messages[-1]["content"]
    if not request.tools:
        return answer(request, 0.5)
    function = {"name": "colour_of", "arguments": '{"item": %s}' % question(request).split()[1]}
    return Response(text="", finish_reason="tool_calls", tool_calls=({"type": "function", "function": function},))
""")


@pytest.mark.parametrize("name", PROBES)
def test_a_class_dominates_its_simulation_only_while_its_probe_is_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = probe(world(tmp_path, name))
    first = report.rows[0]
    assert first.name == name and first.ci95[0] > 0.5, report
    assert first.fixed_by == FIXED_BY[name]  # type: ignore[index]
    for module in ("probes", "error_analysis"):
        monkeypatch.setattr(f"tuneworthy.verdict.{module}.PROBES", tuple(one for one in PROBES if one != name))
    without = probe(tmp_path)
    assert share(without, name) == 0, without


@pytest.mark.parametrize("name", PROBES)
def test_a_simulation_of_plain_wrong_answers_has_none_of_it(name: str, tmp_path: Path) -> None:
    report = probe(world(tmp_path, "other"))
    assert share(report, name) == 0
    assert share(report, "unexplained") == 1


UNREAD = "answer(request, 1) if number(question(request)) < 0.5 else answer(request, 1).replace('e', 'e\u0301')"


def test_right_answers_that_the_grader_cannot_read_are_the_graders_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_simulation(tmp_path, {"weak": UNREAD, "other": "answer(request, 1)"}, n_cases=N_CASES, n_examples=0)
    report = probe(tmp_path)
    row = report.rows[0]
    assert (row.name, row.share, row.fixed_by) == ("label_or_grader", 1, "python") and report.answers == {}
    assert any('type = "python"' in limit for limit in row.limits)
    monkeypatch.setattr("tuneworthy.verdict.probes.readable_by", lambda *_: "")
    assert probe(tmp_path).rows[0].fixed_by != "python"


@pytest.mark.parametrize("copied", [True, False])
def test_neither_grader_nor_format_is_to_blame_where_the_form_is_the_task(copied: bool, tmp_path: Path) -> None:
    name = "question(request).split(' in ')[0]"
    answers = f"{name}.title() if number(question(request)) < 0.5 else {name}"
    write_simulation(tmp_path, {"weak": answers}, n_cases=N_CASES, n_examples=0, apart=False)
    elsewhere = "" if copied else f" in {'a long letter about many other things ' * 3}"

    def ask_for_capitals(row: dict[str, str], _: int) -> None:
        row["expected"] = row["input"].title()
        row["input"] += elsewhere

    edit_cases(tmp_path, ask_for_capitals)
    report = probe(tmp_path)
    assert report.n_failed > 30
    assert share(report, "unexplained" if copied else "label_or_grader") == 1


def test_a_weaker_model_that_is_sometimes_right_is_no_evidence_of_reasoning(tmp_path: Path) -> None:
    write_simulation(
        tmp_path, {"weak": "answer(request, 0.7)", "other": "answer(request, 0.6, 's')"}, n_cases=N_CASES, n_examples=0
    )
    report = probe(tmp_path)
    assert share(report, "reasoning") == 0 and report.stronger == []
    assert "significantly better" in report.not_probed["reasoning"]


def test_only_the_constrained_output_shows_that_unreadable_answers_are_a_matter_of_form(tmp_path: Path) -> None:
    code = "answer(request, 1) if number(question(request)) < 0.5 or request.output.kind == 'choice' else '???'"
    write_simulation(tmp_path, {"weak": code}, n_cases=N_CASES, n_examples=0)
    assert share(probe(tmp_path), "format") == 1


def test_malformed_answers_that_stay_wrong_when_constrained_are_no_matter_of_form(tmp_path: Path) -> None:
    wrong = "answer(request, 0.5) if request.output.kind == 'choice' or number(question(request), '') < 0.5 else '???'"
    write_simulation(tmp_path, {"weak": wrong}, n_cases=N_CASES, n_examples=0)
    report = probe(tmp_path)
    assert report.n_failed > 0 and share(report, "format") == 0


def test_labels_that_a_strong_model_and_a_classifier_contradict_are_suspected(tmp_path: Path) -> None:
    write_simulation(
        tmp_path,
        {"weak": "answer(request, 0.9)", "strong": "answer(request, 0.97, 'a')"},
        learnable=True,
        n_examples=420,
    )
    path = tmp_path / "examples.jsonl"
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    for index, row in enumerate(rows):
        if index % 8 == 0:
            last = row["messages"][-1]
            last["content"] = LABELS[(LABELS.index(last["content"]) + 1) % 3]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    report = probe(tmp_path)
    assert share(report, "label_or_grader") > 0.3
    assert set(report.suspects.values()) <= set(LABELS)


def by_classifier(root: Path) -> dict[str, str] | None:
    async def votes() -> dict[str, str] | None:
        async with open_session(load(root)) as session:
            return classifier_votes(session)

    return asyncio.run(votes())


def test_the_classifier_votes_on_dev_without_having_learned_its_label(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": WEAK}, n_cases=N_CASES, n_examples=0, learnable=True)
    wrong: set[str] = set()

    def mislabel(row: dict[str, str], index: int) -> None:
        if index % 10 == 0:
            wrong.add(row["input"])
            _mislabel(row, 0)

    edit_cases(root, mislabel)
    votes = by_classifier(root)
    dev = [case for case in read_data(load(root)).split.dev if case.text in wrong]
    assert votes is not None and dev
    assert all(votes[case.id] not in {"", GIVEN, case.expected} for case in dev)


def test_a_classifier_that_is_no_better_than_the_majority_label_has_no_vote(tmp_path: Path) -> None:
    assert by_classifier(write_simulation(tmp_path, {"weak": WEAK}, n_cases=N_CASES, n_examples=0)) is None


def test_every_failed_case_has_exactly_one_class_and_the_shares_add_up(tmp_path: Path) -> None:
    report = probe(world(tmp_path, "reasoning"))
    assert sum(row.n_failed for row in report.rows) == report.n_probed == len(report.classes)
    assert abs(sum(row.share for row in report.rows) - 1) < 1e-9
    assert all(row.ci95[0] <= row.share <= row.ci95[1] for row in report.rows)


def test_what_could_not_be_probed_has_no_row_and_a_reason(tmp_path: Path) -> None:
    report = probe(world(tmp_path, "other"))
    assert {"knowledge", "reasoning", "label_or_grader"} == set(report.not_probed)
    assert not {"knowledge", "reasoning", "label_or_grader"} & {row.name for row in report.rows}


def test_a_model_that_only_judges_is_not_asked_as_another(tmp_path: Path) -> None:
    file = world(tmp_path, "reasoning") / "tuneworthy.toml"
    judge = '[[graders]]\ntype = "judge"\nmodel = "strong"\nrubric = "It is right."\n[models.weak]'
    file.write_text(file.read_text().replace("[models.weak]", judge))
    assert probe(tmp_path).not_probed["reasoning"] == "The project has no other eligible model."


def test_a_variant_without_failures_has_no_rows(tmp_path: Path) -> None:
    report = probe(write_simulation(tmp_path, {"good": "answer(request, 1)"}, n_examples=0))
    assert report.rows == () and report.n_failed == 0


def test_at_most_so_many_failed_cases_are_probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneworthy.verdict.probes.MOST_CASES", 10)
    report = probe(world(tmp_path, "reasoning"))
    assert report.n_probed == 10 < report.n_failed
    assert report.calls <= 10 * (1 + 4) + 60


def test_a_second_run_asks_nothing_and_says_the_same(tmp_path: Path) -> None:
    first = probe(world(tmp_path, "reasoning"))
    second = probe(tmp_path)
    assert first.calls > 0 and second.calls == 0
    assert second.classes == first.classes and second.rows == first.rows


def test_probes_stop_at_the_budget_and_go_on_where_they_were(tmp_path: Path) -> None:
    root = world(tmp_path, "reasoning")
    file = root / "tuneworthy.toml"
    priced = file.read_text().replace(
        'function = "world.py:strong"',
        'function = "world.py:strong"\ninput_usd_per_mtok = 10\noutput_usd_per_mtok = 10',
    )
    file.write_text(priced.replace('baseline = "weak"', 'baseline = "weak"\nbudget_usd = 0.02'))
    with pytest.raises(BudgetSpent):
        probe(root)
    file.write_text(priced)
    assert share(probe(root), "reasoning") > 0.5


def _stale(root: Path) -> list[str]:
    async def read() -> list[str]:
        async with open_session(load(root)) as session:
            report, changed = load_error_analysis(session, current(session))
            assert report is not None
            return changed

    return asyncio.run(read())


def test_stored_error_analysis_is_read_back_and_says_what_changed_since(tmp_path: Path) -> None:
    root = world(tmp_path, "reasoning")
    probe(root)
    assert _stale(root) == []
    file = root / "tuneworthy.toml"
    text = file.read_text()
    file.write_text(text.replace("Name the colour.", "Name the colour, please."))
    assert _stale(root) == ["the best variant"]
    file.write_text(text.replace('type = "exact"', 'type = "normalised_exact"'))
    assert _stale(root) == ["the primary grader"]
    file.write_text(text)
    split = orjson.loads((root / ".tuneworthy" / "split.json").read_bytes())
    edit_cases(root, lambda row, index: row.update(expected="red"))
    assert split and _stale(root) == ["the dev cases or their labels"]


def test_stored_error_analysis_of_older_probes_is_not_used(tmp_path: Path) -> None:
    root = world(tmp_path, "other")
    probe(root)
    path = root / ".tuneworthy" / "errors.json"
    document = orjson.loads(path.read_bytes())
    document["of"]["version"] = 0
    path.write_bytes(orjson.dumps(document))

    async def read() -> tuple[ErrorAnalysis | None, list[str]]:
        async with open_session(load(root)) as session:
            return load_error_analysis(session, current(session))

    assert asyncio.run(read()) == (None, ["the version of the error analysis"])


FINDINGS = st.builds(
    FailedCase,
    case=st.just("a"),
    reason=st.sampled_from(["wrong", "refused", "format", "partial"]),
    malformed=st.booleans(),
    in_form=st.sampled_from([None, True, False]),
    suspected=st.sampled_from([None, "", "red"]),
    oracle=st.sampled_from([None, True, False]),
    passes=st.sampled_from([None, 0, 1, 2, 3, 4]),
    stronger=st.sampled_from([None, True, False]),
)


@UNHURRIED
@given(FINDINGS, st.sampled_from(PROBES))
def test_switching_a_probe_off_moves_only_the_cases_of_its_class(finding: FailedCase, off: str) -> None:
    before = class_of(finding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuneworthy.verdict.error_analysis.PROBES", tuple(name for name in PROBES if name != off))
        after = class_of(finding)
    assert after != off
    assert before in (off, after)


@pytest.mark.parametrize(
    ("finding", "name"),
    [
        (FailedCase(case="a", reason="refused", malformed=True, in_form=True, stronger=True), "refusal"),
        (FailedCase(case="a", malformed=True, in_form=True, suspected="red"), "format"),
        (FailedCase(case="a", malformed=True, in_form=False, suspected="red", oracle=True), "label_or_grader"),
        (FailedCase(case="a", readable_by="choice", stronger=True), "label_or_grader"),
        (FailedCase(case="a", oracle=True, passes=4, stronger=True), "knowledge"),
        (FailedCase(case="a", oracle=False, passes=2, stronger=True), "instability"),
        (FailedCase(case="a", oracle=False, passes=1, stronger=True), "reasoning"),
        (FailedCase(case="a", oracle=False, passes=1, stronger=False), "unexplained"),
        (FailedCase(case="a"), "unexplained"),
    ],
)
def test_the_order_of_the_classes(finding: FailedCase, name: str) -> None:
    assert class_of(finding) == name


def test_fewer_labels_need_more_passes() -> None:
    needed = [enough_passes(n) for n in (2, 3, 4, 6, 77, 0)]
    assert needed == sorted(needed, reverse=True) and needed[-1] == 2


@UNHURRIED
@given(st.dictionaries(st.text(), st.sampled_from([*PROBES, "unexplained"]), min_size=1))
def test_rows_count_every_case_once(classes: dict[str, str]) -> None:
    rows = rows_of(classes, PROBES)  # type: ignore[arg-type]
    assert sum(row.n_failed for row in rows) == len(classes)


def suspicion(*rows: tuple[int, dict[str, str]], n_answers: int = 3) -> Suspicion:
    """Suspect over so many cases of each pattern of votes; the cases are named by their pattern's place."""
    votes = {f"{place}/{n}": row for place, (count, row) in enumerate(rows) for n in range(count)}
    labels = {case: f"label {n % n_answers}" for n, case in enumerate(votes)}
    return suspect(votes, subject="a", labels=labels, n_answers=n_answers)


def places(cases: Collection[str]) -> set[str]:
    return {case.partition("/")[0] for case in cases}


RIGHT = (90, {"a": GIVEN, "b": GIVEN, CLASSIFIER: GIVEN})


def test_one_voter_alone_never_overrules_a_label_and_two_that_are_mostly_right_do() -> None:
    agreed = (10, {"a": "red", "b": "red", CLASSIFIER: "red"})
    found = suspicion(RIGHT, agreed, (5, {"a": "red", "b": "", CLASSIFIER: ""}), (5, {"a": "red", "b": "green"}))
    assert places(found.suspected) == {"1"} and not found.doubtful
    assert set(found.suspected.values()) == {"red"}


def test_two_models_that_a_third_voter_contradicts_share_their_errors() -> None:
    shared = (12, {"a": "red", "b": "red", CLASSIFIER: GIVEN})
    found = suspicion(RIGHT, shared, (2, {"a": "red", "b": "red", CLASSIFIER: "red"}))
    assert "1" not in places(found.suspected) and found.most < 0.1


def test_without_a_third_voter_wrong_labels_and_shared_errors_cannot_be_told_apart() -> None:
    found = suspicion((90, {"a": GIVEN, "b": GIVEN}), (12, {"a": "red", "b": "red"}))
    assert not found.suspected and places(found.doubtful) == {"1"}
    assert found.most >= 0.1  # so that people are asked


def test_a_family_that_mostly_gets_a_label_wrong_does_not_accuse_it() -> None:
    votes = {f"{n}": {"a": GIVEN, "b": GIVEN, CLASSIFIER: GIVEN} for n in range(60)}
    votes |= {f"wrong {n}": {"a": "red", "b": "red", CLASSIFIER: ""} for n in range(10)}
    labels = dict.fromkeys(votes, "green") | {f"wrong {n}": "blue" for n in range(10)}
    found = suspect(votes, subject="a", labels=labels, n_answers=3)
    assert not found.suspected and not found.doubtful


def test_few_clean_failures_are_accused_at_any_correlation_and_most_wrong_labels_are_found_without_one() -> None:
    for correlation in (0.0, 0.6, 0.9):
        tally = measure_cell(
            suspect_world, 17, n_models=2, classical=True, correlation=correlation, noise=0.1, worlds=12
        )
        assert tally.accused <= 0.1 * tally.clean, correlation
        assert correlation or tally.found >= 0.7 * tally.wrong


@UNHURRIED
@given(st.integers(0, 100), st.integers(0, 100))
def test_a_model_that_breaks_as_much_as_it_mends_is_not_stronger(mended: int, broken: int) -> None:
    if shown_stronger(mended, broken):
        assert mended > broken and not shown_stronger(broken, mended)


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("expected", "text", "labels", "schema", "found"),
    [
        ("red", "Red", ("red", "blue"), None, (True, True)),
        ("red", "red or blue", ("red", "blue"), None, (True, False)),
        ("lost", "lost card", ("lost", "lost card"), None, (False, False)),
        ("lost card", "It is: lost card!", ("lost", "lost card"), None, (True, True)),
        ({"a": 1}, '{"b": 1}', (), SCHEMA, (True, False)),
        ({"a": 1}, '{"a": 2}', (), SCHEMA, (False, False)),
        ({"a": 1}, "a is 1", (), SCHEMA, (True, False)),
        ("Oslo", "The capital is Oslo.", (), None, (True, True)),
        ("Oslo", "Bergen", (), None, (False, False)),
    ],
)
def test_the_form_of_an_answer(
    expected: object, text: str, labels: tuple[str, ...], schema: dict[str, object] | None, found: tuple[bool, bool]
) -> None:
    assert form(Case(id="a", expected=expected), text, "wrong", labels, schema) == found


def test_answers_are_compared_by_what_they_say() -> None:
    assert answer_key('{"a": 1, "b": 2}', "json", ()) == answer_key('```\n{"b": 2, "a": 1}\n```', "json", ())
    assert answer_key("no json", "json", ()) == ""
    assert answer_key("The Oslo!", "short_answer", ()) == "the oslo"
    assert [answer_key(one, "label", ("A-", "A", "C#", "C")) for one in ("A", "C", "A-")] == ["A", "C", "A-"]
