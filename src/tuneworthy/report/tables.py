"""The tables of a run: pure functions of its record; no cell shows a single test case."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from operator import attrgetter, itemgetter

from tuneworthy.errors import join_sentences
from tuneworthy.ladder.record import CandidateResult, RungRecord, RunRecord
from tuneworthy.ladder.rung_details import ModelDetail, RetrievalDetail, ToolsDetail, TunedDetail
from tuneworthy.money.serving import YOURS, RunningCost
from tuneworthy.report.names import option_name
from tuneworthy.report.text import (
    NONE,
    Bar,
    Bars,
    Column,
    Table,
    amount,
    clean,
    difference,
    entry_column,
    integer,
    interval,
    milliseconds,
    name_column,
    p_value,
    pairs_table,
    percent,
    percent_range,
    plain,
    points,
    points_range,
    score,
    signed,
    text_column,
)
from tuneworthy.retrieval.oracle import ROOM
from tuneworthy.text import count, listed, plural
from tuneworthy.types import NamedInts
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.base import GateResult
from tuneworthy.verdict.options import Option, cost_note, legend

MAX_LABELS = 20
VERSIONS = ("tuneworthy", "seed", "project", "split", "labels", "examples", "documents")
RUNG = name_column("rung", "rung")
VARIANT = text_column("variant", "variant", attrgetter("name"))
N = Column("n", "n")
STATUS = Column("status", "status", kind="status")
P50 = Column("p50", "p50 ms", milliseconds, value=attrgetter("latency_p50_ms"))
MEMORY = Column("memory_mib", "MiB: file, process", lambda pair: ", ".join(map(integer, pair or ())))
P95 = Column("p95", "p95 ms", milliseconds, value=attrgetter("latency_p95_ms"))


def ladder_table(record: RunRecord, traffic: float | None = None, costs: Mapping[str, RunningCost] = {}) -> Table:
    """Return one row per rung: score on test, gain, cost, latency and tokens.

    Args:
        record: Of the run.
        traffic: Requests per month; adds the monthly bill.
        costs: Running cost by rung, the user's own servers included.
    """

    def cost(rung: RungRecord) -> RunningCost:
        return costs.get(rung.rung) or RunningCost(usd_per_1k=rung.usd_per_1k)

    def lead(rung: RungRecord) -> RungRecord | CandidateResult:
        return rung.candidates[0] if record.quick and rung.candidates else rung

    def shown_score(rung: RungRecord) -> str:
        shown = lead(rung)
        return score(shown.score if shown.ci95 else None) + (" (constant)" if rung.constant else "")

    columns = [
        RUNG,
        STATUS,
        VARIANT,
        Column("score", record.measure, value=shown_score),
        Column("ci95", "95% interval", interval, value=lambda rung: lead(rung).ci95),
        Column("today", "Δ today", points, value=attrgetter("delta" if record.quick else "delta_today")),
        Column("spent", "$", amount, value=attrgetter("cost_usd")),
        Column("gain", "gain, 95% interval", value=lambda rung: difference(rung.delta, rung.delta_ci), wide=True),
        Column("p", "p", p_value, value=attrgetter("p_value")),
        Column("alpha", "α", lambda alpha: NONE if alpha is None else f"{alpha:.3g}"),
        Column("n", "n", value=lambda rung: lead(rung).n or None),
        Column("unscored", "unscored", value=lambda rung: rung.unscored if rung.n else None),
        Column(
            "cost",
            "$/1,000",
            value=lambda rung: billed(cost(rung).usd_per_1k_at(traffic), cost(rung)),
            wide=True,
        ),
        Column("month", "$/month", value=lambda rung: billed(cost(rung).monthly_usd(traffic or 0.0), cost(rung))),
        replace(P50, wide=True),
        P95,
        Column("tokens", "tokens in / out", value=_tokens),
    ]
    where = f"dev, at most {record.n_dev} cases" if record.quick else f"test, n = {record.n_test}"
    measure = f"agreement with {record.agreement} ({record.primary})" if record.agreement else record.primary
    title = f"{clean(record.task)}: {clean(measure)} on {where}"
    left_out = _left_out(record, traffic)
    shown = [column for column in columns if column.key not in left_out]
    return Table.of(title, shown, record.rungs, _reading(record))  # only a verdict marks a row


def _left_out(record: RunRecord, traffic: float | None) -> set[str]:
    left_out = set() if traffic else {"month"}
    if not record.quick and {rung.n for rung in record.rungs} <= {0, record.n_test}:
        left_out.add("n")
    if not any(rung.unscored for rung in record.rungs):
        left_out.add("unscored")
    return left_out


def _tokens(rung: RungRecord) -> str | None:
    if rung.input_tokens is None and rung.output_tokens is None:
        return None
    return f"{integer(rung.input_tokens)} / {integer(rung.output_tokens)}"


def _reading(record: RunRecord) -> str:
    if record.quick:
        return (
            "Scores range from 0 to 1 and come from dev cases. The test set was not used, so there is no verdict. The "
            "gain (Δ today, in points) is the paired difference from today's variant on the same cases, without a test."
        )
    repeats = max((rung.repeats for rung in record.rungs), default=1)
    timed = max((rung.latency_n for rung in record.rungs), default=0)
    repeated = f" Where answers vary, each case was answered up to {repeats} times." if repeats > 1 else ""
    latency = f" Latency comes from {timed} sequential calls." if timed else ""
    return (
        "Scores range from 0 to 1 (0.840 is 84%). Δ today is the difference from today's setup in points, and $ the "
        "cost of the rung's calls. The gain is the paired difference from the best variant of the "
        "rungs before it. For the classical baseline, it is the difference from the best variant overall. p is "
        f"one-sided and compared with α; a gain without p was not tested.{repeated}{latency}"
    )


def billed(usd: float | None, running: RunningCost | None) -> str:
    """Return a cost, or the words for the user's own server, and for one whose traffic is unknown."""
    ways = running.ways if running else ()
    if not usd and YOURS in ways:
        return "your server"
    return "server" if usd is None and ways else amount(usd)


def reasons_table(record: RunRecord) -> Table:
    notes = text_column("notes", "notes", lambda rung: "; ".join(map(clean, rung.notes)), most=0)
    table = Table.of("Result of each rung", [RUNG, STATUS, text_column("reason", "reason"), notes], record.rungs)
    return table if any(rung.notes for rung in record.rungs) else table.only("rung", "status", "reason")


def candidates_table(record: RunRecord) -> Table:
    columns = [
        name_column("rung", "rung", lambda pair: pair[0].rung),
        name_column("variant", "candidate", lambda pair: pair[1].name),
        Column("score", "dev score", score, value=lambda pair: pair[1].score),
        Column("ci95", "95% interval", interval, value=lambda pair: pair[1].ci95),
        Column("n", "n", integer, value=lambda pair: pair[1].n),
        Column("cost", "$ spent", amount, value=lambda pair: pair[1].cost_usd),
        text_column("fate", "result", lambda pair: _fate(record, *pair)),
    ]
    pairs = [(rung, candidate) for rung in record.rungs for candidate in rung.candidates]
    return Table.of(
        "All candidates",
        columns,
        pairs,
        "Scores come from dev cases only. Candidates that fall behind are dropped early, so their n is smaller.",
    )


def _fate(record: RunRecord, rung: RungRecord, candidate: CandidateResult) -> str:
    if candidate.variant == rung.variant if rung.variant else candidate is rung.candidates[0]:
        return "best of its rung" if record.quick else f"compared on the test set: {rung.status.replace('_', ' ')}"
    if not candidate.dropped and candidate.n == max(other.n for other in rung.candidates):
        return "lost on dev"
    why = {
        "bound": ": significantly worse",
        "budget": ": eliminated by successive halving",
        "unscored": f": {candidate.unscored} answers could not be scored",
    }.get(candidate.dropped, "")
    return f"dropped after {candidate.n} cases{why}"


def models_table(record: RunRecord) -> Table | None:
    """Return score, cost and latency of the models that were tried, with the Pareto front; None without a model."""
    part = record.detail(ModelDetail)
    columns = [
        name_column("name", "model"),
        Column("score", "dev score", score),
        *(
            [Column("delta", "vs best so far", value=lambda row: difference(row.delta, row.delta_ci)), MEMORY]
            if part and any(row.delta_ci for row in part.models)
            else []
        ),
        Column("usd_per_1k", "$/1,000", amount),
        Column("p50_ms", "p50 ms", milliseconds),
        N,
        text_column("pareto", "Pareto front", lambda row: "yes" if row.pareto else ""),
        text_column("retires", "retires within 90 days"),
    ]
    note = (
        "Scores come from dev cases with concurrent calls, and n differs between models. A model is on the "
        "Pareto front if it answered all cases of the race and no other such model dominates it: is at least as good "
        "on score, cost and time, and better on one."
    )
    return Table.of("Model comparison", columns, part.models, note) if part and part.models else None


def tools_table(record: RunRecord) -> Table | None:
    """Return the failures that tools fix, and the calls of each tool; None without tools."""
    found = record.detail(ToolsDetail)
    if found is None:
        return None
    share = f" ({percent(found.fixed / found.failed)}, 95% interval {percent_range(found.fixed_ci95)})"
    rows = [
        ("failures without tools", f"{found.failed} of {found.n} dev cases"),
        ("failures that tools fix", f"{found.fixed}{share if found.failed else ''}"),
        ("tool calls per case", f"{sum(found.calls.values()) / found.n:.2f}" if found.n else "-"),
        ("failed calls", integer(found.errors)),
        *((f"calls of {clean(name)}", integer(n)) for name, n in found.calls.items()),
    ]
    return pairs_table("Tools", rows)


def graders_table(record: RunRecord) -> Table | None:
    """Return the score of every grader by rung on test; None with a single grader."""
    tested = [rung for rung in record.rungs if rung.graders]
    names = list(dict.fromkeys(grader for rung in tested for grader in rung.graders))
    columns = [entry_column(grader, clean(grader), score, attrgetter("graders")) for grader in names]
    if len(names) < 2:
        return None
    columns[0] = replace(columns[0], heading=f"{columns[0].heading} (primary)")
    return Table.of(
        "Scores of all graders, by rung",
        [RUNG, VARIANT, *columns],
        tested,
        f"Scores come from the test set (n = {record.n_test}). The first grader is the primary metric.",
    )


def fields_table(record: RunRecord, best: RungRecord | None) -> Table | None:
    """Return the F1 of every expected field by rung on test, the lowest of `best` first; None without fields."""
    tested = [rung for rung in record.rungs if rung.fields]
    if not tested:
        return None
    best = best if best in tested else tested[-1]
    names = {field for rung in tested for field, scores in rung.fields.items() if scores.recall is not None}
    of_best = {field: best.fields[field].f1 or 0.0 for field in names & best.fields.keys()}
    ranked = sorted(names, key=lambda field: (of_best.get(field, 1.0), field))

    invented = ", ".join(f"{clean(rung.rung)} {len(rung.fields.keys() - names)}" for rung in tested)
    note = f"Bars are of {clean(best.name)}. F1 comes from the test set ({_each(record)} Invented fields: {invented}."
    bars = [Bar(value=of_best.get(name, 0.0), kind="plain") for name in ranked]
    scores = [(rung.rung, {name: row.f1 for name, row in rung.fields.items()}) for rung in tested]
    columns = [Column(rung, clean(rung), score, value=f1.get) for rung, f1 in scores]
    field = name_column("field", "field", str)
    return Table.of("F1 by field and rung", [field, *columns], ranked, note, bars=Bars.of_scores(bars, (0.0, 1.0)))


def _each(record: RunRecord) -> str:
    return f"n = {record.n_test}), for the variant that each rung compared there."


def recall_table(record: RunRecord) -> Table | None:
    """Return the recall per label by rung on test, the lowest of the best variant first; None without labels."""
    tested = [rung for rung in record.rungs if rung.recall]
    if not tested:
        return None
    best = next((rung for rung in tested if record.best and rung.variant == record.best.variant), tested[-1])
    names = sorted(best.recall, key=lambda label: (best.recall[label], label))
    columns = [Column(rung.rung, clean(rung.rung), score, value=rung.recall.get) for rung in tested]
    note, more = f"Recall comes from the test set ({_each(record)}", len(names) - MAX_LABELS
    if more > 0:
        note += f" {count(more, 'label')} with a higher recall {plural(more, 'is', 'are')} left out."
    label = name_column("label", "label", str)
    return Table.of("Recall of each label, by rung", [label, *columns], names[:MAX_LABELS], note)


def gates_table(gates: Sequence[GateResult]) -> Table:
    columns = [
        name_column("gate", "gate"),
        STATUS,
        text_column("detail", "detail", lambda gate: plain(gate.detail), most=0),
    ]
    return Table.of("Gates", columns, gates)


def data_table(record: RunRecord) -> Table:
    """Return how the cases were split, and the examples removed because they overlap a case."""
    split, overlaps, balance = record.split, record.overlaps, record.balance
    rows = [
        ("dev cases", f"{record.n_dev:,} (from the {clean(split.origin)})"),
        ("test cases", integer(record.n_test)),
    ]
    if balance is not None:
        rows.append(("majority class", f"{clean(balance.label)} ({balance.share:.1%} of dev)"))
    rows += [
        ("examples for few-shot prompts", integer(split.counts.get("shots"))),
        ("examples removed because they overlap a case", _overlaps(overlaps.cases)),
        ("examples removed because they overlap a dev case", _overlaps(overlaps.dev)),
        *(("how the split was drawn", reason) for reason in split.reasons),
        *(("note", note) for note in record.notes),
    ]
    return pairs_table("Splits and overlaps", rows)


def _overlaps(by_reason: NamedInts | None) -> str:
    found = {reason: n for reason, n in (by_reason or {}).items() if n}
    parts = ", ".join(f"{clean(reason)} {n}" for reason, n in found.items())
    return f"{sum(found.values())} ({parts})" if found else "0"


def provenance_table(record: RunRecord) -> Table:
    rows = [(name, value) for name, value in asdict(record.provenance).items() if value and name in VERSIONS]
    note = "Equal hashes mean equal content. All settings, models and hashes are in `tuneworthy report --out r.json`."
    return pairs_table("Versions and hashes", rows, note, "name")


def regressions_table(record: RunRecord) -> Table | None:
    detail = record.detail(TunedDetail)
    columns = [
        name_column("name", "regression set"),
        Column("status", "status", kind="status"),
        Column("n", "n", integer),
        Column("base", "base", score),
        Column("tuned", "fine-tuned", score),
        Column("lower", "lower bound of the difference", signed),
        Column("margin", "margin", "{:g}".format),
        Column("needs", "cases needed", integer),
    ]
    note = (
        "A set passes if the one-sided 95% lower bound of the paired difference is above the negative "
        "margin. `unknown` means that the set is too small to show non-inferiority."
    )
    title = "Regression sets of the fine-tuned model"
    return Table.of(title, columns, detail.regressions, note) if detail and detail.regressions else None


def distillation_table(steps: Sequence[RungRecord]) -> Table | None:
    """Return gain and saving of each step from today's option to a student; None of fewer than two steps."""
    columns = [
        replace(RUNG, heading="step"),
        replace(VARIANT, wide=True),
        Column(
            "score",
            "score, 95% interval",
            value=lambda row: row.ci95 and f"{percent(row.score)} {percent_range(row.ci95)}",
        ),
        Column(
            "delta",
            "vs teacher",
            value=lambda row: row.delta_ci and f"{points(row.delta)} {points_range(row.delta_ci)}",
        ),
        Column("input_tokens", "tokens", integer),
        Column("usd_per_1k", "$/1,000", amount),
        P50,
        text_column("reason", "note", most=0),
    ]
    rows = {row.rung: row for row in steps}
    ratios = _ratios(rows["teacher"], rows["student"]) if {"teacher", "student"} <= rows.keys() else ""
    note = f"The student, relative to the teacher: {ratios}." if ratios else ""
    return Table.of("Distillation, step by step", columns, steps, note).filled() if len(steps) > 1 else None


def _ratios(teacher: RungRecord, student: RungRecord) -> str:
    kinds = {"input_tokens": "input tokens", "usd_per_1k": "cost", "latency_p50_ms": "latency"}
    pairs = {what: (getattr(student, key), getattr(teacher, key)) for key, what in kinds.items()}
    return listed([f"{a / b:.2g}x {what}" for what, (a, b) in pairs.items() if b and a is not None])


OPTION_COLUMNS: Sequence[Column] = (
    text_column("option", "option", option_name),
    replace(RUNG, wide=True),
    Column("score", "score", percent),
    Column("ci95", "95% interval", percent_range),
    Column("on_distinct_cases", "without near-duplicates", lambda one: percent(one.score) if one else NONE, wide=True),
    Column("delta_vs_today", "vs today", points),
    Column("delta_ci", "difference, 95% interval", points_range, wide=True),
    Column("target", "target", kind="status"),
    Column("usd_per_month", "$/month", value=lambda row: billed(row.usd_per_month, row.running)),
    Column("usd_per_1k", "$/1,000", value=lambda row: billed(row.usd_per_1k, row.running)),
    Column("one_off_usd", "$ once", lambda usd: amount(usd or None), wide=True),
    replace(P50, wide=True),
    P95,
    MEMORY,
    Column("share_sent", "to large model", percent),
    text_column("needs", "notes", lambda row: plain("; ".join(note.rstrip(".") for note in option_notes(row))), most=0),
)


def options_table(verdict: Verdict, target: float | None = None) -> Table:
    """Return the options of a verdict side by side.

    Args:
        verdict: Has the options, and which is recommended.
        target: Shown in the heading.
    """
    heading = "target" if target is None else f"target {100 * target:.3g}%"
    headings = {"target": heading} | ({"score": "agreement"} if verdict.agreement else {})
    columns = [replace(column, heading=headings.get(column.key, column.heading)) for column in OPTION_COLUMNS]
    dropped = "usd_per_1k" if any(option.usd_per_month is not None for option in verdict.options) else "usd_per_month"
    columns = [replace(column, wide=column.wide or column.key == dropped) for column in columns]
    note = join_sentences("", *map(plain, legend(verdict.options, target)))
    gates = f"recommended after {', '.join(verdict.after_gates)}" if verdict.after_gates else ""
    marks = {verdict.recommendation: gates, verdict.best_within_bill: "highest score within today's bill"}
    rows = [
        replace(row, notes=[*row.notes, mark]) if (mark := marks.get(row.option)) else row for row in verdict.options
    ]
    best = next((place for place, row in enumerate(rows) if row.option == verdict.recommendation), None)
    return Table.of("All options", columns, rows, note, best=best).filled()


def option_notes(option: Option) -> list[str]:
    """Return the broken limit, cost note, needs and marks of an option."""
    needs = f"needs {option.needs}" if option.needs else ""
    return [part for part in (option.violates, cost_note(option), needs, *option.notes) if part]


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
