"""What leaving rows out does to accuracy is measured, and a check that is shown to cost accuracy only reports."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.dataset.check_rows import row
from tuneworthy.classical.base import CLASSICAL_MODELS, QuestionAnswer
from tuneworthy.dataset import CheckContext, DataCheck, RowFinding
from tuneworthy.dataset.check_runner import CheckedRows, run_checks
from tuneworthy.dataset.checks import label_errors
from tuneworthy.dataset.checks.label_errors import LabelErrors, find_doubts, out_of_fold, wrong_shares
from tuneworthy.dataset.effect import FEW, EffectMeter, build_words, effect_words
from tuneworthy.dataset.records import Difference, Effect
from tuneworthy.dataset.rows import StoredRows, row_of
from tuneworthy.dataset.sources import _labels
from tuneworthy.types import Case, Example

LABELS = ("lost", "slow", "price", "close")
WORDINGS = {
    "lost": ("it is gone", "cannot find it", "where did it go", "someone took it"),
    "slow": ("it takes ages", "still waiting", "hurry up with it", "no progress at all"),
    "price": ("what is the fee", "too expensive", "how much is it", "the bill is wrong"),
    "close": ("shut it down", "I want to leave", "end the contract", "delete everything"),
}
BESIDE = ("today", "again", "please", "my friend says", "as I wrote", "on the phone", "for the shop", "in the app")


def rows_of(n: int, seed: int = 1) -> list[Example]:
    """Return rows of four labels, each asked in four wordings."""
    rng = random.Random(seed)
    drawn = [(label, rng.choice(WORDINGS[label])) for label in (LABELS[i % 4] for i in range(n))]
    return [
        row(f"{rng.choice(BESIDE)} {words} {rng.choice(BESIDE)} {i}", label) for i, (label, words) in enumerate(drawn)
    ]


def stored(folder: Path, rows: Sequence[Example]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row_of(one)) + "\n" for one in rows))
    return path


def dropping(bad: Callable[[Example], bool], *, certain: bool = False) -> DataCheck:
    """Return a check that asks for the rows that are `bad` to leave."""

    def examine(rows: Sequence[Example], context: CheckContext) -> Iterator[RowFinding]:
        return (RowFinding(row=number, code="odd") for number, one in enumerate(rows) if bad(one))

    return DataCheck(name="dropping", examine=examine, codes={"odd": "an odd row"}, certain=certain)


def other_wordings(one: Example) -> bool:
    """Whether a row is not in the first wording of its label: what a check for paraphrases might take for copies."""
    return WORDINGS[one.answer][0] not in one.question


def run(path: Path, check: DataCheck, rows: Sequence[Example], policy: dict[str, str] | None = None) -> CheckedRows:
    labels = Counter(one.answer for one in rows)
    dev = [Case(id=one.id, input=one.question, expected=one.answer) for one in rows_of(80, seed=2)]
    of_labels = set(labels) <= set(LABELS) and len(rows) > 30
    meter = EffectMeter(dev=dev, labels=labels) if of_labels else EffectMeter()
    return run_checks(path, [check], CheckContext(), policy=policy or {}, meter=meter)  # type: ignore[arg-type]


def effect_of(checked: CheckedRows) -> Effect:
    (stage,) = checked.stages
    assert stage.effect is not None
    return stage.effect


@pytest.fixture(scope="module")
def costly(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Example]]:
    rows = rows_of(200)
    return stored(tmp_path_factory.mktemp("costly"), rows), rows


def test_a_check_that_is_shown_to_cost_accuracy_reports_instead(costly: tuple[Path, list[Example]]) -> None:
    path, rows = costly
    checked = run(path, dropping(other_wordings), rows)
    effect = effect_of(checked)
    assert effect.status == "measured" and effect.loss == effect.dev and effect.baseline == "linear"
    assert len(checked.rows) == len(rows)
    (stage,) = checked.stages
    assert {one.action for one in stage.decisions} == {"report"}
    assert "only reported" in effect_words(effect)
    assert list(effect.labels) and all(0.5 < share < 1 for _, share in effect.labels.values())


def test_what_leaves_at_any_cost_and_what_the_policy_drops_is_dropped(costly: tuple[Path, list[Example]]) -> None:
    path, rows = costly
    for checked in (
        run(path, dropping(other_wordings, certain=True), rows),
        run(path, dropping(other_wordings), rows, {"odd": "drop"}),
        run_checks(path, [dropping(other_wordings)], CheckContext(), policy={}),
    ):
        assert len(checked.rows) == sum(not other_wordings(one) for one in rows)


def test_a_check_that_drops_wrong_rows_drops_them(tmp_path: Path) -> None:
    rows = rows_of(300)
    wrong = [row(f"{one.question} x", LABELS[(LABELS.index(one.answer) + 1) % 4]) for one in rows[:60]]
    checked = run(stored(tmp_path, [*rows, *wrong]), dropping(lambda one: one.question.endswith("x")), rows)
    effect = effect_of(checked)
    assert effect.status == "measured" and not effect.loss and len(checked.rows) == 300
    assert effect.dev is not None and effect.dev.delta >= 0 and effect.dev.n == 80


def test_a_check_that_drops_what_a_model_contradicts_is_not_praised_for_what_it_left(tmp_path: Path) -> None:
    rng = random.Random(9)
    rows = [row(one.question, one.answer if rng.random() < 0.7 else rng.choice(LABELS)) for one in rows_of(600)]
    model = {one.question: label for one, label in zip(rows, _predicted(rows), strict=True)}
    effect = effect_of(run(stored(tmp_path, rows), dropping(lambda one: model[one.question] != one.answer), rows))
    assert effect.dev is not None and effect.rows is not None
    assert abs(effect.dev.delta) < 0.03 and effect.rows.ci95[0] < 0
    assert "on dev" in effect_words(effect)


def test_held_out_rows_show_a_gain_and_not_that_of_questions_which_a_check_removed(tmp_path: Path) -> None:
    rng, rows = random.Random(9), rows_of(900)
    wrong = [*rng.sample(range(900), 360)]
    for n in wrong:
        rows[n] = row(rows[n].question, rng.choice([one for one in LABELS if one != rows[n].answer]))
    pairs = ((one.question, rng.choice(LABELS[:2]) if one.answer == "slow" else one.answer) for one in rows_of(400))
    alike = [row(*pair) for pair in pairs]  # without the first label, the second is told from it, at its cost
    always_wrong = [row(one.question, "lost" if "delete" in one.question else one.answer) for one in rows_of(400)]
    meter, effects = EffectMeter(labels=dict.fromkeys(LABELS, 50)), []
    for some, gone in (
        (rows, wrong),
        (alike, [n for n, one in enumerate(alike) if one.answer == LABELS[0]]),
        (always_wrong, [n for n, one in enumerate(always_wrong) if "delete" in one.question]),
    ):
        effects.append(meter.measure(StoredRows(stored(tmp_path, some)), dict.fromkeys(gone)))
    right, lost, foreseen = effects
    assert right.rows is not None and right.rows.ci95[0] > 0 and right.shown is right.rows
    assert right.status == "measured" and "on held-out rows" in effect_words(right)
    assert lost.rows is not None and lost.rows.ci95[0] < 0 < lost.rows.ci95[1] and lost.status == "unmeasured"
    assert foreseen.rows is not None and foreseen.rows.delta < 0 < foreseen.rows.ci95[1] and not foreseen.loss


def test_an_effect_that_no_questions_decide_is_not_measurable() -> None:
    unsure, gain, loss = (Difference(x, (x - 0.02, x + 0.02), 80) for x in (0.01, 0.03, -0.03))
    effect = Effect(status="measured", n_rows=900, n_dropped=90, dev=unsure, rows=unsure)
    assert effect.shown is unsure and effect_words(effect).startswith("not measurable")
    for rows, dev in ((gain, unsure), (loss, unsure), (loss, gain)):
        decided = replace(effect, rows=rows, dev=dev)
        assert decided.shown is (rows if dev is unsure else dev) and "measurable" not in effect_words(decided)


def _predicted(rows: Sequence[Example]) -> list[str]:
    model = CLASSICAL_MODELS.get("linear")([QuestionAnswer(one.question, one.answer) for one in rows], 0)
    return list(model.predict([one.question for one in rows]))


def test_without_dev_cases_only_what_held_out_rows_decide_counts(costly: tuple[Path, list[Example]]) -> None:
    path, rows = costly
    stored_rows, labels = StoredRows(path), Counter(one.answer for one in rows)
    meter = EffectMeter(labels=labels)
    gone = [int(place) for place, one in zip(stored_rows.places, rows, strict=True) if other_wordings(one)]
    effect = meter.measure(stored_rows, dict.fromkeys(gone))
    assert effect.status == "unmeasured" and effect.dev is None
    harmless = meter.measure(stored_rows, dict.fromkeys(range(0, 200, 50)))
    assert harmless.status == "unmeasured" and harmless.loss is None and "not measurable" in effect_words(harmless)


def test_few_rows_and_few_questions_are_not_measured_and_say_so(tmp_path: Path) -> None:
    rows = rows_of(250)
    path = stored(tmp_path, rows)
    effect = effect_of(run(path, dropping(lambda one: one.question.endswith(" 7")), rows))
    assert (effect.status, effect.n_dropped) == ("few", 1) and FEW * 250 > 1
    assert "0.5%" in effect_words(effect)
    (tmp_path / "q").mkdir()
    path = stored(tmp_path / "q", rows[:30])
    effect = effect_of(run(path, dropping(lambda one: one.question.endswith(" 7")), rows[:30]))
    assert effect.status == "unmeasured" and "fewer than 50 labelled dev cases" in effect_words(effect)


def test_free_text_is_measured_by_the_answer_of_the_nearest_row(tmp_path: Path) -> None:
    advice = "{} needs a longer answer than a label, with many words of advice for you"
    text = {label: advice.format(label) for label in LABELS}
    rows = [row(one.question, text[one.answer]) for one in rows_of(200)]
    dev = [Case(id=one.id, input=one.question, expected=text[one.answer]) for one in rows_of(60, seed=2)]
    check, meter = dropping(lambda one: one.question[-1] in "13579"), EffectMeter(dev=dev)
    effect = effect_of(run_checks(stored(tmp_path, rows), [check], CheckContext(), policy={}, meter=meter))
    assert (effect.status, effect.baseline) == ("measured", "nearest")


def test_the_same_rows_have_the_same_effect_and_a_flood_weighs_as_much_as_among_the_cases(tmp_path: Path) -> None:
    rows = StoredRows(stored(tmp_path, rows_of(200)))
    assert list(rows) == list(rows) == list(rows_of(200))  # read with all checks, and again without
    meter = EffectMeter(labels=dict.fromkeys(LABELS, 50), cases=dict.fromkeys(LABELS, 30))
    first, again = (meter.measure(rows, dict.fromkeys(range(50))) for _ in range(2))
    assert first == again and first.rows is not None
    weights = meter.weights(["lost"] * 70 + ["slow"] * 10 + ["price"] * 10 + ["close"] * 10)
    assert weights[:70].sum() == pytest.approx(weights[70:80].sum())


def test_a_copy_of_a_copy_is_held_out_with_the_first(tmp_path: Path) -> None:
    rng = random.Random(5)  # only a copy tells the label
    base = [row(f"thing{i} of part{7 * i}", rng.choice(LABELS)) for i in range(150)]
    rows = [one for first in base for one in (first, row(f"{first.question} x", first.answer))]
    rows += [row(f"{one.question} y", one.answer) for one in rows[1::2]]
    path = StoredRows(stored(tmp_path, rows))
    first, second = range(1, 300, 2), range(300, 450)
    chain = {place: place - 1 for place in first} | {place: 1 + 2 * (place - 300) for place in second}
    meter = EffectMeter(labels=dict.fromkeys(LABELS, 100))
    effect = meter.measure(path, chain)
    assert effect.rows is not None and not effect.rows.costs
    loose = meter.measure(path, {place: other if place < 300 else None for place, other in chain.items()})
    assert loose.rows is not None and loose.rows.costs


@pytest.mark.parametrize("kind", ["one group", "one question", "all dropped"])
def test_where_nothing_is_left_to_train_on_nothing_is_measured(tmp_path: Path, kind: str) -> None:
    rows = rows_of(200)
    if kind == "one group":
        rows = [replace(one, group="log") for one in rows]
    if kind == "one question":
        rows = [row("the same", one.answer) for one in rows]
    dev = [Case(id=one.id, input=one.question, expected=one.answer) for one in rows_of(60, seed=2)]
    for meter in (EffectMeter(dev=dev, labels=dict.fromkeys(LABELS, 50)), EffectMeter(dev=dev)):
        dropped = range(200) if kind == "all dropped" else range(50)
        assert meter.measure(StoredRows(stored(tmp_path, rows)), dict.fromkeys(dropped)).status == "unmeasured"


def test_json_lists_are_measured_as_text(tmp_path: Path) -> None:
    rows = [row(one.question, json.dumps([{"about": one.answer}])) for one in rows_of(200)]
    dev = [Case(id=one.id, input=one.question, expected=[{"about": one.answer}]) for one in rows_of(60, seed=2)]
    effect = EffectMeter(dev=dev).measure(StoredRows(stored(tmp_path, rows)), dict.fromkeys(range(50)))
    assert (effect.status, effect.baseline) == ("measured", "nearest")


def test_each_accepted_answer_is_right(tmp_path: Path) -> None:
    path = StoredRows(stored(tmp_path, rows_of(200)))
    asked = rows_of(60, seed=2)
    first, other = (
        [Case(id=one.id, input=one.question, expected=several(one.answer)) for one in asked]
        for several in (lambda answer: answer, lambda answer: ["nothing", answer])
    )
    labels = dict.fromkeys(LABELS, 50)
    one, two = (
        EffectMeter(dev=dev, labels=labels).measure(path, dict.fromkeys(range(100))).dev for dev in (first, other)
    )
    assert one == two


def test_what_a_gate_bars_leaves_although_it_costs_accuracy(costly: tuple[Path, list[Example]]) -> None:
    path, rows = costly
    barred = replace(dropping(other_wordings), gate=frozenset({"odd"}))
    checked = run(path, barred, rows)
    assert effect_of(checked).loss and len(checked.rows) == sum(not other_wordings(one) for one in rows)
    assert [gate.passed for gate in checked.gates if gate.check == "dropping"] == [True]


# --- labels ---------------------------------------------------------------------------------------------------------


def test_with_an_encoder_a_wrong_label_shows_by_what_is_meant() -> None:
    rng = np.random.default_rng(1)
    kinds = rng.permutation(np.arange(64) % 2)
    texts = [f"{i:b}".translate(str.maketrans("01", "xq")) for i in range(64, 128)]
    vectors = dict(zip(texts, rng.normal(size=(64, 16)) + 9 * np.eye(16)[kinds], strict=True))
    labels = [LABELS[kind] for kind in kinds]
    labels[9] = LABELS[1 - kinds[9]]
    meaning = SimpleNamespace(encode=lambda texts: np.array([vectors[text] for text in texts], np.float32))
    right = sorted(LABELS[:2]).index(LABELS[kinds[9]])
    by_meaning, by_words = (
        out_of_fold(texts, labels, encoder)[1].mean(axis=0)[9, right] for encoder in (meaning, None)
    )
    assert by_meaning > 0.5 > by_words


def test_a_label_that_is_surely_wrong_leaves_and_a_doubtful_one_is_reported() -> None:
    rows = rows_of(200)
    rows[0] = row(rows[0].question, "close")
    findings = {most: list(LabelErrors(most=most)(rows, CheckContext(labels=LABELS))) for most in (0.4, 1.0)}
    assert {one.row: one.action for one in findings[0.4]}[0] == "drop"
    assert {one.action for one in findings[1.0]} == {"report"}


def test_a_label_is_doubted_only_if_another_is_clearly_likelier(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = [one.question for one in rows_of(200)], [one.answer for one in rows_of(200)]
    labels[0] = "close"
    probabilities = np.full((200, 4), 0.01)
    probabilities[np.arange(200), [sorted(LABELS).index(label) for label in labels]] = 0.97
    monkeypatch.setattr(label_errors, "out_of_fold", lambda *args: (sorted(LABELS), probabilities[None]))
    for own, n in ((0.048, 1), (0.052, 0)):
        probabilities[0] = [own, 0.98, 0.0, 0.0]
        assert len(find_doubts(texts, labels)[0]) == n


@pytest.mark.parametrize("share", [0.02, 0.08, 0.2])
def test_how_many_labels_are_wrong_is_measured_and_hard_rows_stay(share: float) -> None:
    rng = np.random.default_rng(3)
    right = rng.integers(0, 6, 1500)
    margins = rng.normal(size=(2, 1500, 6))
    margins[:, np.arange(1500), right] += 3
    probabilities = np.exp(margins) / np.exp(margins).sum(axis=2, keepdims=True)
    is_wrong = rng.random(1500) < share
    wrong = wrong_shares(np.where(is_wrong, (right + rng.integers(1, 6, 1500)) % 6, right), probabilities)
    assert abs(wrong.mean() - is_wrong.mean()) < 0.01
    doubted = wrong > 0.5
    assert is_wrong[doubted].mean() > 0.8 and doubted[is_wrong].mean() > 0.5
    assert (margins.sum(axis=0).argmax(axis=1) != right)[~is_wrong].sum() > 3 * (doubted & ~is_wrong).sum()


def test_a_sentence_says_what_a_build_dropped_and_what_that_does_to_accuracy() -> None:
    effect = Effect(status="measured", n_rows=900, n_dropped=120, baseline="linear")
    dropped = {"exact": 20, "near": 0, "contamination": 80, "concentration": 90, "label_errors": 10}
    ends = {
        (0.01, 0.03): ". Dropping the 120 optional ones raises accuracy: +2.0 points [+1.0, +3.0]",
        (-0.03, -0.01): ". Dropping the 120 optional ones lowers accuracy: -2.0 points [-3.0, -1.0]",
        (-0.01, 0.03): ". Dropping the 120 optional ones has no measurable effect on accuracy: +1.0 points",
    }
    begin = "The checks dropped 200 of 1000 rows (most: concentration 90, contamination 80, exact 20)"
    for (low, high), end in ends.items():
        measured = replace(effect, dev=Difference((low + high) / 2, (low, high), 80))
        assert build_words(1000, dropped, measured).startswith(begin + end)
    few = build_words(1000, dropped, replace(effect, status="unmeasured"))
    assert (
        few == begin + ". The effect on accuracy is not measured, because there are fewer than 50 labelled dev cases."
    )
    untouched = build_words(1000, dropped, replace(effect, status="few", n_dropped=0))
    assert untouched == begin + ". These rows are always dropped, so the effect on accuracy is not measured."
    assert build_words(1000, {"exact": 0}, effect) == "The checks dropped none of the 1000 rows."


def test_one_wrong_label_among_few_rows_is_no_share_of_zero() -> None:
    probabilities = np.full((1, 60, 3), 0.02)
    codes = np.arange(60) % 3
    probabilities[0, np.arange(60), codes] = 0.96
    wrong = wrong_shares(np.where(np.arange(60) == 7, (codes + 1) % 3, codes), probabilities)
    assert wrong.argmax() == 7 and wrong[7] > 0.5 and np.delete(wrong, 7).max() < 0.05
    assert wrong_shares(codes, probabilities).max() < 0.05


def test_a_label_that_is_likely_wrong_is_doubted_though_no_other_is_clearly_likelier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts, labels = [one.question for one in rows_of(200)], [one.answer for one in rows_of(200)]
    probabilities = np.full((1, 200, 4), 0.01)
    probabilities[0, np.arange(200), [sorted(LABELS).index(label) for label in labels]] = 0.97
    probabilities[0, 7] = [0.1, 0.2, 0.3, 0.4]
    monkeypatch.setattr(label_errors, "out_of_fold", lambda *args: (sorted(LABELS), probabilities))
    for likely, rows in ((0.3, []), (0.45, [7])):
        monkeypatch.setattr(label_errors, "wrong_shares", lambda *args, p=likely: np.where(np.arange(200) == 7, p, 0.0))
        found, _ = find_doubts(texts, labels)
        assert [one.row for one in found] == rows and all(one.suggested != labels[7] for one in found)


def test_a_long_answer_takes_its_own_room_only() -> None:
    long = "an answer " * 5_000
    labels = [long if one.answer == "lost" else one.answer for one in rows_of(600)]
    texts = [one.question for one in rows_of(600)]
    find_doubts(texts, labels)  # what is loaded once
    tracemalloc.start()
    try:
        _, predicted = find_doubts(texts, labels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert predicted > 0.9 and peak < 60e6  # 600 times 50,000 characters of four bytes are 120e6


def test_neither_a_file_of_rows_nor_its_answers_are_in_memory_at_once(tmp_path: Path) -> None:
    path = stored(tmp_path, [row(f"question {n}", f"{n} {'answer ' * 500}") for n in range(3_000)])
    rows = StoredRows(path)
    assert not [*LabelErrors()(rows[:10], CheckContext())]  # what is loaded once
    tracemalloc.start()
    try:
        assert not [*LabelErrors()(rows, CheckContext())]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2e6 < path.stat().st_size / 5
    assert str(path) not in Path("/proc/self/maps").read_text()  # pages of a mapped file count as memory


def test_without_labels_an_answer_that_several_rows_share_is_judged_too() -> None:
    advice = "{} is what this answer of more than a few words is about"
    rows = [row(one.question, advice.format(one.answer)) for one in rows_of(200)]
    rows[0] = row(rows[0].question, advice.format("close"))
    findings = list(LabelErrors()(rows, CheckContext()))
    assert {one.row: one.action for one in findings}[0] == "drop"
    assert {one.message for one in findings} == {"rows with similar questions have another answer"}
    assert (
        list(LabelErrors()([row(one.question, f"{one.answer} {i}") for i, one in enumerate(rows)], CheckContext()))
        == []
    )


def test_a_model_that_predicts_little_drops_nothing_and_json_is_no_label() -> None:
    rng = random.Random(4)
    by_chance = [row(one.question, rng.choice(LABELS)) for one in rows_of(200)]
    findings = list(LabelErrors()(by_chance, CheckContext(labels=LABELS)))
    assert findings and {one.action for one in findings} == {"report"}
    assert list(LabelErrors()(by_chance, CheckContext())) == []
    as_json = [row(one.question, json.dumps({"about": one.answer})) for one in rows_of(200)]
    as_json[0] = row(as_json[0].question, json.dumps({"about": "close"}))
    assert list(LabelErrors(most=0.0)(as_json, CheckContext())) == []


# --- which answers are labels ---------------------------------------------------------------------------------------

NO_LABELS = ("Als KI-Sprachmodell kann ich diese Anfrage nicht bearbeiten.", "503 Service Unavailable", "<label>", "")


def test_what_rows_say_often_is_a_label_unless_it_refuses_or_says_nothing(tmp_path: Path) -> None:
    often = [row(f"{i}?", answer) for answer in ("slow", *NO_LABELS) for i in range(9)]
    rows = StoredRows(stored(tmp_path, [*rows_of(200), *often, row("Hm?", "seldom")]))
    cases = [Case(id=str(i), input=f"Well {i}?", expected=LABELS[i % 3]) for i in range(30)]
    assert _labels(cases, rows) == {"close": 50, "lost": 50, "price": 50, "slow": 59}
    of_cases = [*cases, *(Case(id=f"n{i}", input=f"{i}?", expected=NO_LABELS[i % 3]) for i in range(6))]
    assert {*_labels(of_cases, rows)} == {*LABELS, *NO_LABELS[:3]}


def test_a_rare_label_that_the_text_hardly_tells_does_not_leave() -> None:
    draw = random.Random(4)
    noise = [f"word{n}" for n in range(300)]

    def question(label: str) -> str:
        signal = ["prize"] if label == "spam" and draw.random() < 0.3 else []
        return " ".join([*draw.sample(noise, 8), *signal])

    rows = [row(question(label), label) for label in draw.choices(["spam", "ham"], [0.1, 0.9], k=500)]
    findings = list(LabelErrors()(rows, CheckContext(labels=("ham", "spam"))))
    assert len(findings) > 20 and not [
        one for one in findings if one.action == "drop" and rows[one.row].answer == "spam"
    ]
