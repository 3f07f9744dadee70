"""GEPA and the ablation in the rung `prompt`: what they find, what they ask, and what bars them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.killing import killed_at
from tests.ladder.worlds import write_world
from tuneworthy.config import load
from tuneworthy.errors import BudgetSpent, ConfigError
from tuneworthy.ladder import optimising
from tuneworthy.ladder.base import View
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.climb import Climb
from tuneworthy.ladder.optimising import feedback, searched_half
from tuneworthy.ladder.prompt import Prompt
from tuneworthy.ladder.record import ClimbRecord
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.ladder.variants import current
from tuneworthy.report.markdown import render_markdown
from tuneworthy.store import ResponseStore
from tuneworthy.types import UNLABELLED, Case, Score, Variant

GEPA = '[models.writer]\nprovider = "scripted"\nfunction = "world.py:writer"\n[reflection]\nmodel = "writer"\n'
WEAK = "answer(request, 0.25 + 0.2 * system(request).count('is a colour.'))"
WRITER = '''

import re


def writer(request):
    """Write into the instructions which answers were called right."""
    text = request.messages[-1]["content"]
    current = text.split("```")[1].strip()
    lines = [f"{label} is a colour." for label in sorted(set(re.findall(r"Right would be: (\\w+)", text)))]
    return "```\\n" + "\\n".join([current, *(line for line in lines if line not in current)]) + "\\n```"
'''
LONG = [
    "Be polite to whoever asks, whatever they say.",
    "Rule: a colour.",
    "Mind the gap. " * 12,
    "One word only.",
]


def bad_prompt(root: Path, *, extra: str = GEPA, **options: Any) -> Path:
    """A world whose prompt does not say what its model must know, and a model that reads it in the feedback."""
    write_world(root, {"weak": WEAK}, rungs=["baseline", "prompt"], extra=extra, **options)
    script = root / "world.py"
    script.write_text(script.read_text() + WRITER)
    return root


def long_prompt(root: Path, *, ablate: bool = True) -> Path:
    """A world whose prompt has four paragraphs, one of which the model needs."""
    write_world(
        root, {"weak": "answer(request, 0.9 if 'Rule:' in system(request) else 0.4)"}, rungs=["baseline", "prompt"]
    )
    file = root / "tuneworthy.toml"
    text = file.read_text().replace('system = "Name the colour."', 'system = "long.md"')
    file.write_text(text.replace("[prompt]", f"[prompt]\nablate = {str(ablate).lower()}"))
    (root / "long.md").write_text("\n\n".join(LONG))
    return root


@dataclass
class Searched:
    """What a search found, what it wanted (name of the variant, text and id of the case), and how often it asked."""

    variants: Sequence[Variant]
    about: dict[str, Any]
    notes: Sequence[str]
    asked: Sequence[tuple[str, str, str]]
    sent: int
    dev: Sequence[Case]
    test: Sequence[Case]

    @property
    def touches_test(self) -> bool:
        """Whether a test case was asked, or stands in what the rewriting model saw."""
        ids = {case.id for case in self.test}
        return any(
            identity in ids or (name == "prompt/rewrite" and any(case.text in text for case in self.test))
            for name, text, identity in self.asked
        )


def search(root: Path, *, searched: bool = True, dev: Callable[[Session], Sequence[Case]] | None = None) -> Searched:
    """Run the search of the rung alone."""

    async def run() -> Searched:
        async with open_session(load(root)) as session:
            asked: list[tuple[str, str, str]] = []
            ask = session.runner.run

            async def noted(variant: Variant, model: Any, cases: Sequence[Case], **more: Any) -> Any:
                asked.extend((variant.name, case.text, case.id) for case in cases)
                return await ask(variant, model, cases, **more)

            session.runner.run = noted  # type: ignore[method-assign]
            cases = Climb(session).dev if dev is None else dev(session)
            view = View(project=session.project, task=session.task, pool=session.pool, models=session.models,
                        best=current(session), seed=7, n_dev=len(cases), dev=cases, searched=searched)  # fmt: skip
            rung = Prompt()
            found = await rung.search(session, view)
            return Searched(found, rung.found, view.notes, asked, session.runner.asked, cases, session.split.test)

    return asyncio.run(run())


def climb(root: Path) -> tuple[ClimbRecord, int]:
    """Walk, and count what is stored."""

    async def walk() -> tuple[ClimbRecord, int]:
        project = load(root)
        async with open_session(project) as session:
            record = await Climb(session).walk(project.ladder.rungs)
            return record, len(session.runner.store)

    return asyncio.run(walk())


async def _refuse(*_: object) -> None:
    raise AssertionError("a provider was asked")


# --- GEPA ---------------------------------------------------------------------------------------------------------


def test_gepa_improves_a_bad_prompt_within_500_calls_and_leaves_the_file_that_was_measured(
    tmp_path: Path,
) -> None:
    pytest.importorskip("gepa")
    found = search(bad_prompt(tmp_path))
    about, (variant,) = found.about["gepa"], found.variants
    assert about["score"] >= about["before"] + 0.3, about
    assert about["budget"] == 500 >= about["calls"] + about["reflections"] == found.sent > 50
    assert variant.name == "prompt/gepa" and variant.system == (tmp_path / about["file"]).read_text()
    file = tmp_path / "tuneworthy.toml"
    file.write_text(file.read_text().replace('"Name the colour."', f'"{about["file"]}"'))

    async def used() -> Variant:
        async with open_session(load(tmp_path)) as session:
            return current(session)

    assert asyncio.run(used()).id == variant.id


def test_gepa_never_touches_test_nor_the_half_of_dev_that_the_race_begins_with(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    found = search(bad_prompt(tmp_path / "dev"))
    asked = {identity for name, _, identity in found.asked if name == "prompt/gepa"}
    assert not found.touches_test
    assert asked and asked <= {case.id for case in searched_half(found.dev)}
    assert not asked & {case.id for case in found.dev[: len(found.dev) // 2]}
    planted = search(bad_prompt(tmp_path / "test"), dev=lambda session: session.split.test)
    assert planted.touches_test


def test_without_words_of_feedback_the_same_model_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gepa")
    monkeypatch.setattr(optimising, "feedback", lambda case, score: "")
    found = search(bad_prompt(tmp_path))
    assert found.variants == [] and found.about["gepa"]["reflections"] > 10
    assert any("GEPA found nothing better in " in note for note in found.notes)
    assert not (tmp_path / ".tuneworthy" / "prompts").exists()


def test_without_the_section_nothing_is_asked(tmp_path: Path) -> None:
    found = search(bad_prompt(tmp_path, extra=""))
    assert (found.variants, found.about, found.notes, found.asked) == ([], {}, [], [])


HOSTED = GEPA.replace('"scripted"\nfunction = "world.py:writer"', '"openai"\nmodel = "gpt-5"')
ON_DEVICE = "[constraints]\non_device = true\n"
BARRED = {
    "not_installed": (GEPA, True, "expected GEPA, got none: pip install 'tuneworthy[optimise]'"),
    "small_dev": (GEPA, False, "that takes a whole climb and at least 50 dev cases"),
    "on_device": (f"{HOSTED}{ON_DEVICE}", True, "writer is hosted, and the task must run on the device"),
}


@pytest.mark.parametrize("bar", BARRED)
def test_what_bars_gepa_is_said_in_one_line_and_nothing_is_asked(
    bar: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra, searched, why = BARRED[bar]
    found_spec = None if bar == "not_installed" else object()
    monkeypatch.setattr("tuneworthy.search.optimise.find_spec", lambda _: found_spec)
    found = search(bad_prompt(tmp_path, extra=extra), searched=searched)
    assert found.asked == [] and found.variants == []
    assert found.notes == [f"the prompt is not optimised: {why}"]


def test_a_rewrite_with_a_placeholder_that_nothing_fills_in_is_not_asked(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    root = bad_prompt(tmp_path)
    script = root / "world.py"
    script.write_text(script.read_text().replace('```\\n" + ', '```\\n{{ secret }} " + '))
    found = search(root)
    assert found.variants == [] and found.about["gepa"]["refused"] > 10


def test_placeholders_that_were_there_may_stay_and_a_broken_template_is_told(tmp_path: Path) -> None:
    async def faults() -> list[str]:
        async with open_session(load(bad_prompt(tmp_path))) as session:
            best = Variant(name="x", model="weak", model_identity={}, system="Now: {{ input }}", user="{{ input }}")
            section = session.project.reflection
            assert section is not None
            asking = optimising._Asking(session, section, best)
            case = session.split.dev[0]
            texts = ["Say: {{ input }} at once", "Say it", "{{ other }}", "{% raw", '{"a": {"b": 1}}']
            return [asking._fault(text, case) for text in texts]

    kept, dropped, added, broken, braces = asyncio.run(faults())
    assert kept == dropped == braces == ""
    assert "{{ other }}" in added and "cannot be filled in" in broken


@pytest.mark.parametrize(("rule", "leaves"), [("", False), ('personal_data = "send"\n', True)])
def test_personal_data_is_masked_before_the_rewriting_model_sees_it(rule: str, leaves: bool, tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    root = bad_prompt(tmp_path, extra=f"{GEPA}calls = 60\n{rule}")
    for name in ("cases.jsonl", "examples.jsonl"):
        (root / name).write_text((root / name).read_text().replace(" thing ", " thing of ada@example.org "))
    found = search(root)
    shown = [text for name, text, _ in found.asked if name == "prompt/rewrite"]
    assert shown and all(("ada@example.org" in text) == leaves for text in shown)
    assert all("[EMAIL_1]" in text for text in shown) != leaves


def test_the_feedback_says_score_reason_and_what_is_right() -> None:
    case = Case(id="a", input="?", expected=["red", "ruby"])
    assert feedback(case, Score(reason="wrong")) == (
        "Score 0.00 of 1. Why: readable, and wrong. Right would be: red or ruby"
    )
    assert 'Details: {"missing":"b"}' in feedback(case, Score(num=0.5, reason="partial", detail={"missing": "b"}))
    assert "Right would be to decline" in feedback(Case(id="a", input="?", expected=None), Score(reason="wrong"))
    assert feedback(Case(id="a", input="?", expected=UNLABELLED), Score(num=1.0)) == "Score 1.00 of 1."
    assert feedback(case, Score.failed("timeout")) == "It could not be scored (timeout)."


def test_a_search_that_runs_again_asks_nothing_and_ends_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gepa")
    first = search(bad_prompt(tmp_path))
    monkeypatch.setattr("tuneworthy.evaluate.runner.Runner._send", _refuse)
    again = search(tmp_path)
    assert (again.variants, again.about, again.asked) == (first.variants, first.about, first.asked)


def test_a_search_that_was_killed_twice_goes_on_and_repeats_no_committed_call(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    whole, root = search(bad_prompt(tmp_path / "whole")), bad_prompt(tmp_path / "cut")
    for moment in (30, 25):
        assert killed_at(moment, [(ResponseStore, "put")], lambda: search(root))
    store = ResponseStore(root / ".tuneworthy" / "responses.sqlite")
    committed = len(store)
    store.close()
    rest = search(root)
    assert committed == 29 + 24 and committed + rest.sent == whole.sent
    assert (rest.variants, rest.about, rest.asked) == (whole.variants, whole.about, whole.asked)


def test_a_budget_that_is_spent_while_rewriting_ends_the_climb_though_gepa_would_go_on(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    root = bad_prompt(tmp_path)
    file = root / "tuneworthy.toml"
    price = 'function = "world.py:writer"\ninput_usd_per_mtok = 1000\noutput_usd_per_mtok = 1000\n'
    file.write_text(file.read_text().replace('function = "world.py:writer"\n', price).replace(
        "[ladder]", "[ladder]\nbudget_usd = 7.0"))  # fmt: skip
    with pytest.raises(BudgetSpent):
        climb(root)


def test_a_model_that_is_not_there_is_a_fault_of_the_project_file(tmp_path: Path) -> None:
    root = bad_prompt(tmp_path, extra='[reflection]\nmodel = "nobody"\n')
    with pytest.raises(ConfigError, match=r"reflection.model: expected a key of \[models\] \(weak\), got 'nobody'"):
        load(root)


def test_a_climb_puts_the_prompt_of_gepa_to_test_and_a_second_one_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gepa")
    root = bad_prompt(tmp_path, n_cases=60)
    estimate = Facts(load(root), contact=False).estimate
    record, stored = climb(root)
    found = record.rung("prompt")
    assert found is not None and (found.status, found.name) == ("adopted", "prompt/gepa"), found
    assert record.variants[found.variant or ""]["system"] == (root / found.prompt["gepa"]["file"]).read_text()
    assert estimate is not None and stored <= estimate.calls[1] * 1.05 and "writer" in estimate.models
    page = render_markdown(record, load(root))
    assert "Prompts that GEPA kept" in page and "is a colour." in page
    with monkeypatch.context() as patched:
        patched.setattr("tuneworthy.evaluate.runner.Runner._send", _refuse)
        again, _ = climb(root)
    assert again.to_dict() == record.to_dict()


# --- paragraphs that earn nothing ---------------------------------------------------------------------------------


def test_paragraphs_that_earn_nothing_are_cut_and_the_saved_tokens_are_told(tmp_path: Path) -> None:
    found = search(long_prompt(tmp_path))
    about, (variant,) = found.about["ablation"], found.variants
    assert (variant.name, variant.system) == ("prompt/cut", LONG[1])
    assert about["cut"] == 3 and about["paragraphs"] == 4
    whole = "\n\n".join(part.strip() for part in LONG)
    assert about["tokens_saved"] == round(len(whole) / 4) - round(len(LONG[1]) / 4)
    assert {one["text"]: one["cut"] for one in about["tried"]}[LONG[1]] is False
    assert not found.touches_test
    half = len(found.dev) // 2
    assert found.sent <= (1 + len(LONG)) * half and {name for name, *_ in found.asked} == {"baseline/weak"}
    assert search(long_prompt(tmp_path), dev=lambda session: session.split.test).touches_test


def test_nothing_is_cut_unless_the_project_file_asks_for_it(tmp_path: Path) -> None:
    found = search(long_prompt(tmp_path, ablate=False))
    assert (found.variants, found.asked, found.notes) == ([], [], [])


def test_a_shorter_prompt_that_is_no_worse_is_tested_and_the_report_shows_the_paragraphs(tmp_path: Path) -> None:
    record, _ = climb(long_prompt(tmp_path))
    found = record.rung("prompt")
    assert found is not None and "prompt/cut" in {row["name"] for row in found.candidates}
    page = render_markdown(record)
    assert "3 of 4 paragraphs earn nothing: about " in page and "Mind the gap." in page


def test_a_prompt_of_one_paragraph_has_nothing_to_cut_and_says_so(tmp_path: Path) -> None:
    root = long_prompt(tmp_path)
    (root / "long.md").write_text("Rule: a colour. {{ input }}")
    found = search(root)
    assert found.asked == [] and found.notes[0].startswith("nothing is cut from the system prompt: it has no two")
