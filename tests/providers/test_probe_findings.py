"""The probe tells a parameter that acts from one that is only accepted: planted providers of both kinds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from tuneworthy.errors import ProviderError
from tuneworthy.providers.probe import CHOICES, ProbeReport, fits_schema, probe, read_probe, store_probe
from tuneworthy.store import Folder
from tuneworthy.types import Request, Response

WORDS = "the sea holds many secret stories about ships storms and silent islands".split()  # noqa: SIM905


class Planted:
    """A server whose features work, but for those in `broken` (ignored) and `refused` (answered with 400)."""

    identity: Mapping[str, Any] = MappingProxyType({"provider": "planted"})
    supports = frozenset({"choice", "json_schema", "tools", "logprobs", "seed"})

    def __init__(self, broken: str = "", refused: str = "", context: int = 5000) -> None:
        self.broken, self.refused, self.context = broken, refused, context
        self.counter = 0

    async def complete(self, request: Request) -> Response:
        size = len(str(request.messages[-1]["content"]).split())
        if size > self.context:
            raise ProviderError("too long", code="bad_request", retryable=False)
        if self.refused and (self.refused in request.decoding or self.refused == request.output.kind):
            raise ProviderError(f"{self.refused}: not accepted", code="bad_request", retryable=False)
        text = self._text(request)
        logprobs = None
        if request.logprobs is not None and self.broken != "logprobs":
            logprobs = ({"token": "a", "logprob": -0.5, "top": [["a", -0.5], ["b", -1.0]]},)
        seconds = 0.3 if request.output.kind == "json_schema" else 0.1
        return Response(text=text, input_tokens=size, output_tokens=10, logprobs=logprobs, seconds=seconds)

    def _text(self, request: Request) -> str:
        if request.output.kind == "json_schema" and self.broken != "json_schema":
            return orjson.dumps({"zip_code": 1, "colour": "red"}).decode()
        if request.output.kind == "choice" and self.broken != "choice":
            return CHOICES[0]
        return self._sampled(dict(request.decoding))

    def _sampled(self, decoding: dict[str, Any]) -> str:
        self.counter += 1
        greedy = decoding.get("temperature") == 0 and self.broken != "greedy"
        for name, value in {"min_p": 1.0, "top_k": 1, "top_p": 1e-4}.items():
            greedy |= decoding.get(name) == value and self.broken != name
        penalised = decoding.get("repetition_penalty") and self.broken != "repetition_penalty"
        seed = decoding.get("seed") if self.broken != "seed" else None
        rng = random.Random(1 if greedy and penalised else 0 if greedy else seed if seed is not None else self.counter)
        text = " ".join(rng.sample(WORDS, len(WORDS)))
        for word in decoding.get("stop", ()) if self.broken != "stop" else ():
            text = text.split(word)[0]
        return text


def run(provider: Planted, **more: Any) -> ProbeReport:
    return asyncio.run(probe(provider, **more))


FEATURES = [
    "json_schema", "choice", "seed", "logprobs", "stop", "min_p", "top_k", "top_p", "repetition_penalty", "greedy",
]  # fmt: skip


def test_what_acts_is_found() -> None:
    report = run(Planted())
    expected = dict.fromkeys([*FEATURES, "constraint_cost"], "yes")
    assert {name: finding.outcome for name, finding in report.findings.items()} == expected
    assert report.calls < 45
    assert "30.0 ms per token with a schema" in report.findings["constraint_cost"].detail
    assert "3.00 times" in report.findings["constraint_cost"].detail
    assert orjson.loads(orjson.dumps(report.to_dict()))["findings"]["seed"]["outcome"] == "yes"


@pytest.mark.parametrize("feature", FEATURES)
def test_what_is_accepted_without_effect_is_found(feature: str) -> None:
    findings = run(Planted(broken=feature)).findings
    assert findings[feature].outcome == "no"


@pytest.mark.parametrize(
    "feature", ["json_schema", "choice", "seed", "stop", "min_p", "top_k", "top_p", "repetition_penalty"]
)
def test_what_is_refused_is_unsupported_and_stops_no_other_probe(feature: str) -> None:
    findings = run(Planted(refused=feature)).findings
    assert findings[feature].outcome == "unsupported"
    assert findings["logprobs"].outcome == "yes"


def test_a_server_that_is_down_is_unknown_not_an_exception() -> None:
    class Down(Planted):
        async def complete(self, request: Request) -> Response:
            raise ProviderError("down", code="connection", retryable=True)

    report = run(Down(), find_context=True)
    assert {finding.outcome for finding in report.findings.values()} == {"unknown"}
    assert report.max_context is None


@pytest.mark.parametrize("context", [100, 1024, 5000, 30_000])
def test_the_longest_prompt_is_found_within_a_percent(context: int) -> None:
    report = run(Planted(context=context), find_context=True)
    assert report.max_context is not None
    assert context - max(40, context // 50) <= report.max_context <= context


def test_schema_answers_are_judged_strictly() -> None:
    assert fits_schema('{"zip_code": 1, "colour": "red"}')
    for text in ("", "{}", "[]", '{"zip_code": "1", "colour": "red"}', '{"zip_code": true, "colour": "red"}',
                 '{"zip_code": 1, "colour": "blue"}', '{"zip_code": 1, "colour": "red", "x": 1}'):  # fmt: skip
        assert not fits_schema(text)


def test_what_was_found_is_kept_and_read_only_for_the_same_model(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    store_probe(folder, "small", run(Planted(broken="min_p")))
    assert read_probe(folder, "small", Planted.identity)["min_p"] == "no"
    assert read_probe(folder, "small", {"provider": "another"}) == {}
    assert read_probe(folder, "other", Planted.identity) == {}
