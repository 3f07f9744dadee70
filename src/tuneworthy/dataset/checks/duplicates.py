"""Rows that repeat an earlier row: letter by letter, but for a few words, or in other words.

A row repeats another one only if its answer does too. The same question with another answer (another label) is a
contradiction, which other checks tell; and questions that only share a canned answer are different questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from tuneworthy.cases.normalize import folded, normalise, question_of, words
from tuneworthy.dataset.base import Action, Context, Finding, check
from tuneworthy.types import Example, content_hash

SHORT = 12
"""Words of an answer up to which it must be the same, and may not only be like the other one."""


def answer_text(row: Example) -> str:
    """Return the last turn: its text, and calls of tools."""
    last = row.messages[-1] if row.messages else {}
    calls = last.get("tool_calls")
    return f"{_text(last.get('content'))} {calls}" if calls else _text(last.get("content"))


def _text(content: object) -> str:
    return content if isinstance(content, str) else "" if content is None else str(content)


def _key(row: Example) -> str:
    """Return a text that two rows share if their questions have the same letters and their answers the same words."""
    answer = " ".join(folded(answer_text(row)).split())
    return f"{question_of(row)} x{content_hash(answer.encode('utf-8', 'surrogatepass').hex())}"


@check("exact")
@dataclass(frozen=True, slots=True)
class Exact:
    """Rows whose question has the same letters and digits as an earlier one, after Unicode normalisation and case
    folding, with the same answer.

    Copies weigh like one row that is trained on many times, and let a model learn it by heart. The first row stays.

    Bad: the same chat, logged twice.
    """

    code: ClassVar[str]
    reasons: ClassVar = {"exact_duplicate": "the same letters and digits as an earlier row"}
    whole: ClassVar = True

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield a finding for each row but the first of those that are equal."""
        from tuneworthy.dataset.dedup.exact import exact_duplicates

        same = exact_duplicates(_key(row) for row in rows)
        for row, other in enumerate(same.tolist()):
            if other >= 0:
                yield Finding(row, "exact_duplicate", other=other)


@check("near")
@dataclass(frozen=True, slots=True)
class Near:
    """Rows that repeat an earlier one but for a few words.

    Candidates come from MinHash bands, and each is verified by the exact Jaccard similarity of its word triples. Both
    question and answer must be alike; a short answer, such as a label, must be the same.

    Bad: "Where is my card?" and "So where is my card?" with the same answer.
    """

    threshold: float = 0.7

    code: ClassVar[str]
    reasons: ClassVar = {"near_duplicate": "an earlier row but for a few words"}
    whole: ClassVar = True

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield a finding for each row that repeats an earlier one that stays."""
        from tuneworthy.dataset.dedup.near import near_duplicates

        asked, answers = [question_of(row) for row in rows], [answer_text(row) for row in rows]
        numbers: dict[str, int] = {}
        keys = [numbers.setdefault(normalise(answer), len(numbers)) for answer in answers]
        same = near_duplicates([*map(_marked, asked, keys)], threshold=self.threshold)
        of = {row: (other, float(same.score[row])) for row, other in enumerate(same.of.tolist()) if other >= 0}
        free = [row for row, answer in enumerate(answers) if row not in of and len(words(answer)) > SHORT]
        alike = near_duplicates([f"{asked[row]}\n{answers[row]}" for row in free], threshold=self.threshold)
        for row, place, score in zip(free, alike.of.tolist(), alike.score.tolist(), strict=True):
            if place >= 0 and _jaccard(asked[row], asked[free[place]]) >= self.threshold:
                of[row] = free[place], score
        for row in sorted(of):
            other, score = of[row]
            other = of[other][0] if other in of else other
            yield Finding(row, "near_duplicate", f"similarity {score:.2f}", other=other, score=score)


def _marked(text: str, answer: int) -> str:
    """Return `text` with the number of the answer at every word, so that only rows with one answer have any in common.

    >>> _marked("Where is it?", 7)
    'wherex7x isx7x itx7x'
    """
    return " ".join(f"{word}x{answer}x" for word in words(text))


def _jaccard(left: str, right: str) -> float:
    """Return the similarity of the word triples of two texts (of the words, if there are fewer than three)."""
    one, two = (_triples(words(text)) for text in (left, right))
    return len(one & two) / len(one | two) if one or two else 1.0


def _triples(said: list[str]) -> set[tuple[str, ...]]:
    n = min(3, len(said))
    return {tuple(said[i : i + n]) for i in range(len(said) - n + 1)} if n else set()


@check("semantic")
@dataclass(frozen=True, slots=True)
class Semantic:
    """Rows that say in other words what an earlier row says; needs a sentence encoder.

    `two_stage`: pairs whose rare words agree are candidates, and the encoder decides on these only. `semdedup`: all
    rows are encoded and clustered, and near ones of a cluster leave (Abbas et al., arXiv 2303.09540). A short answer,
    such as a label, must be the same. Without an encoder nothing is found.

    Bad: "Where do I see my balance?" and "My balance, where is it shown?" with the same answer.
    """

    method: Literal["two_stage", "semdedup"] = "two_stage"
    threshold: float = 0.895
    epsilon: float = 0.1
    action: Action = "drop"

    code: ClassVar[str]
    reasons: ClassVar = {"semantic_duplicate": "an earlier row in other words"}
    whole: ClassVar = True

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield a finding for each row that says what another one says that stays."""
        if context.encoder is None or not rows:
            return
        from tuneworthy.dataset.dedup.semantic import semantic_duplicates, semdedup

        answers = [answer_text(row) for row in rows]
        free = [len(words(answer)) > SHORT for answer in answers]
        texts = [f"{question_of(row)}\n{answer}" if long else question_of(row)
                 for row, answer, long in zip(rows, answers, free, strict=True)]  # fmt: skip
        if self.method == "two_stage":
            found = semantic_duplicates(texts, context.encoder, threshold=self.threshold)
        else:
            found = semdedup(context.encoder.encode(texts), epsilon=self.epsilon, seed=context.seed)
        for row, other in enumerate(found.of.tolist()):
            both = other >= 0 and free[row] and free[other]
            if both or (other >= 0 and normalise(answers[row]) == normalise(answers[other])):
                score = float(found.score[row])
                yield Finding(
                    row, "semantic_duplicate", f"cosine {score:.2f}", other=other, score=score, action=self.action
                )
