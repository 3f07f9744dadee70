"""Projects of recorded calls: privacy of their files, their price and traffic, and the facts of every kind of log."""

from __future__ import annotations

import csv
import json
import random
import tomllib
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.calls.test_groups import COLOURS, call, groups_of, said
from tuneworthy.calls.groups import read_calls
from tuneworthy.cli import invoke
from tuneworthy.cli.init import group_lines

DAY = 86_400.0
KEY = "sk-proj-Zx9Kq2Lm8Vt4Rw7Yp1Nb6Hc3Jd5Fg0Sa"


def project_of(folder: Path, rows: list[dict[str, Any]], *options: str) -> Path:
    groups_of(folder / "calls.jsonl", rows)
    assert invoke(["init", str(folder / "p"), "--from", str(folder / "calls.jsonl"), *options]) == 0
    return folder / "p"


def calls(n: int = 420, **more: Any) -> list[dict[str, Any]]:
    rng = random.Random(3)
    return [call("Sort.", said(rng), rng.choice(COLOURS), at=at * DAY / 10, **more) for at in range(n)]


def test_a_log_that_was_not_recorded_here_is_masked_in_files_that_only_the_user_can_read(tmp_path, capsys):
    rows = [
        {
            "messages": [
                {"role": "system", "content": "Sort."},
                {"role": "user", "content": f"I am ann{at}@example.org, my key is {KEY} {at * 7919}"},
                {"role": "assistant", "content": COLOURS[at % 3]},
            ]
        }
        for at in range(420)
    ]
    root = project_of(tmp_path, rows)
    assert "Masked: email (420), key (420)." in capsys.readouterr().out
    for path in (root / "cases.jsonl", root / "examples.jsonl"):
        text = path.read_text()
        assert "@example.org" not in text and KEY not in text
        assert path.stat().st_mode & 0o777 == 0o600
    user = (root / "prompts" / "user.md").read_text()
    assert "[EMAIL_1]" in user  # the template reproduces the masked prompts


def test_a_model_behind_a_gateway_of_ones_own_keeps_the_list_price_of_its_name(tmp_path):
    root = project_of(tmp_path, calls(model="gpt-4o", base_url="http://127.0.0.1:4000/v1"))
    text = (root / "tuneworthy.toml").read_text()
    section = tomllib.loads(text)["models"]["gpt-4o"]
    assert (section["input_usd_per_mtok"], section["output_usd_per_mtok"]) == (2.5, 10.0)
    assert "this address may charge another price" in text


def test_a_model_without_a_list_price_gets_no_price_from_its_address(tmp_path):
    root = project_of(tmp_path, calls(model="own-model", base_url="http://127.0.0.1:4000/v1"))
    assert "usd_per_mtok" not in (root / "tuneworthy.toml").read_text()


def test_the_traffic_of_a_project_is_that_of_its_model(tmp_path, capsys):
    rows = [row | {"model": "gpt-4o" if at % 3 else "gpt-4o-mini"} for at, row in enumerate(calls())]
    root = project_of(tmp_path, rows)
    monthly = tomllib.loads((root / "tuneworthy.toml").read_text())["economics"]["requests_per_month"]
    assert monthly == pytest.approx(280 / 41.9 * 365 / 12, rel=0.01)
    assert "140 calls of other models are left out" in capsys.readouterr().err


def test_one_group_is_shown_too_and_machines_get_its_facts(tmp_path, capsys):
    root = project_of(tmp_path, calls())
    assert "in 1 group: which can be cheaper?" in capsys.readouterr().out
    assert invoke(["init", str(root) + "2", "--from", str(tmp_path / "calls.jsonl"), "--json"]) == 0
    out, err = capsys.readouterr()
    (group,) = json.loads(out)["groups"]
    assert "which can be cheaper?" in err
    assert (group["calls"], group["kind"], group["models"]) == (420, "label", {"gpt-4o-mini": 420})


def test_reasons_say_what_a_left_out_call_lacks(tmp_path):
    path = tmp_path / "calls.jsonl"
    rows = [orjson.dumps(row) for row in calls(30)] + [b"{broken", b'{"name": null, "skipped": "cancelled"}']
    path.write_bytes(b"\n".join(rows))
    text = "\n".join(group_lines(read_calls(path)))
    assert "1 left out: expected a JSON object on one line" in text
    assert "1 left out: the recorder skipped the call: cancelled." in text


@pytest.mark.parametrize("column", ["ts", "time", "datetime", "created", "timestamp"])
def test_dates_of_a_table_give_its_traffic(tmp_path, column):
    path, rng = tmp_path / "log.csv", random.Random(2)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "completion", column, "latency_ms", "prompt_tokens", "completion_tokens", "model"])
        for at in range(40):
            writer.writerow([said(rng), COLOURS[at % 3], f"2026-11-{at % 20 + 1:02d}T10:00:00", 800, 50, 1, "gpt-4o"])
    (group,) = read_calls(path).groups
    assert group.calls_a_month == pytest.approx(40 / 19 * 365 / 12)
    assert group.p95_s == 0.8
    assert group.usd == pytest.approx(40 * (50 * 2.5 + 10) / 1e6)


def langfuse_cells(at: int, asked: str, answer: str) -> dict[str, Any]:
    """Return a row of the table of generations that Langfuse exports as CSV."""
    turns = [{"role": "user", "content": asked}]
    return {
        "id": f"o{at}", "name": "sort", "traceId": f"t{at}", "startTime": f"2026-11-{at % 20 + 1:02d}T10:00:00.000Z",
        "endTime": f"2026-11-{at % 20 + 1:02d}T10:00:00.800Z", "timeToFirstToken": "", "latency": "0.80",
        "level": "DEFAULT", "model": "gpt-4o", "promptTokens": 50, "completionTokens": 1, "totalTokens": 51,
        "input": json.dumps(turns), "output": json.dumps({"role": "assistant", "content": answer}),
    }  # fmt: skip


def langsmith_run(at: int, asked: str, answer: str) -> dict[str, Any]:
    return {
        "id": f"r{at}", "trace_id": f"r{at}", "run_type": "llm", "start_time": f"2026-11-{at % 20 + 1:02d}T10:00:00",
        "end_time": f"2026-11-{at % 20 + 1:02d}T10:00:00.800000",
        "extra": {"invocation_params": {"temperature": 0.25}, "metadata": {"ls_model_name": "gpt-4o"}},
        "inputs": {"messages": [{"role": "user", "content": asked}]},
        "outputs": {"messages": [{"role": "assistant", "content": answer}],
                    "llm_output": {"token_usage": {"prompt_tokens": 50, "completion_tokens": 1}}},
    }  # fmt: skip


def otlp_spans(at: int, asked: str, answer: str) -> dict[str, Any]:
    start = 1_780_000_000 * 10**9 + at % 20 * 86_400 * 10**9
    texts = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": asked}]}]),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": answer}]}]),
    }
    attributes: list[dict[str, Any]] = [{"key": key, "value": {"stringValue": text}} for key, text in texts.items()]
    attributes += [{"key": "gen_ai.usage.input_tokens", "value": {"intValue": "50"}}]
    attributes += [{"key": "gen_ai.usage.output_tokens", "value": {"intValue": "1"}}]
    attributes += [{"key": "gen_ai.request.temperature", "value": {"doubleValue": 0.25}}]
    span = {
        "traceId": f"{at:032x}", "spanId": f"{at:016x}", "name": "chat", "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + 800_000_000), "attributes": attributes,
    }  # fmt: skip
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def request_log(at: int, asked: str, answer: str) -> dict[str, Any]:
    return {
        "request": {"model": "gpt-4o", "temperature": 0.25, "messages": [{"role": "user", "content": asked}]},
        "response": {
            "choices": [{"message": {"role": "assistant", "content": answer}}],
            "usage": {"prompt_tokens": 50, "completion_tokens": 1},
        },
        "created_at": f"2026-11-{at % 20 + 1:02d}T10:00:00Z",
        "latency_ms": 800,
    }


@pytest.mark.parametrize("row_of", [langfuse_cells, langsmith_run, otlp_spans, request_log])
def test_traffic_latency_tokens_and_settings_of_an_export_are_kept(tmp_path, row_of):
    rng, path = random.Random(2), tmp_path / ("log.csv" if row_of is langfuse_cells else "log.jsonl")
    rows = [row_of(at, said(rng), COLOURS[at % 3]) for at in range(40)]
    with path.open("w", newline="") as file:
        if path.suffix == ".csv":
            writer = csv.DictWriter(file, [*rows[0]])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    (group,) = read_calls(path).groups
    assert group.calls_a_month == pytest.approx(40 / 19 * 365 / 12, rel=0.01)
    assert group.p95_s == pytest.approx(0.8)
    assert not any(reply.estimated for reply in group.replies)
    assert group.usd == pytest.approx(40 * (50 * 2.5 + 10) / 1e6)
    if row_of is not langfuse_cells:  # its table has no settings
        assert group.today("gpt-4o").parameters == {"temperature": 0.25}
