"""A certificate is withdrawn once traffic shows that it no longer applies."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import orjson
import pytest

from tests.ladder.simulations import LABELS, write_recorded
from tuneworthy.cli import invoke
from tuneworthy.ladder.rung_details import Certificate
from tuneworthy.shadow.confidence import withdrawal, withdrawn_at

WORLDS = 200


@pytest.mark.parametrize("rate", [0.03, 0.05])
def test_a_certificate_that_applies_is_rarely_withdrawn(rate):
    rng = np.random.default_rng(5)
    withdrawn = sum(withdrawn_at((rng.random(6000) < rate) * 1.0, 0.05) is not None for _ in range(WORLDS))
    assert withdrawn / WORLDS <= 0.05 + 2 * (0.05 * 0.95 / WORLDS) ** 0.5


@pytest.mark.parametrize(("rate", "most"), [(0.1, 1500), (0.2, 400)])
def test_drift_after_3000_kept_answers_is_found(rate, most):
    """At 520 kept answers a day: 10% in under three days, 20% within one."""
    rng, found = np.random.default_rng(6), []
    for _ in range(50):
        differs = np.concatenate([rng.random(3000) < 0.025, rng.random(6000) < rate]) * 1.0
        found.append((withdrawn_at(differs, 0.05) or 9000) - 3000)
    assert np.median(found) < most


def pair(sure: float, agrees: float) -> SimpleNamespace:
    logprobs = {"a": np.log(sure), "b": np.log(1 - sure)}
    candidate = SimpleNamespace(response=SimpleNamespace(label_logprobs=logprobs))
    return SimpleNamespace(answered=True, scores={"agreement": (1.0, agrees)}, candidate=candidate)


def test_only_kept_answers_count():
    certificate = Certificate(variant="v", name="classical/linear", threshold=0.9)
    sent = [pair(0.6, 0.0)] * 200  # they differ, but today's model answers them
    assert withdrawal(certificate, sent) == ""
    assert "withdrawn" in withdrawal(certificate, [*sent, *[pair(0.95, 0.0)] * 20])


def log(path: Path, *, wrong: int) -> Path:
    """Calls of 300 new prompts; production names another colour in `wrong` of 10."""
    rows = []
    for at in range(50_000, 50_300):
        colour, hint = list(zip(LABELS, ("crimson apple", "leafy meadow", "deep ocean"), strict=True))[at % 3]
        answer = LABELS[(LABELS.index(colour) + 1) % 3] if at % 10 < wrong else colour
        question = {"role": "user", "content": f"item {at} {hint} {at * 7919 % 104729}"}
        rows.append({"messages": [question, {"role": "assistant", "content": answer}]})
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def test_a_replay_withdraws_the_certificate_and_says_what_to_do(tmp_path, capsys):
    root = write_recorded(tmp_path / "world")
    assert invoke(["run", "--project", str(root), "--yes"]) == 0
    command = ["shadow", "replay", "--candidate", "classical", "--project", str(root), "--one-period", "--restart"]
    for wrong, withdrawn in ((0, False), (4, True)):
        capsys.readouterr()
        invoke([*command, str(log(tmp_path / f"log-{wrong}.jsonl", wrong=wrong))])
        said = " ".join(capsys.readouterr().out.split())
        assert ("The certificate is withdrawn" in said) is withdrawn, said
        assert ("Send all traffic to production again" in said) is withdrawn
