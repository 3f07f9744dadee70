"""Learning curves of built, raw and sampled rows: their sizes, their intervals, and what they recommend."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.dataset.check_rows import RECIPE, row
from tests.dataset.test_build import PROJECT
from tests.dataset.test_effect import LABELS, WORDINGS, rows_of
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.dataset import curve
from tuneworthy.dataset.curve import (
    DRAWS,
    MIN_SIZE,
    NAMES,
    DatasetCurve,
    SubsetScores,
    _drawn,
    _recommended,
    _sample,
    curve_of,
    finding,
    stored_curve,
)
from tuneworthy.dataset.effect import MIN_ASKED, SEEDS, AskedSample, EffectMeter
from tuneworthy.dataset.freeze import Version, freeze, open_version
from tuneworthy.dataset.records import HashedCount, LabelRow, Recipe, row_of
from tuneworthy.dataset.sources import cases_hash, measured_cases
from tuneworthy.errors import Undecided
from tuneworthy.people.review_log import FILE_NAME, ReviewPlan, RowVerdict, content_of
from tuneworthy.store import Folder
from tuneworthy.types import Example

CASES = rows_of(240, seed=2)


def reject(one: Example, check: str = "label_errors", **more: Any) -> dict[str, Any]:
    line = row_of(one)
    kept = {key: line.pop(key) for key in ("messages", "group") if key in line}
    return {"id": one.id, "source": "f:1", "check": check, "reason": check, "row": {"meta": {}, **kept}, **more}


def frozen(
    root: Path,
    rows: Sequence[Example],
    rejects: Sequence[dict[str, Any]] = (),
    *,
    labels: bool = True,
) -> Version:
    """Return a version of these rows, and write its project, whose cases are none of them."""
    (root / "tuneworthy.toml").write_text(PROJECT.replace("[examples]\n", ""))
    written = [{"input": one.question, "expected": one.answer} for one in CASES]
    (root / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in written))
    lines = {"rows.jsonl": [row_of(one) for one in rows], "rejects.jsonl": rejects, "findings.jsonl": []}
    counts, of_cases = Counter(one.answer for one in rows), Counter(one.answer for one in CASES)
    contents = {name: [orjson.dumps(line) + b"\n" for line in lines[name]] for name in lines}
    recipe = replace(
        with_cases(RECIPE, root),
        labels=[LabelRow(label, counts[label], counts[label], of_cases[label]) for label in (LABELS if labels else ())],
    )
    return freeze(Folder(root), contents, recipe)


def with_cases(recipe: Recipe, root: Path) -> Recipe:
    cases = HashedCount(len(CASES), cases_hash(measured_cases(load(root))[0]))
    return replace(recipe, depends=replace(recipe.depends, cases=cases))


def mislabelled(rows: Sequence[Example]) -> list[dict[str, Any]]:
    rng = random.Random(3)
    wrong = [row(f"{one.question} so", rng.choice([label for label in LABELS if label != one.answer])) for one in rows]
    return [reject(one) for one in wrong]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A project, and the curve of a version from which a flood of wrong labels was dropped."""
    root = tmp_path_factory.mktemp("measured")
    rows = rows_of(240)
    version = frozen(root, rows, mislabelled(rows))
    done = curve_of(load(root), version)
    return root, json.loads(orjson.dumps(done))


def test_a_version_without_planted_wrong_labels_is_shown_better(measured: tuple[Path, dict[str, Any]]) -> None:
    _, document = measured
    sizes = [one["size"] for one in document["points"]]
    assert len(sizes) >= 3 and sizes[-1] > 2 * 240 / 3 - 30
    assert document["cleaning"]["ci95"][0] > 0 and document["arms"]["raw"][-1]["gain"]["ci95"][1] < 0
    assert all(one["ci95"][0] <= one["score"] <= one["ci95"][1] for one in document["points"])
    assert document["cleaning"]["n"] == document["n_dev"] < document["n"]
    assert (document["n_built"], document["n_raw"], document["metric"]) == (240, 480, "accuracy")


def without(root: Path, bad: Callable[[int, Example], bool]) -> DatasetCurve:
    """Return the curve of a version that a check left without its bad rows."""
    root.mkdir()
    rows = rows_of(360, seed=7)
    leave = {n for n, one in enumerate(rows) if bad(n, one)}
    stay = [one for n, one in enumerate(rows) if n not in leave]
    version = frozen(root, stay, [reject(rows[n]) for n in leave])
    return curve_of(load(root), version)


def test_a_version_without_random_rows_is_not_shown_better(tmp_path: Path) -> None:
    for seed in range(3):
        leave = set(random.Random(seed).sample(range(360), 200))
        done = without(tmp_path / f"random{seed}", lambda n, _, leave=leave: n in leave)
        assert done.cleaning is not None and done.cleaning.ci95[0] <= 0
        assert all(one.gain is not None and one.gain.ci95[1] >= 0 for one in done.arms["raw"])


def test_what_a_check_left_does_not_hide_what_it_dropped_wrongly(tmp_path: Path) -> None:
    lost = {several[-1] for several in WORDINGS.values()}  # no row that stays asks in these wordings; the cases do
    done = without(tmp_path / "wording", lambda _, one: any(words in one.question for words in lost))
    assert done.cleaning is not None and done.cleaning.delta < -0.04 and done.cleaning.costs
    assert done.n > 3 * done.n_dev  # most questions are rows that stay, and would hide it


def test_the_command_prints_a_table_and_what_it_recommends(
    measured: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, document = measured
    assert invoke(["data", "curve", "--project", str(root)]) == 0
    said = capsys.readouterr()
    assert "raw rows" in said.out and "Too few reviewed rows" in said.out
    assert "Recommended size" in said.out and "the last doubling" in said.out
    assert "so they would favour the built rows" in " ".join(said.out.split()) and "not measured" not in said.out
    assert "Training the classical baseline (linear)" in said.err
    assert invoke(["data", "curve", "--project", str(root), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again.pop("pilots") == {}
    assert again == document  # the same whenever it is measured


PILOTS = {
    "small": [(0, 0.2), (50, 0.3), (100, 0.5), (200, 0.6)],
    "large": [(0, 0.4), (50, 0.58), (100, 0.7), (200, 0.8)],
}


def pilot_of(name: str, version: str) -> dict[str, Any]:
    (_, before), *sizes = PILOTS[name]
    built = [
        {"size": size, "seed": seed, "score": score + (seed - 0.5) / 100, "data": "built", "steps": 1}
        for size, score in sizes
        for seed in (0, 1)
    ]
    raw = {"size": 200, "seed": 0, "score": 0.99, "data": "raw", "steps": 1}
    return {"dataset": version, "base": f"id-{name}", "name": name, "baseline": before, "n_examples": 240,
            "points": [*built, raw]}  # fmt: skip


def test_pilots_of_two_bases_stand_side_by_side_and_one_names_the_command_for_another(
    measured: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(measured[0], tmp_path / "project"))
    version, store = open_version(Folder(root), None).id, Folder(root)
    store.write("pilot", pilot_of("small", version))
    assert invoke(["data", "curve", "--project", str(root)]) == 0
    assert "--pilot" in capsys.readouterr().out
    store.write("pilot", {**pilot_of("large", version), "earlier": [pilot_of("small", version)]})
    assert invoke(["data", "curve", "--project", str(root)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "200 60.0% 80.0%" in said.replace("80.0% 60.0%", "60.0% 80.0%") and "99.0%" not in said
    assert "large reaches the best score of small (60.0%, with 200 rows) with 100 rows" in said
    assert invoke(["data", "curve", "--project", str(root), "--json"]) == 0
    pilots = json.loads(capsys.readouterr().out)["pilots"]
    assert pilots["large"] == pytest.approx({str(size): score for size, score in PILOTS["large"]})
    store.write("pilot", pilot_of("small", "another version"))
    assert invoke(["data", "curve", "--project", str(root)]) == 0
    assert "--pilot" not in capsys.readouterr().out  # that pilot is of other rows


def test_with_few_dev_cases_only_the_size_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(240)
    frozen(tmp_path, rows, mislabelled(rows))
    monkeypatch.setattr(curve, "MIN_ASKED", 121)
    monkeypatch.setattr("tuneworthy.cli.data_curve.MIN_ASKED", 121)
    assert invoke(["data", "curve", "--project", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "It needs at least 121 dev cases" in said and "there are 120" in said
    assert "built −" not in said and "Recommended size" in said


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_version_that_was_built_beside_other_cases_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = frozen(tmp_path, rows_of(240))
    with (tmp_path / "cases.jsonl").open("a") as file:  # a row of the version becomes a case
        file.write(json.dumps({"input": rows_of(240)[0].question, "expected": "lost"}) + "\n")
    assert invoke(["data", "curve", "--project", str(tmp_path)]) == 2
    assert f"The cases have changed since version {version.id}" in capsys.readouterr().err.replace("\n", " ")


def test_rows_from_which_nothing_is_learnt_recommend_no_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(5)
    frozen(tmp_path, [row(f"item {n} thing {n * 7919}", rng.choice(LABELS)) for n in range(240)])
    assert invoke(["data", "curve", "--project", str(tmp_path)]) == 4
    said = capsys.readouterr().out.replace("\n", " ")
    assert "No size can be recommended" in said and "last doubling" not in said


def test_too_few_rows_and_too_few_questions_are_undecided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version = frozen(tmp_path, rows_of(2 * MIN_SIZE))
    assert invoke(["data", "curve", "--project", str(tmp_path)]) == 4
    assert f"at least {2 * MIN_SIZE} rows" in capsys.readouterr().err
    (tmp_path / "q").mkdir()
    version = frozen(tmp_path / "q", rows_of(48))
    monkeypatch.setattr(curve, "measured_cases", lambda project: (measured_cases(project)[0], None, []))
    with pytest.raises(Undecided, match=f"at least {MIN_ASKED} dev cases .* only 48"):
        curve_of(load(tmp_path / "q"), version)


# --- which rows are trained on --------------------------------------------------------------------------------------


def meter_of() -> EffectMeter:
    return EffectMeter(labels=dict.fromkeys(LABELS, 60), cases=dict.fromkeys(LABELS, 15))


def test_raw_rows_are_neither_held_out_nor_overlaps_and_are_never_asked(tmp_path: Path) -> None:
    rows = [*rows_of(118), replace(row("grouped one", "lost"), group="g"), replace(row("other", "slow"), group="g")]
    rejects = [
        *(reject(row(f"{one.question} thanks", one.answer), "near") for one in rows[:60]),
        reject(row("was dev", "lost"), "held_out"),
        reject(row("is a case", "lost"), "contamination"),
        reject(row("is a case twice", "lost"), "exact", contamination=True),
    ]
    sample, _ = _sample(frozen(tmp_path, rows, rejects), meter_of(), {})
    assert sample.stays.sum() == 120 and len(sample.stays) == 120 + 60
    assert not {"was dev", "is a case", "is a case twice"} & {*sample.questions}
    folds = dict(zip(sample.questions, sample.folds.tolist(), strict=False))
    assert folds["grouped one"] == folds["other"] and len(set(folds.values())) == SEEDS
    assert {sample.questions[number] for number in sample.asked} == {one.question for one in rows}


def test_subsets_are_nested_of_the_right_rows_and_never_of_the_fold_that_is_asked(tmp_path: Path) -> None:
    rows = rows_of(160)
    good = {content_of(one): n < 90 for n, one in enumerate(rows[:120])}
    sample, reviewed = _sample(frozen(tmp_path, rows, mislabelled(rows)), meter_of(), good)
    draws = [(name, size, draw) for name in NAMES for size in (20, 40) for draw in range(DRAWS)]
    drawn = dict(zip(draws, _drawn(sample, reviewed, draws, sample.folds != 1, 1), strict=True))
    assert reviewed.sum() == 90
    for (name, size, draw), numbers in drawn.items():
        assert len(set(numbers.tolist())) == size
        assert (sample.folds[numbers] != 1).all() and (name == "raw" or sample.stays[numbers].all())
        assert set(numbers.tolist()) <= set(drawn[name, 40, draw].tolist())
        assert name != "reviewed" or reviewed[numbers].all()
    assert not sample.stays[drawn["raw", 20, 0]].all()
    assert len({tuple(drawn["built", 20, draw]) for draw in range(DRAWS)}) == DRAWS


# --- what is said of them -------------------------------------------------------------------------------------------


def by_seed(scores: Any) -> Any:
    """Return scores ``(n_draws, n)`` as those of the seed that asks each question, with zeros for the others."""
    folds = np.arange(scores.shape[1]) % SEEDS
    return np.stack([scores * (folds == fold) for fold in range(SEEDS)], axis=1)


def scores_of(levels: Sequence[float], n: int = 600) -> SubsetScores:
    """Return scores of sizes 10, 20, ...: of n questions, the first ones are right."""
    columns = {
        ("built", 10 * 2**place): by_seed(np.array([np.arange(n) < round(level * n)], np.float64))
        for place, level in enumerate(levels)
    }
    return SubsetScores(columns, np.ones(n))


@pytest.mark.parametrize(
    ("levels", "n", "size", "least"),
    [
        ((0.50, 0.88, 0.89, 0.90), 600, 20, 20),  # 20 rows lose little, 10 rows surely too much
        ((0.50, 0.60, 0.70, 0.90), 600, 80, 80),  # every halving loses too much
        ((0.50, 0.86, 0.88, 0.90), 600, 40, 20),  # 20 rows lose 4 points: neither shown to be less than 5 nor more
        ((0.50, 0.89, 0.86, 0.90), 600, 80, 20),  # a size is recommended only if each larger one is good enough
        ((0.86, 0.86, 0.86, 0.90), 60, None, 10),  # few questions show nothing
        ((0.87, 0.50, 0.90, 0.90), 600, 40, 40),  # behind a size that loses, no smaller one is tried
    ],
)
def test_the_smallest_size_that_is_shown_to_lose_less_than_the_margin_is_recommended(
    levels: tuple[float, ...], n: int, size: int | None, least: int
) -> None:
    assert _recommended(scores_of(levels, n), [10, 20, 40, 80], 0.05) == (size, least)


def crossed(rng: np.random.Generator, n: int = 150) -> SubsetScores:
    """Return scores of 50% and 60% in the mean, where the draw of the few rows moves all questions of a fold."""
    folds = np.arange(n) % SEEDS
    luck = rng.normal(0, 0.13, (DRAWS, SEEDS))[:, folds]
    few, many = rng.random((DRAWS, n)) < 0.5 + luck, rng.random((1, n)) < 0.6
    return SubsetScores(
        {("built", 10): by_seed(few.astype(float)), ("built", 20): by_seed(many.astype(float))}, np.ones(n)
    )


@pytest.mark.slow
def test_intervals_cover_which_rows_were_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(11)
    worlds = [crossed(rng) for _ in range(200)]

    def covered() -> float:
        found = [one.difference(("built", 10), ("built", 20)).ci95 for one in worlds]
        return float(np.mean([low <= 0.1 <= high for low, high in found]))

    assert covered() >= 0.94
    few = np.array([np.arange(60) < 2 * draw for draw in range(DRAWS)], float)
    rare = SubsetScores({("built", 10): by_seed(few)}, np.ones(60))
    score, interval = rare.level(("built", 10))
    assert 0 <= interval[0] < score
    monkeypatch.setattr(SubsetScores, "_widened", lambda self, value, bounds, draws: bounds)
    assert covered() < 0.92  # the questions alone are too narrow


def test_free_text_is_measured_by_the_nearest_row_and_without_dropped_rows_there_is_no_raw_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    advice = "{} needs a longer answer than a label, with as many words of advice as number {}"
    rows = [row(one.question, advice.format(one.answer, n)) for n, one in enumerate(rows_of(90))]
    version = frozen(tmp_path, rows, labels=False)
    cases = [{"input": one.question, "expected": advice.format(one.answer, 1000 + n)} for n, one in enumerate(CASES)]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    recipe = with_cases(version.recipe, tmp_path)
    done = curve_of(load(tmp_path), Version(version.folder, recipe))
    assert (done.baseline, done.metric) == ("nearest", "token F1")
    assert done.cleaning is None and "raw" not in done.arms
    assert open_version(Folder(tmp_path)).id == version.id


# --- other rows -----------------------------------------------------------------------------------------------------


def review(root: Path, rows: Sequence[Example], good: Callable[[Example], bool]) -> None:
    """Write a review in which one person judged these rows."""
    ids = tuple(content_of(one) for one in rows)
    numbers: Any = {"seed": 0, "n_rows": len(ids), "attempt": 1, "n_known": 0, "n_known_bad": 0}
    plan = ReviewPlan(id="p", version="v", rows=ids, time="", alpha=0.05, bound=0.9, max_bad=0, **numbers)
    verdicts = [
        RowVerdict(sample="p", row=content_of(one), reviewer="me", good=good(one), reason="wrong", time="")
        for one in rows
    ]
    lines = [{"kind": "plan", **asdict(plan)}, *({"kind": "verdict", **asdict(one)} for one in verdicts)]
    (root / FILE_NAME).write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def noisy(n: int, share: float) -> tuple[list[Example], set[str]]:
    """Return rows of which a share has a wrong label, and the questions of the right ones."""
    rng, right = random.Random(4), set()
    rows = []
    for one in rows_of(n, seed=9):
        is_wrong = rng.random() < share
        right |= set() if is_wrong else {one.question}
        rows.append(row(one.question, rng.choice([x for x in LABELS if x != one.answer])) if is_wrong else one)
    return rows, right


def test_reviewed_rows_teach_more_and_difficult_rows_less_where_labels_are_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, right = noisy(480, 0.4)
    version = frozen(tmp_path, rows)
    assert "reviewed" not in curve_of(load(tmp_path), version).arms
    review(tmp_path, rows[:240], lambda one: one.question in right)
    done = curve_of(load(tmp_path), version)
    reviewed, hard = (done.arms[name][-1].gain for name in ("reviewed", "hard"))
    assert reviewed is not None and reviewed.ci95[0] > 0 and hard is not None and hard.costs
    assert "more from reviewed rows" in finding(done) and "less from most difficult rows" in finding(done)
    assert invoke(["data", "curve", "--project", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "more from reviewed rows" in said and "Too few reviewed rows" not in said
    assert stored_curve(Folder(tmp_path)) == done
    frozen(tmp_path, rows[:-1])
    assert stored_curve(Folder(tmp_path)) is None and stored_curve(Folder(tmp_path), version) == done


def test_difficult_rows_first_teach_more_where_most_rows_are_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = [(f"{word}{n}", label) for n in range(20) for word, label in zip("wxyz", LABELS, strict=True)]
    asked = [row(f"matter {text} urgent {n}", label) for text, label in rare for n in range(4)]
    monkeypatch.setattr(sys.modules[__name__], "CASES", asked)
    alike = [row(f"please check the invoice again {n}", LABELS[0]) for n in range(240)]
    version = frozen(tmp_path, [*alike, *(row(f"matter {text} today", label) for text, label in rare)])
    hard = curve_of(load(tmp_path), version).arms["hard"][-1].gain
    assert hard is not None and hard.ci95[0] > 0
    monkeypatch.setattr(AskedSample, "score", lambda *_: 1.0)  # then no row is difficult
    _, orders = order_of(tmp_path, version)
    assert all((orders["hard", draw] == orders["built", draw]).all() for draw in range(DRAWS))


def order_of(root: Path, version: Version) -> tuple[AskedSample, dict[tuple[str, int], Any]]:
    sample, reviewed = _sample(version, meter_of(), {})
    keys = [(name, draw) for name in ("built", "hard") for draw in range(DRAWS)]
    draws = [(name, 40, draw) for name, draw in keys]
    return sample, dict(zip(keys, _drawn(sample, reviewed, draws, sample.folds != 1, 1), strict=True))
