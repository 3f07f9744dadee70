"""A replay through the command line: the four candidates, resuming, the budget, labels, tools, the report."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from tests.shadow.test_recording import said, user
from tests.shadow.traffic import write_log, write_traffic_project
from tuneworthy.cases.labelling import LabelSession
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.engine.models import Models
from tuneworthy.graders.judging import verdicts_path
from tuneworthy.ladder.rungs.baseline import baseline_variant
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import describe
from tuneworthy.report.shadow import change_words, document
from tuneworthy.shadow.canary import STATE, CanaryState
from tuneworthy.shadow.recording import TRAFFIC
from tuneworthy.shadow.releases import rolled_back
from tuneworthy.shadow.replay import (
    QUEUE,
    ShadowRecord,
    label_queue,
    labels_path,
    read_shadow,
    worst_pairs,
)
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.types import TagSetting, content_hash
from tuneworthy.verdict.answer import input_hashes
from tuneworthy.verdict.gather_training import _shadow

CALLS = """

def noted(request):
    with open({path!r}, "a") as file:
        file.write(question(request) + chr(10))
    return candidate(request, 0.05, 0.05)
"""


def replayed(root: Path, log: Path, *options: str, by_day: bool = False) -> tuple[int, ShadowRecord]:
    """Replay a log, by default as one period."""
    words = ["shadow", "replay", str(log), "--candidate", "current", "--project", str(root)]
    status = invoke([*words, *options, *([] if by_day else ["--one-period"])])
    record = read_shadow(Folder(root))
    assert record is not None
    return status, record


@pytest.mark.parametrize(
    ("candidate", "status", "words"),
    [
        ("equal", 0, "Quality is at most 5.0 points worse"),
        ("worse", 3, "Quality is worse by more than 5.0 points:"),
        ("better", 0, "Quality is at most 5.0 points worse"),
        ("broken", 3, "Valid format is worse by more than 5.0 points in tenant-7"),
    ],
)
@pytest.mark.slow
def test_2000_recorded_conversations_against_a_candidate_whose_truth_is_known(
    candidate: str, status: int, words: str, tmp_path: Path
) -> None:
    root = write_traffic_project(tmp_path / "p", candidate)
    log = write_log(tmp_path / "log.jsonl", 2000)
    found, record = replayed(root, log)
    assert found == status and words in record.verdict.detail
    stopped = {(one.metric, one.stratum) for one in record.verdict.results if one.stopped_at is not None}
    expected = {"equal": set(), "better": set(), "worse": {("quality", "")}}
    assert stopped >= expected.get(candidate, {("format", "tenant-7")})
    assert {stratum for _, stratum in stopped} <= ({"", "tenant-7"} if candidate == "broken" else {""})
    assert (record.n_sessions == 2000) == (status == 0), "harm stops the replay, nothing else does"


def test_who_labels_sees_who_said_what_and_what_was_called(tmp_path: Path) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra="[shadow]\nlabel_share = 1.0\n")
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}
    calling = {"role": "assistant", "content": None, "tool_calls": [call]}
    first, last = user("item 1 thing now"), user("item 2 thing now")
    turns = [first, calling, {"role": "tool", "tool_call_id": "1", "content": "found"}, said("red"), last]
    log = tmp_path / "log.jsonl"
    log.write_bytes(orjson.dumps({"messages": [*turns, said("red")]}) + b"\n")
    replayed(root, log)
    text = max((case.text for case in label_queue(Folder(root))), key=len)
    begin, called, *rest = text.split("\n")
    assert begin == "user: item 1 thing now" and called.startswith("assistant: [{") and '"find"' in called
    assert rest == ["tool: found", "assistant: red", "user: item 2 thing now"]


def test_production_that_answers_again_is_asked_beside_the_candidate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, log = write_traffic_project(tmp_path / "p", "equal"), write_log(tmp_path / "log.jsonl", 300)
    _, recorded = replayed(root, log)
    project = load(root)
    today = project.model_copy(update={"ladder": project.ladder.model_copy(update={"baseline": "production"})})
    path = tmp_path / "production.json"
    path.write_bytes(orjson.dumps(describe(baseline_variant(today, Models(today)))))
    _, again = replayed(root, log, "--production", str(path))
    assert again.verdict == recorded.verdict and again.production == "baseline/production"
    assert replayed(root, log, "--production", "current")[0] == 2 and "same variant" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    root, log = write_traffic_project(tmp_path / "p", "equal"), write_log(tmp_path / "log.jsonl", 150)
    with (root / "world.py").open("a") as file:
        file.write(CALLS.format(path=str(calls)))
    toml = (root / "tuneworthy.toml").read_text()
    slow = toml.replace('function = "world.py:equal"', 'function = "world.py:noted"\nlatency_ms = 40\nconcurrency = 4')
    (root / "tuneworthy.toml").write_text(slow)
    command = [sys.executable, "-m", "tuneworthy", "shadow", "replay", str(log), "--candidate", "current"]
    for _ in range(3):
        process = subprocess.Popen(
            [*command, "--project", str(root)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = calls.read_text().count("\n") if calls.exists() else 0
        while process.poll() is None and (calls.read_text().count("\n") if calls.exists() else 0) < before + 30:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, record = replayed(root, log)
    counts = Counter(calls.read_text().split("\n"))
    del counts[""]
    twice = sum(counts.values()) - len(counts)
    assert record.n_pairs == len(counts) and twice <= 3 * 4, "only what was in flight at a kill is asked again"
    sent = calls.read_text()
    assert replayed(root, log)[1].verdict == record.verdict and calls.read_text() == sent


def priced(root: Path) -> None:
    """Let the candidate cost money."""
    path = root / "tuneworthy.toml"
    price = 'function = "world.py:equal"\nplays_hosted = true\ninput_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0'
    path.write_text(path.read_text().replace('function = "world.py:equal"', price))


def test_a_spent_budget_stops_it_and_what_was_answered_is_judged_and_stored(tmp_path: Path) -> None:
    root, log = write_traffic_project(tmp_path / "p", "equal"), write_log(tmp_path / "log.jsonl", 400)
    priced(root)
    status, record = replayed(root, log, "--max-usd", "0.4")
    assert status == 4 and record.partial and 0 < record.n_sessions < 400 and record.cost_usd <= 0.4
    status, whole = replayed(root, log, "--max-usd", "5")
    assert whole.n_sessions == 400 and not whole.partial and status in {0, 4}


def label(root: Path, path: Path, truth: dict[str, str]) -> int:
    session = LabelSession(label_queue(Folder(root)), path, "ada", seed=7)
    while (case := session.next()) is not None:
        session.submit(case.id, truth[case.text.rsplit("\n", 1)[-1].removeprefix("user: ")])
    return session.n_done


def test_without_right_answers_it_never_passes_until_people_label_the_draw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra="[shadow]\nlabel_share = 0.5\n")
    log = write_log(tmp_path / "log.jsonl", 1600, truth=False)
    status, record = replayed(root, log)
    assert status == 4 and record.verdict.fix.startswith("Run `tuneworthy label shadow`")
    truth = {
        row["messages"][-2]["content"]: row["truth"]
        for row in map(orjson.loads, write_log(tmp_path / "t.jsonl", 1600).read_bytes().splitlines())
    }
    n = label(root, labels_path(load(root)), truth)
    assert 0.4 * record.n_pairs < n < 0.6 * record.n_pairs
    capsys.readouterr()
    assert invoke(["label", "shadow", "--labeller", "ada", "--project", str(root)]) == 0
    out = capsys.readouterr().out
    assert "rows of ada are labelled.\n" in out and "\nNext: tuneworthy shadow replay" in out
    assert str(log) in out and out.count("--project") == 1
    status, record = replayed(root, log)
    assert status == 0 and record.verdict.status == "pass"


def test_labelling_on_a_terminal_shows_the_turns_and_stores_each_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra="[shadow]\nlabel_share = 0.5\n")
    assert invoke(["label", "shadow", "--project", str(root)]) == 2
    assert "shadow replay" in capsys.readouterr().err
    replayed(root, write_log(tmp_path / "log.jsonl", 20, truth=False))
    answers = iter(["red\n", "green\n", "/quit\n"])
    monkeypatch.setattr("sys.stdin", SimpleNamespace(readline=answers.__next__, isatty=lambda: False))
    assert invoke(["label", "shadow", "--labeller", "ada", "--project", str(root)]) == 0
    out, err = capsys.readouterr()
    assert "Next: tuneworthy label --project" in out and "item" in err
    assert labels_path(load(root)).read_text().count("ada") == 2


def test_calls_of_tools_are_compared_and_a_call_that_cannot_be_read_breaks_the_form(tmp_path: Path) -> None:
    root = write_traffic_project(tmp_path / "p", "equal")
    with (root / "world.py").open("a") as file:
        file.write(
            "\n\ndef equal(request):\n"
            "    from tuneworthy.types import Response\n"
            "    if request.messages[-1]['role'] == 'tool':\n        return 'red'\n"
            "    call = {'id': '1', 'type': 'function', 'function': {'name': 'find', 'arguments': '{\"n\": '}}\n"
            "    return Response(text='', tool_calls=(call,), finish_reason='tool_calls')\n"
        )
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}
    middle: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "red"},
    ]
    rows = [{"messages": [user(f"item {i}"), *middle, said("red")], "truth": "red"} for i in range(200)]
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    status, record = replayed(root, log)
    assert status == 3 and "Valid format" in record.verdict.detail and "Quality" not in record.verdict.detail


def test_the_report_shows_the_sequence_and_the_worst_pairs_and_nothing_of_personal_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_traffic_project(tmp_path / "p", "worse")
    assert invoke(["shadow", "report", "--project", str(root)]) == 4
    replayed(root, write_log(tmp_path / "log.jsonl", 700))
    capsys.readouterr()
    assert invoke(["shadow", "report", "--json", "--project", str(root)]) == 3
    assert orjson.loads(capsys.readouterr().out)["verdict"]["status"] == "fail"
    for name in ("page.html", "page.md"):
        assert invoke(["shadow", "report", "--out", str(tmp_path / name), "--project", str(root)]) == 3
        text = (tmp_path / name).read_text()
        assert "does worse on recorded traffic" in text and "pairs that got worse" in text and "tenant-" in text
    assert "<svg" in (tmp_path / "page.html").read_text()
    assert invoke(["shadow", "report", "--out", "page.pdf", "--project", str(root)]) == 2
    rows = [orjson.loads(line) for line in (Folder(root).path / "shadow/pairs.jsonl").read_bytes().splitlines()]
    assert rows[0]["worst"] == -1.0 and [row["worst"] for row in rows] == sorted(row["worst"] for row in rows)
    assert not (Folder(root).path / QUEUE).read_bytes()


@pytest.mark.parametrize("truth", [True, False])
def test_without_a_label_a_pair_that_differs_is_not_called_worse(tmp_path: Path, truth: bool) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra="[shadow]\nlabel_share = 0.5\n")
    status, record = replayed(root, write_log(tmp_path / "log.jsonl", 60, truth=truth))
    assert status == 4 == invoke(["shadow", "report", "--project", str(root)]), "not decided"
    rows = worst_pairs(Folder(root), record.n_pairs)
    assert rows and {row["worst"] for row in rows} == {-1.0 if truth else -0.5}
    assert ("differ" in change_words(rows)) is not truth and ("worse" in change_words(rows)) is truth
    worse = {"changes": {"quality": 0.0, "format": -1.0, "agreement": -1.0}}
    assert "differ" not in change_words([worse]) and "differ" in change_words([worse, {"changes": {"agreement": -1.0}}])


def test_the_page_names_days_and_pairs_and_a_canary_has_a_limit_where_the_candidate_is_billed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_traffic_project(tmp_path / "p", "better")
    assert replayed(root, write_log(tmp_path / "log.jsonl", 300))[0] == 0
    record = replace(read_shadow(Folder(root)), days=("2026-11-10", "2026-11-19"))
    pair = {"changes": {"quality": -1.0}, "source": "", "question": "", "production": "", "candidate": ""}
    page = document(record, "t", [pair] * 35)
    assert "2026-11-10 to 2026-11-19" in page.basis
    assert record.date in page.basis and record.date in document(replace(record, days=()), "t", []).basis
    (part,) = [one for one in page.sections if one.name == "worse"]
    assert part.title.startswith("The 20 worst of 35 pairs") and len(part.blocks[0].rows) == 20
    file, price = root / "tuneworthy.toml", "plays_hosted = true\ninput_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0\n"
    for more in ("", price):
        function = 'function = "world.py:better"\n'
        file.write_text(file.read_text().replace(function, function + more))
        for out in ([], ["--out", str(tmp_path / "page.md")]):
            capsys.readouterr()
            assert invoke(["shadow", "report", "--project", str(root), *out]) == 0
            text = (tmp_path / "page.md").read_text() if out else " ".join(capsys.readouterr().out.split())
            assert "--canary" in text and ("--canary --max-usd 1" in text) is bool(more)


def test_a_candidate_that_was_rolled_back_and_repaired_can_pass_again(tmp_path: Path) -> None:
    root, log = write_traffic_project(tmp_path / "p", "better"), write_log(tmp_path / "log.jsonl", 300)
    status, record = replayed(root, log)
    page = document(record, "t", worse := worst_pairs(Folder(root), 9))
    assert status == 0 and worse and page.next_step and "--canary" in page.next_step.why
    assert "decide" not in page.next_step.why and record.candidate in page.next_step.why
    assert _shadow(load(root), Folder(root), None) is None, "a project without a tuned model"
    state = CanaryState(variant=record.variant, share=0.0, rolled_back="It failed 4 of 34 requests.")
    Folder(root).write(STATE.format(record.variant), asdict(state))
    status, record = replayed(root, log)
    page = document(record, "t", worse)
    assert status == 3 and "rolled back" in page.answer and "4 of 34" in page.sentence
    assert page.next_step and "--restart" in page.next_step.why and "worse" not in page.next_step.why
    short, hashes = write_log(tmp_path / "short.jsonl", 9), input_hashes(load(root))
    assert replayed(root, short, "--restart")[0] == 4, "it is judged again"
    assert rolled_back(Folder(root), record.variant) == state.rolled_back, "and not current before it passes"
    assert input_hashes(load(root))["canary"] == hashes["canary"] == record.variant, "no verdict becomes valid again"
    status, record = replayed(root, log)
    assert status == 0 and rolled_back(Folder(root), record.variant) == ""
    Folder(root).write(STATE.format(record.variant), asdict(state))
    status, record = replayed(root, log, "--restart")
    assert status == 0 and "--restart" not in record.command
    assert Folder(root).read(STATE.format(record.variant), CanaryState) is None
    assert rolled_back(Folder(root), record.variant) == ""


def test_replay_and_proxy_refuse_a_candidate_with_settings_by_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, log, path = write_traffic_project(tmp_path / "p", "equal"), tmp_path / "log.jsonl", tmp_path / "other.json"
    monkeypatch.setattr("tuneworthy.shadow.http_server.serve", lambda app, door: door.close())
    project = load(root)
    variant = baseline_variant(project, Models(project))
    entries = (["replay", str(write_log(log, 9))], ["proxy", "http://127.0.0.1:9", "--bind", "127.0.0.1:0"])
    for by_tag in ({"hard": TagSetting(decoding={"temperature": 1.0}, max_tokens=9)}, {}):
        path.write_bytes(orjson.dumps(describe(replace(variant, by_tag=by_tag))))
        for words in entries:
            capsys.readouterr()
            status = invoke(["shadow", *words, "--candidate", str(path), "--project", str(root)])
            assert (status == 2, "by tag" in capsys.readouterr().err) == (bool(by_tag), bool(by_tag)), words
        assert (read_shadow(Folder(root)) is None) is bool(by_tag), "a refused candidate is not asked"


def test_who_labels_live_traffic_learns_that_the_proxy_counts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra="[shadow]\nlabel_share = 0.5\n")
    _, record = replayed(root, write_log(tmp_path / "log.jsonl", 5, truth=False))
    session = LabelSession(label_queue(Folder(root)), labels_path(load(root)), "ada", seed=7)
    while (case := session.next()) is not None:
        session.submit(case.id, "red")
    for sources, live in ((record.sources, False), ([str(root / ".tuneworthy" / TRAFFIC)], True)):
        Folder(root).write("shadow", asdict(replace(record, sources=sources)))
        capsys.readouterr()
        assert invoke(["label", "shadow", "--labeller", "ada", "--project", str(root)]) == 0
        assert ("midnight UTC" in capsys.readouterr().err) is live


def test_a_slower_answer_that_is_as_good_is_no_pair_that_got_worse(tmp_path: Path) -> None:
    root = write_traffic_project(tmp_path / "p", "equal", extra="[constraints]\np95_ms = 0.000001")
    replayed(root, write_log(tmp_path / "log.jsonl", 20))
    rows = [orjson.loads(line) for line in (Folder(root).path / "shadow/pairs.jsonl").read_bytes().splitlines()]
    assert all(row["changes"]["latency"] < 0 for row in rows)
    assert all(row["worst"] == min(0.0, row["changes"]["quality"]) for row in rows)


def test_the_answers_are_in_the_store_of_all_answers(tmp_path: Path) -> None:
    root, log = write_traffic_project(tmp_path / "p", "equal"), write_log(tmp_path / "log.jsonl", 50)
    _, record = replayed(root, log)
    store = ResponseStore(Folder(root).responses)
    n = store._db.execute("SELECT count(*) FROM responses").fetchone()[0]
    store.close()
    assert n == record.n_pairs


JUDGE = """

import json


def seen(request):
    return json.loads(request.messages[-1]["content"].split("\\n")[1])


def vain(request):
    answer = seen(request)["answer"]
    return "good" if answer.endswith("!") or answer == truth(seen(request)["question"]) else "bad"


def flatterer(request):
    return candidate(request, 0.25, 0.0) + "!"
"""


def judged_by_a_model(root: Path, candidate: str) -> None:
    """Let `world.py:vain` grade, and `candidate` answer."""
    with (root / "world.py").open("a") as file:
        file.write(JUDGE)
    text = (root / "tuneworthy.toml").read_text().replace('"world.py:equal"', f'"world.py:{candidate}"')
    grader = 'type = "judge"\nmodel = "judge"\nrubric = "It names the colour."\nneeds_expected = false\n'
    judge = '[models.judge]\nprovider = "scripted"\nfunction = "world.py:vain"\n'
    (root / "tuneworthy.toml").write_text(text.replace('type = "exact"\n', grader) + judge)


@pytest.mark.parametrize("policy", ["mask", "drop", "report"])
def test_what_a_candidate_says_is_stored_and_shown_masked_unless_the_policy_only_reports(
    tmp_path: Path, policy: str
) -> None:
    extra = f'[data]\npolicy = {{ personal_data = "{policy}" }}\n[shadow]\nlabel_share = 0.5\n'
    root = write_traffic_project(tmp_path / "p", "equal", extra=extra)
    judged_by_a_model(root, "leak")
    with (root / "world.py").open("a") as file:
        file.write('\n\ndef leak(request):\n    return "ada@example.org"\n')
    replayed(root, write_log(tmp_path / "log.jsonl", 20, truth=False))
    assert invoke(["shadow", "report", "--out", str(tmp_path / "page.html"), "--project", str(root)]) in {3, 4}
    files = (Folder(root).path / "shadow/pairs.jsonl", Folder(root).path / QUEUE, tmp_path / "page.html")
    for path in files:
        assert ("ada@" in path.read_text()) == (policy == "report"), path.name
        assert ("[EMAIL_" in path.read_text()) == (policy != "report"), path.name
    page = files[-1].read_text()
    assert "Pairs that got worse" in page and ("personal data is masked" in page) == (policy != "report")


def test_a_judge_that_likes_the_candidate_cannot_pass_it_against_people(tmp_path: Path) -> None:
    """The judge calls every answer of the candidate good; people see that a quarter of them are lost."""
    root = write_traffic_project(tmp_path / "p", "equal", extra="[shadow]\nlabel_share = 0.5\n")
    judged_by_a_model(root, "flatterer")
    log = write_log(tmp_path / "log.jsonl", 500, truth=False)
    status, record = replayed(root, log)
    assert status == 4 and record.verdict.results[0].n == 0
    queue = label_queue(Folder(root))
    assert all("question: " in case.text and "answer: " in case.text for case in queue)
    rows = map(orjson.loads, write_log(tmp_path / "t.jsonl", 500).read_bytes().splitlines())
    truth = {row["messages"][-2]["content"]: row["truth"] for row in rows}
    session = LabelSession(queue, verdicts_path(load(root)), "ada", seed=7)
    while (case := session.next()) is not None:
        question, answer = case.text.removeprefix("question: ").split("\nanswer: ")
        session.submit(case.id, answer.rstrip("!") == truth[question.rsplit("\n", 1)[-1].removeprefix("user: ")])
    status, alone = replayed(root, log)
    assert status == 3 and "Quality is worse" in alone.verdict.detail
    judge_now = asyncio.run(identity(root))
    Folder(root).write("judge", {"status": "pass", "judge": judge_now})
    status, corrected = replayed(root, log)
    assert status == 3 and "Quality is worse" in corrected.verdict.detail
    assert corrected.verdict.results[0].n > alone.verdict.results[0].n, "the judge scores every session"


async def identity(root: Path) -> str:
    async with open_session(load(root)) as session:
        return content_hash(dict(session.primary.identity))


def test_a_record_that_was_damaged_is_named_and_moved_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, log = write_traffic_project(tmp_path / "p", "equal"), write_log(tmp_path / "log.jsonl", 30)
    replayed(root, log)
    Folder(root).write("shadow", {"verdict": 1})
    assert invoke(["shadow", "report", "--project", str(root)]) == 2
    assert "shadow.json" in capsys.readouterr().err
    invoke(["doctor", "--repair", "--project", str(root)])
    assert "shadow replay" in capsys.readouterr().out
    assert invoke(["shadow", "report", "--project", str(root)]) == 4
    assert replayed(root, log)[1].n_sessions == 30
