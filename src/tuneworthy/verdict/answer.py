"""Verdict: outcome, reasons, options and next step as one value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from tuneworthy.errors import join_sentences
from tuneworthy.money.results import EconomicsResult
from tuneworthy.money.serving import SizeFrom, hardware
from tuneworthy.types import JsonObject
from tuneworthy.verdict.base import (
    DomainText,
    ErrorShare,
    Forecast,
    GateResult,
    NextAction,
    Outcome,
    Stage,
    TrainingAdvice,
)
from tuneworthy.verdict.messages import passed_pilot
from tuneworthy.verdict.options import Option

# The answer, without a full stop. What training reaches is known only once the fine-tuned model was compared on test.
ANSWERS: Final[Mapping[Outcome, str]] = {
    Outcome.FINE_TUNE: "A fine-tuning pilot is worthwhile",
    Outcome.DO_NOT_FINE_TUNE: "Do not fine-tune",
    Outcome.UNDECIDED: "Undecided",
    Outcome.SHIP: "Ship the fine-tuned model",
    Outcome.DO_NOT_SHIP: "Do not ship the fine-tuned model",
}
AFTER_PILOT: Final = "Fine-tune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer.

    Attributes:
        outcome: The answer for machines, with the stage it is about and a code of what decided.
        reasons: At most three sentences for people, the weightiest first.
        options: What could run tomorrow.
        recommendation: Name of the option to run; None before one was measured.
        training: Which training, and the reasons to train.
        domain_text: Evidence for the reason `domain`.
        gates: All gates of the stages so far.
        errors: The error analysis.
        forecast: As computed.
        economics: As computed.
        next_action: The next step.
        valid_until: ISO date on which a price, a model or a plan in it changes.
        would_change: What would change the answer, a sentence each.
        stale: What changed since it was measured, and was therefore left out.
    """

    outcome: Outcome
    stage: Stage
    reason_code: str
    reasons: Sequence[str]
    gates: Sequence[GateResult]
    errors: Sequence[ErrorShare]
    forecast: Forecast
    economics: EconomicsResult
    next_action: NextAction
    valid_until: str
    options: Sequence[Option] = ()
    recommendation: str | None = None
    domain_text: DomainText | None = None
    training: TrainingAdvice = field(default_factory=TrainingAdvice)
    would_change: Sequence[str] = ()
    stale: Sequence[str] = ()

    def to_dict(self) -> JsonObject:
        """Return the contract of `decide --json`: plain data, `class` for the name of an error class."""
        content: JsonObject = orjson.loads(
            orjson.dumps(self, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
        )
        for row, gate in zip(content["gates"], self.gates, strict=True):
            del row["message"], row["fix"]
            row["detail"] = gate.detail
        for row in content["errors"]:
            row["probe"] = join_sentences(row["probe"], *row.pop("limits"))
        content["errors"] = [{"class": row.pop("name"), **row} for row in content["errors"]]
        return content


def answer_of(verdict: Verdict) -> str:
    """Return the answer without a full stop; training is advised outright only once a pilot forecasts a gain."""
    if verdict.outcome is Outcome.FINE_TUNE and passed_pilot(verdict.gates):
        return AFTER_PILOT
    return ANSWERS[verdict.outcome]


def domain_sentence(verdict: Verdict) -> str:
    """Return the finding about the text of the domain; "" if it was not scored, or a reason says it already."""
    row = next((row for row in verdict.training.reasons if row.reason == "domain"), None)
    scored = verdict.domain_text is not None and verdict.domain_text.n > 0
    said = row is None or any(row.evidence in reason for reason in verdict.reasons)
    return row.evidence if row is not None and scored and not said else ""


SERVER: Final = frozenset({"serve_usd_per_month", "serve_capacity_per_month"})
SIZE_FROM: Final[Mapping[SizeFrom, str]] = {
    "file": "as its files say",
    "project": "as the project file says",
    "assumed": "assumed, as its size is unknown",
}


def serving_sentence(verdict: Verdict) -> str:
    """Name the assumed server of the recommended option, else of training; "" if there is no assumed server."""
    facts, served = verdict.economics.assumptions, [option for option in verdict.options if option.server]
    set_here = {name for name, fact in facts.items() if fact.mark == "project"}
    if not served or not facts or set_here >= SERVER:
        return ""
    chosen = next((option for option in served if option.option == verdict.recommendation), served[-1])
    server, requests = chosen.server, facts["requests_per_month"].value
    if server is None or server.params_b is None or not server.usd_per_month:
        return ""
    row = hardware(str(facts["serve_hardware"].value))
    size = f"{server.params_b:.3g}B parameters ({SIZE_FROM[server.size_from]})"
    cards = row.cards_for(server.params_b)
    text = f"A server for {size} is {cards} {row.name} at ${server.usd_per_month:,.0f} a month"
    if isinstance(requests, float | int):
        n = max(1.0, float(f"{requests / server.capacity:.3g}"))
        text += f"; {chosen.option} needs {n:,.10g} at this traffic"
        text += ", an estimate without token counts" if server.tokens_assumed and chosen.score is not None else ""
    keys = {"serve_hardware", "serve_params_b"} if server.size_from == "assumed" else {"serve_hardware"}
    assumed = " and ".join(f"`economics.{key}`" for key in sorted(keys - set_here))
    return f"{text}. To change this, set {assumed}." if assumed else f"{text}."
