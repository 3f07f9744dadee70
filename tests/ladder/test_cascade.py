"""The rung `cascade`, measured from stored answers, as an option of the verdict, and exported as a router."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pytest
import yaml

from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.exports import router as export_router
from tuneworthy.ladder.cascade import is_sent, joined, large_of
from tuneworthy.ladder.comparison_plan import read_comparisons, rungs_with_comparisons, with_slots
from tuneworthy.ladder.measurement import _time
from tuneworthy.ladder.record import RungRecord, RunRecord, read_record, write_record
from tuneworthy.ladder.rung import View
from tuneworthy.ladder.rung_details import CascadeDetail
from tuneworthy.ladder.rungs import cascade
from tuneworthy.ladder.rungs.cascade import CascadePart, CascadeRung, choose_threshold
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.stats.comparisons import ComparisonPlan
from tuneworthy.store import Folder
from tuneworthy.types import Cascade, Failure, Response, Trace, Variant
from tuneworthy.verdict.options import Option, recommend

T = TypeVar("T")
PRICED = "input_usd_per_mtok = 1000.0\noutput_usd_per_mtok = 1000.0\nlatency_ms = 20.0\n"
RUNGS = ["classical", "baseline", "model", "cascade", "fine_tune"]


def project(root: Path, strong: str, *, rungs: list[str] = RUNGS, price: str = PRICED, hints: bool = True) -> Path:
    """Half of the questions name their colour; of the others only a model that knows the number can tell."""
    models = {"weak": "'red'", "strong": strong}
    root = write_simulation(root, models, n_cases=240, rungs=rungs, learnable=True)
    for name in ("cases.jsonl", "examples.jsonl"):
        lines = (root / name).read_text().splitlines()
        for at in range(0, len(lines), 2 if hints else 1):
            for hint in ("crimson apple", "leafy meadow", "deep ocean"):
                lines[at] = lines[at].replace(hint, "thing")
        if name == "examples.jsonl":  # wrong labels, which the nearest example repeats and a linear classifier does not
            lines = [line.replace('"green"', '"blue"') if at % 10 in {1, 3} else line for at, line in enumerate(lines)]
        (root / name).write_text("\n".join(lines) + "\n")
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace('"world.py:strong"\n', f'"world.py:strong"\n{price}'))
    return root


def run(root: Path) -> RunRecord:
    assert invoke(["run", "--project", str(root), "--yes"]) == 0
    record = read_record(Folder(root))
    assert record is not None
    return record


def row_of(record: RunRecord) -> RungRecord:
    row = record.rung("cascade")
    assert row is not None
    return row


def opened(root: Path, work: Callable[[Session], Awaitable[T]]) -> T:
    async def main() -> T:
        async with open_session(load(root)) as session:
            return await work(session)

    return asyncio.run(main())


def decision(root: Path, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    capsys.readouterr()
    invoke(["decide", "--project", str(root), "--json", *more])
    return json.loads(capsys.readouterr().out)


def export(root: Path, capsys: pytest.CaptureFixture[str], status: int = 0) -> Any:
    capsys.readouterr()
    assert invoke(["export", "router", "--project", str(root), "--out", str(root / "out"), "--json"]) == status
    document = json.loads(capsys.readouterr().out)
    return document["error"]["message"] if status else document


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = project(tmp_path_factory.mktemp("walked") / "world", "answer(request, 0.97)")
    run(root)
    return root


@pytest.fixture
def record(walked: Path) -> RunRecord:
    found = read_record(Folder(walked))
    assert found is not None
    return found


def test_the_cascade_is_what_the_stored_answers_of_its_parts_make_it_and_calls_no_model(
    walked: Path, record: RunRecord
) -> None:
    row = row_of(record)
    variant = record.variants[str(row.variant)]
    assert variant.cascade is not None

    async def by_hand(session: Session) -> tuple[list[str], list[float], int]:
        test, first, large = session.split.test, variant.cascade.first, large_of(variant)  # type: ignore[union-attr]
        own = session.runner.stored(first, test)
        asked = {trace.case_id: trace for trace in session.runner.stored(large, test)}
        answers, usd = [], []
        for trace in own:
            assert trace.response is not None and trace.response.label_logprobs is not None
            sure = np.exp(max(trace.response.label_logprobs.values())) >= variant.cascade.threshold  # type: ignore[union-attr]
            answers.append(trace.text if sure else asked[trace.case_id].text)
            usd.append(0.0 if sure else asked[trace.case_id].cost_usd)
        return answers, usd, session.runner.sent

    answers, usd, sent = opened(walked, by_hand)
    cases = opened(walked, lambda session: _value(session.split.test))
    assert row.score == pytest.approx(np.mean([one == case.expected for one, case in zip(answers, cases, strict=True)]))
    assert row.usd_per_1k == pytest.approx(1000 * np.mean(usd))
    assert (row.cost_usd, row.status, row.reason_code, sent) == (0.0, "adopted", "cheaper", 0)
    assert isinstance(row.detail, CascadeDetail)
    assert row.detail.sent == pytest.approx(np.mean(np.array(usd) > 0))
    assert 0.3 < row.detail.sent < 0.7
    assert record.best is not None and record.best.rung == "cascade"


async def _value(value: T) -> T:
    return value


def test_it_is_compared_once_with_the_best_model_and_repeating_the_run_changes_nothing(
    walked: Path, record: RunRecord
) -> None:
    row, model = row_of(record), record.rung("model")
    assert model is not None and row.compared_to == model.variant
    plan = read_comparisons(Folder(walked))
    assert plan.planned == ("classical", "model", "cascade", "fine_tune")
    again = run(walked)
    assert read_comparisons(Folder(walked)) == plan
    assert row_of(again).variant == row.variant


def test_its_time_is_put_together_case_by_case(walked: Path, record: RunRecord) -> None:
    variant = record.variants[str(row_of(record).variant)]
    assert variant.cascade is not None
    first = variant.cascade.first

    async def times(session: Session) -> tuple[Any, Any, Any, list[Trace]]:
        cases = session.split.dev[:20]
        found = [await _time(session, one, cases) for one in (variant, first, large_of(variant))]
        return *(one.seconds for one in found), await session.ask(first, cases)  # type: ignore[return-value]

    mixed, own, large, traces = opened(walked, times)
    sent = {trace.case_id: is_sent(variant.cascade, trace) for trace in traces}
    assert {sent[case] for case in mixed} == {True, False}
    for case, seconds in mixed.items():
        assert seconds == own[case] + (large[case] if sent[case] else 0.0)


def test_threshold_and_parts_are_chosen_without_a_look_at_test(
    tmp_path: Path, walked: Path, record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(tmp_path / "other", "answer(request, 0.97)")
    lines = (root / "cases.jsonl").read_text().splitlines()
    turned = {"red": "green", "green": "blue", "blue": "red"}
    rows = [{**one, "expected": turned[one["expected"]]} for one in map(json.loads, lines)]
    (root / "cases.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    looked: set[str] = set()
    stored = Session.stored

    def watched(self: Session, variant: Variant, cases: Any, **more: Any) -> list[Trace]:
        looked.update(case.id for case in cases)
        return stored(self, variant, cases, **more)

    search = CascadeRung.search

    async def searching(self: CascadeRung, view: View) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(Session, "stored", watched)
            return await search(self, view)

    monkeypatch.setattr(CascadeRung, "search", searching)
    row = row_of(run(root))
    assert row.variant == row_of(record).variant  # the threshold is part of the id
    assert row.score != row_of(record).score
    dev = opened(root, lambda session: _value({case.id for case in session.split.dev}))
    assert looked and looked <= dev


def test_the_verdict_has_it_as_an_option_with_its_price_its_time_and_the_share_it_sends_on(
    walked: Path, record: RunRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    file = walked / "tuneworthy.toml"
    text = file.read_text()
    file.write_text(f"{text}\n[economics]\nrequests_per_month = 1000\n")
    try:
        verdict = decision(walked, capsys)
        capsys.readouterr()
        invoke(["decide", "--project", str(walked)])
        shown = capsys.readouterr().out
    finally:
        file.write_text(text)
    row = row_of(record)
    option = next(one for one in verdict["options"] if one["kind"] == "cascade")
    large = next(one for one in verdict["options"] if one["option"] == "model/strong")
    assert verdict["recommendation"] == option["option"] == "cascade/linear+strong"
    assert option["score"] == row.score and option["ci95"] == list(row.ci95 or ())
    assert option["usd_per_1k"] == row.usd_per_1k == option["usd_per_month"] < 0.8 * large["usd_per_month"]
    assert option["latency_p50_ms"] == row.latency_p50_ms and option["latency_p95_ms"] > large["latency_p50_ms"]
    assert isinstance(row.detail, CascadeDetail) and option["share_sent"] == row.detail.sent
    assert f"{row.detail.sent:.1%}" in shown
    assert verdict["economics"]["reference"] == option["option"]
    assert verdict["next_action"]["command"].startswith("tuneworthy export router")
    assert "export router" in option["needs"]


@pytest.mark.slow
def test_a_confidence_that_says_nothing_is_not_recommended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No question names its colour: the classifier guesses, and its probabilities are noise."""
    root = project(tmp_path / "noise", "answer(request, 0.97)", hints=False)
    record = run(root)
    row = row_of(record)
    assert row.status in {"no_gain", "inconclusive", "skipped"}
    assert record.best is not None and record.best.rung == "model"
    assert decision(root, capsys)["recommendation"] == "model/strong"
    assert "cascade" in export(root, capsys, status=3 if row.variant else 2)
    assert not (root / "out").exists()


def test_a_measured_cascade_is_exported_whether_or_not_it_was_adopted_unless_it_breaks_a_constraint(
    tmp_path: Path, walked: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(walked, tmp_path / "world", ignore=shutil.ignore_patterns("out"))
    monkeypatch.setattr(cascade, "choose_threshold", lambda *_: 0.0)
    assert row_of(run(root)).status == "no_gain"
    assert export(root, capsys)["n_test"] == 240
    shutil.rmtree(root / "out")
    found = read_record(Folder(root))
    assert found is not None
    changes: list[dict[str, Any]] = [{"violated": "too slow", "reason": "too slow"}, {"score": None}]
    for change in changes:
        rungs = [replace(row, **change) if row.rung == "cascade" else row for row in found.rungs]
        write_record(Folder(root), replace(found, rungs=rungs))
        assert "Nothing was written" in export(root, capsys, status=3)
        assert not (root / "out").exists()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"price": ""}, "no_dearer_model"),
        ({"rungs": ["baseline", "model", "cascade"]}, "no_confidence"),
    ],
)
def test_it_is_skipped_with_a_reason(tmp_path: Path, changes: Any, code: str) -> None:
    row = row_of(run(project(tmp_path / "world", "answer(request, 0.97)", **changes)))
    assert (row.status, row.reason_code, row.variant) == ("skipped", code, None)
    assert row.reason


def part(name: str, model: str, usd: float, sure: float, right: Any) -> CascadePart:
    variant = Variant(name=name, model=model, model_identity={}, system=None, user="{{ input }}")
    n = len(right)
    return CascadePart(variant, np.array(right, float), np.full(n, usd), np.full(n, sure) - np.arange(n) / 1000)


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (part("prompt/ranked_sum", "strong", 0.1, 0.9, [1, 0, 1]), "same_model"),
        (part("prompt/ranked_sum", "dear", 9.0, 0.9, [1, 0, 1]), "no_dearer_model"),
        (part("prompt/ranked_sum", "small", 0.1, 0.9, [0, 0, 0]), "no_threshold"),
        (part("prompt/ranked_sum", "small", 0.1, 0.9, [np.nan, np.nan, 1]), "no_confidence"),
        (part("prompt/ranked_sum", "small", 0.1, 0.9, [1, 1, 0]), ""),
    ],
)
def test_a_small_model_that_ranks_labels_is_a_first_part_where_it_can_save(
    first: CascadePart, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = part("model/strong", "strong", 1.0, 0.0, [1, 1, 1])
    parts = {one.variant.name: one for one in (first, large)}

    async def stored(_: Any, variant: Variant, __: Any) -> CascadePart:
        return parts[variant.name]

    monkeypatch.setattr(cascade, "part_of", stored)
    sure = Response(text="x", label_logprobs={"x": 0.0})
    told = Trace(case_id="", variant_id="", repeat=0, messages=(), response=sure)
    session: Any = SimpleNamespace(models={"strong": SimpleNamespace(price=1)}, stored=lambda *_: [told])
    view: Any = SimpleNamespace(
        session=session, dev=range(3), tried=[first.variant], measured=[large.variant], incumbent=large.variant,
        project=SimpleNamespace(task=SimpleNamespace(margin=0.05)),
    )  # fmt: skip
    found = asyncio.run(CascadeRung().search(view))
    assert found.skip_code == code
    assert bool(found.skipped) == bool(code) != bool(found.candidates)
    if found.candidates:
        assert found.candidates[0].cascade == Cascade(first=first.variant, threshold=0.8985)


def test_a_slot_is_planned_only_where_a_cascade_can_be_and_earlier_plans_keep_their_alpha(tmp_path: Path) -> None:
    def planned(name: str, **more: Any) -> list[str]:
        root = project(tmp_path / name, "'red'", **more)
        return opened(root, lambda s: _value(rungs_with_comparisons(s.project, s.split, s.task)))

    assert planned("priced") == ["classical", "model", "cascade", "fine_tune"]
    assert planned("free", price="") == ["classical", "model", "fine_tune"]
    assert planned("without", rungs=["classical", "baseline", "model"]) == ["classical", "model"]
    plan = ComparisonPlan().plan(["classical", "model", "fine_tune"])
    later = with_slots(plan, ["classical", "model", "cascade", "fine_tune"], SimpleNamespace(additions=()))  # type: ignore[arg-type]
    assert {name: later.alpha_for(name) for name in plan.planned} == {
        name: plan.alpha_for(name) for name in plan.planned
    }
    assert later.alpha_for("cascade") == 0.005


def test_the_lowest_threshold_that_keeps_the_score_is_chosen() -> None:
    sure, own = np.array([0.99, 0.9, 0.8, 0.4, 0.2]), np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    assert choose_threshold(sure, own, np.array([1.0, 1.0, 1.0, 1.0, 0.0])) == 0.85
    assert choose_threshold(sure, own, np.zeros(5)) == 0.0
    assert choose_threshold(sure, np.zeros(5), np.ones(5)) == float("inf")
    assert choose_threshold(sure, np.full(5, np.nan), np.ones(5)) == 0.0


def test_traces_of_both_parts_are_joined() -> None:
    first = Variant(name="classical/linear", model="classical:linear", model_identity={}, system=None, user="")
    variant = Variant(
        name="cascade/a",
        model="strong",
        model_identity={},
        system=None,
        user="",
        cascade=Cascade(first=first, threshold=0.6),
    )

    def trace(case: str, shares: dict[str, float] | None, *, repeat: int = 0, tokens: int | None = 0) -> Trace:
        logprobs = {label: float(np.log(share)) for label, share in shares.items()} if shares else None
        response = Response(text=case, label_logprobs=logprobs, input_tokens=tokens, output_tokens=tokens, seconds=1.0)
        return Trace(
            case_id=case, variant_id="x", repeat=repeat, messages=(), response=response, cost_usd=0.5 if shares else 2.0
        )

    failed = Trace(
        case_id="c", variant_id="x", repeat=0, messages=(), response=None, error=Failure(code="server", message="down")
    )
    # Ranked labels are not normalised: 0.3 and 0.1 are 75% and 25%.
    own = [trace("a", {"x": 0.3, "y": 0.1}), trace("b", {"x": 0.55, "y": 0.45}), failed]
    large = [trace(case, None, repeat=n, tokens=100) for case in "abc" for n in range(2)]
    found = joined(variant, own, large, 2)
    assert [(one.case_id, one.repeat, one.cost_usd) for one in found] == [
        ("a", 0, 0.5), ("a", 1, 0.5), ("b", 0, 2.5), ("b", 1, 2.5), ("c", 0, 2.0), ("c", 1, 2.0),
    ]  # fmt: skip
    assert {one.variant_id for one in found} == {variant.id}
    assert [one.response and (one.response.input_tokens, one.response.seconds) for one in found[::2]] == [
        (0, 1.0), (100, 2.0), (100, 1.0),
    ]  # fmt: skip
    silent = joined(variant, own, [trace(case, None, tokens=None) for case in "bc"], 1)
    assert [one.response and one.response.input_tokens for one in silent] == [None, None, None]


def test_a_variant_without_a_cascade_keeps_its_id_and_the_threshold_is_part_of_it() -> None:
    plain = Variant(name="a", model="m", model_identity={}, system=None, user="{{ input }}")
    assert plain.id == "5752b09a60e32a6e"
    ids = {
        large_of(plain).id,
        *(Variant(**{**vars_of(plain), "cascade": Cascade(first=plain, threshold=at)}).id for at in (0.5, 0.6)),
    }
    assert len(ids) == 3


def vars_of(variant: Variant) -> dict[str, Any]:
    return {name: getattr(variant, name) for name in Variant.__dataclass_fields__}


@pytest.mark.moved
def test_the_router_answers_as_measured_and_needs_nothing_but_numpy(
    walked: Path, record: RunRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    made = len(read_comparisons(Folder(walked)).spent)
    document = export(walked, capsys)
    row = row_of(record)
    assert len(read_comparisons(Folder(walked)).spent) == made
    assert (document["n_test"], document["large"], document["score"]) == (240, "model/strong", row.score)
    assert document["usd_per_1k"] == row.usd_per_1k < document["large_usd_per_1k"]
    readme, alone = (walked / "out" / "classifier" / "README.md").read_text(), record.rung("classical")
    assert alone and alone.score and f"| Score | {alone.score:.1%} (" in readme  # not the score of the cascade
    assert {Path(path).suffix for path in document["paths"]} == {".py", ".json", ".npz", ".md", ".txt"}
    code = (
        "import router\n"
        "print(router.answer('item 5 leafy meadow 9', lambda text: 'asked'))\n"
        "print(router.answer('qwz', lambda text: 'asked'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=walked / "out", capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["green", "asked"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [(("= THRESHOLD", "= THRESHOLD / 2"), "differ"), (("import sys\n", "import pandas, sys\n"), "does not run")],
)
def test_a_router_that_answers_otherwise_is_not_written(
    walked: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fault: tuple[str, str],
    words: str,
) -> None:
    assert fault[0] in export_router.ROUTER
    monkeypatch.setattr(export_router, "ROUTER", export_router.ROUTER.replace(*fault))
    shutil.rmtree(walked / "out", ignore_errors=True)
    assert words in export(walked, capsys, status=3)
    assert not (walked / "out").exists()


def test_the_parts_are_named_where_a_cascade_is_exported_as_a_variant(
    walked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["export", "variant", "best", "--project", str(walked), "--out", str(walked / "v")]) == 2
    assert "export router" in capsys.readouterr().err


def litellm_folder(root: Path, folder: Path) -> Path:
    """A router whose large model is answered by a stand-in for `large/client.py`."""
    shutil.copytree(root / "out", folder)
    (folder / "large").mkdir(exist_ok=True)
    (folder / "large" / "client.py").write_text("def ask(text):\n    return f'asked {text}'\n")
    for name, content in export_router.LITELLM.items():
        (folder / name).write_text(content)
    return folder


@pytest.mark.slow
def test_the_litellm_configuration_names_the_handler(
    walked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(walked, capsys)
    assert not (walked / "out" / "litellm_config.yaml").exists()  # a scripted model has no client
    folder = litellm_folder(walked, tmp_path / "router")
    document = yaml.safe_load((folder / "litellm_config.yaml").read_text())
    (provider,) = document["litellm_settings"]["custom_provider_map"]
    (model,) = document["model_list"]
    module, _, name = provider["custom_handler"].partition(".")
    assert f"\n{name} = " in (folder / f"{module}.py").read_text()
    assert model["litellm_params"]["model"].partition("/")[0] == provider["provider"]


PROXY_CHECK = """
import asyncio, yaml, litellm
from litellm.proxy.types_utils.utils import get_instance_fn
config = yaml.safe_load(open("litellm_config.yaml"))
for one in config["litellm_settings"]["custom_provider_map"]:
    one["custom_handler"] = get_instance_fn(one["custom_handler"], config_file_path="litellm_config.yaml")
    litellm.custom_provider_map = [one]
litellm.utils.custom_llm_setup()
router = litellm.Router(model_list=config["model_list"])
def ask(text):
    return [{"role": "user", "content": text}]
print(router.completion("cascade", messages=ask("item 5 leafy meadow 9")).choices[0].message.content)
print(asyncio.run(router.acompletion("cascade", messages=ask("qwz"))).choices[0].message.content)
"""


@pytest.mark.slow
def test_litellm_loads_the_configuration_and_asks_the_router(
    walked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(walked, capsys)
    folder = litellm_folder(walked, tmp_path / "router")
    python = os.environ.get("TUNEWORTHY_LITELLM_PYTHON")
    if python is None:
        subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
        python = str(tmp_path / "venv" / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "litellm", "numpy", "pyyaml"], check=True)
    done = subprocess.run([python, "-c", PROXY_CHECK], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:2] == ["green", "asked qwz"], done.stderr


def test_a_cascade_follows_the_rule_of_all_options() -> None:
    cheap, large = (
        Option(option=name, rung=name, kind=kind, usd_per_1k=usd)
        for name, kind, usd in (("cascade", "cascade", 9.7), ("model", "variant", 10.0))  # type: ignore[misc]
    )
    today = Option(option="today", rung="baseline", kind="today", usd_per_1k=1.0)

    def chosen(*meets: str) -> str | None:
        found = recommend([today, large, cheap], lambda option: option.option in meets, frozenset())
        return found and found.option

    assert chosen("cascade", "model") == chosen("cascade") == "cascade"
    assert chosen("cascade", "today") == "today"
