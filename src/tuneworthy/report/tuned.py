"""Tables of a fine-tuned model: entropy of its first tokens, and its regression sets."""

from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.report import numbers
from tuneworthy.report.table import Column, Table, name_column
from tuneworthy.report.text import clean


def tuned_tables(record: RunRecord) -> list[Table]:
    """Return the tables of the rung `fine_tune`."""
    detail = record.detail(TunedDetail)
    tables = (first_tokens_table(detail), regressions_table(detail)) if detail else ()
    return [table for table in tables if table.rows]


def first_tokens_table(detail: TunedDetail) -> Table:
    """Return entropy and top-1 share of base and tuned, side by side."""
    columns = [
        name_column("model", "model", lambda row: "base" if row is detail.sureness_base else "fine-tuned"),
        Column("n", "answers", numbers.count),
        Column("tokens", "tokens", numbers.count),
        Column("entropy_bits", "entropy (bits)", numbers.score),
        Column("top1_share", "top-token probability", numbers.percent),
        Column("first_entropy_bits", "first-token entropy (bits)", numbers.score),
        Column("first_top1_share", "first-token top probability", numbers.percent),
    ]
    rows = filter(None, (detail.sureness_base, detail.sureness_tuned))
    note = (
        f"The table compares the fine-tuned model with {clean(detail.compared_with)}. Both answer dev cases "
        "with greedy, unconstrained decoding and the fine-tuned model's prompt. The entropy shown is a lower "
        "bound, because servers report only the top tokens. Where one token has nearly all the probability "
        "mass, sampling settings change little."
    )
    title = "Certainty of the base and fine-tuned models about their first tokens"
    return Table.of(title, columns, rows, note)


def regressions_table(detail: TunedDetail) -> Table:
    """Return the results of the regression sets."""
    columns = [
        name_column("name", "regression set"),
        Column("status", "status", kind="status"),
        Column("n", "n", numbers.count),
        Column("base", "base", numbers.score),
        Column("tuned", "fine-tuned", numbers.score),
        Column("lower", "lower bound of the difference", numbers.signed),
        Column("margin", "margin", "{:g}".format),
        Column("needs", "cases needed", numbers.count),
    ]
    note = (
        "A set passes if the one-sided 95% lower bound of the paired difference is above the negative "
        "margin. `unknown` means that the set is too small to show non-inferiority."
    )
    return Table.of("Regression sets of the fine-tuned model", columns, detail.regressions, note)
