"""Few-shot examples: a fixed balanced set, or the nearest of the pool for each case (BM25, or a sentence encoder)."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tuneworthy.errors import UserError
from tuneworthy.prompts import messages
from tuneworthy.types import Case, Example, Shots, content_hash


class ShotEncoder(Protocol):
    """Turns texts into vectors whose inner product says how alike they are."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return `(n_texts, width)` rows of length 1."""


class ShotPool:
    """The examples that shots may be drawn from; no case of test is among them, and no case gets a shot of its source.

    Args:
        examples: The pool; its order does not matter.
        load_encoder: Opens a sentence encoder by its name; None where no shots are chosen by one.
    """

    def __init__(self, examples: Sequence[Example], load_encoder: Callable[[str], ShotEncoder] | None = None) -> None:
        self.examples = sorted(examples, key=lambda example: example.id)
        self.by_id: Mapping[str, Example] = {example.id: example for example in self.examples}
        self.hash = content_hash([example.id for example in self.examples])
        self.load_encoder = load_encoder
        self._n_of_source = Counter(example.group for example in self.examples)
        self._index: Any = None
        self._encoders: dict[str, tuple[ShotEncoder, NDArray[np.float32]]] = {}
        self._nearest: dict[tuple[str, int, str], tuple[Example, ...]] = {}

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def _by_answer(self) -> list[list[Example]]:
        """The examples of each answer, the frequent answers first."""
        by_answer: dict[str, list[Example]] = defaultdict(list)
        for example in self.examples:
            by_answer[example.answer].append(example)
        return [rows for _, rows in sorted(by_answer.items(), key=lambda item: (-len(item[1]), item[0]))]

    def fixed(self, k: int, seed: int, *, mixed: bool = False) -> Shots:
        """Draw `k` shots, seeded: one of each kind of answer in turn.

        Args:
            k: Shots; all that there are, if these are fewer.
            seed: Of what is drawn of each kind, and of the order.
            mixed: Whether the kinds take turns in an order of the seed's, so that each seed draws others where there
                are more kinds than shots; else the frequent ones come first.
        """
        rng = random.Random(seed)
        queues = [list(rows) for rows in self._by_answer]
        if mixed:
            rng.shuffle(queues)
        for queue in queues:
            rng.shuffle(queue)
        chosen: list[Example] = []
        while len(chosen) < min(k, len(self.examples)):
            chosen += [queue.pop() for queue in queues[: k - len(chosen)]]
            queues = [queue for queue in queues if queue]
        rng.shuffle(chosen)
        return Shots(mode="fixed", k=k, pool_hash=self.hash, ids=tuple(example.id for example in chosen))

    def per_case(self, k: int, encoder: str = "") -> Shots:
        """Describe `k` shots chosen per case, by BM25 or by a sentence encoder."""
        return Shots(mode="per_case", k=k, pool_hash=self.hash, encoder=encoder)

    def select(self, shots: Shots | None, cases: Sequence[Case]) -> dict[str, tuple[Example, ...]]:
        """Return the shots of each case by case id; the nearest stands last, next to the question.

        Raises:
            UserError: They come from other examples than these.
        """
        if shots is None:
            return {}
        gone = [one for one in shots.ids if one not in self.by_id]
        if gone or (shots.mode == "per_case" and shots.pool_hash != self.hash):
            lost = messages.say("shots_gone", n_gone=len(gone), n=len(shots.ids))
            raise UserError(lost if gone else messages.say("other_pool"), hint=messages.say("restore_shots"))
        if shots.mode == "fixed":
            chosen = tuple(self.by_id[example_id] for example_id in shots.ids)
            return {case.id: tuple(row for row in chosen if row.group != case.source) for case in cases}
        k, encoder = shots.k, shots.encoder
        missing = [case for case in cases if (case.id, k, encoder) not in self._nearest]
        if missing:
            most_own = max(self._n_of_source[case.source] for case in missing)
            wanted = min(k + most_own, len(self.examples))
            texts = [case.text for case in missing]
            rows = self._by_meaning(texts, wanted, encoder) if encoder else self._by_words(texts, wanted)
            for case, nearest in zip(missing, rows, strict=True):
                others = [row for i in nearest if (row := self.examples[int(i)]).group != case.source]
                self._nearest[case.id, k, encoder] = tuple(others[:k][::-1])
        return {case.id: self._nearest[case.id, k, encoder] for case in cases}

    def _by_meaning(self, texts: Sequence[str], k: int, name: str) -> NDArray[np.int64]:
        """Return the `k` examples whose questions mean nearest the same, nearest first, `(n_texts, k)`.

        Raises:
            UserError: The encoder cannot be opened here.
        """
        if name not in self._encoders:
            if self.load_encoder is None:
                raise UserError(messages.say("no_encoder", name=name))
            encoder = self.load_encoder(name)
            self._encoders[name] = encoder, encoder.encode([example.question for example in self.examples])
        encoder, vectors = self._encoders[name]
        return np.argsort(-(encoder.encode(texts) @ vectors.T), axis=1, kind="stable")[:, :k]

    def _by_words(self, texts: Sequence[str], k: int) -> Iterator[Sequence[int]]:
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
