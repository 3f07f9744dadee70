"""Few-shot examples: a fixed balanced set, or the nearest of the pool for each case (BM25)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tuneworthy.errors import UserError
from tuneworthy.types import Case, Example, Shots, content_hash


class ShotPool:
    """The examples that shots may be drawn from; no case of dev or test is among them.

    Args:
        examples: The pool; its order does not matter.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = sorted(examples, key=lambda example: example.id)
        self.by_id: Mapping[str, Example] = {example.id: example for example in self.examples}
        self.hash = content_hash([example.id for example in self.examples])
        self._index: Any = None
        self._nearest: dict[tuple[str, int], tuple[Example, ...]] = {}

    def __len__(self) -> int:
        return len(self.examples)

    def fixed(self, k: int, seed: int, *, mixed: bool = False) -> Shots:
        """Draw `k` shots, seeded: one of each kind of answer in turn.

        Args:
            k: Shots; all that there are, if these are fewer.
            seed: Of what is drawn of each kind, and of the order.
            mixed: Whether the kinds take turns in an order of the seed's, so that each seed draws others where there
                are more kinds than shots; else the frequent ones come first.
        """
        by_answer: dict[str, list[Example]] = defaultdict(list)
        for example in self.examples:
            by_answer[example.answer].append(example)
        rng = random.Random(seed)
        queues = sorted(by_answer.values(), key=lambda rows: (-len(rows), rows[0].answer))
        if mixed:
            rng.shuffle(queues)
        for queue in queues:
            rng.shuffle(queue)
        chosen: list[Example] = []
        while len(chosen) < min(k, len(self.examples)):
            for queue in queues:
                if queue and len(chosen) < k:
                    chosen.append(queue.pop())
        rng.shuffle(chosen)
        return Shots(mode="fixed", k=k, pool_hash=self.hash, ids=tuple(example.id for example in chosen))

    def per_case(self, k: int) -> Shots:
        """Describe `k` shots chosen per case."""
        return Shots(mode="per_case", k=k, pool_hash=self.hash)

    def select(self, shots: Shots | None, cases: Sequence[Case]) -> dict[str, tuple[Example, ...]]:
        """Return the shots of each case by case id; the nearest stands last, next to the question.

        Raises:
            UserError: They come from other examples than these.
        """
        if shots is None:
            return {}
        gone = [one for one in shots.ids if one not in self.by_id]
        if gone or (shots.mode == "per_case" and shots.pool_hash != self.hash):
            got = f"{len(gone)} of {len(shots.ids)} that are gone" if gone else "other examples to choose them from"
            raise UserError(
                f"expected the shots of the variant among the project's examples, got {got}",
                hint="put the examples back, or walk again with `tuneworthy climb`",
            )
        if shots.mode == "fixed":
            chosen = tuple(self.by_id[example_id] for example_id in shots.ids)
            return {case.id: chosen for case in cases}
        missing = [case for case in cases if (case.id, shots.k) not in self._nearest]
        if missing:
            self._search(missing, shots.k)
        return {case.id: self._nearest[case.id, shots.k] for case in cases}

    def _search(self, cases: Sequence[Case], k: int) -> None:
        """Fill `_nearest` for `cases` with BM25 over the questions of the pool."""
        import bm25s

        if self._index is None:
            self._index = bm25s.BM25()
            corpus = bm25s.tokenize([e.question for e in self.examples], stopwords=None, show_progress=False)
            self._index.index(corpus, show_progress=False)
        queries = bm25s.tokenize([case.text for case in cases], stopwords=None, show_progress=False, return_ids=False)
        wanted = min(k, len(self.examples))
        for case, query in zip(cases, queries, strict=True):
            rows, _ = self._index.retrieve([query], k=wanted, show_progress=False)
            self._nearest[case.id, k] = tuple(self.examples[int(row)] for row in rows[0][::-1])
