"""Frozen behaviour: decisions and numbers of `check`, `run`, `decide`, imports and `data build`.

The files beside this one were written when recommendation, overlaps and costs changed (before: commit 685f66d7). A
difference that is meant goes into accepted.toml; UPDATE_FROZEN=1 writes them anew.

    pytest -m "" tests/frozen                with the tasks, as `make test-extras` does
    UPDATE_FROZEN=1 pytest -m "" tests/frozen      write the files anew
    FROZEN_CASES='tasks/costly*' pytest ...  only some cases
"""

from __future__ import annotations

import importlib.util
import json
import os
import tomllib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.frozen import collect
from tests.frozen.datasets import DATA_SETS, REAL_DATA, log_files
from tests.frozen.facts import Tree, differences, matches, pack, unpack
from tests.frozen.worlds import TASKS

HERE = Path(__file__).parent
UPDATE = os.environ.get("UPDATE_FROZEN") == "1"
PICKED = os.environ.get("FROZEN_CASES", "*")
ACCEPTED: list[dict[str, str]] = tomllib.loads((HERE / "accepted.toml").read_text(encoding="utf-8")).get("accepted", [])


def picked(kind: str, names: list[str]) -> list[str]:
    return [name for name in names if fnmatchcase(f"{kind}/{name}", PICKED)]


# A task whose rung needs a library that only an extra installs.
NEEDS = {"facts_in_documents": "lancedb"}


def scenarios(folder: Path) -> Iterator[tuple[str, Tree]]:
    for name in picked("scenarios", collect.scenario_names()):
        yield name, collect.scenario_facts(name)


def tasks(folder: Path) -> Iterator[tuple[str, Tree]]:
    for name in picked("tasks", list(TASKS)):
        if _installed(name):
            yield from collect.task_facts(name, folder / name).items()


def logs(folder: Path) -> Iterator[tuple[str, Tree]]:
    for name in picked("logs", list(log_files())):
        yield name, collect.import_facts(name, folder / name)


def datasets(folder: Path) -> Iterator[tuple[str, Tree]]:
    for name in picked("datasets", list(DATA_SETS)):
        if REAL_DATA.is_dir() or not DATA_SETS[name].private:
            yield name, collect.build_facts(name, folder / name)


KINDS: dict[str, Callable[[Path], Iterator[tuple[str, Tree]]]] = {
    "scenarios": scenarios, "tasks": tasks, "logs": logs, "datasets": datasets
}  # fmt: skip


def stored(kind: str) -> dict[str, Tree]:
    """Read the frozen cases; each is written as what differs from the case before it."""
    cases: dict[str, Tree] = {}
    before: Tree = {}
    for name, packed in json.loads((HERE / f"{kind}.json").read_text(encoding="utf-8")).items():
        before = cases[name] = unpack(packed, before)
    return cases


def store(kind: str, cases: dict[str, Tree]) -> None:
    written, before = [], {}
    for name, tree in cases.items():
        packed = json.dumps(pack(tree, before), separators=(",", ":"), ensure_ascii=False)
        written.append(f"{json.dumps(name)}:{packed}")
        before = tree
    (HERE / f"{kind}.json").write_text("{\n" + ",\n".join(written) + "\n}\n", encoding="utf-8")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if kind == "tasks" else ()) for kind in KINDS]
)
def test_decisions_and_numbers_are_those_of_the_frozen_behaviour(kind: str, tmp_path: Path) -> None:
    now = dict(KINDS[kind](tmp_path))
    if UPDATE:
        store(kind, now)
    frozen = stored(kind)
    missing = [name for name in frozen if name not in now and PICKED == "*" and _collectable(kind, name)]
    assert not missing, missing
    used: set[int] = set()
    lines = []
    for name, tree in now.items():
        for path, words in differences(frozen.get(name, tree), tree).items():
            accepted = {n for n, one in enumerate(ACCEPTED) if _accepts(one, f"{kind}/{name}", path)}
            used |= accepted
            if not accepted:
                lines.append(f"{kind}/{name}: {path}: {words}")
    assert not lines, f"{len(lines)} differences:\n" + "\n".join(lines)
    if PICKED == "*" and (kind != "datasets" or REAL_DATA.is_dir()):
        gone = [one for n, one in enumerate(ACCEPTED) if one["case"].startswith(f"{kind}/") and n not in used]
        assert not gone, f"accepted differences that no longer occur: {gone}"


def _accepts(one: dict[str, str], case: str, path: str) -> bool:
    return matches(case, one["case"]) and matches(path, one["path"])


def _installed(task: str) -> bool:
    return importlib.util.find_spec(NEEDS.get(task.split("/", maxsplit=1)[0], "json")) is not None


def _collectable(kind: str, name: str) -> bool:
    private = kind == "datasets" and name in DATA_SETS and DATA_SETS[name].private
    return (not private or REAL_DATA.is_dir()) and (kind != "tasks" or _installed(name))


def test_accepted_differences_are_few_and_have_a_reason() -> None:
    assert len(ACCEPTED) <= 40
    for one in ACCEPTED:
        assert set(one) == {"case", "path", "reason"}
        assert one["case"].split("/")[0] in KINDS and len(one["reason"]) > 10
