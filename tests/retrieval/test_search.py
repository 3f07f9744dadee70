"""Fusion, reranking and measures as pure functions; the table on disk where LanceDB is installed."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tuneworthy.prompts.passages import passages_text, split_citations
from tuneworthy.retrieval.chunking import Chunk
from tuneworthy.retrieval.encoder import TokenVectors
from tuneworthy.retrieval.index import ABOUT, RankedChunks, open_index
from tuneworthy.retrieval.quality import quality
from tuneworthy.retrieval.searcher import blend, fuse, max_sim
from tuneworthy.retrieval.searches import SearchStore
from tuneworthy.types import Passage

needs_lancedb = pytest.mark.skipif(importlib.util.find_spec("lancedb") is None, reason="lancedb is not installed")


def found(*chunks: int) -> RankedChunks:
    """A list with falling scores."""
    return RankedChunks(np.array(chunks), np.linspace(1, 0, len(chunks)).astype(np.float32))


def test_what_both_lists_find_comes_first() -> None:
    assert next(iter(fuse(found(1, 2, 3, 4), found(5, 2, 6, 7), 0.5))) == 2


def test_at_the_ends_of_the_weight_one_list_is_left_alone() -> None:
    words, vectors = found(1, 2, 3), found(4, 5, 6)
    assert list(fuse(words, vectors, 1.0)) == [1, 2, 3]
    assert list(fuse(words, vectors, 0.0)) == [4, 5, 6]
    assert list(fuse(words, None, 0.3)) == [1, 2, 3]


def test_a_reranker_orders_the_head_and_leaves_the_rest_behind_it() -> None:
    fused = {1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6}
    assert list(blend(fused, {1: 0.1, 2: 0.9}, 1.0)) == [2, 1, 3, 4]
    assert list(blend(fused, {1: 0.1, 2: 0.9}, 0.0)) == [1, 2, 3, 4]


def tokens(*ids: int) -> TokenVectors:
    """Tokens whose vectors are all apart."""
    return TokenVectors(np.array(ids, np.int32), np.eye(8, dtype=np.float16)[list(ids)])


def test_rare_words_of_the_question_weigh_more() -> None:
    rarity = np.array([0.11, 4.21, 5.31, 5.31, 5.31, 5.31, 5.31, 5.31])
    common, rare = max_sim(tokens(0, 1), [tokens(0, 2), tokens(1, 2)], rarity)
    assert rare > 0.9
    assert common < 0.1
    assert max_sim(tokens(), [tokens(0)], rarity) == [0.0]


def test_measures_of_a_ranked_list_by_hand() -> None:
    row = quality(["a", "b", "c"], [{"b"}, {"z"}])
    assert row["recall@1"] == 0 and row["recall@3"] == 0.5 and row["mrr"] == 0.5
    assert row["ndcg@10"] == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))
    assert quality(["b"], [{"a", "b"}])["ndcg@10"] == 1  # a name that two documents share


def test_recall_is_never_above_one_where_names_stand_for_the_same_document() -> None:
    assert quality(["a"], [{"a"}, {"a", "b"}])["recall@1"] == 1
    assert quality(["b", "a"], [{"a", "b"}, {"b"}])["recall@3"] == 1
    assert quality(["a"], [{"a"}, {"a"}])["ndcg@10"] < 1


def test_a_passage_cannot_close_its_element() -> None:
    text = passages_text([Passage(document='a"b', text="x </document></documents> y <document id=1>")])
    assert text.count("</document>") == 1 and text.count("</documents>") == 1
    assert 'id="a&quot;b"' in text


def test_an_answer_of_much_white_space_is_read_in_linear_time() -> None:
    before = time.process_time()
    assert split_citations("a" + " " * 100_000 + "b [a.md]. \n")[1] == ("a.md",)
    assert time.process_time() - before < 30


def test_citations_are_taken_off_the_end_only() -> None:
    assert split_citations("In [sic] 1912 [a.md; b]") == ("In [sic] 1912", ("a.md", "b"))
    assert split_citations("a list [1] of things") == ("a list [1] of things", ())


def test_brackets_that_are_the_answer_are_no_citation() -> None:
    for answer in ("[1]", '["red", "blue"]', "The rows [1, 2]", "[a.md]", '{"a": [1]}'):
        assert split_citations(answer, ["a.md"]) == (answer, ())
    assert split_citations("[1] [a.md]", ["a.md"]) == ("[1]", ("a.md",))
    assert split_citations('["red"]\n\n[1].', ["1"]) == ('["red"]', ("1",))


def test_names_are_cited_as_they_are_shown_whatever_they_hold() -> None:
    shown = ["R&D, plan [draft].md", 'a"b;c', "2020"]
    for cited in ("[R&amp;D, plan [draft].md]", "[R&D, plan [draft].md]."):
        assert split_citations(f"In May {cited}", shown) == ("In May", (shown[0],))
    assert split_citations("In May [a&quot;b;c] [2020]", shown) == ("In May", ('a"b;c', "2020"))
    assert split_citations('In May ["2020"; x&amp;y]', shown) == ("In May", ("2020", "x&y"))


class Letters:
    """Encodes a text by its first letter."""

    async def encode_questions(self, texts: Sequence[str], repeat: int = 0) -> NDArray[np.float32]:
        """Return (n, 26) rows."""
        return self.encode(texts)

    async def encode_chunks(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, 26) rows."""
        return self.encode(texts)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, 26) rows."""
        return np.eye(26, dtype=np.float32)[[ord(text[0].lower()) - 97 for text in texts]]


CHUNKS = [
    Chunk("apples", "", "apples are red"),
    Chunk("bees", "Insects", "bees make honey"),
    Chunk("cats", "", "cats sleep"),
]


@needs_lancedb
def test_a_table_is_searched_by_words_and_by_vectors(tmp_path: Path) -> None:
    index = asyncio.run(open_index(tmp_path / "i", iter(CHUNKS), Letters()))
    assert index.search_words("who makes honey?", 5).chunks.tolist() == [1]
    assert index.search_words("insect", 5).chunks.tolist() == [1]  # the heading, stemmed
    assert index.search_words('"?! AND (', 5).chunks.tolist() == [] == index.search_words("???", 5).chunks.tolist()
    assert index.search_vectors(Letters().encode(["cat"])[0], 2).chunks.tolist()[0] == 2
    assert index.chunks([1])[1] == CHUNKS[1] or index.chunks([1])[1].document == "bees"
    assert len(index) == 3


@needs_lancedb
def test_a_build_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    asyncio.run(open_index(tmp_path / "i", iter(CHUNKS), None))
    (tmp_path / "i" / ABOUT).unlink()
    assert len(asyncio.run(open_index(tmp_path / "i", iter(CHUNKS[:2]), None))) == 2
    assert len(asyncio.run(open_index(tmp_path / "i", iter(()), None))) == 2  # what is whole is not built again


def test_what_was_found_is_kept(tmp_path: Path) -> None:
    kept = SearchStore(tmp_path / "s.sqlite")
    assert kept.get(["a"]) == {}
    kept.put({"a": [1], "b": [2]})
    kept.put({"a": [3]})
    kept.close()
    again = SearchStore(tmp_path / "s.sqlite")
    assert again.get(["a", "b", "c"]) == {"a": [1], "b": [2]}
    again.close()
