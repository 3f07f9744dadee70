"""The tables of a run as rows of text: pure functions of the record, shared by terminal, Markdown and HTML.

Invariant: every cell is cleaned (one line, no control characters) and holds nothing of a single test case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tuneworthy.errors import join_sentences
from tuneworthy.ladder.record import CandidateResult, RungRecord, RunRecord
from tuneworthy.ladder.rung_details import ModelDetail
from tuneworthy.money.serving import OwnServer, RunningCost
from tuneworthy.report import messages, numbers
from tuneworthy.report.text import clean
from tuneworthy.verdict.base import ErrorShare, GateResult, Option
from tuneworthy.verdict.messages import cost_note, legend

# Labels in the table of recalls and in a confusion matrix, and pairs in its place, at most.
MOST_LABELS = 20
MOST_IN_MATRIX = 10
MOST_PAIRS = 10
Kind = Literal["text", "name", "status", "number"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        key: For selections and styles.
        heading: What stands above it.
        kind: `text`, `name` (an identifier), `status` or `number`.
    """

    key: str
    heading: str
    kind: Kind = "number"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text.

    Attributes:
        title: What it shows.
        columns: Its columns.
        rows: As many cells each.
        note: How to read it.
        best: Index of the row to mark, or None.
        shades: How dark each cell is, 0 to 5; none for a table without shades.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    note: str = ""
    best: int | None = None
    shades: Sequence[Sequence[int]] = ()

    def only(self, *keys: str) -> Table:
        """Return the table with the columns `keys` alone, in that order."""
        places = [next(i for i, column in enumerate(self.columns) if column.key == key) for key in keys]
        return Table(
            self.title,
            [self.columns[place] for place in places],
            [[row[place] for place in places] for row in self.rows],
            self.note,
            self.best,
        )

    def filled(self) -> Table:
        """Return the table without the columns that hold no number in any row."""
        empty = {"", numbers.NONE}
        return self.only(*(c.key for i, c in enumerate(self.columns) if not all(row[i] in empty for row in self.rows)))


def ladder_table(
    record: RunRecord, requests_per_month: float | None = None, costs: Mapping[str, RunningCost] | None = None
) -> Table:
    """Return one row a rung: what was compared on test, its score, gain, cost, time and tokens.

    Args:
        record: Of the run.
        requests_per_month: Adds the monthly bill.
        costs: Of the rungs, servers of one's own included.
    """
    where = f"dev, at most {record.n_dev} cases" if record.quick else f"test, n = {record.n_test}"
    columns = [
        Column("rung", "rung", "name"),
        Column("status", "status", "status"),
        Column("variant", "variant", "name"),
        Column("score", "score"),
        Column("ci95", "95% interval"),
        Column("gain", "gain, 95% interval"),
        Column("p", "p"),
        Column("alpha", "α"),
        Column("n", "n"),
        Column("unscored", "unscored"),
        Column("cost", "$/1,000"),
        Column("month", "$/month"),
        Column("p50", "p50 ms"),
        Column("p95", "p95 ms"),
        Column("tokens", "tokens in / out"),
    ]
    best = record.best.variant if record.best else None
    left_out = {
        *(() if requests_per_month else ("month",)),
        *(("n",) if {rung.n for rung in record.rungs} <= {0, record.n_test} and not record.quick else ()),
        *(() if any(rung.unscored for rung in record.rungs) else ("unscored",)),
    }
    table = Table(
        f"{clean(record.task)}: {clean(record.primary)} on {where}",
        columns,
        [_ladder_row(rung, record, requests_per_month, costs) for rung in record.rungs],
        _reading(record),
        next((i for i, rung in enumerate(record.rungs) if best and rung.variant == best), None),
    )
    return table.only(*(column.key for column in columns if column.key not in left_out))


def _ladder_row(
    rung: RungRecord, record: RunRecord, requests_per_month: float | None, costs: Mapping[str, RunningCost] | None
) -> list[str]:
    """Return the cells of one rung; on dev where test was left alone."""
    shown, bounds, n = rung.score, rung.ci95, rung.n
    if record.quick and rung.candidates:
        shown, bounds, n = rung.candidates[0].score, rung.candidates[0].ci95, rung.candidates[0].n
    if bounds is None:  # nothing could be scored: no score is not a score of 0
        shown = None
    gain = numbers.NONE
    if rung.delta is not None and rung.delta_ci is not None:
        gain = f"{rung.delta:+.3f} {numbers.interval(rung.delta_ci, signed=True)}"
    cost = (costs or {}).get(rung.rung) or RunningCost(usd_per_1k=rung.usd_per_1k)
    month = cost.monthly_usd(requests_per_month) if requests_per_month else None
    tokens = numbers.NONE
    if rung.input_tokens is not None or rung.output_tokens is not None:
        tokens = f"{numbers.count(rung.input_tokens)} / {numbers.count(rung.output_tokens)}"
    return [
        clean(rung.rung),
        rung.status.value,
        clean(rung.name or numbers.NONE),
        numbers.score(shown) + (" (constant)" if rung.constant else ""),
        numbers.interval(bounds),
        gain,
        numbers.p_value(rung.p_value),
        numbers.NONE if rung.alpha is None else f"{rung.alpha:.3g}",
        str(n) if n else numbers.NONE,
        str(rung.unscored) if rung.n else numbers.NONE,
        _per_1k(cost.usd_per_1k_at(requests_per_month), cost.server),
        numbers.dollars(month).removeprefix("$"),
        numbers.milliseconds(rung.latency_p50_ms),
        numbers.milliseconds(rung.latency_p95_ms),
        tokens,
    ]


def _reading(record: RunRecord) -> str:
    if record.quick:
        return "Scores range from 0 to 1 and come from dev cases. The test set was not used, so there is no verdict."
    repeats = max((rung.repeats for rung in record.rungs), default=1)
    timed = max((rung.latency_n for rung in record.rungs), default=0)
    repeated = f" Where answers vary, each case was answered up to {repeats} times." if repeats > 1 else ""
    latency = f" Latency comes from {timed} sequential calls." if timed else ""
    return (
        "Scores range from 0 to 1 (0.840 is 84%). The gain is the paired difference from the best variant of the "
        "rungs before it. For the classical baseline, it is the difference from the best variant overall. p is "
        f"one-sided and compared with α; a gain without p was not tested.{repeated}{latency}"
    )


def reasons_table(record: RunRecord) -> Table:
    """Return why each rung ended as it did."""
    rows = [
        [clean(rung.rung), rung.status.value, clean(rung.reason), "; ".join(clean(note) for note in rung.notes)]
        for rung in record.rungs
    ]
    columns = [
        Column("rung", "rung", "name"),
        Column("status", "status", "status"),
        Column("reason", "reason", "text"),
        Column("notes", "notes", "text"),
    ]
    table = Table("Result of each rung", columns, rows)
    return table if any(row[3] for row in rows) else table.only("rung", "status", "reason")


def candidates_table(record: RunRecord) -> Table:
    """Return all candidates that were tried on dev, with what became of them."""
    rows = [
        [
            clean(rung.rung),
            clean(candidate.name),
            numbers.score(candidate.score),
            numbers.interval(candidate.ci95),
            numbers.count(candidate.n),
            numbers.dollars(candidate.cost_usd).removeprefix("$"),
            _fate(record, rung, place, candidate),
        ]
        for rung in record.rungs
        for place, candidate in enumerate(rung.candidates)
    ]
    return Table(
        "All candidates",
        [
            Column("rung", "rung", "name"),
            Column("variant", "candidate", "name"),
            Column("score", "dev score"),
            Column("ci95", "95% interval"),
            Column("n", "n"),
            Column("cost", "$ spent"),
            Column("fate", "result", "text"),
        ],
        rows,
        ("Scores come from dev cases only. Candidates that fall behind are dropped early, so their n is smaller."),
    )


def calibration_table(record: RunRecord) -> Table | None:
    """Return what the probabilities of variants are worth: of those compared on test, then of the other candidates."""
    on_test = {rung.variant for rung in record.rungs if rung.calibration}
    found = [("test", str(rung.name), rung.calibration) for rung in record.rungs]
    found += [
        ("dev", row.name, row.calibration)
        for rung in record.rungs
        for row in rung.candidates
        if row.variant not in on_test
    ]
    rows = [
        [
            clean(name),
            where,
            numbers.count(one.n),
            *(f"{numbers.score(row.accuracy)} {numbers.interval(row.ci95)}" for row in reversed(one.coverage)),
            numbers.score(one.confidence),
            numbers.score(one.ece),
            numbers.score(one.ece_by_chance),
            f"{numbers.score(one.brier)} {numbers.interval(one.brier_ci95)}",
        ]
        for where, name, one in found
        if one
    ]
    if not rows:
        return None
    columns = [
        Column("variant", "variant", "name"),
        Column("cases", "cases", "text"),
        Column("n", "n"),
        Column("all", "accuracy"),
        Column("most", "surest 80%"),
        Column("half", "surest 50%"),
        Column("confidence", "mean confidence"),
        Column("ece", "ECE"),
        Column("chance", "ECE by chance"),
        Column("brier", "Brier score"),
    ]
    return Table(
        "Calibration",
        columns,
        rows,
        (
            "Only variants that give a probability for each label. Surest 80%: accuracy on the 80% of the cases with "
            "the highest confidence. ECE: mean distance of confidence and accuracy, in 15 bins. ECE by chance: what "
            "a calibrated variant stays below in 95% of samples of this size. Brier score: 0 is perfect, 2 is the "
            "worst. Intervals are 95%."
        ),
    )


def savings_table(record: RunRecord) -> Table | None:
    """Return the calls and the money that racing saved, by rung and in all; None where nothing was raced."""
    raced = [rung for rung in record.rungs if rung.calls_full and rung.candidates_tried > 1]
    if not raced:
        return None
    columns = [
        Column("rung", "rung", "name"),
        Column("calls", "calls in the race"),
        Column("full", "calls of the full grid"),
        Column("examined", "extra calls for the winner"),
        Column("saved", "calls saved"),
        Column("share", "share saved"),
        Column("usd", "$ saved"),
    ]
    rows = [_saved(clean(rung.rung), [rung]) for rung in raced]
    if len(raced) > 1:
        rows.append(_saved("total", raced))
    return Table(
        "Calls saved by racing",
        columns,
        rows,
        (
            "The full grid would run every candidate on all dev cases. The winner's additional dev calls (remaining "
            "cases, oracle) are subtracted from the calls saved."
        ),
    ).filled()


def _saved(name: str, rungs: Sequence[RungRecord]) -> list[str]:
    calls, full = sum(rung.calls for rung in rungs), sum(rung.calls_full for rung in rungs)
    examined = sum(rung.examined for rung in rungs)
    usd = sum(rung.saved_usd - rung.examined_usd for rung in rungs)
    saved = full - calls - examined
    counts = [*map(numbers.count, (calls, full)), numbers.count(examined) if examined else "", numbers.count(saved)]
    return [name, *counts, numbers.percent(saved / full), numbers.dollars(usd).removeprefix("$") if usd else ""]


def _fate(record: RunRecord, rung: RungRecord, place: int, candidate: CandidateResult) -> str:
    if candidate.variant == rung.variant if rung.variant else place == 0:
        status = rung.status.value.replace("_", " ")
        return messages.FATES["leads"] if record.quick else messages.FATES["tested"].format(status=status)
    if not candidate.dropped and candidate.n == max(other.n for other in rung.candidates):
        return messages.FATES["lost"]
    why = messages.FATES.get(candidate.dropped, "").format(unscored=candidate.unscored)
    return messages.FATES["dropped"].format(n=candidate.n) + why


def models_table(record: RunRecord) -> Table | None:
    """Return score, cost and time of the models that were tried, with the Pareto front; None if none were."""
    part = record.detail(ModelDetail)
    if part is None or not part.models:
        return None
    columns = [
        Column("variant", "model", "name"),
        Column("score", "dev score"),
        Column("cost", "$/1,000"),
        Column("p50", "p50 ms"),
        Column("n", "n"),
        Column("front", "Pareto front", "text"),
        Column("retires", "retires within 90 days", "text"),
    ]
    cells = [
        [
            clean(row.name),
            numbers.score(row.score),
            numbers.dollars(row.usd_per_1k).removeprefix("$"),
            numbers.milliseconds(row.p50_ms),
            str(row.n),
            "yes" if row.pareto else "",
            clean(row.retires),
        ]
        for row in part.models
    ]
    return Table(
        "Model comparison",
        columns,
        cells,
        (
            "Scores come from dev cases with concurrent calls, and n differs between models. A model is on the "
            "Pareto front if no model with at least as many cases dominates it. To dominate, a model must be at "
            "least as good on score, cost and time over the shared cases, and better on one."
        ),
    )


def graders_table(record: RunRecord) -> Table | None:
    """Return the score of every grader by rung on test; None where there is only one."""
    tested = [rung for rung in record.rungs if rung.graders]
    names = list(dict.fromkeys(name for rung in tested for name in rung.graders))
    if len(names) < 2:
        return None
    columns = [Column("rung", "rung", "name"), Column("variant", "variant", "name")]
    columns += [Column(f"g{i}", clean(name) + (" (primary)" if i == 0 else "")) for i, name in enumerate(names)]
    return Table(
        "Scores of all graders, by rung",
        columns,
        [
            [clean(rung.rung), clean(rung.name), *(numbers.score(rung.graders.get(name)) for name in names)]
            for rung in tested
        ],
        f"Scores come from the test set (n = {record.n_test}). The first grader is the primary metric.",
    )


def fields_table(record: RunRecord) -> Table | None:
    """Return the F1 of every expected field by rung on test, invented ones counted; None where there are no fields."""
    tested = [rung for rung in record.rungs if rung.fields]
    names = list(dict.fromkeys(name for rung in tested for name, of in rung.fields.items() if of.recall is not None))
    if not names:
        return None
    columns = [Column("field", "field", "name"), *(Column(f"r{i}", clean(r.rung)) for i, r in enumerate(tested))]
    rows = [
        [clean(name), *(numbers.score(rung.fields[name].f1 if name in rung.fields else None) for rung in tested)]
        for name in names
    ]
    rows.append(
        ["(invented fields, which no case expects)", *(str(len(rung.fields.keys() - names)) for rung in tested)]
    )
    return Table(
        "F1 by field and rung",
        columns,
        rows,
        f"F1 comes from the test set (n = {record.n_test}), for the variant that each rung compared there.",
    )


def recall_table(record: RunRecord) -> Table | None:
    """Return the recall of each label by rung on test, the lowest of the best variant first; None without labels."""
    tested = [rung for rung in record.rungs if rung.recall]
    if not tested:
        return None
    best = next((rung for rung in tested if record.best and rung.variant == record.best.variant), tested[-1])
    names = sorted(best.recall, key=lambda name: (best.recall[name], name))
    columns = [Column("label", "label", "name"), *(Column(f"r{i}", clean(rung.rung)) for i, rung in enumerate(tested))]
    rows = [[clean(name), *(numbers.score(rung.recall.get(name)) for rung in tested)] for name in names[:MOST_LABELS]]
    more = messages.say("more_labels", n=len(names) - MOST_LABELS) if len(names) > MOST_LABELS else ""
    return Table(
        "Recall of each label, by rung",
        columns,
        rows,
        (f"Recall comes from the test set (n = {record.n_test}), for the variant that each rung compared there.{more}"),
    )


def confusion_table(best: RungRecord | None) -> Table | None:
    """Return the confusion matrix of a variant on dev; the ten most confused pairs where labels are many."""
    if best is None or not best.confusion:
        return None
    n = sum(pair.n for pair in best.confusion)
    labels = sorted({name for pair in best.confusion for name in (pair.expected, pair.answered)} - {""})
    note = f"Rows are labels and columns the answers of {clean(best.name)} to {n} dev cases."
    if len(labels) > MOST_IN_MATRIX:
        wrong = [pair for pair in best.confusion if pair.expected != pair.answered][:MOST_PAIRS]
        columns = [Column("label", "label", "name"), Column("answer", "answer", "name"), Column("n", "dev cases")]
        rows = [[clean(p.expected), _answered(p.answered), numbers.count(p.n)] for p in wrong]
        note = f"The most frequent wrong answers of {clean(best.name)} to {n} dev cases."
        return Table("Labels that are confused most", columns, rows, note)
    counts = {(pair.expected, pair.answered): pair.n for pair in best.confusion}
    answers = [*labels, *([""] if any(not pair.answered for pair in best.confusion) else [])]
    columns = [Column("label", "label", "name"), *(Column(f"a{i}", _answered(one)) for i, one in enumerate(answers))]
    matrix = [[clean(one), *(numbers.count(counts.get((one, answer), 0)) for answer in answers)] for one in labels]
    most = max(counts.values(), default=1) or 1
    shades = [[0, *(-(-5 * counts.get((one, answer), 0) // most) for answer in answers)] for one in labels]
    return Table("Confusion matrix", columns, matrix, note, shades=shades)


def _answered(label: str) -> str:
    return clean(label) if label else "(no label)"


def causes_table(rows: Sequence[ErrorShare]) -> Table | None:
    """Return how the classes of the error analysis are found; None before an analysis."""
    if not rows:
        return None
    columns = [Column("class", "class", "name"), Column("n", "failures"), Column("probe", "how it is found", "text")]
    cells = [
        [row.name.replace("_", " "), numbers.count(row.n_failed), clean(join_sentences(row.probe, *row.limits), 0)]
        for row in rows
    ]
    return Table("Error analysis", columns, cells)


def options_table(options: Sequence[Option], serving: str = "") -> Table:
    """Return the options of a verdict side by side, and what serving is taken to need."""
    columns = [
        Column("option", "option", "name"),
        Column("score", "score"),
        Column("ci95", "95% interval"),
        Column("delta", "vs today, 95% interval"),
        Column("target", "target", "status"),
        Column("cost", "$/1,000"),
        Column("month", "$/month"),
        Column("once", "$ once"),
        Column("p50", "p50 ms"),
        Column("p95", "p95 ms"),
        Column("sent", "to large model"),
        Column("needs", "needs, limits", "text"),
    ]
    note = join_sentences(*(clean(line, 0).replace("`", "") for line in legend(options)), serving)
    return Table("All options", columns, [_option_row(option) for option in options], note).filled()


def _per_1k(usd: float | None, server: OwnServer | None) -> str:
    """Return the cost of a thousand answers; the word for a server of one's own whose traffic is not known."""
    return "server" if usd is None and server else numbers.dollars(usd).removeprefix("$")


def _option_row(option: Option) -> list[str]:
    money = (option.usd_per_month, option.one_off_usd or None)
    delta = numbers.NONE
    if option.delta_vs_today is not None and option.delta_ci is not None:
        delta = f"{option.delta_vs_today:+.3f} {numbers.interval(option.delta_ci, signed=True)}"
    return [
        clean(option.option),
        numbers.score(option.score),
        numbers.interval(option.ci95),
        delta,
        option.target or numbers.NONE,
        _per_1k(option.usd_per_1k, option.server),
        *(numbers.dollars(usd).removeprefix("$") for usd in money),
        numbers.milliseconds(option.latency_p50_ms),
        numbers.milliseconds(option.latency_p95_ms),
        numbers.NONE if option.share_sent is None else numbers.percent(option.share_sent),
        clean(join_sentences(option.violates, cost_note(option), option.needs, *option.notes), 0).replace("`", ""),
    ]


def gates_table(gates: Sequence[GateResult]) -> Table:
    """Return what each gate says."""
    columns = [Column("gate", "gate", "name"), Column("status", "status", "status"), Column("detail", "detail", "text")]
    rows = [[gate.gate, gate.status, clean(gate.detail, 0).replace("`", "")] for gate in gates]
    return Table("Gates", columns, rows)


def errors_table(record: RunRecord) -> Table | None:
    """Return why answers on dev were wrong, by rung; None where nothing was explored."""
    explored = [rung for rung in record.rungs if rung.reasons]
    names = list(dict.fromkeys(name for rung in explored for name in rung.reasons))
    names = sorted(names, key=lambda name: (name != "right", names.index(name)))
    if not names:
        return None
    columns = [Column("rung", "rung", "name"), Column("variant", "variant", "name")]
    columns += [Column(f"e{i}", clean(name)) for i, name in enumerate(names)]
    return Table(
        "Dev answers by cause of error",
        columns,
        [
            [clean(rung.rung), clean(rung.name), *(numbers.count(rung.reasons.get(name, 0)) for name in names)]
            for rung in explored
        ],
        "Each row counts the dev answers of a rung's winner by cause. The counts add up to all its answers.",
    )


def _majority(record: RunRecord) -> list[list[str]]:
    balance = record.balance
    return (
        []
        if balance is None
        else [["majority class", f"{clean(balance.label)} ({numbers.percent(balance.share)} of dev)"]]
    )


def data_table(record: RunRecord) -> Table:
    """Return how the cases were split and what was dropped from the examples because it overlaps a case."""
    split, overlaps = record.split, record.overlaps
    rows = [
        ["dev cases", f"{numbers.count(record.n_dev)} (from the {clean(split.origin)})"],
        ["test cases", numbers.count(record.n_test)],
        *_majority(record),
        ["examples for few-shot prompts", numbers.count(split.counts.get("shots"))],
        ["examples removed because they overlap a case", _overlaps(overlaps.cases)],
        ["examples removed because they overlap a dev case", _overlaps(overlaps.dev)],
    ]
    rows += [["how the split was drawn", clean(reason)] for reason in split.reasons]
    rows += [["note", clean(note)] for note in record.notes]
    return Table("Splits and overlaps", [Column("what", "item", "text"), Column("value", "value", "text")], rows)


def _overlaps(by_reason: Mapping[str, int] | None) -> str:
    if not by_reason or not sum(by_reason.values()):
        return "0"
    parts = ", ".join(f"{clean(reason)} {number}" for reason, number in by_reason.items() if number)
    return f"{sum(by_reason.values())} ({parts})"


def provenance_table(record: RunRecord) -> Table:
    """Return versions, seeds and hashes."""
    rows = [[clean(name), clean(value)] for name, value in _flat(asdict(record.provenance))]
    for rung in record.rungs:
        variant = record.variant_of(rung)
        if variant is not None:
            identity = ", ".join(f"{name} {value}" for name, value in _flat(variant.model_identity))
            rows += [
                [f"variant {clean(rung.name)}", clean(variant.id)],
                [f"model of {clean(rung.name)}", clean(identity)],
            ]
    return Table(
        "Versions, seeds and hashes",
        [Column("what", "item", "text"), Column("value", "value", "name")],
        rows,
        "Hashes identify content: equal hashes mean equal content.",
    )


def _flat(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in document.items():
        key = f"{prefix}{name}"
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        rows += (
            _flat(value, f"{key}.") if isinstance(value, Mapping) else [(key, shown)] if shown not in {None, ""} else []
        )
    return rows
