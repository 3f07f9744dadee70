"""Sources that the other rows contradict are named, and faults of free text are found, on made-up rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest

from tests.dataset.check_rows import ASKED, LABELS, TOPICS, filed, row
from tuneworthy.dataset import WHOLE_SET, CheckContext, RowFinding, data_checks
from tuneworthy.dataset.check_runner import run_checks
from tuneworthy.dataset.checks import sources
from tuneworthy.dataset.columns import Arrays, RowColumns
from tuneworthy.dataset.records import row_of
from tuneworthy.types import Case, Example

CHECK = data_checks()["sources"]
NAMES = ("Ada", "Bo", "Carla", "Deniz", "Emil", "Farah", "Goran", "Hana", "Ines", "Jonas", "Kim", "Lea")
THINGS = ("lamps", "chairs", "kettles", "backpacks", "routers", "jackets", "drills", "tents", "printers", "bicycles")
CITIES = ("Leeds", "Oslo", "Porto", "Graz", "Lyon", "Turin", "Gdansk", "Cork", "Ghent", "Malmo")
GERMAN = ("Zwei Hunde laufen ueber die gruene Wiese", "Der junge Mann spielt gerne mit seinem roten Ball",
          "Eine Frau steht neben ihrem Fahrrad", "Viele Kinder warten heute vor der Schule")  # fmt: skip


def shop(n: int = 300) -> list[Example]:
    """Return word problems of four files with their answers."""
    rng, rows = random.Random(5), []
    for i in range(n):
        name, things, city = (rng.choice(words) for words in (NAMES, THINGS, CITIES))
        count, price = rng.randint(2, 90), rng.randint(2, 90)
        asked = f"{name} orders {count} {things} in {city}, and each costs {price} euros. How much is that in all?"
        answer = f"The {count} {things} cost {price} euros each. So {name} pays {count * price} euros in {city}."
        rows.append(replace(row(asked, answer, clerk=rng.choice(NAMES[:3])), source=f"f{i * 4 // n}.csv:{i}"))
    return rows


class EagerColumns(RowColumns):
    """Columns whose functions run before the first result is read, as tasks do."""

    def each(
        self, function: Callable[..., Arrays], arguments: Sequence[Sequence[Any]], *, here: bool = False
    ) -> list[Arrays]:
        return [*super().each(function, arguments, here=here)]


@pytest.mark.parametrize("kind", [RowColumns, EagerColumns])
def test_parts_are_judged_in_rounds_until_one_has_no_fault(
    kind: type[RowColumns], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twenty parts the first six have a fault each, and the third one has two."""
    judged: list[int] = []

    def judge(columns: RowColumns, part: int) -> tuple[Any, Any]:
        judged.append(part)
        codes = {0: "exchanged"} | ({5: "unlike_others"} if part == 2 else {7: "other_answer"})
        return np.arange(10) + 10 * part, SimpleNamespace(codes=codes if part < 6 else {7: "other_answer"})

    monkeypatch.setattr(sources, "MOST_ROWS", 10)
    monkeypatch.setattr(sources, "MIN_ROWS", 10)
    monkeypatch.setattr(sources, "_judged", judge)
    monkeypatch.setattr(sources, "_of_sources", lambda *_: ())
    rows, context = shop(200), CheckContext()
    columns = kind(tmp_path, len(rows), rows, context)
    columns.put("usable", np.ones(len(rows), bool))
    findings = [(one.row, one.code, one.action) for one in sources.SourcesCheck().join(columns, rows, context)]
    drops = [(row, code) for row, code, action in findings if action == "drop"]
    assert drops == [(0, "exchanged"), (10, "exchanged"), (20, "exchanged"), (25, "unlike_others"),
                     *((10 * part, "exchanged") for part in range(3, 6))]  # fmt: skip
    assert [row for row, code, _ in findings if code == "other_answer"] == [7, 17, 37, 47, 57, 67]
    assert judged == [*range(7 if kind is RowColumns else 8)]


def found(rows: Sequence[Example], labels: tuple[str, ...] = ()) -> list[RowFinding]:
    return list(CHECK.run(rows, CheckContext(labels=labels)))


def changed(rows: Sequence[Example], numbers: Sequence[int], code: str) -> list[Example]:
    """Return `rows` with a fault at `numbers`."""
    rng, rows = random.Random(6), list(rows)
    for n in numbers:
        question, answer = rows[n].question, rows[n].answer
        if code == "exchanged":
            question, answer = answer, question
        elif code == "cut_answer":
            answer = answer[: rng.randrange(len(answer) // 4, len(answer) - 2)].rstrip()
        else:
            answer = " ".join(rng.sample(" ".join(GERMAN).split(), 8))
        rows[n] = replace(row(question, answer), source=rows[n].source)
    return rows


@pytest.mark.parametrize("code", ["exchanged", "cut_answer", "unlike_others"])
def test_faults_of_free_text_leave_and_right_rows_stay(code: str) -> None:
    bad = random.Random(7).sample(range(300), 40)
    dropped = {one.row: one.code for one in found(changed(shop(), bad, code)) if one.action == "drop"}
    assert sum(dropped.get(n) == code for n in bad) >= 32
    assert len(dropped.keys() - {*bad}) <= 3


def test_rows_whose_neighbours_on_both_sides_fit_did_not_slip() -> None:
    words = [f"{name} beats {city} in game {i}" for i, (name, city) in enumerate(product(NAMES, CITIES))]
    pairs = [(text if n % 2 else text.replace("beats", "loses to"), "ab"[n % 2]) for text in words for n in range(2)]
    rows = [replace(row(text, label), source=f"f.csv:{n}") for n, (text, label) in enumerate(pairs)]
    judged = sources.Judged(
        fits=lambda asked, answered: asked % 2 != answered % 2,  # any neighbour's
        contradicted=np.ones(len(rows), bool), given=[""] * len(rows), predicted=[""] * len(rows), words="", codes={},
    )  # fmt: skip
    numbers = np.arange(len(rows))
    accused = sources.AccusedSource(("", "f.csv"), numbers, len(rows), 0.1, (0.9, 1.0))
    assert sources._shift(accused, numbers, rows, judged) == 0
    only_next = replace(judged, fits=lambda asked, answered: answered == asked + 1)
    assert sources._shift(accused, numbers, rows, only_next) == 1


def test_nothing_is_found_in_right_rows() -> None:
    assert [one for one in found(shop()) if one.row == WHOLE_SET or one.action != "report"] == []
    assert found(filed(0), LABELS) == []


@pytest.mark.parametrize("step", [1, -1])
def test_the_answers_of_a_shifted_file_move_back(step: int) -> None:
    findings = found(filed(step), LABELS)
    assert [one.code for one in findings if one.row == WHOLE_SET] == ["shifted_source"]
    assert "`f3.csv`" in findings[0].message
    right = filed(0)
    moved = {one.row: one.changed for one in findings if one.action == "mask"}
    assert set(moved) >= set(range(181, 239))
    assert all(one is not None and one.answer == right[n].answer for n, one in moved.items())
    assert [one.row for one in findings if one.code == "no_answer"] == [239 if step > 0 else 180]


def test_the_answers_of_a_shifted_file_of_free_text_move_back() -> None:
    rows = shop()
    file = [n for n, one in enumerate(rows) if one.source.startswith("f1.")]
    slipped = list(rows)
    for n in file:
        slipped[n] = replace(row(rows[n].question, rows[n - 1].answer), source=rows[n].source)
    findings = found(slipped)
    assert [one.code for one in findings if one.row == WHOLE_SET] == ["shifted_source"]
    assert (
        sum(one.changed is not None and one.changed.answer == rows[one.row].answer for one in findings) >= len(file) - 1
    )


def slipped(rows: Sequence[Example], n_files: int) -> list[Example]:
    """Return `rows` with the answers of the previous rows in the first files."""
    names = [f"f{i}." for i in range(n_files)]
    return [
        replace(row(one.question, rows[n - 1].answer), source=one.source) if one.source[:3] in names else one
        for n, one in enumerate(rows)
    ]


@pytest.mark.parametrize("n_files", [2, 3, 4])
def test_files_that_slipped_are_named_however_many_they_are(n_files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = slipped(shop(400), n_files)
    named = [one.message.split("`")[1] for one in found(rows) if one.row == WHOLE_SET]
    assert sorted(named) == [f"f{i}.csv" for i in range(n_files)]
    monkeypatch.setattr(sources, "_slipped", lambda *_: [])
    assert [one for one in found(rows) if one.row == WHOLE_SET] == []


def cases_of(n: int) -> tuple[Case, ...]:
    return tuple(Case(id=one.id, input=one.question, expected=one.answer) for one in shop(500)[-n:])


@pytest.mark.parametrize(("code", "n_bad"), [("cut_answer", 200), ("unlike_others", 200)])
def test_with_cases_half_of_the_rows_may_be_wrong(code: str, n_bad: int) -> None:
    rows, bad = shop(400), random.Random(7).sample(range(400), n_bad)
    rows = changed(rows, bad, code)
    dropped = {
        one.row
        for one in CHECK.run(rows, CheckContext(cases=cases_of(100)))
        if one.action == "drop" and one.code == code
    }
    assert len(dropped & {*bad}) >= 0.6 * n_bad
    assert len(dropped - {*bad}) <= 4
    assert [one for one in found(rows) if one.action == "drop"] == []


def test_a_file_whose_columns_are_exchanged_is_named_and_never_shifted() -> None:
    rows = shop()
    file = [n for n, one in enumerate(rows) if one.source.startswith("f1.")]
    findings = found([replace(row(one.answer, one.question), source=one.source) if n in file else one
                      for n, one in enumerate(rows)])  # fmt: skip
    (named,) = [one for one in findings if one.row == WHOLE_SET]
    assert named.code == "exchanged" and "`f1.csv`" in named.message
    assert {one.row for one in findings if one.code == "exchanged"} >= {*file}


def exchanged_labels(wrong: str) -> list[Example]:
    """Return rows of three annotators; the one called `wrong` takes five labels for five others."""
    rng, rows = random.Random(8), []
    for start in ("", "Hello. ", "Please tell me. ", "One question. ", "Dear team. "):
        for asked in ASKED:
            for i, topic in enumerate(TOPICS):
                by = rng.choice(NAMES[:3])
                label = TOPICS[(i + 5) % 10] if by == wrong and i % 5 < 3 else topic
                rows.append(row(start + asked.format(topic), f"about_{label}", by=by))
    return rows


def test_an_annotator_who_takes_labels_for_others_is_named_and_only_these_rows_leave() -> None:
    rows = exchanged_labels("Bo")
    (named, *convicted) = found(rows, LABELS)
    assert (named.code, named.row) == ("bad_source", WHOLE_SET) and named.message.startswith("by `Bo`")
    wrong = {n for n, one in enumerate(rows) if one.answer[6:] not in one.question}
    assert {one.row for one in convicted} <= wrong and len(convicted) >= 0.7 * len(wrong)
    assert found(exchanged_labels("nobody"), LABELS) == []


def test_the_build_asks_until_the_user_decides(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row_of(one)) + b"\n" for one in filed(1)))
    context = CheckContext(labels=LABELS)

    def gates(**policy: str) -> list[str]:
        checked = run_checks(path, [CHECK], context, policy=policy)  # type: ignore[arg-type]
        return [gate.check for gate in checked.gates if gate.check == "sources"]

    assert gates() == ["sources"]
    assert gates(shifted_source="mask") == gates(shifted_source="drop") == gates(shifted_source="report") == []
