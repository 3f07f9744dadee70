"""Each lint finds its bad example and nothing else does; it is quiet on its good one; nothing of a config is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as any_of
from hypothesis import settings
from hypothesis import strategies as st

from tuneworthy.errors import UserError
from tuneworthy.rules import SEVERITIES
from tuneworthy.train.lints import LINTS
from tuneworthy.train.settings_table import SettingsTable, parse_settings, read_settings

RULES = LINTS.all()
KEYS = st.sampled_from(["r", "lora_alpha", "learning_rate", "target_modules", "packing", "train_on_eos"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-3, 300), st.text(max_size=8), st.lists(st.integers()))


def codes(example: dict[str, Any], without: str = "") -> set[str]:
    """The lints that find something in an example."""
    found = LINTS.run(SettingsTable.of(example), only=[name for name in RULES if name != without])
    return {finding.rule for finding in found}


@pytest.mark.parametrize("name", RULES)
def test_a_lint_finds_its_bad_example_and_not_its_good_one(name: str) -> None:
    assert name in codes(RULES[name].bad)
    assert name not in codes(RULES[name].good)


@pytest.mark.parametrize("name", RULES)
def test_without_the_lint_its_bad_example_passes(name: str) -> None:
    assert name not in codes(RULES[name].bad, without=name)


@pytest.mark.parametrize("name", RULES)
def test_a_lint_is_documented(name: str) -> None:
    rule = RULES[name]
    assert rule.page and rule.source and rule.severity in SEVERITIES


def test_every_finding_says_what_to_do_and_its_source() -> None:
    for rule in RULES.values():
        for finding in LINTS.run(SettingsTable.of(rule.bad)):
            assert finding.source and finding.message.endswith(".") and finding.fix.endswith(".")


def test_a_toml_and_a_json_table_are_the_same() -> None:
    toml = parse_settings('r = 64\ntarget_modules = ["q_proj"]\nlora_alpha = 8', "a.toml")
    assert toml == parse_settings('{"r": 64, "target_modules": ["q_proj"], "lora_alpha": 8}', "a.json")
    assert (toml.rank, toml.alpha, toml.targets) == (64, 8, ["q_proj"])


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.py", "r = 8", "This file type is not supported"),
        ("a.yaml", "r: 8", "This file type is not supported"),
        ("a.json", "[1, 2]", "flat table"),
        ("a.json", '{"lora": {"r": 8}}', "flat table"),
        ("a.json", "[" * 100_000, "Not valid JSON"),
        ("a.toml", "r = " + "[" * 100_000, "Not valid TOML"),
        ("a.toml", "a: [", "Not valid TOML"),
        ("a.ini", "a = 1", r"a\.ini: This file type is not supported"),
        ("a.toml", "colour = 1", "no training settings"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(name: str, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse_settings(text, name)


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_settings(tmp_path / "none.toml")
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (2 * 2**20 + 1))
    with pytest.raises(UserError, match="larger than"):
        read_settings(large)


@settings(max_examples=60, deadline=None)
@any_of(st.dictionaries(KEYS, VALUES, min_size=1))
def test_odd_values_raise_nothing_and_numbers_are_read(document: dict[str, object]) -> None:
    table = parse_settings(json.dumps({"peft_type": "LORA", **document}), "a.json")
    for found in LINTS.run(table):
        assert found.rule in RULES and found.message
    rank = document.get("r", 8)
    assert table.rank == (rank if type(rank) is int else None)
