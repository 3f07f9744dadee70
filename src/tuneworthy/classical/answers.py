"""Classical baselines that answer with a text: the majority class, the nearest example, and words of the question.

Where fewer than half of the training answers appear in their question, those that copy words answer as the nearest
example.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tuneworthy.classical.base import CLASSICAL_MODELS, QuestionAnswer, fitted
from tuneworthy.classical.fields import align, learn_fields
from tuneworthy.classical.objects import fit_fields, nearest_state
from tuneworthy.classical.runtime import ANSWER, CopiedAnswer, MajorityLabel, NearestAnswer, TaggedAnswer, write
from tuneworthy.classical.spans import Text, learn_rules
from tuneworthy.types import JsonObject


@CLASSICAL_MODELS.register("majority")
def fit_majority(rows: Sequence[QuestionAnswer], seed: int) -> MajorityLabel:
    counts = sorted(Counter(r.answer.strip() for r in rows).items())
    return fitted(
        MajorityLabel,
        {"labels": [label for label, _ in counts], "shares": [n / len(rows) for _, n in counts]},
        "majority",
        rows,
        seed,
    )


def _nearest(rows: Sequence[QuestionAnswer]) -> tuple[JsonObject, JsonObject]:
    return nearest_state([r.question for r in rows], [r.answer.strip() for r in rows])


@CLASSICAL_MODELS.register("nearest")
def fit_nearest(rows: Sequence[QuestionAnswer], seed: int) -> NearestAnswer:
    """Keep the examples; ties (duplicates, no overlap) go to their majority."""
    state, parameters = _nearest(rows)
    return fitted(NearestAnswer, state, "nearest", rows, seed, **parameters)


@CLASSICAL_MODELS.register("copy_rules")
def fit_copy_rules(rows: Sequence[QuestionAnswer], seed: int) -> CopiedAnswer:
    """Count the positions of answers in their questions."""
    nearest, parameters = _nearest(rows)
    texts = [Text(r.question) for r in rows]
    leaves: list[dict[tuple[str, ...], Any]] = [{(ANSWER,): r.answer.strip()} for r in rows]
    field = learn_fields(texts, leaves)[0]
    pairs = [(text, spans[0]) for text, spans in zip(texts, align(field, texts, leaves), strict=True) if spans]
    rules = learn_rules([text for text, _ in pairs], [span for _, span in pairs]) if field.copied else {}
    state = {"nearest": nearest, "field": asdict(field), "rules": rules}
    return fitted(
        CopiedAnswer, state, "copy_rules", rows, seed, **parameters, copied_rows=len(pairs), copies=field.copied
    )


@CLASSICAL_MODELS.register("answer_tagger")
def fit_answer_tagger(rows: Sequence[QuestionAnswer], seed: int) -> TaggedAnswer:
    """Learn to tag the words to copy as `fit_fields` does, the answer being the only field."""
    nearest, parameters = _nearest(rows)
    copies = learn_fields([Text(r.question) for r in rows], [{(ANSWER,): r.answer.strip()} for r in rows])[0].copied
    wrapped = [QuestionAnswer(r.question, write({ANSWER: r.answer.strip()})) for r in rows]
    tagger: Any = fit_fields(wrapped, seed) if copies else None
    parameters |= {"copies": copies, "tagger": tagger.identity["parameters"] if tagger else None}
    state = {"nearest": nearest, "tagger": tagger.state if tagger else None}
    return fitted(TaggedAnswer, state, "answer_tagger", rows, seed, **parameters)
