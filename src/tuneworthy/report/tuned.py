"""What the report shows of a tuned model beside its score: how sure it is of its tokens, and its regression sets."""

from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.report import numbers
from tuneworthy.report.tables import Column, Table
from tuneworthy.report.text import clean


def tuned_tables(record: RunRecord) -> list[Table]:
    """Return the tables of the rung `fine_tune`; none where no tuned model was compared on test."""
    detail = record.detail(TunedDetail)
    tables = (first_tokens_table(detail), regressions_table(detail)) if detail else ()
    return [table for table in tables if table.rows]


def first_tokens_table(detail: TunedDetail) -> Table:
    """Return entropy and top-1 share of base and tuned, side by side."""
    rows = [
        [
            side,
            numbers.count(row.n),
            numbers.count(row.tokens),
            f"{row.entropy_bits:.3f}",
            numbers.percent(row.top1_share),
            f"{row.first_entropy_bits:.3f}",
            numbers.percent(row.first_top1_share),
        ]
        for side, row in (("base", detail.sureness_base), ("fine-tuned", detail.sureness_tuned))
        if row is not None
    ]
    columns = [
        Column("model", "model", "name"),
        Column("n", "answers"),
        Column("tokens", "tokens"),
        Column("entropy", "entropy (bits)"),
        Column("top1", "top-token probability"),
        Column("first_entropy", "first-token entropy (bits)"),
        Column("first_top1", "first-token top probability"),
    ]
    return Table(
        "Certainty of the base and fine-tuned models about their first tokens",
        columns,
        rows,
        (
            f"The table compares the fine-tuned model with {clean(detail.compared_with)}. Both answer dev cases "
            "with greedy, unconstrained decoding and the fine-tuned model's prompt. The entropy shown is a lower "
            "bound, because servers report only the top tokens. Where one token has nearly all the probability "
            "mass, sampling settings change little."
        ),
    )


def regressions_table(detail: TunedDetail) -> Table:
    """Return what each regression set says."""
    return Table(
        "Regression sets of the fine-tuned model",
        [
            Column("regression_set", "regression set", "name"),
            Column("status", "status", "status"),
            Column("n", "n"),
            Column("base", "base"),
            Column("tuned", "fine-tuned"),
            Column("lower", "lower bound of the difference"),
            Column("margin", "margin"),
            Column("needs", "cases needed"),
        ],
        [
            [
                clean(row.name),
                row.status,
                numbers.count(row.n),
                numbers.score(row.base),
                numbers.score(row.tuned),
                numbers.NONE if row.lower is None else f"{row.lower:+.3f}",
                f"{row.margin:g}",
                numbers.count(row.needs),
            ]
            for row in detail.regressions
        ],
        (
            "A set passes if the one-sided 95% lower bound of the paired difference is above the negative "
            "margin. `unknown` means that the set is too small to show non-inferiority."
        ),
    )
