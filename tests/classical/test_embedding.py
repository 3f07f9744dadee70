"""`embedding` is chosen out of fold: it follows the words where meaning says nothing, and the other way round."""

from __future__ import annotations

import json

import numpy as np
import pytest
from classical_data import example

from tuneworthy.classical import embedding, fit, objects
from tuneworthy.classical.embedding import FOREIGN, USUAL, choose_powers, usual_powers
from tuneworthy.classical.runtime import mixed
from tuneworthy.retrieval import encoder as retrieval_encoder
from tuneworthy.retrieval.encoder import VectorEncoder, encode_once
from tuneworthy.types import Example

DIM = 8


class Planted(VectorEncoder):
    """Gives texts vectors that say their kind, or noise."""

    def __init__(self, kinds: dict[str, int]) -> None:
        self.kinds, self.n_encoded = kinds, 0
        self.bert = type("Sizes", (), {"width": DIM})()
        self.pieces = type("Pieces", (), {"ids": lambda _, word, most: [0] * (3 if word.startswith("sch") else 1)})()

    def encode(self, texts: list[str]) -> np.ndarray:
        self.n_encoded += len(texts)
        rng = np.random.default_rng([len(text) + sum(map(ord, text)) for text in texts] or [0])
        vectors = rng.normal(size=(len(texts), DIM)) + [
            9 * np.eye(DIM)[self.kinds.get(text, DIM - 1)] for text in texts
        ]
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def planted(by_words: bool) -> list[Example]:
    """Rows whose label is a word of the question, or only the kind that the encoder knows."""
    words = ["alpha", "beta", "gamma"]
    return [
        example(f"q{i:03d}{words[i % 3] if by_words else ''} {words[i % 3] if by_words else 'x'}", f"label {i % 3}")
        for i in range(90)
    ]


def use(monkeypatch: pytest.MonkeyPatch, kinds: dict[str, int]) -> Planted:
    encoder = Planted(kinds)
    monkeypatch.setattr(embedding, "load_encoder", lambda: encoder)
    monkeypatch.setattr(retrieval_encoder, "load_encoder", lambda *_: encoder)
    monkeypatch.setattr(retrieval_encoder, "_VECTORS", {})
    return encoder


NEW_WORDS = [f"new {word}" for word in ("alpha", "beta", "gamma") * 8]


@pytest.mark.parametrize("chosen", [True, False], ids=["out of fold", "not chosen"])
def test_words_decide_where_meaning_says_nothing(chosen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, right = planted(by_words=True), [f"label {i % 3}" for i in range(24)]
    use(monkeypatch, {})
    if not chosen:
        monkeypatch.setattr(embedding, "choose_powers", lambda *_: np.array([0.0, 1.0]))
    assert fit("linear", rows, 7).predict(NEW_WORDS) == right
    assert (fit("embedding", rows, 7).predict(NEW_WORDS) == right) == chosen


@pytest.mark.parametrize("chosen", [True, False], ids=["out of fold", "not chosen"])
def test_meaning_decides_where_words_say_nothing(chosen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, kinds = planted(by_words=False), np.random.default_rng(3).integers(0, 3, 90)
    rows = [example(row.question, f"label {kind}") for row, kind in zip(rows, kinds, strict=True)]
    new = {f"new {i}": i % 3 for i in range(30)}
    use(monkeypatch, {row.question: kind for row, kind in zip(rows, kinds.tolist(), strict=True)} | new)
    if not chosen:
        monkeypatch.setattr(embedding, "choose_powers", lambda *_: np.array([1.0, 0.0]))
    right = np.array([f"label {kind}" for kind in new.values()])
    assert (np.mean(np.array(fit("embedding", rows, 7).predict(list(new))) == right) > 0.9) == chosen


def test_few_rows_leave_the_powers_near_the_usual_ones() -> None:
    codes = np.array([0, 1] * 5)
    says = np.where(np.eye(2)[codes] > 0, 0.9, 0.1)
    shares = np.stack([np.full((10, 2), 0.5), says])
    few = choose_powers(shares, codes, np.array(USUAL))
    many = choose_powers(np.repeat(shares, 100, axis=1), np.repeat(codes, 100), np.array(USUAL))
    assert abs(few - USUAL).max() < 1 < many[1] - USUAL[1]
    assert mixed(shares, np.array([0.0, 1.0])) == pytest.approx(says)


def test_words_decide_first_in_a_language_whose_words_the_encoder_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, {})
    assert usual_powers(["schnell 12 schick", "schon"]).tolist() == list(FOREIGN)
    assert usual_powers(["fast 12 and good", ""]).tolist() == usual_powers([]).tolist() == list(USUAL)
    monkeypatch.setattr(embedding, "PIECES_A_WORD", 9.0)
    assert usual_powers(["schnell 12 schick", "schon"]).tolist() == list(USUAL)


def test_a_text_is_encoded_once_in_a_process_and_costly_rows_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = use(monkeypatch, {})
    assert encode_once(["a", "b", "a"]).shape == (3, DIM) and encoder.n_encoded == 2
    encode_once(["b", "c"])
    assert encoder.n_encoded == 3
    monkeypatch.setattr(embedding, "AFFORDABLE", 20 * 4)
    model = fit("embedding", planted(by_words=True), 7)
    assert model.identity["parameters"]["head"]["encoded"] == encoder.n_encoded - 3 < 30


@pytest.mark.parametrize("kind", ["field_tagger", "embedding_tagger"])
def test_a_tagger_with_embeddings_finds_words_by_their_meaning(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode_words(words: list[str]) -> np.ndarray:
        return np.array([[9.0, 0.0] if word[0] in "aeiou" else [0.0, 9.0] for word in words], np.float32)

    encoder = use(monkeypatch, {})
    monkeypatch.setattr(encoder, "encode_words", encode_words, raising=False)
    monkeypatch.setattr(objects, "load_encoder", lambda: encoder)
    draw = np.random.default_rng(5)
    letters = [[first, *(chr(98 + draw.integers(0, 20)) for _ in range(5))] for first in "aeioubdfgh" * 12]
    names, others = (["".join(word) for word in letters if (word[0] in "aeiou") == vowel] for vowel in (True, False))
    pairs = [
        example(f"{one} {two}" if i % 2 else f"{two} {one}", {"who": one})
        for i, (one, two) in enumerate(zip(names, others, strict=True))
    ]
    model = fit(kind, pairs[:30], 7)
    right = [json.loads(answer)["who"] == row.answer.split('"')[3] for row, answer in
             zip(pairs[30:], model.predict([row.question for row in pairs[30:]]), strict=True)]  # fmt: skip
    assert (np.mean(right) > 0.95) == (kind == "embedding_tagger")
