"""What an oracle hands over: whole documents, or the passages that hold the answer; and it says how much was cut."""

from __future__ import annotations

from tuneworthy.retrieval.chunking import about_tokens
from tuneworthy.retrieval.documents import SourceDocument
from tuneworthy.retrieval.oracle import ROOM, Oracle, OraclePassages
from tuneworthy.retrieval.parsing import DocumentSection

FILLER = "Nothing of interest is written in this long and dull sentence about the weather. " * 200


def handed(named: list[set[str]], sought: str, **texts: str) -> OraclePassages:
    """Hand over documents of these texts."""
    documents = {
        name: SourceDocument(id=name, name=name, sections=(DocumentSection("", text),)) for name, text in texts.items()
    }
    return Oracle(documents).choose([frozenset(ids) for ids in named], sought)


def text_of(found: OraclePassages, document: str) -> str:
    """All that is handed over of a document."""
    return " ".join(one.text for one in found.passages if one.document == document)


def test_short_documents_are_handed_over_whole() -> None:
    found = handed([{"a"}, {"b"}], "when?", a="In 1912.", b="In Paris.")
    assert [(one.document, one.text) for one in found.passages] == [("a", "In 1912."), ("b", "In Paris.")]
    assert found.share == 1


def test_of_a_long_document_the_passage_with_the_answer_is_handed_over_and_the_rest_is_told_as_cut() -> None:
    found = handed([{"a"}], "When was the tower built? 1912", a=f"{FILLER} The tower was built in 1912. {FILLER}")
    assert "built in 1912" in text_of(found, "a")
    assert sum(about_tokens(one.text) for one in found.passages) <= ROOM
    assert 0 < found.share < 0.2


def test_every_named_document_has_its_part_and_of_those_that_share_a_name_the_one_with_the_answer() -> None:
    texts = {"a": f"{FILLER} The tower was built in 1912.", "b": FILLER, "b#2": f"{FILLER} The tower fell in 1944."}
    found = handed([{"a"}, {"b", "b#2"}], "When was the tower built, when did it fall? 1912 1944", **texts)
    assert "built in 1912" in text_of(found, "a") and "fell in 1944" in text_of(found, "b#2")


def test_a_case_that_names_nothing_is_handed_nothing() -> None:
    assert handed([], "when?", a="x") == OraclePassages()
