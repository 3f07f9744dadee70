"""An import for people: its files, how their rows were read, and why rows were left out."""

from tuneworthy.cli.options import note, say
from tuneworthy.dataset.importing.folder import Import
from tuneworthy.report.text import clean
from tuneworthy.text import count, plural


def dropped_rows(n: int, explanation: str, first: str) -> str:
    return f"  dropped: {n} row{'s' * (n != 1)} ({explanation}; first in {first})"


def say_import(done: Import) -> None:
    """Print an import: its files, how their rows were read, and why rows were left out."""
    record = done.record
    for source in record.sources:
        name, title, n = clean(source.name, 0), source.title or source.format, source.n_kept + source.n_rejected
        if source.companion:
            say(f"{name}: {title}, used for the rows of the other files")
        else:
            read = f"{n:,} {plural(n, source.unit, f'{source.unit}s')}, {source.n_rated:,} with feedback"
            say(f"{name}: {title}, {read}, {source.n_kept:,} imported")
        for turn in source.example:
            calls = f" [calls {clean(', '.join(turn.calls))}]" if turn.calls else ""
            say(f"    {turn.role}: {clean(turn.content, 0)[:160]}{calls}")
    note(*(clean(line, 0) for line in record.notes))
    for reason in record.reasons.values():
        say(dropped_rows(reason.n, clean(reason.words, 0), clean(reason.first, 0)))
    repaired = f", {record.n_repaired} of them with a corrected answer" if record.n_repaired else ""
    say(f"{done.folder / 'rows.jsonl'}: {count(record.n_kept, 'example')}{repaired}")
    if record.n_rejected:
        say(f"{done.folder / 'rejects.jsonl'}: the dropped rows with their reasons (n = {record.n_rejected})")
