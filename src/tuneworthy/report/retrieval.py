"""What the rung `retrieval` found, as tables: searches, causes of wrong answers, the oracle, time by stage."""

from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.rung_details import RetrievalDetail
from tuneworthy.report import messages, numbers
from tuneworthy.report.tables import Column, Table
from tuneworthy.report.text import clean
from tuneworthy.retrieval.oracle import ROOM

MEASURES = ("recall@1", "recall@5", "mrr", "ndcg@10")
MOST_NAMED = 5


def retrieval_tables(record: RunRecord) -> list[Table]:
    """Return the tables of the rung `retrieval`; none if it was not run."""
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
    text = next(iter(injected.values()))
    return clean(
        f'Documents that contain instructions to a model: {len(injected)} ({names}{more}). Example: "{text}". '
        "Prompts mark all document text as data. Check where these documents come from."
    )


def _searches(found: RetrievalDetail) -> Table | None:
    rows = sorted(found.search, key=lambda row: -row.means["ndcg@10"])
    if not rows:
        return None
    columns = [Column("search", "search", "name"), *(Column(name, name) for name in MEASURES)]
    columns += [Column("ci95", "nDCG@10, 95% interval"), Column("n", "n")]
    cells = [
        [clean(row.name), *(numbers.score(row.means[name]) for name in MEASURES),
         numbers.interval(row.ci95["ndcg@10"]), str(row.n)]
        for row in rows
    ]  # fmt: skip
    best = next((place for place, row in enumerate(rows) if row.chosen), None)
    unknown = found.documents.unknown
    lost = (
        (f" Listed document names that match nothing in the index: {numbers.count(unknown)}. They count as not found.")
        if unknown
        else ""
    )
    return Table(
        "Retrieval quality",
        columns,
        cells,
        (
            "These figures are computed without a language model, on dev cases that list their documents. `words` is "
            "BM25, `vectors` is dense retrieval, and `hybrid` is their fusion. The number after a comma is the "
            "weight of BM25 or the chunk size in tokens."
        )
        + lost,
        best,
    )


def _causes(found: RetrievalDetail) -> Table | None:
    causes = found.causes
    if not causes.failed:
        return None
    rows = [
        [messages.CAUSES.get(name, clean(name)), str(count), numbers.percent(count / causes.failed)]
        for name, count in causes.counts.items()
    ]
    columns = [Column("why", "cause", "text"), Column("count", "answers"), Column("share", "share")]
    note = f"With retrieved documents, {causes.failed} of {causes.n} dev answers are not fully correct."
    for counts, template in (
        (causes.missed, " Documents not retrieved: {names}."),
        (causes.not_there, messages.say("not_in_index")),
    ):
        names = ", ".join(f"{clean(name)} ({count})" for name, count in counts.items())
        note += template.format(names=names) if names else ""
    return Table("Causes of wrong answers", columns, rows, note)


def _oracle(found: RetrievalDetail) -> Table | None:
    oracle = found.oracle
    if oracle is None:
        return None
    rows = [[
        numbers.score(oracle.winner), numbers.score(oracle.score),
        f"{oracle.delta:+.3f} {numbers.interval(oracle.ci95, signed=True)}", str(oracle.n),
    ]]  # fmt: skip
    columns = [
        Column("winner", "score with retrieved documents"),
        Column("score", "score with the correct documents"),
        Column("delta", "difference, 95% interval"),
        Column("n", "n"),
    ]
    note = (
        "Scores come from dev cases that list their documents. The difference is the most that better retrieval "
        "can gain."
    )
    if oracle.cut_share is not None:
        note += (
            f" Cases whose documents exceed {ROOM} tokens: {oracle.n_cut}. Their prompts contain only the "
            f"passages closest to the question and answer, on average {numbers.percent(oracle.cut_share)} of the "
            "text."
        )
    return Table("Score with perfect retrieval", columns, rows, note)


def _latency(found: RetrievalDetail) -> Table | None:
    rows = [
        [messages.STAGES.get(stage, clean(stage)), f"{row.p50:.1f}", f"{row.p95:.1f}"]
        for stage, row in found.latency_ms.items()
    ]
    return (
        Table(
            "Search latency by stage",
            [Column("stage", "stage", "text"), Column("p50", "p50 ms"), Column("p95", "p95 ms")],
            rows,
            (
                "Each question was timed alone and without caching. The latency in the first table includes "
                "these stages and the model."
            ),
        )
        if rows
        else None
    )


def _documents(found: RetrievalDetail) -> Table:
    documents = found.documents
    rows = [
        ["documents", numbers.count(documents.n)],
        ["documents left out (see the notes of the rung)", numbers.count(documents.left_out)],
        ["chunks", numbers.count(documents.n_chunks)],
        ["documents that contain instructions to a model", numbers.count(len(documents.injected))],
        ["content hash", clean(documents.hash)],
    ]
    rows += [
        [f"instruction in {clean(name)}", clean(text)] for name, text in list(documents.injected.items())[:MOST_NAMED]
    ]
    if cited := found.citations:
        rows += [
            ["dev answers that cite a document", f"{cited.cite} of {cited.n}"],
            ["dev answers that cite a document not in the prompt", numbers.count(cited.cite_unseen)],
            ["dev answers whose words all occur in a cited document", numbers.count(cited.supported)],
        ]
    return Table("Documents", [Column("what", "item", "text"), Column("value", "value", "text")], rows)
