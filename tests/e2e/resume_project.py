"""A small project on disk, and the real command line run on it in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

from .resume_server import LABELS

NOT_COMPARED = {"mark", "latency_p50_ms", "latency_p95_ms", "latency_p50_ci", "latency_p95_ci", "seconds", "duration_s"}


def write_project(
    root: Path, model: str, *, n_cases: int = 120, n_examples: int = 40, ladder: str = "", rungs: str = "baseline"
) -> Path:
    """Write a project whose task is to name a colour; `model` and `ladder` are lines of their TOML sections."""
    root.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"c{i}", "input": f"Case number {i} #ID{i}: the {LABELS[i % 3]} one.", "expected": LABELS[i % 3]}
            for i in range(n_cases)]  # fmt: skip
    write_lines(root / "cases.jsonl", rows)
    examples = [{"messages": [{"role": "user", "content": f"An example {i * 7919}: all {LABELS[i % 3]}."},
                              {"role": "assistant", "content": LABELS[i % 3]}]} for i in range(n_examples)]  # fmt: skip
    if examples:
        write_lines(root / "examples.jsonl", examples)
    names = ", ".join(f'"{name}"' for name in rungs.split())
    (root / "tuneworthy.toml").write_text(
        f"""
[task]
name = "colours"
problem = "strict_format"
target = 0.9
margin = 0.05
[cases]
path = "cases.jsonl"
{"[examples]" if examples else ""}
{'path = "examples.jsonl"' if examples else ""}
[prompt]
user = "Name the colour. {{{{ input }}}}"
max_tokens = 8
[[graders]]
type = "exact"
[models.m]
{model}
[ladder]
baseline = "m"
rungs = [{names}]
{ladder}
"""
    )
    return root


def write_lines(path: Path, rows: list[Any]) -> None:
    path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows) + b"\n")


def openai(base_url: str, **more: Any) -> str:
    """The TOML lines of an OpenAI-compatible model on loopback."""
    lines = {"provider": "openai", "model": "scripted", "base_url": base_url, "concurrency": 8, **more}
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in lines.items())


def start(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start `tuneworthy run`; its words go to a file beside the project, which never blocks."""
    words = root.with_suffix(".log").open("ab")
    try:
        return subprocess.Popen(
            [Path(sys.executable).with_name("tuneworthy"), "run", "--project", root, *arguments],
            stdin=subprocess.DEVNULL, stdout=words, stderr=words, env={**os.environ, "PYTHONFAULTHANDLER": "1"},
            preexec_fn=_hear_interrupts,  # noqa: PLW1509 - nothing else runs in this process
        )  # fmt: skip
    finally:
        words.close()


def _hear_interrupts() -> None:
    """Undo what a shell does to jobs in the background: they, and all that they start, ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run_ladder(root: Path, *arguments: str, timeout_s: float = 300) -> int:
    """Run `tuneworthy run` to its end and return its exit status."""
    process = start(root, *arguments)
    try:
        return process.wait(timeout_s)
    finally:
        process.kill()


def words(root: Path) -> str:
    """All that it said."""
    return root.with_suffix(".log").read_text()


def stop(process: subprocess.Popen[bytes], how: signal.Signals) -> int:
    """Send a signal, and wait for the end."""
    process.send_signal(how)
    return process.wait(30)


def record(root: Path) -> Any:
    """The record of the run, without what depends on the clock."""
    return _without_clock(orjson.loads((root / ".tuneworthy" / "run.json").read_bytes()))


def _without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_clock(part) for name, part in value.items() if name not in NOT_COMPARED}
    return [_without_clock(part) for part in value] if isinstance(value, list) else value


def committed(root: Path) -> list[str]:
    """The numbers of the calls whose answers are stored (the server gives them as its fingerprint)."""
    path = root / ".tuneworthy" / "responses.sqlite"
    if not path.exists():
        return []
    db = sqlite3.connect(path)
    try:
        rows = db.execute("SELECT body FROM responses").fetchall()
    except sqlite3.OperationalError:  # killed before the tables were made
        return []
    finally:
        db.close()
    bodies = [orjson.loads(body.split(b"\n")[0]) for (body,) in rows]
    return [
        body[11] for body in bodies if isinstance(body, list) and len(body) > 11 and body[11]
    ]  # a classical baseline's answers have no number
