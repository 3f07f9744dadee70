"""Each lint finds its bad example and nothing else does; it is quiet on its good one; nothing of a config is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given as any_of
from hypothesis import settings
from hypothesis import strategies as st

from tuneworthy.errors import UserError
from tuneworthy.rules import SEVERITIES
from tuneworthy.train.lints import LINTS, lint_config
from tuneworthy.train.lints.trainer_config import parse, read

RULES = LINTS.all()
KEYS = st.sampled_from(["r", "lora_alpha", "learning_rate", "target_modules", "packing", "datasets"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-3, 300), st.text(max_size=8), st.lists(st.integers()))
FIXTURES = Path(__file__).parent.parent / "fixtures" / "article"


def codes(example: tuple[str, str], without: str = "") -> set[str]:
    """The lints that find something in an example."""
    config = parse(example[1], f"config.{example[0]}")
    return {finding.rule for finding in lint_config(config, [name for name in RULES if name != without])}


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


def test_every_finding_names_a_line_of_the_file_what_to_do_and_its_source() -> None:
    for rule in RULES.values():
        ending, text = rule.bad
        for finding in lint_config(parse(text, f"a.{ending}")):
            assert 1 <= finding.line <= text.count("\n") + 1
            assert finding.source and finding.message.endswith(".") and finding.fix.endswith(".")


def test_the_training_script_of_the_article_trips_six_lints() -> None:
    config = parse((FIXTURES / "train.py.txt").read_text(), "train.py")
    found = {finding.rule for finding in lint_config(config)}
    assert found == {"trl_removed", "trl_truncates", "dropout_habit", "adam_8bit", "model_name", "rank_limit"}


def test_values_are_followed_through_names_and_dicts() -> None:
    text = (
        "from peft import LoraConfig\nkw = dict(r=64, target_modules=['q_proj'])\nLoraConfig(**kw, lora_alpha=A)\nA = 8"
    )
    config = parse(text, "a.py")
    assert config.rank == 64
    assert config.targets == ["q_proj"]
    assert config.alpha == 8


def test_what_is_computed_is_unknown_and_trips_nothing() -> None:
    text = "from peft import LoraConfig\nLoraConfig(r=pick(), lora_alpha=2 * r, target_modules=names())"
    assert lint_config(parse(text, "a.py")) == []


def test_a_script_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    path = tmp_path / "config.py"
    path.write_text(f"from peft import LoraConfig\nopen({str(trap)!r}, 'w')\nLoraConfig(r=__import__('os').getpid())")
    lint_config(read(path))
    assert not trap.exists()


def test_yaml_makes_no_objects() -> None:
    with pytest.raises(UserError, match="Not valid JSON or YAML"):
        parse("lora_r: !!python/object/apply:os.getpid []", "a.yaml")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.py", "def (", "Not valid Python"),
        ("a.json", "[1, 2]", "mapping of keys"),
        ("a.yaml", "a: [", "Not valid JSON or YAML"),
        ("a.toml", "a = 1", r"a\.toml: This file type is not supported"),
        ("a.yaml", "colour: red", "no training config keys"),
    ],
)
def test_what_is_no_config_is_refused_in_one_line(name: str, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse(text, name)


def test_aliases_that_hold_themselves_or_grow_without_end_are_refused() -> None:
    lines = ["x0: &x0 [q_proj, v_proj, k_proj, o_proj, up_proj, down_proj, gate_proj, a, b, c]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 12)]
    for text in ("\n".join([*lines, "target_modules: *x11"]), "target_modules: &a [*a]"):
        with pytest.raises(UserError, match="more than 100,000 values"):
            parse(f"peft_type: LORA\n{text}", "a.yaml")
    assert parse("peft_type: LORA\nown: &a [q_proj]\ntarget_modules: *a", "a.yaml").targets == ["q_proj"]


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "none.py")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (2 * 2**20 + 1))
    with pytest.raises(UserError, match="larger than"):
        read(large)


@settings(max_examples=60, deadline=None)
@any_of(st.dictionaries(KEYS, VALUES, min_size=1))
def test_odd_values_raise_nothing_and_numbers_are_read(document: dict[str, object]) -> None:
    config = parse(json.dumps({"peft_type": "LORA", **document}), "a.json")
    for found in lint_config(config):
        assert found.rule in RULES and found.line == 1 and found.message
    rank = document.get("r", 8)
    assert config.rank == (rank if type(rank) is int else None)
