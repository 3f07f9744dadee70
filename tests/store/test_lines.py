"""Files of lines: what was appended is there, whole, whoever else writes and whatever is cut off."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tuneworthy.store.lines import append_line

WRITER = """
import sys
from pathlib import Path
from tuneworthy.store.lines import append_line
for i in range(100):
    append_line(Path(sys.argv[1]), {"who": sys.argv[2], "i": i, "long": "x" * 9000})
"""


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("end", ["", '{"a": 2', '{"a": 2}', '{"a": 2}\n'])
def test_a_line_that_was_cut_off_is_cut_away_and_a_whole_one_is_kept(tmp_path: Path, end: str) -> None:
    path = tmp_path / "new" / "lines.jsonl"
    append_line(path, {"a": 1})
    with path.open("a") as file:
        file.write(end)
    append_line(path, {"a": 3})
    assert [row["a"] for row in rows(path)] == ([1, 2, 3] if "}" in end else [1, 3])


def test_several_writers_lose_nothing_of_one_another(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), who]) for who in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    found = rows(path)
    assert [row["i"] for row in found if row["who"] == "a"] == list(range(100)) and len(found) == 200
