"""The tokenizer of BERT."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneworthy.retrieval.encoder import WordPiece

pytest.importorskip("tokenizers")

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "cafe", "!", "$", "5", "中", "文", "card"]


@pytest.fixture
def tokens() -> WordPiece:
    return WordPiece(PIECES, 16)


def pieces(tokens: WordPiece, text: str) -> list[str]:
    return [PIECES[number] for number in tokens.encode(text)[1:-1]]


def test_a_word_is_cut_into_the_longest_pieces(tokens: WordPiece) -> None:
    assert pieces(tokens, "Unaffable card") == ["un", "##aff", "##able", "card"]


def test_a_word_that_no_pieces_make_up_is_unknown_as_a_whole(tokens: WordPiece) -> None:
    assert pieces(tokens, "unx card " + "un" * 60) == ["[UNK]", "card", "[UNK]"]


def test_accents_and_control_characters_go_and_punctuation_and_han_stand_alone(tokens: WordPiece) -> None:
    assert pieces(tokens, "CAFÉ!\x00 $5\u00a0中文\u200b") == ["cafe", "!", "$", "5", "中", "文"]


def test_a_long_text_is_cut_and_keeps_both_marks(tokens: WordPiece) -> None:
    ids = tokens.encode("card " * 100)
    assert (len(ids), ids[0], ids[-1]) == (16, 2, 3)
    assert tokens.encode("") == [2, 3]


def test_a_vocabulary_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    assert WordPiece.load(path, 16).encode("card") == [2, 13, 3]
