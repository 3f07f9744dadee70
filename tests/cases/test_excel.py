"""Excel files: the first sheet with rows is read as a CSV file is, in the limited child."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tuneworthy import limited
from tuneworthy.cases import read_cases
from tuneworthy.errors import UserError

pytest.importorskip("python_calamine")

Cell = str | float
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def workbook(*sheets: str) -> bytes:
    """Return an Excel file of sheets, each the XML of its rows."""
    numbers = range(1, len(sheets) + 1)
    names = "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="r{n}"/>' for n in numbers)
    links = "".join(f'<Relationship Id="r{n}" Type="{OFFICE}/worksheet" Target="worksheets/{n}.xml"/>' for n in numbers)
    kinds = "".join(
        f'<Override PartName="/xl/worksheets/{n}.xml" ContentType="{TYPE}.worksheet+xml"/>' for n in numbers
    )
    book = f'<Override PartName="/xl/workbook.xml" ContentType="{TYPE}.sheet.main+xml"/>'
    root = f'<Relationship Id="b" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">{book}{kinds}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{root}</Relationships>',
        "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="{OFFICE}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{links}</Relationships>',
    }
    parts |= {
        f"xl/worksheets/{n}.xml": f"<worksheet {MAIN}><sheetData>{sheets[n - 1]}</sheetData></worksheet>"
        for n in numbers
    }
    with zipfile.ZipFile(sink := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return sink.getvalue()


def cell(place: str, value: Cell) -> str:
    if isinstance(value, float):
        return f'<c r="{place}"><v>{value}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'


def rows(*lines: list[Cell]) -> str:
    """Return the XML of rows; "" is an empty cell."""
    return "".join(
        f'<row r="{n}">' + "".join(cell(f"{chr(65 + i)}{n}", value) for i, value in enumerate(line) if value != "")
        + "</row>"
        for n, line in enumerate(lines, 1)
    )  # fmt: skip


def test_the_first_sheet_with_rows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tickets.xlsx"
    lines: list[list[Cell]] = [["text", "", "label"], ["Where is it?", "x", "order"], ["", "", ""], ["Two", "", 2.0]]
    path.write_bytes(workbook("", rows(*lines), rows(["other", "sheet"], ["a", "b"])))
    data = read_cases(path, input_column=["text"], expected_column="label")
    assert [(case.input, case.expected) for case in data.cases] == [("Where is it?", "order"), ("Two", "2")]
    assert data.format == "excel/columns"


def hidden(book: bytes, sheet: str) -> bytes:
    """Return the Excel file with one of its sheets hidden."""
    parts = zipfile.ZipFile(io.BytesIO(book))
    with zipfile.ZipFile(sink := io.BytesIO(), "w") as archive:
        for name in parts.namelist():
            shown = parts.read(name).replace(
                f'<sheet name="{sheet}"'.encode(), f'<sheet name="{sheet}" state="hidden"'.encode()
            )
            archive.writestr(name, shown)
    return sink.getvalue()


def test_a_hidden_sheet_is_not_read_and_what_is_ignored_is_said(tmp_path: Path) -> None:
    path = tmp_path / "sheets.xlsx"
    old, new = rows(["input", "expected"], ["old", "x"]), rows(["input", "", "expected"], ["new", "stray", "y"])
    path.write_bytes(hidden(workbook(old, new, old), "S1"))
    data = read_cases(path)
    assert [case.input for case in data.cases] == ["new"]
    assert data.notes[:2] == ("ignored sheets: S1, S3", "a cell in a column without a name is ignored (1 row)")
    path.write_bytes(hidden(workbook(old), "S1"))
    with pytest.raises(UserError, match="expected at least one row"):
        read_cases(path)


def test_more_rows_than_one_batch_are_read(tmp_path: Path) -> None:
    path = tmp_path / "many.xlsx"
    path.write_bytes(workbook(rows(["input", "expected"], *([f"question {n}", str(n % 7)] for n in range(1100)))))
    assert [case.input for case in read_cases(path).cases] == [f"question {n}" for n in range(1100)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (workbook(rows(["a", "a"], ["1", "2"])), "expected unique column names"),
        (workbook(rows(["input", "expected"], ["", "x"])), "non-empty string for `input`"),
        (workbook(rows(["foo", "bar"], ["1", "x"])), "expected a column `input`"),
        (workbook(""), "expected at least one row"),
        (b"PK\x03\x04" + b"\xff" * 200, "expected an Excel file that can be read"),
        (b"\xd0\xcf\x11\xe0" + b"\xff" * 2000, "expected an Excel file that can be read"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.xlsx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_cases(path)


def test_the_nearest_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(workbook(rows(["text", "label"], ["1", "x"])))
    with pytest.raises(UserError, match="Did you mean 'label'"):
        read_cases(path, input_column=["text"], expected_column="Lable")


@pytest.mark.slow
def test_cells_at_the_corners_of_a_sheet_meet_the_memory_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "corners.xlsx"
    row = '<row r="{n}">{cell}</row>'
    path.write_bytes(workbook(
        row.format(n=1, cell=cell("A1", "input")) + row.format(n=4_000, cell=cell("XFD4000", "x"))
    ))  # fmt: skip
    with pytest.raises(UserError, match=r"too much memory|exited without a result"):
        read_cases(path)
    monkeypatch.setattr(limited, "MAX_MEMORY", 2**33)
    limited.close()
    with pytest.raises(UserError) as unpacked:
        read_cases(path)
    assert "memory" not in str(unpacked.value) and "exited" not in str(unpacked.value)
    limited.close()
