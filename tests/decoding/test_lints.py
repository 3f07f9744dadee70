"""Each lint finds its bad example, is silent on its good one, names the fix, and is missed when it is switched off."""

from __future__ import annotations

import pytest

from tuneworthy.decoding.lints import LINTS, Use
from tuneworthy.decoding.presets import VARIED, presets
from tuneworthy.decoding.structured import depth, limits, shortest
from tuneworthy.providers.capabilities import capabilities_of

CODES = sorted(LINTS.all())


def test_the_lints_are_those_that_were_promised() -> None:
    assert set(CODES) == {
        "unset_sampling", "temperature_for_creativity", "repetition_penalty_high", "repetition_penalty_quotes",
        "penalty_when_greedy", "min_p_behind_top_k", "ignored_parameter", "temperature_with_top_p", "sampled_structure",
        "response_format_shape", "dead_structure_field", "schema_nesting", "truncated_structure",
        "thinking_constrained", "one_draw",
    }  # fmt: skip


@pytest.mark.parametrize("code", CODES)
def test_a_lint_finds_its_bad_example_alone_and_names_the_fix(code: str) -> None:
    one = LINTS.get(code)
    found = LINTS.run(one.bad)
    assert [finding.rule for finding in found] == [code]
    assert found[0].severity == one.severity
    assert found[0].message.endswith(".") and found[0].fix.endswith(".")
    assert found[0].source
    assert one.page


@pytest.mark.parametrize("code", CODES)
def test_all_lints_are_silent_on_the_good_example(code: str) -> None:
    assert LINTS.run(LINTS.get(code).good) == []


@pytest.mark.parametrize("code", CODES)
def test_a_lint_that_is_switched_off_finds_nothing(code: str) -> None:
    rest = [name for name in CODES if name != code]
    assert LINTS.run(LINTS.get(code).bad, only=rest) == []


def test_a_model_that_rejects_temperature_is_found_by_the_table() -> None:
    claude = capabilities_of("anthropic", "claude-opus-5-5")
    found = LINTS.run(Use(engine="anthropic", decoding={"temperature": 0}, capabilities=claude))
    assert [finding.rule for finding in found] == ["ignored_parameter"]
    assert "effort" in found[0].fix


@pytest.mark.parametrize("model", ["gpt-5-mini", "gpt-6", "o3"])
def test_a_model_that_cannot_be_greedy_is_not_told_to_be(model: str) -> None:
    table = capabilities_of("openai", model, "api.openai.com")
    for output in ("free", "json_schema"):
        assert LINTS.run(Use(engine="openai", output=output, compares=True, capabilities=table)) == []
    local = capabilities_of("vllm", "x")
    assert [one.rule for one in LINTS.run(Use(engine="vllm", capabilities=local))] == ["unset_sampling"]


@pytest.mark.parametrize("penalty", [1.05, 1.0])
def test_a_penalty_is_refused_beside_json_however_small(penalty: float) -> None:
    use = Use(engine="hf", output="json_schema", decoding={"temperature": 0.2, "repetition_penalty": penalty})
    codes = {finding.rule for finding in LINTS.run(use)}
    assert ("repetition_penalty_quotes" in codes) == (penalty != 1)


@pytest.mark.parametrize("engine", ["hf", "vllm", "llama_cpp"])
def test_no_preset_trips_a_lint_on_any_engine(engine: str) -> None:
    for one in presets().values():
        structured = one.name in {"code", "extract"}
        use = Use(
            engine=engine, decoding=one.decoding(engine), output="json_schema" if structured else "free",
            retrieved=one.name == "rag", purpose="creative" if one.name in VARIED else "",
        )  # fmt: skip
        assert LINTS.run(use) == [], one.name


def test_a_recursive_schema_is_deeper_than_any_limit() -> None:
    tree = {"$ref": "#/$defs/node", "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}}
    assert depth(tree) > (limits()["vllm"].nesting or 0)


def test_the_shortest_answer_has_the_required_fields_alone() -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["transfer", "pin"]},
            "rows": {"type": "array", "items": {"type": "integer"}, "minItems": 2},
            "note": {"type": ["string", "null"]},
            "extra": {"type": "object"},
            "who": {"anyOf": [{"const": None}, {"type": "boolean"}]},
        },
        "required": ["kind", "rows", "note", "who"],
    }  # fmt: skip
    assert shortest(schema) == '{"kind":"pin","rows":[0,0],"note":"","who":null}'
