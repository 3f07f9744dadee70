"""What a model or server really does with the parameters that it accepts: measured, for any `Provider`.

Servers ignore fields they don't know, without a word; a ladder that sweeps a parameter which does nothing
compares noise with noise. So each feature is tried in a way that shows whether it acts.

Source: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html (extra fields are ignored);
https://thinkingmachines.ai/blog/defeating-nondeterminism-in-llm-inference/ (temperature 0 may differ).
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import orjson

from tuneworthy.errors import ProviderError
from tuneworthy.providers import messages
from tuneworthy.providers.base import Provider
from tuneworthy.store.folder import Folder
from tuneworthy.store.shapes import OpenRecord
from tuneworthy.text import plural
from tuneworthy.types import Message, OutputFormat, Request, Response, canonical

Outcome = Literal["yes", "no", "unsupported", "unknown"]
ASK = "Tell me something about the sea in one sentence."
SCHEMA = {
    "type": "object",
    "properties": {"zip_code": {"type": "integer"}, "colour": {"type": "string", "enum": ["red", "green"]}},
    "required": ["zip_code", "colour"],
    "additionalProperties": False,
}
# Answers that no model gives on its own.
CHOICES = ("zq_alpha", "zq_beta")
COSTED = {
    "type": "object",
    "properties": {"colours": {"type": "array", "items": {"type": "string"}, "minItems": 6, "maxItems": 12}},
    "required": ["colours"],
    "additionalProperties": False,
}
REPEAT = "Repeat this word ten times: sea sea sea sea sea sea sea sea"
FILLER = "word "
# Tokens of the longest prompt that is tried.
MAX_FILLER = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What one probe measured.

    Attributes:
        outcome: `yes` (it acts), `no` (accepted without effect), `unsupported` (refused or left out),
            `unknown` (the calls failed, or their answers settle nothing).
        detail: What the answers showed.
    """

    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """All findings on one provider.

    Attributes:
        identity: The provider's.
        findings: By name: `json_schema`, `choice`, `seed`, `logprobs`, `stop`, `min_p`, `top_k`, `top_p`,
            `repetition_penalty`, `greedy`, `constraint_cost`.
        max_context: Largest prompt that was accepted, tokens, if it was looked for and told.
        calls: Requests sent.
    """

    identity: Mapping[str, Any]
    findings: Mapping[str, ProbeResult] = field(default_factory=dict)
    max_context: int | None = None
    calls: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able data."""
        return {
            "identity": dict(self.identity),
            "findings": {name: {"outcome": f.outcome, "detail": f.detail} for name, f in self.findings.items()},
            "max_context": self.max_context,
            "calls": self.calls,
        }


class StoredOutcome(OpenRecord):
    """A finding of a probe."""

    outcome: str


class StoredProbe(OpenRecord):
    """What `probes/<name>.json` must hold."""

    identity: dict[str, Any]
    findings: dict[str, StoredOutcome]


def store_probe(folder: Folder, name: str, report: ProbeReport) -> None:
    """Store what was measured of the model that the project file calls `name`."""
    folder.write(f"probes/{name}", report.to_dict())


def read_probe(folder: Folder, name: str, identity: Mapping[str, Any]) -> dict[str, str]:
    """Return outcomes by finding, as they were stored; {} if this model was never probed (or was another one then)."""
    report = folder.read(f"probes/{name}", StoredProbe)
    if report is None or canonical(report["identity"]) != canonical(dict(identity)):
        return {}
    return {finding: row["outcome"] for finding, row in report["findings"].items()}


async def probe(provider: Provider, *, repeats: int = 3, find_context: bool = False) -> ProbeReport:
    """Try what `provider` does. Sends about 40 short requests; they cost what they cost.

    Args:
        provider: Any.
        repeats: Calls that must agree for `seed` and `greedy`, at least 2.
        find_context: Also look for the longest prompt, with up to 20 requests that grow to `MAX_FILLER` tokens.
            Expensive on paid models; sensible on local ones.

    Returns:
        What was found; a probe whose calls fail is `unknown` or `unsupported`, never an exception.
    """
    prober = _Prober(provider, max(2, repeats))
    probes: dict[str, Callable[[], Awaitable[ProbeResult]]] = {
        "json_schema": prober.json_schema, "choice": prober.choice, "seed": prober.seed, "logprobs": prober.logprobs,
        "stop": prober.stop, "min_p": partial(prober.cut, "min_p", 1.0),
        "top_k": partial(prober.cut, "top_k", 1), "top_p": partial(prober.cut, "top_p", 1e-4),
        "repetition_penalty": prober.repetition_penalty, "greedy": prober.greedy,
        "constraint_cost": prober.constraint_cost,
    }  # fmt: skip
    findings: dict[str, ProbeResult] = {}
    for name, run in probes.items():
        try:
            findings[name] = await run()
        except ProviderError as error:
            findings[name] = ProbeResult(
                outcome="unsupported" if error.code == "bad_request" else "unknown", detail=str(error)
            )
    return ProbeReport(
        identity=provider.identity,
        findings=findings,
        max_context=await prober.longest_prompt() if find_context else None,
        calls=prober.calls,
    )


class _Prober:
    """Sends the probes' requests and counts them."""

    def __init__(self, provider: Provider, repeats: int) -> None:
        self.provider, self.repeats, self.calls = provider, repeats, 0
        self.hot: list[str] = []

    async def ask(self, text: str = ASK, max_tokens: int = 24, **rest: Any) -> Response:
        message: Message = {"role": "user", "content": text}
        self.calls += 1
        return await self.provider.complete(Request(messages=(message,), max_tokens=max_tokens, **rest))

    async def texts(self, decodings: list[dict[str, Any]]) -> tuple[list[str], str]:
        """Answer once for each of `decodings`; the texts, and what was left out of the requests."""
        answers = [await self.ask(decoding=decoding) for decoding in decodings]
        return [answer.text for answer in answers], "; ".join(answers[0].dropped)

    async def json_schema(self) -> ProbeResult:
        if "json_schema" not in self.provider.supports:
            return ProbeResult(outcome="unsupported", detail=messages.say("not_offered"))
        answer = await self.ask(
            "Say hello.", 64, output=OutputFormat(kind="json_schema", schema=SCHEMA), decoding={"temperature": 0}
        )
        if answer.finish_reason == "length":
            return ProbeResult(outcome="unknown", detail=f"answer truncated: {answer.text[:60]!r}")
        return ProbeResult(outcome="yes" if fits_schema(answer.text) else "no", detail=repr(answer.text[:80]))

    async def choice(self) -> ProbeResult:
        if "choice" not in self.provider.supports:
            return ProbeResult(outcome="unsupported", detail=messages.say("not_offered"))
        answer = await self.ask("Say hello.", 32, output=OutputFormat(kind="choice", choices=CHOICES))
        return ProbeResult(outcome="yes" if answer.text in CHOICES else "no", detail=repr(answer.text[:80]))

    async def seed(self) -> ProbeResult:
        """One seed must repeat, and different seeds must not, or nothing was random to begin with."""
        hot = {"temperature": 1.0}
        same, dropped = await self.texts([{**hot, "seed": 11}] * self.repeats)
        if "seed" in dropped:
            return ProbeResult(outcome="unsupported", detail=dropped)
        others, _ = await self.texts([{**hot, "seed": 100 + at} for at in range(self.repeats)])
        if len(set(same)) > 1:
            return ProbeResult(
                outcome="no", detail=f"{len(set(same))} distinct answers in {len(same)} calls with the same seed"
            )
        if len({*same, *others}) == 1:
            return ProbeResult(outcome="unknown", detail="different seeds also give the same answer")
        return ProbeResult(outcome="yes", detail=f"{len(same)} calls with the same seed agree, and other seeds differ")

    async def logprobs(self) -> ProbeResult:
        if "logprobs" not in self.provider.supports:
            return ProbeResult(outcome="unsupported", detail=messages.say("not_offered"))
        answer = await self.ask(max_tokens=8, logprobs=2)
        if not answer.logprobs:
            return ProbeResult(outcome="no", detail="the response has no log-probabilities")
        right = all(entry["logprob"] <= 1e-6 and len(entry["top"]) == 2 for entry in answer.logprobs)
        return ProbeResult(
            outcome="yes" if right else "no",
            detail=f"{len(answer.logprobs)} tokens with {len(answer.logprobs[0]['top'])} alternatives each",
        )

    async def stop(self) -> ProbeResult:
        """Stop at a word that is known to come: the middle of the greedy answer."""
        free = await self.ask(decoding={"temperature": 0})
        candidates = [word for word in re.findall(r"\w{3,}", free.text)[1:] if free.text.count(word) == 1]
        if not candidates:
            return ProbeResult(
                outcome="unknown", detail=f"no word in {free.text[:60]!r} is suitable as a stop sequence"
            )
        word = candidates[len(candidates) // 2]
        answer = await self.ask(decoding={"temperature": 0, "stop": [word]})
        if any(note.startswith("stop") for note in answer.dropped):
            return ProbeResult(outcome="unsupported", detail="; ".join(answer.dropped))
        acts = word not in answer.text and len(answer.text) < len(free.text)
        return ProbeResult(
            outcome="yes" if acts else "no", detail=f"with stop {word!r}, the answer ends in {answer.text[-40:]!r}"
        )

    async def cut(self, name: str, value: float) -> ProbeResult:
        """Whether a parameter at a value that leaves one token makes a high temperature greedy."""
        texts, dropped = await self.texts([{"temperature": 1.5, name: value, "seed": at} for at in range(self.repeats)])
        if f"{name}:" in dropped or name == dropped.partition(":")[0]:
            return ProbeResult(outcome="unsupported", detail=dropped)
        if not self.hot:
            self.hot, _ = await self.texts([{"temperature": 1.5, "seed": at} for at in range(self.repeats)])
        if len(set(self.hot)) == 1:
            return ProbeResult(outcome="unknown", detail=f"the answers do not vary even without {name}")
        detail = messages.say("variation", different=len(set(texts)), n=len(texts), without=len(set(self.hot)))
        return ProbeResult(outcome="yes" if len(set(texts)) == 1 else "no", detail=detail)

    async def repetition_penalty(self) -> ProbeResult:
        """A huge penalty must change what is said when the answer is to repeat the prompt."""
        plain = await self.ask(REPEAT, decoding={"temperature": 0})
        penalised = await self.ask(REPEAT, decoding={"temperature": 0, "repetition_penalty": 5.0})
        if any(note.startswith("repetition_penalty") for note in penalised.dropped):
            return ProbeResult(outcome="unsupported", detail="; ".join(penalised.dropped))
        again = await self.ask(REPEAT, decoding={"temperature": 0})
        if again.text != plain.text:
            return ProbeResult(
                outcome="unknown", detail="the greedy answer is not reproducible, so a changed answer proves nothing"
            )
        return ProbeResult(outcome="yes" if penalised.text != plain.text else "no", detail=repr(penalised.text[:60]))

    async def constraint_cost(self) -> ProbeResult:
        """What a schema costs: seconds a token with it (the first call compiles it) and without."""
        if "json_schema" not in self.provider.supports:
            return ProbeResult(outcome="unsupported", detail=messages.say("not_offered"))
        output = OutputFormat(kind="json_schema", schema=COSTED)
        greedy = {"temperature": 0}
        first, later = [await self.ask("List a few colours.", 48, output=output, decoding=greedy) for _ in range(2)]
        free = await self.ask("List a few colours.", 48, decoding=greedy)
        seconds = [answer.seconds / answer.output_tokens for answer in (first, later, free) if answer.output_tokens]
        if len(seconds) < 3 or not all(seconds):
            return ProbeResult(
                outcome="unknown", detail="the server does not count tokens, or its answers took no measurable time"
            )
        ms = dict(zip(("first", "later", "free"), (1000 * value for value in seconds), strict=True))
        return ProbeResult(outcome="yes", detail=messages.say("constraint_cost", **ms, ratio=seconds[1] / seconds[2]))

    async def greedy(self) -> ProbeResult:
        texts, dropped = await self.texts([{"temperature": 0}] * max(self.repeats, 5))
        if "temperature" in dropped:
            return ProbeResult(outcome="unsupported", detail=dropped)
        different = len(set(texts))
        return ProbeResult(
            outcome="yes" if different == 1 else "no",
            detail=f"{different} distinct {plural(different, 'answer', 'answers')} in {len(texts)} calls",
        )

    async def longest_prompt(self) -> int | None:
        """Double the prompt until it is refused, then halve the gap; the tokens that the server counted."""
        fits, limit, counted = 0, None, None
        size = 1024
        while size <= MAX_FILLER and (limit is None or limit - fits > max(32, fits // 100)):
            try:
                answer = await self.ask(FILLER * size, 1)
            except ProviderError as error:
                if error.code != "bad_request":
                    return counted
                limit = size
            else:
                fits, counted = size, answer.input_tokens or size
            size = fits * 2 if limit is None else (fits + limit) // 2
        return counted


def fits_schema(text: str) -> bool:
    """Whether `text` is JSON of the probes' `SCHEMA`."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return (
        isinstance(value, dict)
        and set(value) == {"zip_code", "colour"}
        and type(value["zip_code"]) is int
        and value["colour"] in {"red", "green"}
    )
