"""Odd files through the real commands: each row is in the version or has its reason, and there is no traceback."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.dataset.check_rows import clean
from tests.dataset.test_build import project, version_of
from tuneworthy.cli import invoke
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.dataset.records import ImportRecord
from tuneworthy.store import Folder


def chat(question: str, answer: str, **more: Any) -> bytes:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages, **more}, ensure_ascii=False).encode("utf-8", "surrogatepass")


def sharegpt(*turns: tuple[str, str]) -> bytes:
    return json.dumps({"conversations": [{"from": who, "value": what} for who, what in turns]}).encode()


ODD = [
    (chat("Where do I find the pool of the hotel in winter?", "In the garden."), None),
    (chat("Wann \u00f6ffnet das Caf\u00e9?", "Um neun.").decode().encode("latin-1"), "not_utf8"),
    (chat("How loud is the bar at night on the ground classical baseline?", "Quiet\u200b enough."), None),
    (chat("\u202eWhich bus goes to the old harbour from here\u202c?", "Bus \u0627\u0644\u0639 seven."), None),
    (chat("Are towels \0 part of the price of the room?", "Yes."), "nul"),
    (chat("Is the sauna open for children before six?", "\u200b\u2060\ufeff"), "empty_answer"),
    (chat("Is there parking for a van behind the house?", ""), "empty_answer"),
    (chat("Which key opens the gate to the beach?", '=HYPERLINK("http://x.example";"key")'), None),
    (chat("Lone half of a pair in the question?", "\ud800"), "not_utf8"),
    (b'{"messages": [{"role": "user", "content": "cut off', "not_json"),
    (b"", ""),
    (chat("Who mends the lamp in the corridor upstairs?", "The porter."), None),
]  # fmt: skip
"""Lines of one file, and why each is left out: None if it is kept, "" if it is no row."""
TURNS = [
    (sharegpt(("human", "What is the house wine made of this year?"), ("gpt", "Grapes.")), None),
    (sharegpt(("narrator", "Once"), ("gpt", "upon")), "unknown_role"),
    (sharegpt(("human", "Any news?"), ("gpt", ""), ("human", "And now?"), ("gpt", "Some.")), "empty_turn"),
]
TABLE = "\ufeffquestion,answer\r\n=1+1 is what,@two of them\r\n+1 more thing,a,b\r\n-5 is below what,\t\r\n"


def write(folder: Path) -> list[Path]:
    files = [folder / "odd.jsonl", folder / "turns.jsonl", folder / "table.csv", folder / "half.jsonl.gz"]
    files[0].write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(line for line, _ in ODD))
    files[1].write_bytes(b"\n".join(line for line, _ in TURNS))
    files[2].write_text(TABLE, newline="", encoding="utf-8")
    rows = [chat(f"{row.question} {number} {number * 7919}", row.answer) for number, row in enumerate(clean())]
    files[3].write_bytes(gzip.compress(b"\n".join(rows))[:-200])
    return files


def test_odd_rows_are_in_the_version_or_left_out_with_their_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = project(tmp_path / "p", 'off = ["near"]\npolicy = { language = "report" }\n')
    files = write(tmp_path)
    done = import_files(Folder(root), files)
    told = {reject.source: reject.reason for reject in done.rejects()}
    kept = {row.source for row in done.examples()}
    for name, lines in (("odd.jsonl", ODD), ("turns.jsonl", TURNS)):
        for number, (_, reason) in enumerate(lines, 1):
            source = f"{name}:{number}"
            assert (source in kept, told.get(source)) == (reason is None, reason or None), source
    assert {source: told.get(source) for source in ("table.csv:2", "table.csv:3", "table.csv:4")} == {
        "table.csv:2": None, "table.csv:3": "wrong_cells", "table.csv:4": "not_labelled"
    }  # fmt: skip
    assert any("gzip" in words or "cut off" in words for words in _words(done.record, "half.jsonl.gz"))
    assert invoke(["data", "build", "--project", str(root)]) == 0
    version = version_of(root)
    ends = [row.source for row in version.examples()] + [reject.source for reject in version.rejects()]
    assert sorted(ends) == sorted(kept)
    for name in ("c.html", "c.md"):
        assert invoke(["report", "data", "--out", str(root / name), "--project", str(root)]) == 0
        page = (root / name).read_text()
        assert not re.search("[\u202a-\u202e\u200b\0]", page)
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err


def _words(record: ImportRecord, name: str) -> list[str]:
    """All that an import says of a file."""
    return [
        *record.notes,
        *(f"{one.words} {key}" for key, one in record.reasons.items() if name in one.first),
    ]


MEASURE = """
import re, sys
from pathlib import Path
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.store import Folder
done = import_files(Folder(Path(sys.argv[1])), [Path(sys.argv[2])])
(reject,) = done.rejects()
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
print(done.record.n_kept, reject.reason, peak)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz"])
def test_a_line_of_200_mb_is_imported_past_in_little_memory(name: str, tmp_path: Path) -> None:
    path, line = tmp_path / name, chat("q", "a")
    opener: Any = gzip.open if name.endswith("gz") else open
    with opener(path, "wb") as file:
        head, tail, ends = (b'{"messages": "', b'"}', b"\n")
        if name == "a.csv":
            file.write(b"question,answer\n")
            line, head, tail = b"q,a", b"", b",a"
        if name == "a.json":
            file.write(b"[")
            ends = b",\n"
        file.write(line + ends + head)
        for _ in range(200):
            file.write(b"x" * 2**20)
        file.write(tail + ends + line + (b"]" if name == "a.json" else b"\n"))
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "p"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kept, reason, megabytes = done.stdout.split()
    print(f"{name}: {megabytes} MB")
    assert (kept, reason) == ("2", "too_long")
    assert int(megabytes) < 160
