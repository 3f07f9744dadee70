"""Names of options for people, and what keeps its machine name."""

from __future__ import annotations

from dataclasses import replace

from tests.report import report_records as records
from tests.report.report_projects import EVIDENCE, record_of

from tuneworthy.report.names import differences, for_people, in_sentence, names_of, title
from tuneworthy.types import Cascade, OutputFormat, Shots, Variant
from tuneworthy.verdict.decide import decide

TODAY = Variant(name="baseline/small", model="small", model_identity={}, system="Sort.", user="{{ input }}")
NEAREST = replace(TODAY, name="few_shot/per_case-4", shots=Shots(mode="per_case", k=4, pool_hash="p"))
LINEAR = replace(TODAY, name="classical/linear", model="classical:linear")


def test_a_name_has_the_model_and_the_differences_from_today() -> None:
    warm = replace(NEAREST, decoding={"temperature": 0.7, "min_p": 0.05, "top_p": 1})
    assert title(TODAY, TODAY) == "small model, today's prompt"
    assert title(warm, TODAY) == "small model, 4 examples per question, temperature 0.7"
    assert title(warm, warm) == "small model, 4 examples per question"  # today's own setting is no difference
    assert title(replace(TODAY, model="large", notes=("xml",)), TODAY) == "large model, XML prompt"
    assert title(replace(TODAY, system="Other."), TODAY) == "small model, another prompt"
    limited = replace(TODAY, output=OutputFormat(kind="choice", choices=("a", "b")))
    assert title(limited, TODAY) == "small model, constrained labels"
    assert title(replace(TODAY, model="tuned:1234"), TODAY).startswith("fine-tuned model")
    assert title(LINEAR) == "linear classifier"
    cascade = replace(TODAY, model="large", cascade=Cascade(first=LINEAR, threshold=0.8))
    assert title(cascade) == "linear classifier; large where it is unsure"


def test_no_two_variants_of_a_run_share_a_name() -> None:
    record = records.plain()
    names = names_of(record)
    assert len(names) == len({*names.values()}) == sum(rung.variant is not None for rung in record.rungs)
    alone = replace(record, rungs=record.rungs[:2])
    assert names_of(alone)["baseline/weak"] == "strong model, today's prompt"


def test_sentences_use_the_names_and_commands_do_not() -> None:
    names = {"few_shot/per_case-4": "small model, 4 examples per question", "few_shot/per_case": "other"}
    for text, shown in {
        "few_shot/per_case-4": "small model, 4 examples per question",
        "few_shot/per_case-4 is good. few_shot/per_case-4 stays.": (
            "The small model with 4 examples per question is good. The small model with 4 examples per question stays."
        ),
        "Deploy few_shot/per_case-4.": "Deploy the small model with 4 examples per question.",
        "The best (few_shot/per_case-4)": "The best (small model, 4 examples per question)",
        "run `tuneworthy cases show few_shot/per_case-4`": "run `tuneworthy cases show few_shot/per_case-4`",
        "few_shot/per_case-48 and few_shot/per_case-4.5": "few_shot/per_case-48 and few_shot/per_case-4.5",
    }.items():
        assert for_people(text, names) == shown
    assert for_people("few_shot/per_case-4", {}) == "few_shot/per_case-4"
    assert in_sentence("a, b, c, d") == "the a with b, c and d"


def test_a_verdict_keeps_its_numbers_its_marks_and_its_commands() -> None:
    evidence = EVIDENCE["do_not_fine_tune"]
    verdict, names = decide(evidence), names_of(record_of(evidence))
    shown = for_people(verdict, names)
    assert shown.recommendation == names[verdict.recommendation or ""]
    assert shown.recommendation in {option.option for option in shown.options}
    assert [option.score for option in shown.options] == [option.score for option in verdict.options]
    assert shown.next_action.command == verdict.next_action.command
    assert not any(name in reason for name in names for reason in shown.reasons)
    assert any(name in reason for name in names for reason in verdict.reasons)


def test_two_variants_are_named_by_their_differences() -> None:
    assert differences(TODAY, NEAREST) == ("no examples", "4 examples per question")
    assert differences(TODAY, replace(TODAY, system="Sort it.")) == (
        "prompt of 16 characters",
        "prompt of 19 characters",
    )
    first, second = differences(TODAY, replace(TODAY, system="Tros."))
    assert first != second  # as long as today's
    first, second = differences(TODAY, replace(TODAY, max_tokens=7))
    assert first != second
