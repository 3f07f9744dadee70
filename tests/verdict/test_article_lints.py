"""Each lint fires on its bad example and not on its good one; the article's four snippets trip what we say they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneworthy.errors import UserError
from tuneworthy.verdict.article_lints import LINTS, lint_code

FIXTURES = Path(__file__).parent.parent / "fixtures" / "article"
SNIPPETS = {
    "pre_ft_check": ["gain_is_a_wish"],
    "train": ["trl_arguments", "trl_arguments", "trl_truncates"],
    "distill": ["answer_unchecked", "similarity_dense", "answer_unchecked", "judge_substring", "sample_unseeded"],
    "decode": ["response_format_shape", "repetition_penalty", "token_probability"],
}
"""The article's snippets, word for word, and what each trips, by line."""
EXAMPLES = {
    "gain_is_a_wish": ("expected_gain = task.target - task.baseline", "expected_gain = pilot.gain - pilot.width"),
    "judge_substring": ('ok = "GOOD" in reply.upper()', 'ok = reply == "GOOD"\nhit = "GOOD" in counts'),
    "answer_unchecked": (
        "text = msg.content[0].text",
        'if msg.stop_reason != "end_turn":\n    raise ValueError\ntext = msg.content[0].text',
    ),
    "similarity_dense": ("sim = cosine_similarity(rows)", "sim = cosine_similarity(rows, candidates)"),
    "sample_unseeded": (
        "import random\nx = random.sample(rows, 50)",
        "import random\nx = random.Random(7).sample(r, 5)",
    ),
    "trl_arguments": ("SFTTrainer(model=m, tokenizer=t)", "SFTTrainer(model=m, processing_class=t)"),
    "trl_truncates": (
        "SFTTrainer(model=m, args=TrainingArguments(bf16=True))",
        "SFTTrainer(model=m, args=SFTConfig(max_length=4096))",
    ),
    "response_format_shape": (
        'ask(response_format={"type": "json_schema", "json_schema": {"type": "object"}})',
        's = {"name": "a", "schema": {}}\nask(response_format={"type": "json_schema", "json_schema": s})',
    ),
    "token_probability": ("if token.logprob < -0.7:\n    warn()", "if token.logprob < threshold:\n    warn()"),
    "repetition_penalty": (
        'x = {"repetition_penalty": 1.05}',
        'x = {"repetition_penalty": 1.0}\nf(repetition_penalty=1)',
    ),
}


def codes(text: str, without: str = "") -> list[str]:
    return [found.code for found in lint_code(text, {name: one for name, one in LINTS.items() if name != without})]


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippet_of_the_article_trips(name: str) -> None:
    text = (FIXTURES / f"{name}.py.txt").read_text()
    assert codes(text) == SNIPPETS[name]


def test_every_lint_has_examples_and_is_tripped_by_the_article() -> None:
    assert set(EXAMPLES) == set(LINTS) == {code for tripped in SNIPPETS.values() for code in tripped}
    assert all(one.page and one.source.startswith("facts.md ") for one in LINTS.values())


@pytest.mark.parametrize("code", EXAMPLES)
def test_a_lint_fires_on_the_bad_example_only_and_not_when_it_is_switched_off(code: str) -> None:
    bad, good = EXAMPLES[code]
    assert codes(bad) == [code]
    assert codes(bad, without=code) == []
    assert codes(good) == []


def test_a_finding_says_where_and_what_to_write() -> None:
    (found,) = lint_code("x = 1\nSFTTrainer(tokenizer=t)")
    assert (found.line, found.source) == (2, "facts.md 0, row 25; A4")
    assert "processing_class" in found.message


def test_source_that_does_not_parse_is_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="line 1"):
        lint_code("def")
