"""`decide` and the gate `shadow`: from unknown to `ship` and back, on a project that was really built and run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.ladder.tuned_simulations import write_proven_model, write_tuned_simulation
from tests.verdict.planted import TRAINED, trained
from tests.verdict.test_training import EXTRA
from tuneworthy.cli import invoke
from tuneworthy.verdict.base import Outcome, TrainingReason
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import ProofEvidence
from tuneworthy.verdict.gates import GATES

WAIVED = "".join(f'[[waivers]]\ngate = "{name}"\nreason = "not in this test"\n' for name in ("dataset_review", "pilot"))
LABELS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tuned model that was compared on test and proven, before any traffic."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("shadow") / "world"
        write_tuned_simulation(root, patch, extra=EXTRA + WAIVED)
        write_proven_model(root)
        yield root


@pytest.fixture
def world(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "world"))


def decided(root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any], dict[str, Any]]:
    capsys.readouterr()
    status = invoke(["decide", "--json", "--project", str(root)])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, document, next(row for row in document["gates"] if row["gate"] == "shadow")


def log(root: Path, wrong: float) -> str:
    """Recorded traffic of a production model that errs on a share of the turns."""
    rows = []
    for i in range(20_000, 21_200):
        right = i % 3
        answer = LABELS[(right + 1) % 3 if i % 100 < 100 * wrong else right]
        turns = [{"role": "user", "content": f"item {i} thing"}, {"role": "assistant", "content": answer}]
        rows.append({"messages": turns, "truth": LABELS[right], "timestamp": f"2026-09-{1 + i // 100 % 12:02}"})
    path = root / f"log-{wrong}.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


@pytest.mark.slow
@pytest.mark.moved
def test_decide_turns_from_shadow_unknown_to_ship_and_back(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found, gate = decided(world, capsys)
    assert (status, found["outcome"], found["reason_code"]) == (4, "undecided", "gate_shadow")
    assert gate["status"] == "unknown" and found["next_action"]["command"] == "tuneworthy shadow replay FILES"
    assert invoke(["shadow", "replay", log(world, 0.10), "--project", str(world)]) == 0
    status, found, gate = decided(world, capsys)
    assert (status, found["outcome"], gate["status"]) == (0, "ship", "pass")
    assert invoke(["shadow", "replay", log(world, 0.0), "--project", str(world)]) in {0, 4}
    assert invoke(["shadow", "replay", log(world, 0.10), "--candidate", "baseline", "--project", str(world)]) == 3
    status, found, gate = decided(world, capsys)
    assert (status, found["reason_code"], gate["status"]) == (4, "gate_shadow", "unknown")
    assert "has another tuned model" in gate["detail"] and gate["detail"].startswith(found["stale"][-1])
    assert invoke(["shadow", "replay", log(world, 0.10), "--project", str(world)]) == 0
    assert decided(world, capsys)[1]["outcome"] == "ship"
    record = world / ".tuneworthy" / "shadow.json"
    written = record.read_text()
    for name, value in (("production_id", "another"), ("grader", "another"), ("results", [])):
        document = json.loads(written)
        (document if name in document else document["verdict"])[name] = value
        record.write_text(json.dumps(document))
        assert decided(world, capsys)[2]["status"] == "unknown", name
    record.write_text(written)
    assert invoke(["shadow", "replay", log(world, 0.10), "--production", "baseline", "--project", str(world)]) in {
        0,
        3,
        4,
    }
    gate = decided(world, capsys)[2]
    assert json.loads(record.read_text())["production_id"] and "has another tuned model" not in gate["detail"]
    text = (world / "tuneworthy.toml").read_text()
    (world / "tuneworthy.toml").write_text(text.replace("[task]\n", "[task]\nmargin = 0.04\n"))
    assert invoke(["run", "--project", str(world)]) == 0
    assert decided(world, capsys)[2]["status"] == "unknown", "a replay at another margin shows nothing"


def test_a_candidate_that_harms_traffic_is_not_shipped(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (world / "world.py").open("a") as file:
        file.write("\n\nasked = tuned\n\n\ndef tuned(request):\n")
        file.write("    return '?' if question(request).endswith('thing') else asked(request)\n")
    assert invoke(["run", "--project", str(world)]) == 0
    assert invoke(["shadow", "replay", log(world, 0.10), "--project", str(world)]) == 3
    status, found, gate = decided(world, capsys)
    assert (status, found["outcome"], gate["status"]) == (3, "do_not_ship", "fail")


def proof(status: str, **numbers: Any) -> ProofEvidence:
    return ProofEvidence(status=status, detail="Seen.", numbers={"fix": "Run it.", "below": False} | numbers)  # type: ignore[arg-type]


def test_worse_within_the_margin_passes_only_where_money_time_or_place_is_the_reason() -> None:
    evidence = trained(training=replace(TRAINED, shadow=proof("pass", below=True)), waivers={})
    gate = GATES.get("shadow")
    for reason, status in (
        ("cost", "pass"),
        ("latency", "pass"),
        ("locality", "pass"),
        ("quality", "fail"),
        ("", "fail"),
    ):
        reasons = [TrainingReason(reason=reason, status="measured", evidence="")] if reason else []  # type: ignore[arg-type]
        (found,) = gate.run(replace(evidence, training_reasons=reasons))
        assert found.status == status, reason
    reasons = [TrainingReason(reason="cost", status="unknown", evidence="")]
    assert [one.status for one in gate.run(replace(evidence, training_reasons=reasons))] == ["fail"]


def test_each_state_of_a_replay_decides() -> None:
    outcomes = {"pass": Outcome.SHIP, "fail": Outcome.DO_NOT_SHIP, "unknown": Outcome.UNDECIDED}
    for status, outcome in outcomes.items():
        found = decide(trained(training=replace(TRAINED, shadow=proof(status)), waivers={}))
        assert found.outcome == outcome
    for more, outcome in (({}, Outcome.SHIP), ({"rolled_back": "It failed."}, Outcome.DO_NOT_SHIP)):
        found = decide(trained(training=replace(TRAINED, shadow=proof("fail", **more)), waivers={"shadow": "Why not."}))
        assert found.outcome == outcome, "a waiver excuses no roll-back"
    stale = replace(proof("pass"), changed=["It is of another model."])
    assert decide(trained(training=replace(TRAINED, shadow=stale), waivers={})).outcome == Outcome.UNDECIDED
