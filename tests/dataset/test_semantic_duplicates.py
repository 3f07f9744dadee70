"""Semantic duplicates: the pairs against comparing everything, and the rule."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tuneworthy.dataset.dedup.semantic import COMMON, semantic_duplicates, similar_pairs, weigh

NOUNS = [f"noun{k}" for k in range(120)]
FRAMES = ["please open the {} and wait for the {} to finish, then check {} and {}",
          "first one should get {} ready until {} is done; look at {} as well as {}"]  # fmt: skip


def corpus(n: int = 300, seed: int = 5) -> list[str]:
    """Rows about four nouns in one of two frames; every fifth says what an earlier one says in the other frame."""
    rng = random.Random(seed)
    facts: list[tuple[list[str], int]] = []
    for k in range(n):
        if k % 5 == 4:
            nouns, frame = rng.choice(facts)
            facts.append((nouns, 1 - frame))
        else:
            facts.append((rng.sample(NOUNS, 4), rng.randrange(2)))
    return [FRAMES[frame].format(*nouns) for nouns, frame in facts]


class Table:
    """An encoder that knows its texts' vectors, and notes what it was asked."""

    def __init__(self, vectors: dict[str, Sequence[float]]) -> None:
        self.vectors = vectors
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        rows = np.array([self.vectors[text] for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pairs_of(rows: list[str], **cuts: float) -> dict[tuple[int, int], float]:
    return {(int(a), int(b)): float(c) for a, b, c in zip(*similar_pairs(rows, **cuts), strict=True)}


def plain_pairs(texts: Sequence[str], *, rare: float, contrast: float) -> dict[tuple[int, int], float]:
    """Return what `similar_pairs` returns, by comparing every row with every other one."""
    weights = weigh(texts)
    dense = np.zeros((2, len(texts), weights.n_words))
    row_of = np.repeat(np.arange(len(texts)), np.diff(weights.starts))
    dense[0, row_of, weights.words], dense[1, row_of, weights.words] = weights.rare, weights.all
    close, alike = (one @ one.T for one in dense)
    found = (close - COMMON * alike) / (1 - COMMON)
    rows, others = np.nonzero(np.tril((close >= rare) & (found >= contrast), -1))
    return {(row, other): found[row, other] for row, other in zip(rows.tolist(), others.tolist(), strict=True)}


def test_the_search_proposes_what_comparing_everything_proposes() -> None:
    rows = corpus()
    for rare, contrast in ((0.6, 0.94), (0.3, 0.5), (0.8, -3.0), (0.1, -3.0)):
        assert pairs_of(rows, rare=rare, contrast=contrast) == pytest.approx(
            plain_pairs(rows, rare=rare, contrast=contrast)
        )


def test_the_same_in_other_words_is_proposed_and_the_same_template_is_not() -> None:
    rows = [*corpus(), FRAMES[0].format("ant", "bee", "cat", "dog"), FRAMES[1].format("ant", "bee", "cat", "dog"),
            FRAMES[0].format("ant", "bee", "elk", "fox")]  # fmt: skip
    proposed = pairs_of(rows, rare=0.6, contrast=0.9)
    assert proposed[301, 300] > 1
    assert (302, 300) not in proposed


def test_copies_have_a_contrast_of_one() -> None:
    assert pairs_of([*corpus(), corpus()[0]], rare=0.6, contrast=0.9)[300, 0] == pytest.approx(1)


def test_texts_without_words_and_single_rows_have_no_pairs() -> None:
    for rows in ([], ["?"], ["", "?!", "..."], ["a"]):
        assert [len(part) for part in similar_pairs(rows, rare=0.6, contrast=0.9)] == [0, 0, 0]


def test_the_encoder_decides_and_sees_only_rows_of_proposed_pairs() -> None:
    rows = corpus()
    nouns = {
        row: sorted(word for word in row.replace(",", " ").replace(";", " ").split() if word in NOUNS) for row in rows
    }
    like = {row: [1.0, 0.0] if k % 10 == 4 else [0.0, 1.0] for k, row in enumerate(rows)}
    alike = {row: [1.0, 0.0] for row in rows}
    encoder = Table(alike)
    found = semantic_duplicates(rows, encoder)
    dropped = np.flatnonzero(found.of >= 0)
    same = [nouns[rows[row]] == nouns[rows[found.of[row]]] for row in dropped]
    assert len(dropped) > 40 and np.mean(same) > 0.9
    assert found.encoded == len(encoder.asked) < len(rows)
    fewer = semantic_duplicates(rows, Table(like))
    assert 0 < np.sum(fewer.of >= 0) < len(dropped)
    assert np.all(found.of[found.of[dropped]] == -1)


def test_a_row_repeats_the_likest_kept_row_and_no_dropped_one() -> None:
    nouns = "ant bee cat dog"
    filler = corpus(200)
    rows = [*filler, *(FRAMES[0].format(*nouns.split()) + " " * k for k in range(4))]
    angle = {row: [0.0, 1.0] for row in rows} | {
        rows[200]: [1.0, 0.0], rows[201]: [1.0, 0.9], rows[202]: [1.0, 0.45], rows[203]: [1.0, 0.5]
    }  # fmt: skip
    found = semantic_duplicates(rows, Table(angle), threshold=0.9)
    assert found.of[200:].tolist() == [-1, -1, 201, 201]


def test_no_rows_have_no_duplicates() -> None:
    found = semantic_duplicates([], Table({}))
    assert (found.of.shape, found.encoded) == ((0,), 0)


def vectors_of(*degrees: float) -> NDArray[np.float32]:
    """Vectors in a plane at these angles."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
