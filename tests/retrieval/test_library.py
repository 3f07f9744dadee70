"""The project's documents, searched: what is searched for, what orders the list anew, what is paid for."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from tests.ladder.simulations import write_simulation
from tests.retrieval.test_servers import serving, vectors

from tuneworthy.cli.run import agree_to_spend
from tuneworthy.config import load
from tuneworthy.engine.budget import Budget
from tuneworthy.errors import UserError
from tuneworthy.ladder.rungs.retrieval import _fits, forms_of
from tuneworthy.retrieval.account import Account
from tuneworthy.retrieval.encoder import TokenVectors
from tuneworthy.retrieval.library import DocumentLibrary, open_library, query_of
from tuneworthy.store import ResponseStore
from tuneworthy.types import Case, Passage, Retrieval, Variant

needs_lancedb = pytest.mark.skipif(importlib.util.find_spec("lancedb") is None, reason="lancedb is not installed")
LOCAL = {"type": "local", "model": "m", "sha256": "0"}


def library_of(root: Path, settings: str = "", account: Account | None = None, **known: Any) -> DocumentLibrary:
    """Open three documents; `known` stands for what would be loaded."""
    write_simulation(root, {"weak": "'x'"}, n_cases=20, n_examples=0, rungs=["baseline", "retrieval"],
                extra=f'[documents]\npath = "facts.jsonl"\n[retrieval]\nchunk_tokens = [64]\n{settings}')  # fmt: skip
    texts = {"a": "apples are red", "b": "bees make honey", "c": "cats sleep"}
    rows = [orjson.dumps({"id": name, "text": text}) for name, text in texts.items()]
    (root / "facts.jsonl").write_bytes(b"\n".join(rows))
    library = open_library(load(root), account)
    assert library is not None
    library.__dict__.update(known)
    return library


def conversation(*turns: Any) -> Case:
    """A case whose turns alternate; the last one is the user's."""
    roles = ["user", "assistant"] * len(turns)
    messages = [{"role": role, "content": turn} for role, turn in zip(roles[: len(turns)], turns, strict=True)]
    return Case(id="a", messages=({"role": "system", "content": "Be kind."}, *messages))


def test_a_conversation_is_searched_by_its_last_turn() -> None:
    last = "What does the blue card cost in a year?"
    assert query_of(conversation("What of loans?", "They are dear.", last)) == last
    assert query_of(Case(id="a", input="fees?")) == "fees?"


def test_a_short_last_turn_is_searched_with_what_stands_before_it() -> None:
    found = query_of(conversation("What does the blue card cost in a year?", "Two percent.", "And abroad?"))
    assert found.splitlines() == ["And abroad?", "Two percent.", "What does the blue card cost in a year?"]
    parts = [{"type": "text", "text": "What does the card cost a year?"}, {"type": "image_url", "image_url": {}}]
    assert query_of(conversation(parts)) == "What does the card cost a year?"


def test_what_words_find_is_reranked_without_dense_vectors_too(tmp_path: Path) -> None:
    server = '{ type = "server", base_url = "http://localhost:1", model = "m" }'
    for settings, known in (
        ("", {"encoder_identity": LOCAL}),
        (f'encoder = {{ type = "off" }}\nreranker = {server}', {}),
    ):
        forms = {form.name: form.retrieval for form in forms_of(library_of(tmp_path, settings, **known))}
        assert forms["words+rerank"].reranker and not forms["words+rerank"].encoder
        assert not forms["words"].reranker and forms["words+rerank"] != forms["words"]


def test_a_search_is_reranked_for_words_alone_and_for_each_weight_on_dev_and_once_on_test(tmp_path: Path) -> None:
    server = '{ type = "server", base_url = "http://localhost:1", model = "m", usd_per_call = 0.01 }'
    for known, forms in (({"encoder_identity": LOCAL}, 4), ({"encoder_identity": {}}, 1)):
        library = library_of(tmp_path, f"reranker = {server}", **known)
        assert sum(bool(form.retrieval.reranker) for form in forms_of(library)) == forms
        used = library.use(100, 200, 9)["retrieval.reranker"]
        assert used == pytest.approx(((309 + 100 * forms + 209) / 2, (3.09 + (100 * forms + 209) / 100) / 2))


def test_how_much_is_encoded_is_told_and_too_much_is_searched_by_words_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = library_of(tmp_path, encoder_identity=LOCAL)
    assert library.retrieval(k=1, chunk_tokens=64, bm25_weight=0.5).encoder and not library.notes
    library.__dict__["n_tokens"] = 64 * 20_000
    assert any("are encoded once, before the first search (about 32 minutes" in note for note in library.notes)
    monkeypatch.setattr("tuneworthy.retrieval.library.MOST_ENCODED", 20_000)
    assert any("only BM25 searches them" in note for note in library.notes)
    assert {form.name for form in forms_of(library)} == {"words", "words+rerank"}


class Tokens:
    """A local encoder that knows a token for each letter."""

    pieces = SimpleNamespace(
        size=128, marked=lambda text, most: [ord(one) for one in text], count=lambda text: len(text) // 4
    )

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        ids = [np.array([ord(one) for one in text], np.int32) for text in texts]
        return [TokenVectors(one, np.eye(128, dtype=np.float16)[one]) for one in ids]


@needs_lancedb
def test_max_sim_orders_what_words_alone_found(tmp_path: Path) -> None:
    library = library_of(tmp_path, encoder_identity=LOCAL, local=Tokens())
    form = library.retrieval(k=1, chunk_tokens=64, bm25_weight=1.0, dense=False)
    assert form.reranker["model"] == "m"
    (found,) = asyncio.run(library.ranked(form, ["bees or cats or apples"]))
    assert {one.document for one in found} == {"a", "b", "c"}
    library.close()


@needs_lancedb
def test_a_search_by_a_server_is_paid_for_once_even_where_the_index_is_built_again(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path / "responses.sqlite")
    with serving((200, vectors)) as (url, seen):
        server = f'{{ type = "server", base_url = "{url}", model = "m", usd_per_mtok = 1 }}'
        for again in ("one", "two"):  # in another folder nothing but the store is there
            library = library_of(tmp_path / again, f"encoder = {server}", Account(store, Budget(1.0)))
            form = library.retrieval(k=1, chunk_tokens=64, bm25_weight=0.5)
            cases = [Case(id="q", input="who makes honey?")]
            assert asyncio.run(library.passages(form, cases))["q"]
            spent = store.spending().usd
            assert [len(one["input"]) for one in seen] == [3, 1] and spent > 0
            library.close()
        library = library_of(tmp_path / "two", f"encoder = {server}", Account(store, Budget(1.0)))
        assert asyncio.run(library.stages(form, cases))["q"]["encode"] > 0 and store.spending().usd > spent
        library.close()
        closed = library_of(tmp_path / "three", f"encoder = {server}")
        with pytest.raises(UserError, match="sends no requests"):
            asyncio.run(closed.passages(form, cases))
        closed.close()
    store.close()


def test_money_for_searches_is_not_spent_unasked(tmp_path: Path) -> None:
    server = '{ type = "server", base_url = "https://paid.example/v1", model = "m", usd_per_mtok = 1 }'
    library_of(tmp_path, f"encoder = {server}")
    project = load(tmp_path)
    with pytest.raises(UserError, match=r"No budget is set, .* billed: retrieval\.encoder\."):
        agree_to_spend(project, None, yes=False)
    agree_to_spend(project, None, yes=True)
    agree_to_spend(project, 1.0, yes=False)


@pytest.mark.parametrize(("said", "fits"), [("short", True), ("word " * 1700, False)])
def test_passages_are_checked_with_the_longest_question_against_the_context(said: str, fits: bool) -> None:
    model = SimpleNamespace(provider="llama_cpp", context=2048)
    view: Any = SimpleNamespace(project=SimpleNamespace(models={"m": model}), dev=[Case(id="a", input=said)])

    async def passages(retrieval: Retrieval, cases: Sequence[Case]) -> dict[str, list[Passage]]:
        return {"a": [Passage(document="d", text="x" * 800)]}

    library: Any = SimpleNamespace(passages=passages)
    form = Retrieval(documents="", k=1, chunk_tokens=240)
    variant = Variant(
        name="v", model="m", model_identity={}, system=None, user="{{ input }}", max_tokens=64, retrieval=form
    )
    assert asyncio.run(_fits(view, library, variant)) is fits
