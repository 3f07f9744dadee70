"""The decision matrix is whole: every problem, every cell with its source, the article's own value beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

import pytest

from tuneworthy.cli import invoke
from tuneworthy.config.task import Problem
from tuneworthy.errors import UserError
from tuneworthy.verdict.guide import SAYS, UNSUPPORTED, Cell, Row, load_guide, notes, row

MARKS = {"V", "V2", "C", "K"}
ARTICLE = {
    "factual_knowledge": ("RAG", "bigger model", "✗"),
    "reasoning": ("bigger model", "CoT", "✗"),
    "strict_format": ("prompt+CFG", "FT", "cond"),
    "style": ("few-shot", "FT", "✓"),
    "persona": ("few-shot", "FT", "✓"),
    "low_latency": ("distill-FT", "quantize", "✓"),
    "private_domain": ("RAG + FT", "RAG", "✓"),
    "hallucination": ("RAG + cite", "prompt", "✗"),
    "cross_language": ("bigger model", "prompt", "cond"),
    "tool_calls": ("prompt +", "few-shot", "✗"),
    "tone": ("prompt", "FT", "cond"),
    "long_context": ("long-ctx", "RAG", "✗"),
}
"""The article's table, copied by hand."""


def cells(found: Row) -> list[Cell]:
    return [found.primary, found.backup, found.helps]


def faults(found: Row) -> list[str]:
    """What is wrong with the sources of a row."""
    wrong = []
    for cell in cells(found):
        cited = cell.source.startswith("facts.md ") and cell.mark in MARKS
        if not cited and (cell.source != UNSUPPORTED or cell.mark):
            wrong.append(f"{found.problem}: {cell.value}: {cell.source} [{cell.mark}]")
        if cell.supported and not cell.why:
            wrong.append(f"{found.problem}: {cell.value}: says not what its source says")
    if found.training != SAYS[found.helps.article] and not found.helps.supported:
        wrong.append(f"{found.problem}: differs from the article without a source")
    return wrong


def test_every_problem_of_the_project_file_has_a_row() -> None:
    assert list(load_guide()) == list(get_args(Problem))


@pytest.mark.parametrize("problem", ARTICLE)
def test_every_cell_has_its_source_and_keeps_what_the_article_says(problem: str) -> None:
    found = row(problem)
    assert tuple(cell.article for cell in cells(found)) == ARTICLE[problem]
    assert faults(found) == []


def test_a_cell_without_a_source_is_seen() -> None:
    found = row("strict_format")
    assert faults(replace(found, primary=replace(found.primary, source="someone said"))) != []
    assert faults(replace(found, backup=replace(found.backup, why=""))) != []
    assert faults(replace(row("reasoning"), helps=replace(row("reasoning").helps, value="yes"))) != []


def test_what_facts_correct_is_corrected() -> None:
    assert "constrained" in row("strict_format").primary.value
    assert row("private_domain").primary.value == "retrieval"
    changed = {name for name, found in load_guide().items() if found.training != SAYS[found.helps.article]}
    assert changed == {"private_domain"}
    assert any("20%" in note.article and "no source" in note.holds.lower() for note in notes())


def test_an_unknown_problem_is_told_with_those_that_are_known() -> None:
    with pytest.raises(UserError, match=r"strict_format, style, .* got 'speed'"):
        row("speed")


def test_the_command_prints_the_table_the_row_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["matrix"]) == 0
    table = capsys.readouterr().out
    assert all(problem in table for problem in ARTICLE)
    assert "article, unsupported" in table
    assert invoke(["matrix", "strict_format"]) == 0
    assert "facts.md 0, row 16" in capsys.readouterr().out
    assert invoke(["matrix", "strict_format", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert (one["training"], one["helps"]["article"], one["primary"]["mark"]) == ("conditional", "cond", "V")
    assert invoke(["matrix", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == list(ARTICLE)
    assert invoke(["matrix", "speed"]) == 2
    assert "got 'speed'" in capsys.readouterr().err
