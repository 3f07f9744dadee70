"""The guide is whole: every problem has a row, every cell its reason and a source that can be opened."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from tuneworthy.cli import invoke
from tuneworthy.config.task import Problem
from tuneworthy.errors import UserError
from tuneworthy.verdict.guide import Training, load_guide, row


def test_every_problem_of_the_project_file_has_a_row() -> None:
    assert list(load_guide()) == list(get_args(Problem))


@pytest.mark.parametrize("problem", get_args(Problem))
def test_a_cell_with_a_source_links_to_it_and_says_what_it_says(problem: str) -> None:
    found = row(problem)
    assert found.training in get_args(Training)
    for cell in (found.primary, found.backup, found.helps):
        assert cell.value
        assert not cell.source or (cell.why and all(one.startswith("https://") for one in cell.source.split(", ")))


def test_retrieval_comes_before_training_in_a_private_domain_and_grammar_before_training_for_a_format() -> None:
    assert "constrained" in row("strict_format").primary.value
    assert row("private_domain").primary.value == "retrieval"


def test_an_unknown_problem_names_the_nearest_one() -> None:
    with pytest.raises(UserError, match=r"'strict_fromat'.*strict_format"):
        row("strict_fromat")


def test_the_command_prints_the_table_the_row_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["guide"]) == 0
    table = capsys.readouterr().out
    assert all(problem in table for problem in get_args(Problem))
    assert invoke(["guide", "strict_format"]) == 0
    assert "arxiv.org/abs/2501.10868" in capsys.readouterr().out
    assert invoke(["guide", "strict_format", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"] == "conditional"
    assert invoke(["guide", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == list(get_args(Problem))
    assert invoke(["guide", "speed"]) == 2
    assert "'speed'" in capsys.readouterr().err
