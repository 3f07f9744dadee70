"""Few-shot examples: a fixed balanced set, or the nearest of the pool for each case (BM25)."""

import random
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tuneworthy.cases.example_store import by_id, columns_of, ids_of, rows_by_answer
from tuneworthy.errors import UserError
from tuneworthy.text import plural
from tuneworthy.types import Cases, Example, Examples, NamedInts, Shots, Texts, content_hash


class ShotPool:
    """The examples that shots may be drawn from; no case of test is among them, and no case gets a shot of its source.

    Args:
        examples: The pool; its order does not matter.
    """

    def __init__(self, examples: Examples) -> None:
        self.examples = by_id(examples)
        ids = ids_of(self.examples)
        self.places = {identity: place for place, identity in enumerate(ids)}
        self.hash = content_hash(ids)
        self._index: Any = None
        self._nearest: dict[tuple[str, int], tuple[Example, ...]] = {}

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
        return Shots(mode="per_case", k=k, pool_hash=self.hash)

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
        missing = [case for case in cases if (case.id, k) not in self._nearest]
        if missing:
            most_own = max(self._n_of_source.get(case.source, 0) for case in missing)
            wanted = min(k + most_own, len(self.examples))
            for case, nearest in zip(missing, self._by_words([case.text for case in missing], wanted), strict=True):
                others = [row for i in nearest if (row := self.examples[int(i)]).group != case.source]
                self._nearest[case.id, k] = tuple(others[:k][::-1])
        return {case.id: self._nearest[case.id, k] for case in cases}

    def _check_pool(self, shots: Shots) -> None:
        if gone := sum(example_id not in self.places for example_id in shots.ids):
            message = (
                f"{gone} of the {len(shots.ids)} few-shot examples of this variant {plural(gone, 'is', 'are')} no "
                "longer in the project's examples."
            )
        elif shots.mode == "per_case" and shots.pool_hash != self.hash:
            message = "The project's examples, from which this variant selects few-shot examples, have changed."
        else:
            return
        raise UserError(message, hint="Restore the examples, or run `tuneworthy run` again.")

    def _by_words(self, texts: Texts, k: int) -> Iterator[Sequence[int]]:
        """Yield the `k` examples whose questions have the nearest words (BM25), nearest first, for each text."""
        import bm25s

        if self._index is None:
            self._index = bm25s.BM25()
            self._index.index(
                bm25s.tokenize([e.question for e in self.examples], stopwords=None, show_progress=False),
                show_progress=False,
            )
        for query in bm25s.tokenize(list(texts), stopwords=None, show_progress=False, return_ids=False):
            rows, _ = self._index.retrieve([query], k=k, show_progress=False)
            yield rows[0]
