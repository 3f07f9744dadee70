"""GEPA in the rung `prompt`: what it finds, what it asks, and what bars it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.killing import killed_at
from tests.ladder.simulations import write_simulation
from tuneworthy.config import load
from tuneworthy.errors import BudgetSpent, ConfigError, OutsideFault
from tuneworthy.ladder import run as ladder_run
from tuneworthy.ladder.check import check_project
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.run import LadderRun
from tuneworthy.ladder.rung import view_of
from tuneworthy.ladder.rung_details import PromptDetail
from tuneworthy.ladder.rungs import prompt
from tuneworthy.ladder.rungs.prompt import PromptRung, details, feedback, searched_half
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.report.render import render_markdown
from tuneworthy.report.run_report import document
from tuneworthy.search import racing as search_race
from tuneworthy.search.optimise import sides
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


def bad_prompt(root: Path, *, extra: str = GEPA, **options: Any) -> Path:
    """A world whose prompt does not say what its model must know, and a model that reads it in the feedback."""
    write_simulation(root, {"weak": WEAK}, rungs=["baseline", "prompt"], extra=extra, **options)
    script = root / "world.py"
    script.write_text(script.read_text() + WRITER)
    return root


@dataclass
class Searched:
    """What a search found, what it wanted (name of the variant, text and id of the case), and how often it asked."""

    variants: Sequence[Variant]
    about: PromptDetail
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
            cases = LadderRun(session).dev if dev is None else dev(session)
            view = view_of(session, best=current(session), n_dev=len(cases), dev=cases, searched=searched)
            found = await PromptRung().search(view)
            about = found.detail or PromptDetail()
            assert isinstance(about, PromptDetail)
            return Searched(found.candidates, about, found.notes, asked, session.runner.sent, cases, session.split.test)

    return asyncio.run(run())


def run_ladder(root: Path) -> tuple[RunRecord, int]:
    """Walk, and count what is stored."""

    async def walk() -> tuple[RunRecord, int]:
        project = load(root)
        async with open_session(project) as session:
            record = await LadderRun(session).run(project.ladder.rungs)
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
    about, (variant,) = found.about.gepa, found.variants
    assert about.search.score >= about.search.before + 0.3, about
    spent = about.search.calls + about.search.reflections  # beside today's answers to what GEPA did not ask of it
    assert 500 == about.search.budget >= spent > 50
    assert spent <= found.sent < spent + len(searched_half(found.dev))
    assert about.search.unscored == about.set_aside == 0
    low, high = about.search.prompts[about.search.best].ci95
    assert 0 < low < about.search.score < high <= 1
    assert variant.name == "prompt/gepa" and variant.system == (tmp_path / about.file).read_text()
    file = tmp_path / "tuneworthy.toml"
    file.write_text(file.read_text().replace('"Name the colour."', f'"{about.file}"'))

    async def used() -> Variant:
        async with open_session(load(tmp_path)) as session:
            return current(session)

    assert asyncio.run(used()).id == variant.id


def test_a_later_search_leaves_the_file_of_an_earlier_one_as_it_was_tested(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    first = search(bad_prompt(tmp_path)).about.gepa.file
    text = (tmp_path / first).read_text()
    file = tmp_path / "tuneworthy.toml"
    file.write_text(file.read_text().replace('"Name the colour."', f'"{first}"'))
    script = tmp_path / "world.py"
    script.write_text(script.read_text().replace("is a colour.", "is one."))  # what GEPA then finds is another prompt
    second = search(tmp_path)
    assert (tmp_path / first).read_text() == text
    assert second.variants and second.about.gepa.file != first


def grouped(root: Path, size: int) -> Path:
    """Give every `size` examples a group."""
    path = root / "examples.jsonl"
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(orjson.dumps({**row, "group": f"g{at // size}"}) + b"\n" for at, row in enumerate(rows)))
    return root


def test_a_group_is_on_one_side_of_the_search_and_of_the_race(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    found = search(grouped(bad_prompt(tmp_path), 4))
    half = searched_half(found.dev)
    asked = {identity for name, _, identity in found.asked if name == "prompt/gepa"}
    left = {case.group for case in found.dev if case.id not in {one.id for one in half}}
    assert 36 <= len(half) <= 40 and asked <= {case.id for case in half}
    assert left and not left & {case.group for case in half}
    train, val = sides(half, 500)
    assert len(val) >= 16 and not {case.group for case in train} & {case.group for case in val}


def test_groups_that_are_too_large_to_search_apart_from_the_race_bar_the_search(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    root = grouped(bad_prompt(tmp_path), 70)
    found = search(root)
    assert found.asked == [] and found.variants == []
    assert "the groups of dev cases are so large" in found.notes[0]


def test_the_race_sees_no_case_that_a_candidate_was_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gepa")
    raced: set[str] = set()
    race = search_race.race

    async def noted(candidates: Sequence[Variant], dev: Sequence[Case], ask: Any, **more: Any) -> Any:
        async def measured(variant: Variant, cases: Sequence[Case]) -> Any:
            if variant.name.startswith("prompt/"):
                raced.update(case.id for case in cases)
            return await ask(variant, cases)

        return await race(candidates, dev, measured, **more)

    monkeypatch.setattr(ladder_run, "race", noted)
    monkeypatch.setattr(search_race, "ALPHA", 1e-12)  # nobody leaves early
    root = bad_prompt(tmp_path, n_cases=60)
    record, _ = run_ladder(root)
    found = record.rung("prompt")
    dev = search(root).dev
    half = {case.id for case in searched_half(dev)}
    assert found is not None and "prompt/gepa" in {row.name for row in found.candidates}
    assert raced == {case.id for case in dev} - half  # all the others, as there is budget for them
    assert max(row.n for row in found.candidates) == 40


OWN = '[models.own]\nprovider = "python"\nfunction = "world.py:own"\n'


def test_a_pipeline_with_a_prompt_of_its_own_is_not_optimised(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": "answer(request, 0.4)"}, rungs=["baseline", "prompt"])
    file, script = root / "tuneworthy.toml", root / "world.py"
    file.write_text(file.read_text().replace('baseline = "weak"', 'baseline = "own"') + OWN + GEPA)
    script.write_text(script.read_text() + WRITER + "\n\ndef own(text):\n    return 'red'\n")
    found = search(root)
    assert found.asked == [] and found.variants == [] and len(found.notes) == 1


def with_own_system(root: Path, every: int) -> Path:
    """Give all cases but every so manieth a system turn of their own; dev comes from them."""
    write_simulation(root, {"weak": WEAK}, n_cases=200, n_examples=0, rungs=["baseline", "prompt"], extra=GEPA)
    script, path = root / "world.py", root / "cases.jsonl"
    script.write_text(script.read_text() + WRITER)
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    for row in (row for at, row in enumerate(rows) if at % every):
        own = [{"role": "system", "content": "Mine."}, {"role": "user", "content": row.pop("input")}]
        row["messages"] = own
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return root


def test_a_prompt_that_is_not_sent_is_not_optimised_and_check_says_so(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    root = with_own_system(tmp_path, 10)
    found = search(root)
    assert found.asked == [] and found.variants == [] and len(found.notes) == 1
    assert all("dev cases for the search have their own system message" in note for note in found.notes)
    told = [one.message for one in check_project(root, contact=False).findings if one.rule == "nothing_searched"]
    assert sorted(one.lower().rstrip(".") for one in told) == sorted(note.lower() for note in found.notes)


def test_cases_with_a_system_turn_of_their_own_are_left_out_where_enough_have_none(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    root = with_own_system(tmp_path, 10)
    path = root / "cases.jsonl"
    write_simulation(tmp_path / "plain", {"weak": WEAK}, n_cases=200)
    plain = (tmp_path / "plain" / "cases.jsonl").read_bytes().splitlines()
    rows = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*rows[:50], *plain[50:]]) + b"\n")
    found = search(root)
    by_id = {case.id: case for case in found.dev}
    asked = {identity for name, _, identity in found.asked if name != "prompt/rewrite"}
    assert found.notes == [] and len(asked) >= 20
    assert not any(by_id[identity].messages for identity in asked)
    assert any(case.messages for case in searched_half(found.dev))


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
    monkeypatch.setattr(prompt, "feedback", lambda case, score: "")
    found = search(bad_prompt(tmp_path))
    assert found.variants == [] and found.about.gepa.search.reflections > 10
    assert any("GEPA found no better prompt in " in note for note in found.notes)
    assert not (tmp_path / ".tuneworthy" / "prompts").exists()


def test_without_the_section_nothing_is_asked(tmp_path: Path) -> None:
    found = search(bad_prompt(tmp_path, extra=""))
    assert (found.variants, found.about, found.notes, found.asked) == ([], PromptDetail(), [], [])


HOSTED = GEPA.replace('"scripted"\nfunction = "world.py:writer"', '"openai"\nmodel = "gpt-5"')
ON_DEVICE = "[constraints]\non_device = true\n"
BARRED = {
    "not_installed": (GEPA, True, 'GEPA is not installed; run `pip install "tuneworthy[optimise]"`'),
    "small_dev": (GEPA, False, "this needs a full run and at least 50 dev cases"),
    "on_device": (f"{HOSTED}{ON_DEVICE}", True, "writer is a hosted model, which the constraints do not allow"),
}


@pytest.mark.parametrize("bar", BARRED)
def test_what_bars_gepa_is_said_in_one_line_and_nothing_is_asked(
    bar: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra, searched, why = BARRED[bar]
    found_spec = None if bar == "not_installed" else object()
    monkeypatch.setattr("tuneworthy.ladder.rungs.prompt.find_spec", lambda _: found_spec)
    found = search(bad_prompt(tmp_path, extra=extra), searched=searched)
    assert found.asked == [] and found.variants == []
    assert found.notes == [f"the prompt is not optimised: {why}"]


def test_a_rewrite_with_a_placeholder_that_nothing_fills_in_is_not_asked(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    root = bad_prompt(tmp_path)
    script = root / "world.py"
    script.write_text(script.read_text().replace('```\\n" + ', '```\\n{{ secret }} " + '))
    found = search(root)
    assert found.variants == [] and found.about.gepa.refused > 10


def test_placeholders_that_were_there_may_stay_and_a_broken_template_is_told(tmp_path: Path) -> None:
    async def faults() -> list[str]:
        async with open_session(load(bad_prompt(tmp_path))) as session:
            best = Variant(name="x", model="weak", model_identity={}, system="Now: {{ input }}", user="{{ input }}")
            section = session.project.reflection
            assert section is not None
            asking = prompt._GepaCalls(session, section, best)
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


def test_personal_data_in_details_is_masked_before_they_are_cut(tmp_path: Path) -> None:
    async def said() -> str:
        async with open_session(load(bad_prompt(tmp_path))) as session:
            section = session.project.reflection
            assert section is not None
            asking = prompt._GepaCalls(session, section, current(session))
            case = session.split.dev[0]
            detail = {"missing": "x" * (prompt.DETAIL_CHARS - 22) + " ada@example.org is missing"}
            trace = (await session.ask(current(session), [case]))[0]
            return asking._judged(case, trace, Score(num=0.5, reason="partial", detail=detail)).feedback

    words = asyncio.run(said())
    assert words.endswith("x [EMAIL_1]") or "[EMAIL" in words
    assert "ada" not in words


def test_the_feedback_says_score_reason_and_what_is_right() -> None:
    case = Case(id="a", input="?", expected=["red", "ruby"])
    assert feedback(case, Score(reason="wrong")) == (
        "Score 0.00 of 1. Why: readable, but wrong. Right would be: red or ruby"
    )
    assert details(Score(num=0.5, reason="partial", detail={"missing": "b"})) == '{"missing":"b"}'
    assert details(Score(num=1.0, detail={"found": "b"})) == details(Score.failed("timeout")) == ""
    assert "Right would be to decline" in feedback(Case(id="a", input="?", expected=None), Score(reason="wrong"))
    assert feedback(Case(id="a", input="?", expected=UNLABELLED), Score(num=1.0)) == "Score 1.00 of 1."
    assert feedback(case, Score.failed("timeout")) == "It could not be scored (timeout)."


def test_a_search_that_runs_again_asks_nothing_and_ends_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gepa")
    first = search(bad_prompt(tmp_path))
    monkeypatch.setattr("tuneworthy.engine.runner.Runner._send", _refuse)
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


FAILING = '''

from pathlib import Path
from tuneworthy.errors import ProviderError


def failing(request, code="", share=0.15, always=False):
    """Fail on some questions, as long as the file `down` is there if not always."""
    hit = number(question(request), "down") < share
    if code and hit and (always or (Path(__file__).parent / "down").exists()):
        raise ProviderError(f"{code} failed", code=code, retryable=code == "connection")
'''
DOWN = {
    "today": "failing(request, 'connection')",
    "rewrite": "failing(request, 'is a colour.' in system(request) and 'connection')",
}


def failing_simulation(root: Path, how: str) -> Path:
    """A bad prompt whose model fails on some questions, without attempts beyond the first."""
    bad_prompt(root)
    script, file = root / "world.py", root / "tuneworthy.toml"
    script.write_text(script.read_text().replace(WEAK, f"{how} or {WEAK}") + FAILING)
    text = file.read_text()
    for name in ("weak", "writer"):
        text = text.replace(f':{name}"\n', f':{name}"\nretries = 0\n')
    file.write_text(text)
    return root


@pytest.mark.parametrize("when", DOWN)
def test_an_answer_that_does_not_come_ends_the_search_and_a_later_one_ends_as_it_would_have(
    when: str, tmp_path: Path
) -> None:
    pytest.importorskip("gepa")
    whole, root = (
        search(failing_simulation(tmp_path / "whole", DOWN[when])),
        failing_simulation(tmp_path / "cut", DOWN[when]),
    )
    (root / "down").touch()
    with pytest.raises(OutsideFault, match=r"connection failed"):
        search(root)
    (root / "down").unlink()
    rest = search(root)
    assert (rest.variants, rest.about, rest.asked) == (whole.variants, whole.about, whole.asked)


def test_a_rewrite_that_does_not_come_ends_the_search_and_a_later_one_ends_as_it_would_have(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    how = "failing(request)"
    roots = [failing_simulation(tmp_path / name, how) for name in ("whole", "cut")]
    for root in roots:
        script = root / "world.py"
        down = "failing(request, 'pipeline', 0.5 if 'is a colour' in request.messages[-1]['content'] else 0.0)"
        script.write_text(script.read_text().replace('    """Write into', f'    {down}\n    """Write into'))
    whole = search(roots[0])
    (roots[1] / "down").touch()
    with pytest.raises(OutsideFault, match=r"a call failed: \w+ failed"):
        search(roots[1])
    (roots[1] / "down").unlink()
    rest = search(roots[1])
    assert (rest.variants, rest.about, rest.asked) == (whole.variants, whole.about, whole.asked)


def test_a_verdict_that_does_not_come_ends_the_search(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    root = failing_simulation(tmp_path, "failing(request)")
    script, file = root / "world.py", root / "tuneworthy.toml"
    script.write_text(
        f"{script.read_text()}\n\ndef judge(request):\n    return failing(request, 'connection', 0.02) or 'bad'\n"
    )
    section = '[[graders]]\ntype = "judge"\nmodel = "judge"\nrubric = "It names the colour."\n'
    models = '[models.judge]\nprovider = "scripted"\nfunction = "world.py:judge"\nretries = 0\n'
    file.write_text(file.read_text().replace('[[graders]]\ntype = "exact"\n', section + models))
    (root / "down").touch()
    with pytest.raises(OutsideFault, match=r"a call failed: \w+ failed"):
        search(root)


def test_cases_that_today_has_no_score_of_are_set_aside_and_told(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    root = failing_simulation(tmp_path, "failing(request, 'bad_request', always=True)")
    found = search(root)
    about = found.about.gepa
    refused = {case.id for case in searched_half(found.dev)} - {
        identity for name, _, identity in found.asked if name == "prompt/gepa"
    }
    assert about.set_aside == 40 - about.search.n_train - about.search.n_val > 2 and about.search.unscored == 0
    assert len(refused) >= about.set_aside and about.search.score > about.search.before


def test_an_answer_of_a_rewrite_without_a_score_counts_as_that_of_today(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    refused = "failing(request, 'is a colour.' in system(request) and 'bad_request', 1.1, always=True)"
    about = search(failing_simulation(tmp_path, refused)).about.gepa
    assert about.search.unscored > 10 and about.set_aside == 0
    assert about.search.best == 0 and len(about.search.prompts) == 1  # no better, and no worse
    some = failing_simulation(tmp_path / "some", refused.replace("1.1", "0.3"))
    kept = search(some).about.gepa.search.prompts
    assert max(one.unscored for one in kept) > 0 == kept[0].unscored

    async def judged() -> tuple[float, bool]:
        async with open_session(load(tmp_path)) as session:
            section, best, case = session.project.reflection, current(session), session.split.dev[0]
            assert section is not None
            asking = prompt._GepaCalls(session, section, best)
            (trace,) = await session.ask(best, [case])
            asking._today = {case.id: 0.75}
            found = asking._judged(case, trace, Score.failed("the judge gave no rating"))
            return found.score, found.unscored

    assert asyncio.run(judged()) == (0.75, True)


def test_where_nearly_nothing_has_a_score_today_nothing_is_searched_and_that_is_said(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    found = search(failing_simulation(tmp_path, "failing(request, 'bad_request', 0.95, always=True)"))
    assert found.variants == [] and not any(name == "prompt/rewrite" for name, *_ in found.asked)
    assert "of 40 cases for the search have no score, and GEPA needs at least 6 cases" in found.notes[0]


def test_a_budget_that_is_spent_while_rewriting_ends_the_run_though_gepa_would_go_on(tmp_path: Path) -> None:
    pytest.importorskip("gepa")
    root = bad_prompt(tmp_path)
    file = root / "tuneworthy.toml"
    price = 'function = "world.py:writer"\ninput_usd_per_mtok = 1000\noutput_usd_per_mtok = 1000\n'
    file.write_text(file.read_text().replace('function = "world.py:writer"\n', price).replace(
        "[ladder]", "[ladder]\nbudget_usd = 7.0"))  # fmt: skip
    with pytest.raises(BudgetSpent):
        run_ladder(root)


def test_a_model_that_is_not_there_is_a_fault_of_the_project_file(tmp_path: Path) -> None:
    root = bad_prompt(tmp_path, extra='[reflection]\nmodel = "nobody"\n')
    with pytest.raises(
        ConfigError, match=r"reflection.model is 'nobody', but \[models\] has no such model\. Defined models: weak"
    ):
        load(root)


def test_a_run_puts_the_prompt_of_gepa_to_test_and_a_second_one_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gepa")
    root = bad_prompt(tmp_path, n_cases=60)
    estimate = Facts(load(root), contact=False).estimate
    record, stored = run_ladder(root)
    found = record.rung("prompt")
    assert found is not None and (found.status, found.name) == ("adopted", "prompt/gepa"), found
    assert record.variants[found.variant or ""].system == (root / found.detail.gepa.file).read_text()
    assert estimate is not None and stored <= 1.9 * estimate.calls and "writer" in estimate.models
    page = render_markdown(document(record, load(root)))
    assert "optimised prompt" in page
    with monkeypatch.context() as patched:
        patched.setattr("tuneworthy.engine.runner.Runner._send", _refuse)
        again, _ = run_ladder(root)
    assert again.to_dict() == record.to_dict()


# --- paragraphs that earn nothing ---------------------------------------------------------------------------------
