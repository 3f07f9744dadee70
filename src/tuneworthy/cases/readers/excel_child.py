"""Reads rows of Excel files in the limited child: one cell at the far corner stands for a table of billions."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from tuneworthy.cases.readers.open_file import fault_of, keep_open, resume


def excel_rows(first: int, size: int, path: str) -> dict[str, Any]:
    """Return the next rows of the first visible sheet that has any, the header among them.

    Args:
        first: How many rows were read before.
        size: Most rows.
        path: Absolute.

    Returns:
        The `rows`, each a list of the texts of its cells; the `fault` that ends the file, "" at its end and before; the
        names of the sheets that are `ignored`, where the file was opened for this call.
    """
    from python_calamine import CalamineError, PasswordError, load_workbook

    ignored: list[str] = []

    def start() -> Iterator[Any]:
        sheet, others = _sheet(load_workbook(path))
        ignored.extend(others)
        return islice(sheet.iter_rows() if sheet else iter(()), first, None)

    try:
        rows = resume(path, first, start)
        read = [[_text(cell) for cell in row] for row in islice(rows, size)]
    except (CalamineError, PasswordError, OSError, ValueError) as error:
        return {"rows": [], "fault": fault_of(error), "ignored": ignored}
    keep_open(path, first + len(read), rows)
    return {"rows": read, "fault": "", "ignored": ignored}


def _sheet(workbook: Any) -> tuple[Any, list[str]]:
    """Return the first visible sheet that has rows, and the names of all others."""
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    shown = SheetTypeEnum.WorkSheet, SheetVisibleEnum.Visible
    names = [one.name for one in workbook.sheets_metadata if (one.typ, one.visible) == shown]
    sheet = next((sheet for sheet in map(workbook.get_sheet_by_name, names) if sheet.total_height), None)
    return sheet, [name for name in workbook.sheet_names if sheet is None or name != sheet.name]


def _text(cell: Any) -> str:
    """Return the text of a cell; a whole number has no decimals, as Excel shows it."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
