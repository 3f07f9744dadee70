"""Tables of the report as JSON: the page draws the same cells that the report has."""

from tuneworthy.report.table import Table
from tuneworthy.types import JsonObject


def cells(table: Table) -> JsonObject:
    """Return the title, columns, rows and note of a table, its marked row, and the bars of its rows."""
    bars = table.bars
    return {
        "title": table.title,
        "columns": [{"key": one.key, "heading": one.heading, "kind": one.kind} for one in table.columns],
        "rows": [list(row) for row in table.rows],
        "note": table.note,
        "best": table.best,
        "bars": bars and [bar and {"kind": bar.kind, "width": bars.x(bar.value)} for bar in bars.rows],
    }
