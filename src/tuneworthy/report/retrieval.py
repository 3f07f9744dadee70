"""Tables of the rung `retrieval`: searches, causes of wrong answers, the oracle, latency by stage."""

from operator import attrgetter, itemgetter

from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.rung_details import RetrievalDetail
from tuneworthy.report.table import Column, Table, entry_column, name_column, pairs_table, text_column
from tuneworthy.report.text import clean, difference, integer, interval, percent, score
from tuneworthy.retrieval.oracle import ROOM
from tuneworthy.text import listed
from tuneworthy.types import NamedInts

MEASURES = ("recall@1", "recall@5", "mrr", "ndcg@10")
MOST_NAMED = 5
CAUSES = {
    "not_in_index": "a document with the answer is not in the index: it was not read or has a different name",
    "not_retrieved": "no document with the answer was retrieved",
    "partly_retrieved": "only some of the documents with the answer were retrieved",
    "retrieved_and_not_used": "a relevant document was retrieved, but the answer does not use it",
    "used_and_wrong": "the answer uses a relevant document but is wrong",
    "no_document_named": "the case lists no document",
}
STAGES = {
    "encode": "question embedding",
    "words": "keyword search (BM25)",
    "vectors": "vector search",
    "fuse": "rank fusion",
    "rerank": "reranking of the top results",
}


def retrieval_tables(record: RunRecord) -> list[Table]:
    found = record.detail(RetrievalDetail)
    made = (_searches(found), _causes(found), _oracle(found), _latency(found), _documents(found)) if found else ()
    return [table for table in made if table is not None]


def injection_warning(record: RunRecord) -> str:
    """Say that documents contain instructions to a model; "" without such documents."""
    found = record.detail(RetrievalDetail)
    injected = found.documents.injected if found else {}
    if not injected:
        return ""
    names, text = listed([*injected], MOST_NAMED), next(iter(injected.values()))
    return clean(
        f'Documents that contain instructions to a model: {len(injected)} ({names}). Example: "{text}". '
        "Prompts mark all document text as data. Check where these documents come from."
    )


def _searches(found: RetrievalDetail) -> Table | None:
    rows = sorted(found.search, key=lambda row: -row.means["ndcg@10"])
    columns = [entry_column(measure, measure, score, attrgetter("means")) for measure in MEASURES]
    columns.append(Column("ci95", "nDCG@10, 95% interval", interval, value=lambda row: row.ci95["ndcg@10"]))
    note = (
        "These figures are computed without a language model, on dev cases that list their documents. `words` is "
        "BM25, `vectors` is dense retrieval, and `hybrid` is their fusion. The number after a comma is the "
        "weight of BM25 or the chunk size in tokens."
    )
    if unknown := found.documents.unknown:
        note += f" Listed document names that match nothing in the index: {unknown:,}. They count as not found."
    columns = [name_column("name", "search"), *columns, Column("n", "n")]
    best = next((place for place, row in enumerate(rows) if row.chosen), None)
    return Table.of("Retrieval quality", columns, rows, note, best=best) if rows else None


def _causes(found: RetrievalDetail) -> Table | None:
    causes = found.causes
    if not causes.failed:
        return None
    columns = [
        text_column("cause", "cause", lambda row: CAUSES.get(row[0], row[0])),
        Column("count", "answers", value=itemgetter(1)),
        Column("share", "share", percent, value=lambda row: row[1] / causes.failed),
    ]
    note = f"With retrieved documents, {causes.failed} of {causes.n} dev answers are not fully correct."
    if causes.missed:
        note += f" Documents not retrieved: {_counted(causes.missed)}."
    if causes.not_there:
        note += f" Documents not in the index: {_counted(causes.not_there)}."
    return Table.of("Causes of wrong answers", columns, causes.counts.items(), note)


def _counted(counts: NamedInts) -> str:
    return ", ".join(f"{clean(document)} ({count})" for document, count in counts.items())


def _oracle(found: RetrievalDetail) -> Table | None:
    oracle = found.oracle
    if oracle is None:
        return None
    columns = [
        Column("winner", "score with retrieved documents", score),
        Column("score", "score with the correct documents", score),
        Column("delta", "difference, 95% interval", value=lambda row: difference(row.delta, row.ci95)),
        Column("n", "n"),
    ]
    note = (
        "Scores come from dev cases that list their documents. The difference is the most that better retrieval "
        "can gain."
    )
    if oracle.cut_share is not None:
        note += (
            f" Cases whose documents exceed {ROOM} tokens: {oracle.n_cut}. Their prompts contain only the "
            f"passages closest to the question and answer, on average {oracle.cut_share:.1%} of the "
            "text."
        )
    return Table.of("Score with perfect retrieval", columns, [oracle], note)


def _latency(found: RetrievalDetail) -> Table | None:
    columns = [
        text_column("stage", "stage", lambda row: STAGES.get(row[0], row[0])),
        Column("p50", "p50 ms", "{:.1f}".format, value=lambda row: row[1].p50),
        Column("p95", "p95 ms", "{:.1f}".format, value=lambda row: row[1].p95),
    ]
    note = (
        "Each question was timed alone and without caching. The latency in the first table includes these stages and "
        "the model."
    )
    rows = found.latency_ms.items()
    return Table.of("Search latency by stage", columns, rows, note) if rows else None


def _documents(found: RetrievalDetail) -> Table:
    documents = found.documents
    rows = [
        ("documents", integer(documents.n)),
        ("documents left out (see the notes of the rung)", integer(documents.left_out)),
        ("chunks", integer(documents.n_chunks)),
        ("documents that contain instructions to a model", integer(len(documents.injected))),
        ("content hash", documents.hash),
    ]
    rows += [(f"instruction in {clean(name)}", text) for name, text in list(documents.injected.items())[:MOST_NAMED]]
    if cited := found.citations:
        rows += [
            ("dev answers that cite a document", f"{cited.cite} of {cited.n}"),
            ("dev answers that cite a document not in the prompt", integer(cited.cite_unseen)),
            ("dev answers whose words all occur in a cited document", integer(cited.supported)),
        ]
    return pairs_table("Documents", rows)
