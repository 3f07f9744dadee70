"""The view `data`: how a version of the training data was built, its dropped rows, and a way back for a row.

Invariant: every text of a row is masked, and the text of a row that overlaps a case is hidden, as on the card.
"""

from array import array
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.cases.pii import Masker
from tuneworthy.dataset.base import data_checks
from tuneworthy.dataset.card import DatasetCard, card_of, look_of, shown_row
from tuneworthy.dataset.corrections import FILE_NAME, Correction, read_corrections, write_correction
from tuneworthy.dataset.freeze import Version, find_version, latest_version, open_version
from tuneworthy.dataset.records import RowLine
from tuneworthy.dataset.rows import REJECTS
from tuneworthy.errors import UserError
from tuneworthy.people.review_log import FILE_NAME as REVIEWS
from tuneworthy.people.review_log import content_of, state_of
from tuneworthy.report.card import document
from tuneworthy.report.text import Column, Table, integer, name_column, plain, text_column
from tuneworthy.store import Folder
from tuneworthy.store.shapes import parsed
from tuneworthy.types import Example, JsonObject, TextPair
from tuneworthy.web.security import number_of
from tuneworthy.web.state import UiState

PAGE = 50
# Characters of a text of a row.
LONGEST = 100_000
BY_PERSON = "dropped_by_person"
BUILD = "tuneworthy data build"
SOURCES = (
    name_column("name", "file"),
    text_column("title", "format", lambda one: one.title or one.format),
    Column("n_kept", "rows kept", integer),
    Column("n_rejected", "rows rejected", integer),
    Column("n_rated", "rows with feedback", integer),
)
# Checks whose rows nothing brings back: they are cases.
_OF_CASES = frozenset({"held_out", "contamination"})
# Check and reason to the places of the lines in the file of dropped rows.
Places = Mapping[TextPair, "array[int]"]


def data(state: UiState, query: Mapping[str, str]) -> JsonObject:
    """Return the funnel of a version, its sources, and its dropped rows by reason.

    Args:
        state: The project.
        query: `version`, an id; the latest version without one.
    """
    store = Folder(state.root)
    if not query.get("version") and latest_version(store) is None:
        return {"version": "", "command": BUILD}
    version, card, places = _opened(state, query.get("version", ""))
    review = state_of(state.root / REVIEWS, version.id)
    page = document(card, review.summary if review.plan else "")
    words = {one.check: {code: found.words for code, found in one.reasons.items()} for one in version.recipe.checks}
    tables = [block for part in page.sections if part.name == "funnel" for block in part.blocks]
    return {
        "version": version.id,
        "versions": _versions(store),
        "answer": page.answer,
        "sentence": page.sentence,
        "basis": page.basis,
        "warnings": [plain(one) for one in page.warnings],
        "next": {"command": page.next_step.command, "why": plain(page.next_step.why)} if page.next_step else None,
        "tables": [table.cells() for table in tables if isinstance(table, Table)],
        "sources": Table.of("Sources", SOURCES, version.recipe.input.sources).cells(),
        "unread": [f"{one.words}: {integer(one.n)}" for one in version.recipe.input.reasons.values()],
        "reasons": [
            {"check": check, "reason": reason, "words": words.get(check, {}).get(reason, ""), "n": len(found)}
            for (check, reason), found in places.items()
        ],
    }


def dropped(state: UiState, query: Mapping[str, str]) -> JsonObject:
    """Return a page of the dropped rows.

    Args:
        state: The project.
        query: `version`; `check` and `reason`; `page` from 0.
    """
    version, _, all_places = _opened(state, query.get("version", ""))
    check, reason = query.get("check", ""), query.get("reason", "")
    places, start = all_places.get((check, reason), array("q")), PAGE * number_of(query, "page")
    keep = f'[data.policy]\n{reason} = "report"' if check in data_checks().keys() - _OF_CASES else ""
    mask = Masker(look=look_of(version.recipe.settings["pii_engine"])).mask
    taken_back = read_corrections(state.root / FILE_NAME)
    rows = []
    with (version.folder / REJECTS).open("rb") as file:
        for place in islice(places, start, start + PAGE):
            file.seek(place)
            line = parsed(file.readline(), RowLine, version.folder / REJECTS)
            row = line.example or Example(id=line.id, messages=())
            shown, name = shown_row(line, row, mask, LONGEST), content_of(row)
            can_restore = (line.check, line.reason) == ("corrections", BY_PERSON)
            is_back = can_restore and (name not in taken_back or taken_back[name].decision != "drop")
            rows.append(
                {
                    "source": shown.source,
                    "question": shown.question,
                    "answer": shown.answer,
                    "detail": shown.detail,
                    "other": shown.other,
                    "row": name if can_restore else "",
                    "restored": is_back,
                }
            )
    return {"rows": rows, "n": len(places), "page": start // PAGE, "size": PAGE, "keep": keep}


def restore(state: UiState, body: Mapping[str, Any]) -> JsonObject:
    """Take back a person's decision to drop a row; the next build then has the row.

    Raises:
        UserError: The version has no such row, or the row is restored already.
    """
    version, *_ = _opened(state, body.get("version", ""))
    path, row = state.root / FILE_NAME, body.get("row", "")
    with state.lock:
        decision = read_corrections(path).get(row)
        if decision is None or decision.decision != "drop":
            raise UserError("No person dropped this row, or it is restored already.")
        write_correction(path, Correction(row=row, version=version.id, reviewer=state.labeller, decision="open"))
    return {"row": row, "next": BUILD}


def _opened(state: UiState, wanted: str) -> tuple[Version, DatasetCard, Places]:
    """Return a version (the latest for ""), its card and the places of its dropped rows; each is read once."""
    store, cache = Folder(state.root), state.cache.setdefault("data", {})
    latest = None if wanted else latest_version(store)
    name = latest.id if latest else wanted
    if name not in cache:
        version = open_version(store, name or None)
        cache[name] = version, card_of(version), places_of(version.folder / REJECTS)
    found: tuple[Version, DatasetCard, Places] = cache[name]
    return found


def places_of(path: Path) -> Places:
    places: dict[TextPair, array[int]] = {}
    start = 0
    with path.open("rb") as file:
        for line in file:
            found = orjson.loads(line)
            places.setdefault((found.get("check", ""), found.get("reason", "")), array("q")).append(start)
            start += len(line)
    return places


def _versions(store: Folder) -> list[JsonObject]:
    paths = sorted((store.path / "datasets").glob("[!.]*/recipe.json"))
    found = [one for path in paths if (one := find_version(store, path.parent.name)) and not one.recipe.honest]
    found.sort(key=lambda one: one.recipe.times.created, reverse=True)
    return [{"id": one.id, "created": one.recipe.times.created, "rows": integer(one.n_rows)} for one in found]
