"""Sets of shots in the rung `few_shot`: what they are drawn from, what they ask, and when there are none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.ladder.simulations import LABELS, write_simulation
from tuneworthy.config import load
from tuneworthy.errors import OutsideFault
from tuneworthy.ladder.run import LadderRun
from tuneworthy.ladder.rung import View, view_of
from tuneworthy.ladder.rungs.few_shot import FewShotRung
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.types import Example, Variant

SETS = "[few_shot]\nsets = 6\nk = [4]\n"


def world(root: Path, extra: str = SETS, **options: Any) -> Path:
    """A model that is always right, and examples of which every third one has a wrong label."""
    write_simulation(root, {"weak": "answer(request, 1.0)"}, rungs=["baseline", "few_shot"], extra=extra, **options)
    path = root / "examples.jsonl"
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    for row in rows[::4]:
        answer = row["messages"][1]
        answer["content"] = LABELS[(LABELS.index(answer["content"]) + 1) % 3]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return root


def search(root: Path, *, searched: bool = True) -> tuple[list[Variant], list[str], int, int]:
    """Return the candidates, the notes, the answers that were asked, and how many of the shots are mislabelled."""

    async def run() -> tuple[list[Variant], list[str], int, int]:
        async with open_session(load(root)) as session:
            view = view_of(session, best=current(session), n_dev=80, dev=session.split.dev, searched=searched)
            found = await FewShotRung().search(view)
            wrong = sum(mislabelled(view, one) for one in found.candidates if "bootstrap" in one.name)
            return list(found.candidates), list(found.notes), session.runner.sent, wrong

    return asyncio.run(run())


def mislabelled(view: View, variant: Variant) -> int:
    """Count the shots whose answer is not the right one."""
    assert variant.shots is not None
    shots = [view.pool.examples[view.pool.places[one]] for one in variant.shots.ids]
    return sum(LABELS[int(shot.question.split()[1]) % 3] != shot.answer for shot in shots)


def test_half_of_the_sets_hold_only_examples_that_the_model_answers_as_they_do(tmp_path: Path) -> None:
    found, notes, asked, wrong = search(world(tmp_path))
    names = [variant.name for variant in found]
    assert names == [f"few_shot/{kind}{number}-4" for kind in ("bootstrap", "random") for number in (1, 2, 3)]
    assert len({variant.id for variant in found}) == 6 and notes == []
    assert all(variant.shots is not None and len(set(variant.shots.ids)) == 4 for variant in found)
    assert wrong == 0 and asked == 16  # four times k


def test_random_sets_may_hold_what_bootstrapped_ones_leave_out(tmp_path: Path) -> None:
    async def run() -> int:
        async with open_session(load(world(tmp_path))) as session:
            view = view_of(session, best=current(session), n_dev=80, searched=True)
            found = await FewShotRung().search(view)
            return sum(mislabelled(view, one) for one in found.candidates if "random" in one.name)

    assert asyncio.run(run()) > 0


def test_where_the_model_is_mostly_wrong_all_sets_are_random_and_that_is_said(tmp_path: Path) -> None:
    root = world(tmp_path)
    script = root / "world.py"
    script.write_text(script.read_text().replace("answer(request, 1.0)", "'purple'"))
    found, notes, asked, _ = search(root)
    assert [variant.name for variant in found] == [f"few_shot/random{number}-4" for number in range(1, 7)]
    assert (
        notes == ["no bootstrapped few-shot examples: the model answers only 0 of 16 examples correctly"]
        and asked == 16
    )


@pytest.mark.parametrize(
    ("extra", "searched", "options", "why"),
    [
        ("", True, {}, []),
        (
            SETS,
            False,
            {},
            ["no sets of few-shot examples were sampled: this needs a full run and at least 50 dev cases"],
        ),
        (
            SETS.replace("k = [4]", "k = [900]"),
            True,
            {"n_examples": 4},
            ["no sets of few-shot examples were sampled: 104 examples are too few to choose from"],
        ),
    ],
)
def test_no_sets_are_drawn_and_nothing_is_asked(
    extra: str, searched: bool, options: dict[str, Any], why: list[str], tmp_path: Path
) -> None:
    found, notes, asked, _ = search(world(tmp_path, extra, **options), searched=searched)
    assert (found, notes, asked) == ([], why, 0)


def test_sets_race_with_the_other_candidates_and_the_race_keeps_its_budget(tmp_path: Path) -> None:
    async def walk() -> Any:
        project = load(world(tmp_path, n_cases=60))
        async with open_session(project) as session:
            return await LadderRun(session).run(project.ladder.rungs)

    found = asyncio.run(walk()).rung("few_shot")
    names = {row.name for row in found.candidates}
    assert {f"few_shot/{kind}{number}-4" for kind in ("bootstrap", "random") for number in (1, 2, 3)} <= names
    assert found.calls <= found.calls_full / 3


def sets_of(found: list[Variant], kind: str) -> list[frozenset[str]]:
    """Return the shots of the candidates of a kind, whatever their order."""
    return [frozenset(one.shots.ids) for one in found if one.shots is not None and kind in one.name]


def test_where_every_example_has_an_answer_of_its_own_the_sets_hold_different_examples(tmp_path: Path) -> None:
    root = world(tmp_path)
    path, script = root / "examples.jsonl", root / "world.py"
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    for row in rows:
        row["messages"][1]["content"] = row["messages"][0]["content"].split()[1]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    script.write_text(script.read_text().replace("answer(request, 1.0)", "question(request).split()[1]"))
    found, notes, asked, _ = search(root)
    assert (notes, asked) == ([], 16)
    for kind in ("bootstrap", "random"):
        sets = sets_of(found, kind)
        assert len(set(sets)) == 3, kind
    assert len(frozenset.union(*sets_of(found, "random"))) > 2 * 4


def test_a_fixed_set_is_the_same_as_ever_unless_its_kinds_are_mixed() -> None:
    names = [f"{number:02d}" for number in range(60)]
    rows = [Example(messages=({"role": "assistant", "content": name},), id=name) for name in names]
    pool = ShotPool(rows)
    assert {frozenset(pool.fixed(3, seed).ids) for seed in range(5)} == {frozenset(("00", "01", "02"))}
    assert len({frozenset(pool.fixed(3, seed, mixed=True).ids) for seed in range(5)}) == 5
    assert pool.fixed(3, 1, mixed=True) == pool.fixed(3, 1, mixed=True)


def test_an_example_that_was_not_answered_ends_the_search_which_would_else_be_another_later(tmp_path: Path) -> None:
    root = world(tmp_path)
    script, file = root / "world.py", root / "tuneworthy.toml"
    right = "answer(request, 1.0)"
    script.write_text(script.read_text().replace(right, f"failing(request) or {right}") + FAILING)
    file.write_text(file.read_text().replace(':weak"\n', ':weak"\nretries = 0\n'))
    (root / "down").touch()
    with pytest.raises(OutsideFault, match="weak: busy"):
        search(root)
    (root / "down").unlink()
    found, notes, *_ = search(root)
    assert len(sets_of(found, "bootstrap")) == 3 and notes == []


FAILING = """

from pathlib import Path
from tuneworthy.errors import ProviderError


def failing(request):
    if number(question(request), "down") < 0.3 and (Path(__file__).parent / "down").exists():
        raise ProviderError("weak: busy", code="connection", retryable=True)
"""
VOICE = """

from tuneworthy.types import Score


def voice(answer, expected, case):
    return Score(num=0.3, reason="partial") if answer == "blue" else Score(num=0.8)
"""


def test_a_grader_that_gives_degrees_calls_right_what_it_has_nothing_against(tmp_path: Path) -> None:
    root = world(tmp_path)
    file, script = root / "tuneworthy.toml", root / "world.py"
    file.write_text(file.read_text().replace('type = "exact"', 'type = "python"\nfunction = "world.py:voice"'))
    script.write_text(script.read_text() + VOICE)
    found, notes, *_ = search(root)
    assert len(sets_of(found, "bootstrap")) == 3 and notes == []
