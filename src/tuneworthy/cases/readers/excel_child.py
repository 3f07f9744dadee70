"""Reads rows of Excel files in the limited child: one cell at the far corner stands for a table of billions."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from tuneworthy.cases.readers.open_file import fault_of, keep_open, resume


def excel_rows(first: int, size: int, path: str) -> dict[str, Any]:
    """Return the next rows of the first sheet that has any, the header among them.

    Args:
        first: How many rows were read before.
        size: Most rows.
        path: Absolute.

    Returns:
        The `rows`, each a list of the texts of its cells; the `fault` that ends the file, "" at its end and before.
    """
    from python_calamine import CalamineError, PasswordError, load_workbook

    def start() -> Iterator[Any]:
        sheets = (sheet.iter_rows() for sheet in _sheets(load_workbook(path)))
        return islice(next(sheets, iter(())), first, None)

    try:
        rows = resume(path, first, start)
        read = [[_text(cell) for cell in row] for row in islice(rows, size)]
    except (CalamineError, PasswordError, OSError, ValueError) as error:
        return {"rows": [], "fault": fault_of(error)}
    keep_open(path, first + len(read), rows)
    return {"rows": read, "fault": ""}


def _sheets(workbook: Any) -> Iterator[Any]:
    for number in range(len(workbook.sheet_names)):
        sheet = workbook.get_sheet_by_index(number)
        if sheet.total_height:
            yield sheet


def _text(cell: Any) -> str:
    """Return the text of a cell; a whole number has no decimals, as Excel shows it."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
