"""The tokenizer of BERT."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneworthy.retrieval.bert import WordPieces
from tuneworthy.retrieval.encoder import read_vocabulary

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "cafe", "!", "$", "5", "中", "文", "card"]


@pytest.fixture
def tokens() -> WordPieces:
    return WordPieces({piece: number for number, piece in enumerate(PIECES)})


def pieces(tokens: WordPieces, text: str) -> list[str]:
    return [PIECES[number] for number in tokens.marked(text, 16)[1:-1]]


def test_a_word_is_cut_into_the_longest_pieces(tokens: WordPieces) -> None:
    assert pieces(tokens, "Unaffable card") == ["un", "##aff", "##able", "card"]


def test_a_word_that_no_pieces_make_up_is_unknown_as_a_whole(tokens: WordPieces) -> None:
    assert pieces(tokens, "unx card " + "un" * 60) == ["[UNK]", "card", "[UNK]"]


def test_accents_and_control_characters_go_and_punctuation_and_han_stand_alone(tokens: WordPieces) -> None:
    assert pieces(tokens, "CAFÉ!\x00 $5\u00a0中文\u200b") == ["cafe", "!", "$", "5", "中", "文"]


def test_a_long_text_is_cut_and_keeps_both_marks(tokens: WordPieces) -> None:
    ids = tokens.marked("card " * 100, 16)
    assert (len(ids), ids[0], ids[-1]) == (16, 2, 3)
    assert tokens.marked("", 16) == [2, 3]


def test_a_vocabulary_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    assert read_vocabulary(tmp_path) == PIECES
