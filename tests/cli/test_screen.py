"""What a person reads on a terminal of 80 columns, and in a pipe."""

from __future__ import annotations

import pytest

from tests.report import report_records
from tuneworthy.cli.safe_stream import safe_streams
from tuneworthy.cli.tables import show_run


@pytest.mark.parametrize(("columns", "headings"), [("80", "95% interval"), ("", "p50 ms")])
def test_the_table_of_a_run_keeps_its_names_and_honours_the_width(
    columns: str, headings: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    record = report_records.plain()
    with safe_streams():
        show_run(record)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[:3] == ["rung", "status", "variant"]
    assert lines[2].endswith(headings)
    for rung in record.rungs:
        assert any(line.split()[:2] == [rung.rung, rung.status.split("_")[0]] for line in lines)
        assert rung.name is None or any(rung.name in line for line in lines)
    assert max(map(len, lines[:4])) <= int(columns or 160)
    assert not [line for line in lines if line != line.rstrip()]
