"""The view `verdict`: the answer, its options and evidence, and the answer for other values of the project file.

Invariant: other values are never stored; the verdict is that of `what_if`, the function that `decide` uses.
"""

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.config import Project, load
from tuneworthy.config.grants import require_grants
from tuneworthy.engine.budget import Budget
from tuneworthy.errors import UserError
from tuneworthy.ladder.provenance import required_run
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.task_data import read_data
from tuneworthy.money.economics import money_sentence
from tuneworthy.providers.prices import price_for
from tuneworthy.report import first_screen, tables
from tuneworthy.report.names import for_people, names_of, option_name
from tuneworthy.report.table import Column, Table, name_column, text_column
from tuneworthy.report.text import percent, percent_range, plain
from tuneworthy.retrieval.library import documents_path
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.types import JsonObject
from tuneworthy.verdict.answer import StoredVerdict, Verdict, answer_of, domain_sentence, serving_sentence
from tuneworthy.verdict.base import GateResult
from tuneworthy.verdict.options import Option
from tuneworthy.verdict.run import Changes, what_if
from tuneworthy.web.state import UiState

# Columns of the options: their scores, and their costs.
SCORED = ("option", "score", "ci95", "delta_vs_today", "delta_ci", "target", "on_distinct_cases", "needs")
PRICED = ("option", "usd_per_month", "usd_per_1k", "one_off_usd", "p50", "p95", "memory_mib", "share_sent")
PRICES = {"input": "input_usd_per_mtok", "output": "output_usd_per_mtok"}
# A number with a decimal point, outside words.
_DECIMAL = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e-?\d+)?(?![\w.])")
TRAINING = (
    name_column("reason", "reason"),
    Column("status", "status", kind="status"),
    text_column("evidence", "evidence", lambda row: plain(row.evidence), most=0),
)
# Files of the store that a verdict depends on.
STORED = ("split.json", "comparisons.json", "run.json")
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
# One thread for all verdicts: the store of a session belongs to the thread that opened it.
_THREAD = ThreadPoolExecutor(1, "verdict")


def verdict(state: UiState, query: Mapping[str, str]) -> JsonObject:
    """Return the verdict with the values of the query, and the values of the project file.

    Args:
        state: The project.
        query: `target`, `traffic`, and `input:MODEL` and `output:MODEL` for US dollars a million tokens.

    Raises:
        UserError: A value is no number, or not allowed; or there is no run.
    """
    return _THREAD.submit(_read, state, changes_of(query)).result()


def changes_of(query: Mapping[str, str]) -> Changes:
    paths = {"target": ("task", "target"), "traffic": ("economics", "requests_per_month")}
    changes: dict[tuple[str, ...], float | None] = {}
    for name, text in query.items():
        kind, _, model = name.partition(":")
        path = ("models", model, PRICES[kind]) if model and kind in PRICES else paths.get(name)
        if path is None:
            raise UserError(f"{name!r} is no value that can be changed here.")
        try:
            changes[path] = float(text)
        except ValueError:
            raise UserError(f"{text!r} is not a number.") from None
    return changes


def _read(state: UiState, changes: Changes) -> JsonObject:
    project = load(state.root)
    if unknown := [path[1] for path in changes if path[0] == "models" and path[1] not in project.models]:
        raise UserError(f"The project has no model {unknown[0]!r}.")
    record = required_run(project)
    return content_of(project, record, asyncio.run(what_if(_session(state, project), changes)), changes)


def _recommended(label: str, option: Option | None) -> JsonObject:
    if option is None:
        return {"label": label, "option": "", "score": "", "interval": ""}
    interval = percent_range(option.ci95)
    return {"label": label, "option": option_name(option), "score": percent(option.score), "interval": interval}


def content_of(project: Project, record: RunRecord, found: Verdict, changes: Changes) -> JsonObject:
    """Return what the page shows of a verdict, in words for people, and the verdict as `decide --json` has it."""
    prices = {name: price_for(project.models[name]) for name in project.untuned if name not in project.forms}
    shown, target = for_people(found, names_of(record)), changes.get(("task", "target"), project.task.target)
    step = first_screen.next_step(record, StoredVerdict(verdict=shown, changed=[]))
    names, options = {one.option: one for one in shown.options}, tables.options_table(shown, target)
    why = [plain(reason) for reason in shown.reasons]
    return {
        "verdict": found.to_dict(),
        "outcome": found.outcome,
        "answer": answer_of(found),
        "sentence": first_screen.in_short(why[0]),
        "reasons": why,
        "details": [plain(one) for one in (serving_sentence(shown), domain_sentence(shown)) if one],
        "money": plain(money_sentence(shown.economics)),
        "recommendations": [
            _recommended("Recommendation", names.get(shown.recommendation or "")),
            _recommended("Best within today's bill", names.get(shown.best_within_bill or "")),
        ],
        "after": list(shown.after_gates),
        "options": [
            replace(options.only(*SCORED).filled(), title="Options").cells(),
            replace(options.only(*PRICED).filled(), title="Cost and latency of each option", note="").cells(),
        ],
        "gates": [
            {"stage": stage.replace("_", " "), "table": tables.gates_table(rows).cells(), "evidence": evidence_of(rows)}
            for stage, rows in ((stage, list(rows)) for stage, rows in groupby(shown.gates, lambda gate: gate.stage))
        ],
        "training": Table.of("Reasons to train", TRAINING, shown.training.reasons).cells(),
        "method": plain(shown.training.why),
        "next": {"command": step.command, "why": step.why},
        "valid_until": shown.valid_until,
        "would_change": [plain(one) for one in shown.would_change],
        "stale": [plain(one) for one in shown.stale],
        "values": {
            "target": project.task.target,
            "traffic": project.economics.requests_per_month,
            "models": [
                {"model": name, "input": rates and rates.input, "output": rates and rates.output}
                for name, price in prices.items()
                for rates in [price and price.rates]
            ],
        },
        "lines": toml_lines(changes),
        "repeat": ("task", "target") in changes and changes["task", "target"] != project.task.target,
    }


def evidence_of(gates: list[GateResult]) -> list[list[list[str]]]:
    """Return the numbers by gate, as pairs of a name and a text."""
    return [
        [[name.replace("_", " "), _text(value)] for name, value in gate.evidence.items() if value not in (None, {}, [])]
        for gate in gates
    ]


def _text(value: object) -> str:
    content = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    return value if isinstance(value, str) else _DECIMAL.sub(_short, content.decode())


def _short(found: re.Match[str]) -> str:
    value = float(found[0])
    return f"{round(value, 4):.15g}" if abs(value) >= 0.001 else f"{value:.2g}"


def toml_lines(changes: Changes) -> str:
    """Return the lines of the project file that set these values.

    >>> print(toml_lines({("task", "target"): 0.9, ("models", "gpt.4", "input_usd_per_mtok"): 2.0}))
    [task]
    target = 0.9
    <BLANKLINE>
    [models."gpt.4"]
    input_usd_per_mtok = 2
    """
    parts = []
    for table, paths in groupby(sorted(changes, key=lambda path: path[:-1]), key=lambda path: path[:-1]):
        name = ".".join(one if _BARE.issuperset(one) else orjson.dumps(one).decode() for one in table)
        parts.append("\n".join([f"[{name}]", *(f"{path[-1]} = {changes[path]:.15g}" for path in paths)]))
    return "\n\n".join(parts)


def _session(state: UiState, project: Project) -> Session:
    """Return the session of the project; it stays open until a file that it was read from changes."""
    stamp = input_stamp(project)
    before, session = state.cache.get("verdict", (None, None))
    if session is None or before != stamp:
        require_grants(project)
        if session:
            session.runner.store.close()
        folder = Folder(project.root)
        session = Session(project, read_data(project), ResponseStore(folder.responses), None, Budget(None))
        session.runner.calls = False
        state.cache["verdict"] = stamp, session
    found: Session = session
    return found


def input_stamp(project: Project) -> Any:
    """Return times and sizes of the files that a session is read from."""
    root, documents = project.root, documents_path(project)
    paths = {*filter(Path.is_file, root.iterdir()), *(root / ".tuneworthy" / name for name in STORED)}
    paths |= {project.path(one.path) for one in (project.cases, project.examples) if one}
    paths |= {documents, *documents.rglob("*")} if documents else set()
    return sorted(filter(None, map(_file, paths)))


def _file(path: Path) -> tuple[str, int, int] | None:
    with suppress(OSError):
        found = path.stat()
        return str(path), found.st_mtime_ns, found.st_size
    return None
