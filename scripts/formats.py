"""Print what is read of each tool's logs and exports: `python -m scripts.formats [FILE ...]`.

Without files, of those in `tests/cases/exports.py`, whose shapes come from the tools' own types: a line a file with the
format that was recognised, its rows, those with feedback, what was imported, what feedback dropped, and what else was
left out. With files, of these, each alone; that shows how files are read which nobody wrote for this project.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.cases.exports import EXPORTS

from tuneworthy.cases.formats.chats import is_written_down
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.errors import TuneworthyError
from tuneworthy.store import Folder

_OPINIONS = frozenset({"thumbs_down", "corrected", "escalated", "unclear_feedback"})


def line_of(name: str, paths: list[Path], folder: Path) -> str:
    """Return the line of the table for the first of `paths`, imported with the others."""
    try:
        done = import_files(Folder(folder), paths)
    except TuneworthyError as error:
        return f"{name:24} refused: {' '.join(str(error).split())[:150]}"
    source = done.record.sources[0]
    reasons = Counter(reject.reason for reject in done.rejects())
    opinions = sum(n for reason, n in reasons.items() if reason in _OPINIONS)
    rest = ", ".join(f"{n} {reason}" for reason, n in reasons.items() if reason not in _OPINIONS)
    dumps = sum(is_written_down(row.answer) for row in done.examples())
    what = source.title or source.format
    n = source.n_kept + source.n_rejected
    return f"{name:24} {what:26} {n:6,} {source.n_rated:6,} {source.n_kept:8,} {opinions:8,} {dumps:5} {rest}"


def main(arguments: list[str]) -> None:
    """Print the table."""
    print(f"{'file':24} {'read as':26} {'rows':>6} {'rated':>6} {'imported':>8} {'disliked':>8} {'dumps':>5} left out")
    with tempfile.TemporaryDirectory() as place:
        for number, argument in enumerate(arguments):
            print(line_of(Path(argument).name[:24], [Path(argument)], Path(place) / str(number)))
        for export in EXPORTS if not arguments else ():
            paths = [Path(place) / f"{export.name}{export.suffix}"]
            paths[0].write_bytes(export.content())
            if export.beside:
                paths.append(Path(place) / f"{export.name}_beside.jsonl")
                paths[1].write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in export.beside))
            print(line_of(export.name, paths, Path(place) / export.format / export.name))


if __name__ == "__main__":
    main(sys.argv[1:])
