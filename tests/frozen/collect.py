"""Run commands on the projects of the frozen behaviour and collect the facts of their JSON."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.frozen.datasets import DATA_SETS, log_files
from tests.frozen.facts import Tree, digest, facts
from tests.frozen.worlds import TASKS, Task
from tests.importing import import_into
from tuneworthy.cli import invoke


def command(*words: str) -> Tree:
    """Run a command and return its exit status and its document."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = invoke([*words, "--json"])
    try:
        document = json.loads(out.getvalue())
    except ValueError:
        raise AssertionError(f"{words}: exit {status}, no JSON\n{out.getvalue()}\n{err.getvalue()}") from None
    if status == 1:
        raise AssertionError(f"{words}: a bug\n{err.getvalue()}")
    return {"exit": status, "document": document}


def scenario_names() -> list[str]:
    from tests.verdict.test_scenarios import ROWS

    return [*ROWS, *ON_NUMBERS]


def scenario_facts(name: str) -> Tree:
    """Decide a worked scenario of test_scenarios.py, on evidence made by hand."""
    from tests.verdict.test_scenarios import ROWS

    if name in ON_NUMBERS:
        return facts(ON_NUMBERS[name]()) or {}
    return _decided(ROWS[name][0]())


def _decided(evidence: Any) -> Tree:
    from tuneworthy.verdict.decide import decide

    return facts(decide(evidence).to_dict()) or {}


def _loses_target() -> Tree:
    """Row 9: a cheaper model that is worse, inside the margin, and below the target."""
    from tests.verdict.test_scenarios import ONES, PAID, Economics, all_tried, answers, rung
    from tuneworthy.stats.paired import compare, non_inferior

    gain = compare(answers(32), ONES, answers(44), ONES)
    bound = non_inferior(answers(32), ONES, answers(44), ONES, margin=0.05)
    large = rung("baseline", "baseline/large", 0.96, status="reference", **PAID)
    small = rung("model", "model/small", 0.84, usd_per_1k=0.05)
    traffic = Economics(requests_per_month=1000)
    evidence = all_tried(large, small, target=0.9, economics=traffic, usd=1.02555)
    return {"delta": gain.delta, "ci": gain.ci, "p": gain.p_value, "holds": bound.holds, **_decided(evidence)}


def _met_from() -> Tree:
    """Row 23: the least number of right answers that meets, and the most that misses, a target."""
    from tuneworthy.stats.intervals import target_status

    found: Tree = {}
    for n in (50, 200, 300):
        for options in (1, 8):
            said = [target_status(right / n, n, 0.85, 0.05, options=options) for right in range(n + 1)]
            found[f"n{n}x{options}"] = [said.index("met"), said.index("unresolved")]
    return found


def _judged() -> Tree:
    """Row 24: people's verdicts on 180 of 400 cases correct a judge that likes long answers."""
    import numpy as np

    from tests.verdict.test_scenarios import ONES, JudgeEvidence, N, all_tried, rung
    from tuneworthy.stats.paired import compare
    from tuneworthy.stats.ppi import correct_judge

    rng = np.random.default_rng(24)
    short, long = (rng.random(N) < 0.8).astype(float), (rng.random(N) < 0.6).astype(float)
    fooled = np.maximum(long, rng.random(N) < 0.9)
    asked = np.arange(N) < 180
    blind = compare(short, ONES, fooled, ONES)
    true = correct_judge(short, fooled, np.where(asked, short, np.nan), np.where(asked, long, np.nan))
    strong = rung("baseline", "baseline/small", 0.97, status="reference")
    told = {
        name: _decided(all_tried(strong, judge=JudgeEvidence(valid=valid, detail="", fix="")))
        for name, valid in (("covered", True), ("bare", False))
    }
    return {"blind": [blind.delta, *blind.ci], "corrected": [true.delta, *true.interval()], **told}


def _sources() -> Tree:
    """Row 25: 40 sources of five rewordings each."""
    import numpy as np

    from tuneworthy.stats.intervals import effective_n, score_interval

    sources = np.repeat(np.arange(40), 5)
    right = (np.random.default_rng(25).random(40) < 0.8).astype(float)[sources]
    interval = score_interval(right, np.ones(200), sources)
    return {"n": effective_n(right, np.ones(200), sources), "ci": [interval.lo, interval.hi]}


ON_NUMBERS = {"9 loses target": _loses_target, "23 met from": _met_from, "24 judge": _judged, "25 sources": _sources}


def task_facts(name: str, root: Path) -> Tree:
    """Check, run and decide a hand-made task."""
    task = TASKS[name]
    task.write(root)
    told = {name: _commands(task, root)}
    for change in task.then:
        changed = task.changed(change)
        changed.write_settings(root)
        told[f"{name}/{change}"] = _commands(changed, root)
    return told


def _commands(task: Task, root: Path) -> Tree:
    at = ("--project", str(root))
    checked = command("check", *at)
    rungs = [part for rung in task.rungs for part in ("--rung", rung)]
    ran = command("run", *at, "--yes", *rungs)
    decided = command("decide", *at, *(["--probe", "--yes"] if task.probe else []))
    return {"check": of_check(checked), "run": of_run(ran), "decide": of_decide(decided)}


def of_check(told: Tree) -> Tree:
    document = told["document"]
    found = Counter(f"{one['check']}:{one['severity']}" for one in document.get("findings", ()))
    estimate = dict(document.get("estimate") or {})
    estimate["rungs"] = {name: rung["calls"] for name, rung in estimate.get("rungs", {}).items()}
    estimate.pop("models", None)
    estimate |= {key: {"expected": estimate[key]} for key in ("calls", "usd") if key in estimate}
    return _kept(told, findings=dict(sorted(found.items())), estimate=estimate, power=document.get("power"))


def of_run(told: Tree) -> Tree:
    document = dict(told["document"])
    for key in ("variants", "at", "dev_cases"):
        document.pop(key, None)
    document["differences"] = {f"{one['a']}/{one['b']}": one for one in document.get("differences", ())}
    for rung in document.get("rungs", ()):
        rung.pop("reason")  # a sentence
        for key in ("calibration", "detail", "delta_today", "delta_today_ci", "dev_answers"):
            rung.pop(key, None)
        if len(rung.get("graders") or ()) < 2:
            rung["graders"] = None
        rung["candidates"] = {
            one["name"]: [one["n"], one["score"], one["dropped"] or None] for one in rung["candidates"]
        }
    return _kept(told, **document)


def of_decide(told: Tree) -> Tree:
    document = dict(told["document"])
    for option in document.get("options", ()):
        for key in ("model", "rung", "ci95", "delta_ci"):  # in the record of the run
            option.pop(key, None)
    return _kept(told, **document)


def _kept(told: Tree, **document: Any) -> Tree:
    return {"exit": told["exit"], **(facts(document) or {})}


def import_facts(name: str, root: Path) -> Tree:
    """Import log files."""
    files, options = log_files()[name]
    root.mkdir()
    for file, content in files:
        (root / file).write_bytes(content)
    paths = [str(root / file) for file, _ in files]
    told = import_into(root, *paths, *options)
    return _kept(told, **_imported(told["document"]))


def _imported(document: Tree) -> Tree:
    reasons = {reason: group["n"] for reason, group in document.get("reasons", {}).items()}
    kept = {key: value for key, value in document.items() if key not in {"reasons", "path", "version"}}
    if "path" not in document:
        return kept
    folder = Path(document["path"])
    dropped = {one["source"]: one["reason"] for one in _lines(folder / "rejects.jsonl")}
    return {**kept, "reasons": reasons, "rows": _rows(folder / "rows.jsonl"), "dropped": dropped}


def _lines(path: Path) -> list[Tree]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _rows(path: Path) -> Tree | str:
    """Return a hash of each row by its line, or of all rows if they are many."""
    keys = ("messages", "group", "tools")
    rows = {one["source"]: digest({key: one.get(key) for key in keys}, 6) for one in _lines(path)}
    return digest(rows) if len(rows) > 50 else rows


def build_facts(name: str, root: Path) -> Tree:
    """Build a version of a data set."""
    made = DATA_SETS[name]
    made.write(root)
    files = [str(root / "rows.jsonl")] if made.imported else []
    told = command("data", "build", *files, *made.options, "--project", str(root))
    document = told["document"]
    kept = {key: document[key] for key in ("unsafe", "n_rows", "error") if document.get(key)}
    kept["effect"] = _effect(document.get("effect"))
    kept["failed_gates"] = sorted(line.split(":")[0] for line in document.get("failed_gates", ()))
    kept["gates"] = {gate["check"]: gate["passed"] for gate in document.get("gates", ())}
    kept["checks"] = {each["check"]: _check(each) for each in document.get("checks", ())}
    kept["input"] = _imported(document.get("input", {}))
    kept["labels"] = {digest(one.pop("label"), 6): list(one.values()) for one in document.get("labels", ())}
    if "path" in document:
        folder = Path(document["path"])
        rows = _rows(folder / "rows.jsonl")
        rejects: dict[str, list[str]] = {}
        for one in _lines(folder / "rejects.jsonl"):
            other = one.get("other", {}).get("source", "")
            rejects.setdefault(f"{one['check']}:{one['reason']}", []).append(_line(one["source"]) + (
                other and f"={_line(other)}"))  # fmt: skip
        marked: dict[str, list[str]] = {}
        for one in _lines(folder / "findings.jsonl"):
            if "source" in one:
                name_of = f"{one['check']}:{one['reason']}:{one['action']}"
                marked.setdefault(name_of, []).append(_line(one["source"]))
        kept["rows"] = rows if isinstance(rows, str) else digest(rows)
        kept["dropped"] = {reason: " ".join(sources) for reason, sources in sorted(rejects.items())}
        kept["marked"] = {reason: " ".join(sources) for reason, sources in sorted(marked.items())}
    tree = _kept(told, **kept)
    for key in ("dropped", "marked"):  # facts() would drop a text
        if kept.get(key):
            tree[key] = kept[key]
    return tree


def _line(source: str) -> str:
    return source.rpartition(":")[2]


def _check(stage: Tree) -> Tree:
    if not stage["reasons"] and not stage["whole_set"]:
        return {"n_in": stage["n_in"]}
    kept = {key: stage[key] for key in ("n_in", "n_out", "n_drop", "n_mask", "n_report") if stage.get(key)}
    counts = {reason: {action: n for action, n in each.items() if action != "words" and n} for reason, each in
              stage["reasons"].items()}  # fmt: skip
    whole = {one["reason"]: one["score"] if one["score"] is not None else True for one in stage["whole_set"]}
    return {**kept, "reasons": counts, "whole": whole, "effect": _effect(stage["effect"])}


def _effect(effect: Tree | None) -> Tree | None:
    return effect and {**effect, "labels": digest(effect.get("labels"))}
