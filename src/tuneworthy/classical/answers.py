"""Classical baselines for short answers that are words of the question: copy rules, and the tagger with one field.

Where fewer than half of the training answers appear in their question, both answer as the nearest example.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import orjson

from tuneworthy.classical.base import CLASSICAL_MODELS, QuestionAnswer, TaskKind, make_identity
from tuneworthy.classical.fields import Field, align, learn_fields, write
from tuneworthy.classical.labels import NearestNeighbour
from tuneworthy.classical.objects import FieldTagger
from tuneworthy.classical.spans import CopyRules, Text

ANSWER = "answer"


@CLASSICAL_MODELS.register("copy_rules")
class CopyRulesAnswer:
    """Copies the words in typical positions of answers: n-grams around them, shape, length."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("short_answer",)

    def __init__(self, rows: Sequence[QuestionAnswer], seed: int) -> None:
        self._nearest = NearestNeighbour(rows, seed)
        texts = [Text(r.question) for r in rows]
        leaves: list[dict[tuple[str, ...], Any]] = [{(ANSWER,): r.answer.strip()} for r in rows]
        self._field: Field = learn_fields(texts, leaves)[0]
        self._rules = CopyRules()
        pairs = [(t, s[0]) for t, s in zip(texts, align(self._field, texts, leaves), strict=True) if s]
        if self._field.copied:
            self._rules.fit([t for t, _ in pairs], [s for _, s in pairs])
        self.identity = make_identity(
            "copy_rules",
            rows,
            seed,
            copied_rows=len(pairs),
            copies=self._field.copied,
            **self._nearest.identity["parameters"],
        )

    def state(self) -> dict[str, Any]:
        """Return what `runtime.CopiedAnswer` needs."""
        return {"nearest": self._nearest.state(), "field": self._field.state(), "rules": self._rules.state()}

    def predict(self, questions: Sequence[str]) -> list[str]:
        """Return the copied words, or the nearest example's answer where there is nothing to copy."""
        answers = self._nearest.predict(questions)
        for i, question in enumerate(questions):
            text = Text(question)
            span = self._rules.best(text)
            if span:
                answers[i] = str(self._field.render([text.slice(span)]))
        return answers


@CLASSICAL_MODELS.register("answer_tagger")
class AnswerTagger:
    """Tags the words to copy as `FieldTagger` does, the answer being the only field."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("short_answer",)

    def __init__(self, rows: Sequence[QuestionAnswer], seed: int) -> None:
        self._nearest = NearestNeighbour(rows, seed)
        wrapped = [QuestionAnswer(r.question, write({ANSWER: r.answer.strip()})) for r in rows]
        texts = [Text(r.question) for r in rows]
        copies = learn_fields(texts, [{(ANSWER,): r.answer.strip()} for r in rows])[0].copied
        self._tagger = FieldTagger(wrapped, seed) if copies else None
        self.identity = make_identity(
            "answer_tagger",
            rows,
            seed,
            copies=copies,
            tagger=self._tagger.identity["parameters"] if self._tagger else None,
            **self._nearest.identity["parameters"],
        )

    def state(self) -> dict[str, Any]:
        """Return what `runtime.TaggedAnswer` needs."""
        return {"nearest": self._nearest.state(), "tagger": self._tagger.state() if self._tagger else None}

    def predict(self, questions: Sequence[str]) -> list[str]:
        """Return the tagged words, or the nearest example's answer where no words are tagged."""
        answers = self._nearest.predict(questions)
        if self._tagger is None:
            return answers
        for i, (text, copied) in enumerate(zip(questions, self._tagger.predict(questions), strict=True)):
            answer = orjson.loads(copied)[ANSWER]
            if answer and answer in text:
                answers[i] = answer
        return answers
