"""Each rung has a world in which it is adopted and one in which it is rightly refused."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.config import load
from tuneworthy.ladder.record import BestVariant, RunRecord
from tuneworthy.ladder.run import LadderRun
from tuneworthy.ladder.rung import Rung
from tuneworthy.ladder.rungs.decoding import DecodingRung
from tuneworthy.ladder.session import open_session
from tuneworthy.search.tag_settings import choose
from tuneworthy.types import OutputFormat, Variant


def run_ladder(root: Path, *, quick: bool = False) -> RunRecord:
    """Walk all rungs of the project at `root`."""

    async def walk() -> RunRecord:
        project = load(root)
        async with open_session(project) as session:
            return await LadderRun(session, quick=quick).run(project.ladder.rungs)

    return asyncio.run(walk())


WINS = {
    "prompt": ({"weak": "answer(request, 0.8 if 'labels' in system(request) else 0.4)"}, {}),
    "model": ({"weak": "answer(request, 0.4)", "strong": "answer(request, 0.9)"}, {}),
    "few_shot": ({"weak": "answer(request, 0.8 if has_shots(request) else 0.4)"}, {}),
    "decoding": ({"weak": "answer(request, 0.8 if request.decoding.get('temperature') == 0 else 0.4)"}, {}),
}
LOSES = {
    "prompt": ({"weak": "answer(request, 0.4 if 'labels' in system(request) else 0.6)"}, {}),
    "model": ({"weak": "answer(request, 0.7)", "strong": "answer(request, 0.4)"}, {}),
    "few_shot": ({"weak": "answer(request, 0.3 if has_shots(request) else 0.7)"}, {}),
    "decoding": ({"weak": "answer(request, 0.4 if request.decoding else 0.7)"}, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("rung", WINS)
def test_a_rung_that_helps_is_adopted(rung: str, tmp_path: Path) -> None:
    models, options = WINS[rung]
    record = run_ladder(write_simulation(tmp_path, models, rungs=["baseline", rung], **options))
    found = record.rung(rung)
    assert found is not None and found.status == "adopted", found
    assert found.reason_code == "better" and found.delta_ci is not None and found.delta_ci[0] > 0
    assert record.best == BestVariant(rung, found.variant or "")


@pytest.mark.slow
@pytest.mark.parametrize("rung", LOSES)
def test_a_rung_that_hurts_is_refused(rung: str, tmp_path: Path) -> None:
    models, options = LOSES[rung]
    record = run_ladder(write_simulation(tmp_path, models, rungs=["baseline", rung], **options))
    found = record.rung(rung)
    assert found is not None and found.status in {"no_gain", "inconclusive"}, found
    assert record.best is not None and record.best.rung == "baseline"


@pytest.mark.slow
def test_a_classical_baseline_that_beats_every_prompt_is_the_best(tmp_path: Path) -> None:
    record = run_ladder(
        write_simulation(tmp_path, {"weak": "answer(request, 0.4)"}, learnable=True, rungs=["classical", "baseline"])
    )
    assert record.best is not None and record.best.rung == "classical"
    assert record.rungs[0].reason_code == "better"


@pytest.mark.slow
def test_a_classical_baseline_that_has_nothing_to_learn_from_stays_a_reference(tmp_path: Path) -> None:
    record = run_ladder(write_simulation(tmp_path, {"good": "answer(request, 0.9)"}, rungs=["classical", "baseline"]))
    assert record.best is not None and record.best.rung == "baseline"


@pytest.mark.slow
def test_all_that_follows_is_asked_with_the_parameters_of_today(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, WINS["few_shot"][0], rungs=["baseline", "few_shot"])
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace("[prompt]", "[prompt]\nparameters = {temperature = 0.0, top_p = 0.9}"))
    record = run_ladder(root)
    for rung in ("baseline", "few_shot"):
        row = record.rung(rung)
        assert row is not None and row.variant is not None
        assert record.variants[row.variant].decoding["temperature"] == 0.0


def test_the_baseline_is_a_reference_that_later_rungs_are_compared_with(tmp_path: Path) -> None:
    record = run_ladder(write_simulation(tmp_path, WINS["model"][0], rungs=["baseline", "model"]))
    baseline, model = record.rung("baseline"), record.rung("model")
    assert baseline is not None and model is not None
    assert baseline.status == "reference" and model.compared_to == baseline.variant


def test_without_other_models_the_rung_model_is_skipped_with_its_reason(tmp_path: Path) -> None:
    record = run_ladder(write_simulation(tmp_path, {"weak": "answer(request, 0.4)"}, rungs=["baseline", "model"]))
    found = record.rung("model")
    assert found is not None and (found.status, found.reason_code) == ("skipped", "no_other_model")


def test_a_cheaper_variant_that_is_no_worse_is_adopted(tmp_path: Path) -> None:
    models = {"dear": "answer(request, 0.9)", "cheap": "answer(request, 0.9)"}
    root = write_simulation(tmp_path, models, rungs=["baseline", "model"])
    file = root / "tuneworthy.toml"
    text = file.read_text()
    for name, price in (("dear", 10), ("cheap", 1)):
        text = text.replace(
            f'function = "world.py:{name}"',
            f'function = "world.py:{name}"\ninput_usd_per_mtok = {price}\noutput_usd_per_mtok = {price}',
        )
    file.write_text(text)
    found = run_ladder(root).rung("model")
    assert found is not None and (found.status, found.reason_code) == ("adopted", "cheaper"), found


def test_quick_never_looks_at_test(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, WINS["few_shot"][0], rungs=["baseline", "few_shot"])
    record = run_ladder(root, quick=True)
    assert record.n_dev == 40 and record.comparisons.made == 0
    assert all(rung.score is None for rung in record.rungs)
    assert not (root / ".tuneworthy" / "comparisons.json").exists()


def test_a_machine_that_was_busier_before_makes_nobody_faster(tmp_path: Path) -> None:
    """The baseline was measured while it was busy; timed in turn, the candidate is no faster."""
    root = write_simulation(tmp_path, {"weak": "later_faster(answer(request, 0.4))"}, rungs=["baseline", "prompt"])
    record = run_ladder(root)
    baseline, prompt = record.rung("baseline"), record.rung("prompt")
    assert baseline is not None
    assert prompt is not None
    assert (baseline.latency_p50_ms or 0) > 2 * (prompt.latency_p50_ms or 0)
    assert prompt.status != "adopted"


async def _refuse(*_: object) -> None:
    raise AssertionError("a provider was asked")


def test_a_second_run_gives_the_same_record_and_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_simulation(
        tmp_path, WINS["few_shot"][0], rungs=["classical", "baseline", "prompt", "few_shot", "decoding"]
    )
    first = run_ladder(root).to_dict()
    with monkeypatch.context() as patched:
        patched.setattr("tuneworthy.engine.runner.Runner._send", _refuse)
        second = run_ladder(root).to_dict()
    assert first == second


def test_with_fewer_than_fifty_dev_cases_one_candidate_a_rung_is_preregistered(tmp_path: Path) -> None:
    root = write_simulation(tmp_path, WINS["few_shot"][0], n_cases=90, n_examples=30, rungs=["baseline", "few_shot"])
    record = run_ladder(root)
    found = record.rung("few_shot")
    assert not record.explored and found is not None
    assert found.candidates_tried == 1 and not found.candidates


@pytest.mark.parametrize("limit", ["on_device", "data_stays"])
def test_a_hosted_model_that_may_not_serve_is_measured_as_a_teacher_unless_data_stays(
    limit: str, tmp_path: Path
) -> None:
    price = "input_usd_per_mtok = 0\noutput_usd_per_mtok = 0\n"
    cloud = '[models.cloud]\nprovider = "scripted"\nfunction = "world.py:cloud"\nplays_hosted = true\n'
    constraints = f"[constraints]\n{limit} = true\n"
    root = write_simulation(
        tmp_path, {"weak": "answer(request, 0.4)"}, rungs=["baseline", "model"], extra=cloud + price + constraints
    )
    script = root / "world.py"
    script.write_text(f"{script.read_text()}\n\ndef cloud(request):\n    return answer(request, 0.9)\n")
    record = run_ladder(root)
    found, teacher = record.rung("model"), record.rung("teacher")
    assert found is not None and found.score is None and record.best is not None and record.best.rung == "baseline"
    assert not any("judge" in note for note in found.notes)
    if limit == "data_stays":
        assert (found.status, teacher) == ("violates_constraint", None)
        assert {variant.model for variant in record.variants.values()} == {"weak"}
    else:
        assert (found.status, found.reason_code) == ("violates_constraint", "constraint")
        assert teacher is not None and teacher.status == "violates_constraint" and teacher.score is not None
        assert teacher.score > 0.8 and teacher.name == "model/cloud"


def test_the_embedded_model_is_tuned_unless_its_answers_are_greedy(tmp_path: Path) -> None:
    """The proposals alone: nothing is asked, so no model file is needed."""
    from tuneworthy.ladder.rungs.decoding import DecodingRung
    from tuneworthy.providers.capabilities import capabilities_of

    provider = SimpleNamespace(capabilities=capabilities_of("llama_cpp", "x"), supports=frozenset({"choice"}))
    free = Variant(name="b", model="m", model_identity={}, system=None, user="{{ input }}")
    provider.identity = {"provider": "llama_cpp"}
    decoding = SimpleNamespace(grid=None, preset="auto")
    view = SimpleNamespace(
        incumbent=free,
        models={"m": SimpleNamespace(provider=provider, capabilities=provider.capabilities)},
        project=SimpleNamespace(
            decoding=decoding,
            root=tmp_path,
            models={"m": SimpleNamespace(provider="llama_cpp", repeatable=False)},
            documents=None,
        ),
        task=SimpleNamespace(kind="label"),
        n_dev=50,
    )

    def settings() -> list[dict[str, object]]:
        return [dict(candidate.decoding) for candidate in asyncio.run(DecodingRung().propose(view)).candidates]  # type: ignore[arg-type]

    assert {"temperature": 0.0} in settings()
    assert any("min_p" in setting for setting in settings())
    assert asyncio.run(DecodingRung().propose(view)).more_calls == {"m": 40}  # type: ignore[arg-type]
    for output in (OutputFormat(kind="choice", choices=("a", "b")), free.output):
        view.incumbent = replace(free, output=output, decoding={"temperature": 0.0})
        assert settings() == []
        assert asyncio.run(DecodingRung().propose(view)).skip_code == "greedy"  # type: ignore[arg-type]
    decoding.grid = [{"temperature": 0.5}]
    assert settings() == [{"temperature": 0.5}]


def test_every_provider_that_takes_parameters_says_so() -> None:
    """The rungs read `capabilities` of the provider: a provider that hides it would be skipped in silence."""
    from tuneworthy.providers.anthropic import AnthropicProvider
    from tuneworthy.providers.llama_cpp import LlamaCppProvider
    from tuneworthy.providers.openai import OpenAIProvider

    for cls in (AnthropicProvider, LlamaCppProvider, OpenAIProvider):
        sources = [
            inspect.getsource(base.__init__) for base in cls.__mro__ if "__init__" in vars(base) and base is not object
        ]
        assert any("self.capabilities" in source for source in sources), cls


def tagged(root: Path, right: str, tag: Callable[[int], str]) -> Path:
    """A world of two settings, `right` saying how often an answer to case `i` is right, with a tag for each case."""
    code = f"answer(request, {right.replace('HOT', 'request.decoding.get(`temperature`)'.replace('`', chr(39)))})"
    code = code.replace("i %", "int(question(request).split()[1]) %")
    grid = "[decoding]\ngrid = [{temperature = 0.0}, {temperature = 0.7}]"
    write_simulation(root, {"weak": code}, n_cases=360, n_examples=30, rungs=["baseline", "decoding"], extra=grid)
    rows = [json.loads(line) for line in (root / "cases.jsonl").read_text().splitlines()]
    (root / "cases.jsonl").write_text(
        "".join(json.dumps(row | {"tags": [tag(i)]}) + "\n" for i, row in enumerate(rows))
    )
    return root


def parity(i: int) -> str:
    return "rare" if i % 20 == 0 else ["even", "odd"][i % 2]


OPPOSITE = "0.95 if (not HOT) == (i % 2 == 0) else 0.2"


@pytest.mark.parametrize("is_on", [True, False])
def test_tags_that_need_opposite_settings_get_them(
    is_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_on:
        monkeypatch.setattr(DecodingRung, "combine", Rung.combine)
    record = run_ladder(tagged(tmp_path, OPPOSITE, parity))
    found = record.rung("decoding")
    assert found is not None and found.variant is not None and found.score is not None
    variant = record.variants[found.variant]
    assert (found.score > 0.85, bool(variant.by_tag)) == (is_on, is_on)
    if is_on:
        assert found.reason_code == "better" and found.calls == sum(row.n for row in found.candidates[1:])
        hot = {tag: variant.for_tags((tag, "odd")).decoding["temperature"] > 0 for tag in ("even", "odd")}
        assert hot == {"even": False, "odd": True} and len(variant.by_tag) == 1
        assert variant.for_tags(("rare",)) is variant.for_tags(("unseen", "odd")) is variant.for_tags(()) is variant
        assert any(note.startswith("Settings by tag: ") and "rare" not in note for note in found.notes)


def test_tags_without_a_difference_get_no_settings_of_their_own(tmp_path: Path) -> None:
    record = run_ladder(tagged(tmp_path, "0.6 if HOT else 0.55", parity))
    found = record.rung("decoding")
    assert found is not None and not record.variants[found.variant or ""].by_tag
    assert any("No setting by tag" in note for note in found.notes)


def test_tags_with_few_cases_are_not_tried(tmp_path: Path) -> None:
    record = run_ladder(tagged(tmp_path, OPPOSITE, lambda i: f"{parity(i)} {i % 6}"))
    found = record.rung("decoding")
    assert found is not None and not record.variants[found.variant or ""].by_tag
    assert any("not tried" in note for note in found.notes)


def answers_of(right: Sequence[bool] | np.ndarray, usd: float) -> np.ndarray:
    n = len(right)
    return np.array([np.array(right, float), np.ones(n), np.full(n, usd), np.ones(n)])


@pytest.mark.parametrize(("usd", "is_offered"), [(1.0, True), (9.0, False)])
def test_an_easy_tag_gets_the_effort_that_is_cheaper_by_a_fifth(usd: float, is_offered: bool) -> None:
    tags, groups = np.array(["easy", "hard"] * 60), np.arange(120) // 2
    high = answers_of([i % 10 != 0 for i in range(120)], 10.0)
    low = answers_of([i % 10 != 0 and i % 2 == 0 for i in range(120)], usd)
    own, found = choose(np.stack([high, low], axis=1), tags, groups, ["easy", "hard"], 0.8)
    assert (found is not None) == is_offered
    if found is not None:
        assert own == {"easy": 1} and found.weight == pytest.approx((5.5, 1))
        assert np.array_equal(found.num, high[0])


def test_settings_that_chance_chose_do_not_pass_the_other_half() -> None:
    rng = np.random.default_rng(3)
    tags, offered, chosen = np.array([*"abcd"] * 40), 0, 0
    for _ in range(100):
        arms = [answers_of(rng.random(160) < 0.5, 1.0) for _ in range(3)]
        arms.sort(key=lambda arm: -float(arm[0].sum()))
        own, found = choose(np.stack(arms, axis=1), tags, np.arange(160) // 4, [*"abcd"], 0.8)
        chosen, offered = chosen + bool(own), offered + (found is not None)
    assert chosen > 25 and offered < 10, (chosen, offered)


def test_a_setting_with_unscored_answers_is_not_preferred() -> None:
    first, other = answers_of([True, False] * 40, 1.0), answers_of([True] * 80, 1.0)
    answers, tags = np.stack([first, other], axis=1), np.array(["a"] * 80)
    assert choose(answers, tags, np.arange(80) // 2, ["a"], 0.8)[1] is not None
    answers[0, 1, :8] = np.nan
    assert choose(answers, tags, np.arange(80) // 2, ["a"], 0.8)[1] is None
