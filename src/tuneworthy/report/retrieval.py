"""What the rung `retrieval` found, as tables: searches, whose fault wrong answers are, the oracle, time by stage."""

from __future__ import annotations

from collections.abc import Mapping

from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.rung_details import RetrievalDetail
from tuneworthy.report import numbers
from tuneworthy.report.tables import Column, Table
from tuneworthy.report.text import clean
from tuneworthy.retrieval.oracle import ROOM

BLAME_WORDS: Mapping[str, str] = {
    "not_in_index": "a document that holds the answer is not in the index: it was not read, or is named otherwise",
    "not_retrieved": "no document that holds the answer was shown",
    "partly_retrieved": "of several documents that hold the answer, some were shown and some were not",
    "retrieved_and_not_used": "a right document was shown, and the answer does not come from it",
    "used_and_wrong": "the answer comes from a right document, and is wrong",
    "no_document_named": "the case names no document",
}
STAGE_WORDS: Mapping[str, str] = {
    "encode": "encode the question",
    "words": "search by words (BM25)",
    "vectors": "search by vectors",
    "fuse": "fuse both lists",
    "rerank": "rerank the head",
}
MEASURES = ("recall@1", "recall@5", "mrr", "ndcg@10")
MOST_NAMED = 5


def retrieval_tables(record: RunRecord) -> list[Table]:
    """Return the tables of the rung `retrieval`; none if it was not walked."""
    found = record.detail(RetrievalDetail)
    made = (_searches(found), _causes(found), _oracle(found), _latency(found), _documents(found)) if found else ()
    return [table for table in made if table is not None]


def injection_warning(record: RunRecord) -> str:
    """Say that documents hold instructions to a model; "" if none does."""
    found = record.detail(RetrievalDetail)
    injected = found.documents.injected if found else {}
    if not injected:
        return ""
    names = ", ".join(list(injected)[:MOST_NAMED])
    more = f" and {len(injected) - MOST_NAMED} more" if len(injected) > MOST_NAMED else ""
    return clean(
        f"{len(injected)} documents hold instructions to a model ({names}{more}), such as "
        f'"{next(iter(injected.values()))}": they were shown as data; look at where they come from.'
    )


def _searches(found: RetrievalDetail) -> Table | None:
    rows = sorted(found.search, key=lambda row: -row.means["ndcg@10"])
    if not rows:
        return None
    columns = [Column("search", "search", "name"), *(Column(name, name) for name in MEASURES)]
    columns += [Column("ci95", "nDCG@10, 95 % interval"), Column("n", "n")]
    cells = [
        [clean(row.name), *(numbers.score(row.means[name]) for name in MEASURES),
         numbers.interval(row.ci95["ndcg@10"]), str(row.n)]
        for row in rows
    ]  # fmt: skip
    best = next((place for place, row in enumerate(rows) if row.chosen), None)
    note = (
        "Dev cases that name their documents; no language model. `words` is BM25 alone, `vectors` dense alone, "
        "`hybrid` their fusion; a number behind a comma is the share of the words, or the tokens of a chunk."
    )
    if unknown := found.documents.unknown:
        note += f" {numbers.count(unknown)} of the names are of no document that was read: these count as not found."
    return Table("How well documents are found", columns, cells, note, best)


def _causes(found: RetrievalDetail) -> Table | None:
    causes = found.causes
    if not causes.failed:
        return None
    rows = [
        [BLAME_WORDS.get(name, clean(name)), str(count), numbers.percent(count / causes.failed)]
        for name, count in causes.counts.items()
    ]
    columns = [Column("why", "why", "text"), Column("count", "answers"), Column("share", "share")]
    note = f"{causes.failed} of {causes.n} answers on dev are not fully right (with retrieved documents)."
    for counts, words in ((causes.missed, "Not shown"), (causes.not_there, "Not in the index")):
        if counts:
            note += f" {words}: {', '.join(f'{clean(name)} ({count})' for name, count in counts.items())}."
    return Table("Whose fault wrong answers are", columns, rows, note)


def _oracle(found: RetrievalDetail) -> Table | None:
    oracle = found.oracle
    if oracle is None:
        return None
    rows = [[
        numbers.score(oracle.winner), numbers.score(oracle.score),
        f"{oracle.delta:+.3f} {numbers.interval(oracle.ci95, signed=True)}", str(oracle.n),
    ]]  # fmt: skip
    columns = [
        Column("winner", "documents searched for"),
        Column("score", "right documents handed over"),
        Column("delta", "difference, 95 % interval"),
        Column("n", "n"),
    ]
    note = "Dev cases that name their documents: a better search could gain this and no more."
    if oracle.cut_share is not None:
        note += (
            f" The documents of {oracle.n_cut} cases are longer than {ROOM} tokens: the passages nearest to question and "
            f"answer were handed over, {numbers.percent(oracle.cut_share)} of the text on average."
        )
    return Table("What a perfect search would give", columns, rows, note)


def _latency(found: RetrievalDetail) -> Table | None:
    rows = [
        [STAGE_WORDS.get(stage, clean(stage)), f"{row.p50:.1f}", f"{row.p95:.1f}"]
        for stage, row in found.latency_ms.items()
    ]
    columns = [Column("stage", "stage", "text"), Column("p50", "p50 ms"), Column("p95", "p95 ms")]
    note = "One question at a time, nothing remembered of it; the times of the first table hold this and the model."
    return Table("Time of a search by stage", columns, rows, note) if rows else None


def _documents(found: RetrievalDetail) -> Table:
    documents = found.documents
    rows = [
        ["documents", numbers.count(documents.n)],
        ["left out (the notes of the step say why)", numbers.count(documents.left_out)],
        ["chunks", numbers.count(documents.n_chunks)],
        ["hold instructions to a model", numbers.count(len(documents.injected))],
        ["content hash", clean(documents.hash)],
    ]
    rows += [[f"in {clean(name)}", clean(text)] for name, text in list(documents.injected.items())[:MOST_NAMED]]
    if cited := found.citations:
        rows.append(["answers on dev that cite", f"{cited.cite} of {cited.n}"])
        rows.append(["that cite a document they were not shown", numbers.count(cited.cite_unseen)])
        rows.append(["whose words all stand in a cited document", numbers.count(cited.supported)])
    return Table("Documents", [Column("what", "what", "text"), Column("value", "value", "text")], rows)
