"""A JSON schema inferred from answers."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tuneworthy.prompts.schema import infer_schema

values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), values, max_size=4), min_size=1, max_size=5))
def test_every_answer_fits_the_schema_that_is_inferred_from_them(rows: list[dict[str, Any]]) -> None:
    schema = infer_schema(rows)
    assert schema is not None
    Draft202012Validator.check_schema(schema)
    assert all(Draft202012Validator(schema).is_valid(row) for row in rows)


def test_answers_that_are_not_all_objects_have_no_schema() -> None:
    assert infer_schema([]) is None
    assert infer_schema([{"a": 1}, [1]]) is None


def test_a_field_that_no_answer_has_is_refused() -> None:
    schema = infer_schema([{"a": 1}])
    assert schema is not None
    assert not Draft202012Validator(schema).is_valid({"a": 1, "b": 2})
