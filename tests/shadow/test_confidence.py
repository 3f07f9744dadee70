"""Confidence in production: a server that gets unsure half way alerts, one that does not stays quiet at every look."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.ladder.simulations import LABELS
from tests.shadow.test_verdict import KNOWN, pair
from tests.shadow.traffic import conversations, number, write_traffic_project
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.errors import Undecided
from tuneworthy.ladder.commands.uncertainty import Threshold, fitted_threshold, measure_uncertainty
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.providers.scripted import ScriptedProvider
from tuneworthy.shadow.confidence import (
    ConfidenceVerdict,
    ConfidenceWatch,
    ask_watched,
    judged_confidence,
    rise,
    watch_of,
    with_confidence,
)
from tuneworthy.shadow.copies import Copies, CopyHead, WorkerReport
from tuneworthy.shadow.pairs import AnswerPair
from tuneworthy.shadow.replay import PAIRS, ShadowRecord, read_shadow
from tuneworthy.shadow.worker import Worker, WorkerOrder
from tuneworthy.stats.betting import log_capital
from tuneworthy.stats.intervals import Interval
from tuneworthy.store import Folder, ResponseStore

N, CHANGE = 200, 100
NEVER = 10**9
MODEL = """

from tuneworthy.types import Response


def watched(request):
    text = question(request)
    said, turned = answer(request, 0.6), " tenant-" in text and int(text.split()[3]) >= CHANGE
    unsure = number(text, "doubt") + 0.6 * (said != truth(text)) + turned
    if request.decoding.get("temperature") and not LOGPROBS:
        said = LABELS[request.repeat % 3] if unsure > 0.8 else said
    token = {"token": said, "logprob": -unsure, "top": [[said, -unsure]]}
    return Response(text=said, logprobs=(token,) if LOGPROBS and request.logprobs is not None else None)
"""
"""Wrong answers have low confidence more often; from conversation `CHANGE` on, nearly all have."""


def write(root: Path, change: int, *, margin: str = "0.1", logprobs: bool = True) -> Path:
    """Write a project whose sessions end at once."""
    ended = "[shadow]\nidle_minutes = 0.0001\nturns = 1\n"
    extra = ended + (f"confidence_margin = {margin}\n" if margin else "")
    write_traffic_project(root, "equal", extra=extra)
    script = MODEL.replace("CHANGE", str(change)).replace("LOGPROBS", str(logprobs))
    with (root / "world.py").open("a") as file:
        file.write(script)
    toml = root / "tuneworthy.toml"
    toml.write_text(toml.read_text().replace("world.py:equal", "world.py:watched", 1))
    return root


def copies(n: int) -> list[tuple[str, bytes, bytes]]:
    """Session, request and answer of the first turn of `n` conversations, in order."""
    found = []
    for row in conversations(n):
        question, answer, *later = row["messages"]
        if not later:
            request = orjson.dumps({"model": "m", "messages": [question]})
            found.append((row["session_id"], request, orjson.dumps({"choices": [{"message": answer}]})))
    return found


def traffic(root: Path, n: int = N, look: Callable[[ShadowRecord], None] | None = None) -> list[dict[str, Any]]:
    """Let the worker of a proxy take copies; `look` at the record now and then. Return what it reports."""
    events: list[dict[str, Any]] = []

    async def work() -> None:
        async with open_session(load(root), beside=True) as session:
            order = WorkerOrder(root=str(root), candidate="current", judge_s=60.0)
            worker = Worker(session, resolve(session, "current"), order, -1)
            worker._report = lambda **event: events.append(  # type: ignore[method-assign]
                {name: value for name, value in event.items() if value is not None}
            )
            for number, (name, request, answer) in enumerate(copies(n)):
                head = CopyHead(path="/v1/chat/completions", session=name)
                await worker._answer(head, request, answer)
                if look and number % 40 == 39:
                    await worker.judge()
                    look(record_of(root))
            await asyncio.sleep(0.02)
            await worker.judge()

    asyncio.run(work())
    return events


def record_of(root: Path) -> ShadowRecord:
    record = read_shadow(Folder(root))
    assert record is not None
    return record


def measured(root: Path, *options: str) -> None:
    assert invoke(["decode", "uncertainty", "--variant", "current", "--project", str(root), *options]) == 0


def report(root: Path, *options: str) -> int:
    return invoke(["shadow", "report", "--project", str(root), *options])


def test_a_server_that_gets_unsure_half_way_alerts_and_names_the_session(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "p", CHANGE)
    measured(root)
    at_looks: list[str] = []
    events = traffic(root, look=lambda record: at_looks.append(record.confidence.status if record.confidence else ""))
    assert at_looks == sorted(at_looks, key=["quiet", "alert"].index) and {*at_looks} == {"quiet", "alert"}
    assert events[-1]["alert"] is True
    found = record_of(root).confidence
    assert found is not None and found.status == "alert" and found.alert_at is not None and found.dev is not None
    n_before = sum(int(name[1:]) < CHANGE for name, *_ in copies(N))
    assert n_before < found.alert_at < n_before + 30 and abs(found.since - 1 - n_before) <= 5
    assert found.share is not None and found.share > 0.9 and found.low > found.dev.hi
    assert found.n == found.alert_at - found.since + 1
    assert found.after is not None and found.after.value > 0.9 and found.after.n == len(copies(N)) - found.alert_at
    capsys.readouterr()
    assert report(root) == 3
    shown = capsys.readouterr().out
    since = f"since about session {found.since}. Up to the alert at session {found.alert_at} it was {found.share:.1%} ["
    assert f"low confidence was shown to exceed dev's by more than 10.0 points, {since}" in shown
    assert " of the answers with low confidence are wrong, and " in shown and PAIRS in shown
    assert report(root, "--json") == 3
    assert orjson.loads(capsys.readouterr().out)["confidence"]["status"] == "alert"
    assert report(root, "--out", str(tmp_path / "page.html")) == 3
    assert "Confidence in production" in (tmp_path / "page.html").read_text()
    rows = [orjson.loads(line) for line in (Folder(root).path / PAIRS).read_bytes().splitlines()]
    assert sum(row["changes"]["confidence"] < 0 for row in rows) >= found.after.n * found.after.value
    n = len(ResponseStore(Folder(root).responses))
    invoke(["shadow", "replay", "--candidate", "current", "--project", str(root)])
    assert len(ResponseStore(Folder(root).responses)) == n and record_of(root).confidence == found


def test_a_server_that_stays_as_it_is_stays_quiet_and_one_that_nobody_watches_is_asked_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "p", NEVER)
    measured(root)
    events = traffic(root, 150)
    found = record_of(root).confidence
    assert found is not None and found.dev is not None and (found.status, found.since) == ("quiet", 1)
    assert found.low < found.dev.value < found.high and found.n == len(copies(150)) and events[-1]["alert"] is False
    capsys.readouterr()
    assert report(root) == 0 and "not shown to exceed dev's by more than 10.0 points" in capsys.readouterr().out
    seen = record_of(root)
    failed = replace(seen, verdict=replace(seen.verdict, status="fail"))
    Folder(root).write("shadow", asdict(failed))
    assert report(root) == 3, "a candidate that failed, whatever its confidence"
    capsys.readouterr()
    toml = root / "tuneworthy.toml"
    toml.write_text(toml.read_text().replace("confidence_margin = 0.1", ""))
    assert "alert" not in traffic(root, 20)[-1] and record_of(root).confidence is None and report(root) == 4
    assert "onfidence" not in capsys.readouterr().out


def test_sampled_answers_stand_in_for_log_probabilities(tmp_path: Path) -> None:
    root = write(tmp_path / "p", CHANGE, logprobs=False)
    measured(root, "--samples", "3")
    stored = orjson.loads((Folder(root).path / "uncertainty.json").read_bytes())
    assert stored["calibration"]["threshold"]["signal"] == stored["calibration"]["signal"] == "disagreement"
    assert [*stored["calibration"]["areas"]] == ["disagreement"] and stored["samples"] == 3
    traffic(root)
    found = record_of(root).confidence
    assert found is not None and found.status == "alert" and report(root) == 3


def judged(unsure: np.ndarray, dev: Interval, margin: float, *, live: bool = True) -> ConfidenceVerdict:
    """Judge sessions of one turn each, `unsure` or not."""
    pairs = [pair(f"s{n}", None, confidence=(1.0, 1.0 - value)) for n, value in enumerate(unsure)]
    watch = ConfidenceWatch(
        margin=margin,
        logprobs=True,
        threshold=Threshold(
            signal="mean_surprise", value=0.5, above=dev, flagged=0.1, recall=0.5, false_alarms=0.1,
            wrong_flagged=dev, wrong_others=dev,
        ),
    )  # fmt: skip
    found = judged_confidence(pairs, KNOWN, watch, live=live, file=PAIRS)
    assert found is not None
    return found


def test_after_a_recovery_the_alert_says_what_was_and_what_is() -> None:
    unsure = (np.arange(600) < 100).astype(float)
    found = judged(unsure, Interval(0.1, 0.06, 0.16, 200, 200, 0.05, "wilson"), 0.1)
    assert found.status == "alert" and found.alert_at is not None and found.alert_at < 100
    assert (found.share, found.n) == (1.0, found.alert_at) and found.low > 0.16
    assert found.after is not None and found.after.n == 600 - found.alert_at and found.after.hi < 0.3
    at = f"Up to the alert at session {found.alert_at} it was 100.0% ["
    assert "was shown to exceed" in found.detail and at in found.detail
    assert f", after the alert {found.after.value:.1%} [" in found.detail
    log = judged(unsure, Interval(0.1, 0.06, 0.16, 200, 200, 0.05, "wilson"), 0.01, live=False)
    assert (log.status, log.n, log.after) == ("alert", 600, None)


def test_a_margin_that_can_never_alert_is_not_quiet() -> None:
    dev = Interval(0.6, 0.5, 0.7, 200, 200, 0.05, "wilson")
    found = judged(np.ones(300), dev, 0.4)
    assert found.status == "unknown" and "`shadow.confidence_margin` below 0.300" in found.detail
    assert judged(np.ones(300), dev, 0.2).status == "alert"


def test_answers_that_are_missing_do_not_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "p", NEVER, logprobs=False)

    async def some(*asked: Any) -> dict[str, list[str]]:
        return {case.id: ["a"] * (1 if place % 2 else 3) for place, case in enumerate(asked[2])}

    for place in ("tuneworthy.ladder.commands.uncertainty", "tuneworthy.shadow.confidence"):
        monkeypatch.setattr(f"{place}.sampled_answers", some)
    dev = Interval(0.1, 0.06, 0.16, 200, 200, 0.05, "wilson")
    threshold = Threshold(
        signal="disagreement", value=0.5, above=dev, flagged=0.1, recall=0.5, false_alarms=0.1,
        wrong_flagged=dev, wrong_others=dev,
    )  # fmt: skip
    watch = ConfidenceWatch(margin=0.1, logprobs=False, threshold=threshold, samples=3)

    async def work() -> None:
        async with open_session(load(root)) as session:
            variant, cases = resolve(session, "current"), session.split.dev[:10]
            _, values = await ask_watched(session, variant, cases, watch)
            assert [*values] == [case.id for case in cases[::2]]
            found = await measure_uncertainty(session, variant, samples=3)
            assert found.calibration.n == found.unscored == len(session.split.dev) // 2

    asyncio.run(work())


def test_what_was_measured_of_another_variant_is_measured_again(tmp_path: Path) -> None:
    root = write(tmp_path / "p", NEVER)
    measured(root)
    stored = orjson.loads((Folder(root).path / "uncertainty.json").read_bytes())
    stored |= {"variant": "other", "variant_id": "0123"}
    Folder(root).write("uncertainty", stored)

    async def watched() -> ConfidenceWatch | None:
        async with open_session(load(root)) as session:
            return watch_of(session, resolve(session, "current"))

    found = asyncio.run(watched())
    assert found is not None and found.threshold is None
    assert "Run `tuneworthy decode uncertainty --variant " in found.refused
    assert "(what is stored was measured with other, 0123)" in found.refused


@pytest.mark.parametrize(
    ("least", "words"),
    [
        (None, "it is not measured on dev. Run `tuneworthy decode uncertainty "),
        (99, "a threshold needs at least 99 wrong and 99 correct answers"),
    ],
)
def test_what_is_not_measured_is_no_number(
    least: int | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "p", CHANGE)
    if least is not None:
        monkeypatch.setattr("tuneworthy.ladder.commands.uncertainty.FEWEST_OF_A_KIND", least)
        measured(root)
    traffic(root, 60)
    found = record_of(root).confidence
    assert found is not None and (found.status, found.share, found.dev) == ("unknown", None, None)
    capsys.readouterr()
    assert report(root) == 4 and words in capsys.readouterr().out


def test_without_log_probabilities_and_sampled_answers_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "p", CHANGE, logprobs=False)
    monkeypatch.setattr(ScriptedProvider, "supports", frozenset())

    async def measure() -> None:
        async with open_session(load(root)) as session:
            with pytest.raises(Undecided, match="log-probabilities") as refusal:
                await measure_uncertainty(session, resolve(session, "current"))
            assert "--samples 3" in refusal.value.hint

    asyncio.run(measure())
    traffic(root, 30)
    capsys.readouterr()
    assert report(root) == 4 and " --samples 3`." in capsys.readouterr().out


def test_confidence_is_unknown_once_most_of_the_last_sessions_have_no_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "p", NEVER)
    measured(root)
    traffic(root, 150)
    n_all, given = len(copies(150)), 0

    def first_ones(pairs: Sequence[AnswerPair], values: dict[str, float], watch: ConfidenceWatch | None) -> Any:
        kept = {pair.turn.case.id: values[pair.turn.case.id] for pair in pairs[:given]}
        return with_confidence(pairs, kept, watch)

    monkeypatch.setattr("tuneworthy.shadow.replay.with_confidence", first_ones)
    for missing, status, expected in ((50, "quiet", 0), (51, "unknown", 4)):
        given = n_all - missing
        assert n_all >= 100
        invoke(["shadow", "replay", "--candidate", "current", "--project", str(root)])
        found = record_of(root).confidence
        assert found is not None and found.status == status and report(root) == expected
        words = "of the last 100 sessions, 51 have neither log-probabilities nor sampled answers, and 49 have."
        assert (words in found.detail) == (status == "unknown")


def test_a_replay_before_the_margin_was_set_is_unknown_and_one_after_it_was_removed_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "p", CHANGE, margin="")
    measured(root)
    traffic(root, 20)
    assert record_of(root).confidence is None and report(root) == 4
    toml = root / "tuneworthy.toml"
    unset = toml.read_text()
    toml.write_text(unset.replace("[shadow]\n", "[shadow]\nconfidence_margin = 0.1\n"))
    capsys.readouterr()
    assert report(root) == 4
    out = capsys.readouterr().out
    words = f"Run `tuneworthy shadow replay --project {root} --candidate current`."
    assert f"it was not watched in the last replay. {words}" in out
    assert report(root, "--out", str(tmp_path / "page.md")) == 4
    assert "it was not watched in the last replay" in (tmp_path / "page.md").read_text()
    traffic(root, 20)
    assert record_of(root).confidence is not None
    toml.write_text(unset)
    capsys.readouterr()
    assert report(root) == 4 and "onfidence" not in capsys.readouterr().out
    assert report(root, "--json") == 4 and orjson.loads(capsys.readouterr().out)["confidence"] is None


def test_the_end_of_sampling_is_said(tmp_path: Path) -> None:
    root = write(tmp_path / "p", NEVER)
    toml = root / "tuneworthy.toml"
    toml.write_text(toml.read_text().replace("[shadow]\n", "[shadow]\nsessions = 10\n"))
    measured(root)
    traffic(root, 60)
    found = record_of(root).confidence
    assert found is not None and "10 sessions were judged (`shadow.sessions`)" in found.detail


def test_a_log_in_no_order_names_no_session(tmp_path: Path) -> None:
    root = write(tmp_path / "p", CHANGE)
    measured(root)
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in conversations(2 * N)))
    invoke(["shadow", "replay", str(log), "--candidate", "current", "--project", str(root)])
    found = record_of(root).confidence
    assert found is not None and (found.status, found.since) == ("alert", 1) and "since about" not in found.detail


def test_the_proxy_shows_the_alert() -> None:
    found = Copies(lambda _: [], most=1, log=Path("log"))
    assert not found.alert
    found._note(WorkerReport(verdict="unknown", alert=True))
    found._note(WorkerReport(outcome="paired"))
    assert found.alert


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.moved
def test_through_the_proxy_a_server_that_gets_unsure_half_way_alerts(tmp_path: Path) -> None:
    """One server answers users, dev and copies; users ask for no log-probabilities and get none."""
    pytest.importorskip("uvicorn")
    from tests.shadow.servers import Call, Script, raw, upstream
    from tests.shadow.test_proxy_process import ENDED, proxy_of, send, served_by

    root = write_traffic_project(tmp_path / "p", "equal", extra=ENDED + "share = 1.0\nconfidence_margin = 0.1\n")
    users: list[bool] = []

    def script(call: Call) -> Script:
        body = orjson.loads(call.body)
        text = body["messages"][-1]["content"].replace("<input>", "").replace("</input>", "").strip()
        words = text.split()
        right = number(text, "a") < 0.6
        said = LABELS[(int(words[1]) + (not right)) % 3]
        turned = "from" in words and int(words[3]) >= CHANGE
        token = {"token": said, "logprob": -number(text, "doubt") - 0.6 * (not right) - turned, "top_logprobs": []}
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [token]}
        users.append(not body.get("logprobs"))
        answer = orjson.dumps({"model": "m", "choices": [choice]})
        return [raw(answer, "Content-Type: application/json", "Connection: close")]

    async def work() -> None:
        async with upstream(script) as (address, _):
            served_by(root, address)
            toml = root / "tuneworthy.toml"
            toml.write_text(toml.read_text().replace("timeout_s = 0.3", "timeout_s = 20"))
            words = ["decode", "uncertainty", "--variant", "current", "--project", str(root)]
            process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tuneworthy", *words)
            assert await process.wait() == 0
            users.clear()
            async with proxy_of(root, address, judge_s=1.2) as proxy:

                async def alerts() -> bool:
                    return "shadow_confidence_alert 1" in await proxy.get("/-/metrics")

                requests = [(name, request) for name, request, _ in copies(N)]
                before = [one for one in requests if int(one[0][1:]) < CHANGE]
                await send(proxy, before)
                await proxy.counted(len(before), paired=len(before))
                await asyncio.sleep(3)
                assert not await alerts()
                await send(proxy, requests[len(before) :], wide=1)
                await proxy.until(alerts)
            assert sum(users) == len(users) / 2 == len(requests), "a user's request is passed on as it came"

    asyncio.run(work())
    found = record_of(root).confidence
    assert found is not None and found.status == "alert" and report(root) == 3


def test_looking_after_each_session_quiet_traffic_seldom_alerts_and_a_change_is_found() -> None:
    """100 projects with 150 dev cases and 1,000 sessions, without any margin; then 30 points more from session 500."""
    false, found_late, found_plainly, rng = 0, 0, 0, np.random.default_rng(3)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        wrong = rng.random(n) < 0.4
        return rng.normal(size=n) + 1.5 * wrong, wrong

    for seed in range(100):
        dev, wrong = draw(150)
        threshold = fitted_threshold(dev, wrong, np.arange(150), seed)
        ceiling, weights = threshold.above.hi, np.ones(1000)
        unsure = (draw(1000)[0] > threshold.value).astype(float)
        false += rise(unsure, weights, ceiling)[0] is not None
        turned = (np.arange(1000) >= 500) & (rng.random(1000) < 0.3 / (1 - unsure.mean()))
        unsure = np.maximum(unsure, turned)
        found_late += rise(unsure, weights, ceiling)[0] is not None
        found_plainly += bool((log_capital(2 * unsure - 1, 2 * ceiling - 1) >= np.log(40)).any())
    assert false <= 5, "one in twenty"
    assert found_late >= 80 > found_plainly


def test_at_the_ceiling_one_in_forty_alerts_at_most_however_often_one_looks() -> None:
    rng = np.random.default_rng(5)
    alerts = sum(rise((rng.random(1500) < 0.3).astype(float), np.ones(1500), 0.3)[0] is not None for _ in range(400))
    assert alerts <= 18  # 10 allowed, with their spread
