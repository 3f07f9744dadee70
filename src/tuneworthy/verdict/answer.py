"""Verdict: outcome, reasons, options and next step as one value; and the last verdict of a project, stored.

Invariant: a stored verdict is up to date only if the run, the error analysis, the labels of failures that people
checked, the judge's validation and the project file (and for one about shipping the proofs, the data and its reviews)
are byte for byte what it was computed from, and its last day has not passed.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field
from datetime import date, timedelta
from hashlib import sha256
from typing import NotRequired

import orjson

from tuneworthy.config import Project
from tuneworthy.errors import UserError, join_sentences
from tuneworthy.ladder.rung_details import Certificate
from tuneworthy.ladder.session import shown_run
from tuneworthy.money.serving import Way, hardware_table
from tuneworthy.money.sources import EconomicsResult, Fact
from tuneworthy.people.review_log import FILE_NAME as REVIEWS
from tuneworthy.shadow.canary import RESTARTED, STATE
from tuneworthy.shadow.releases import rolled_back
from tuneworthy.store import Folder
from tuneworthy.store.shapes import OpenRecord, shaped
from tuneworthy.store.signatures import document_origin, signed_document
from tuneworthy.text import Shown, Summary
from tuneworthy.types import JsonObject, NamedTexts, Texts, content_hash, frozen
from tuneworthy.verdict.base import (
    DomainText,
    ErrorShare,
    Forecast,
    GateResult,
    LabelCeiling,
    NextAction,
    Outcome,
    Stage,
    TrainingAdvice,
)
from tuneworthy.verdict.label_audit import suspects_path
from tuneworthy.verdict.messages import passed_pilot
from tuneworthy.verdict.options import Option, Options

# The answer, without a full stop. What training reaches is known only once the fine-tuned model was compared on test.
ANSWERS = {
    Outcome.FINE_TUNE: "A fine-tuning pilot is worthwhile",
    Outcome.DO_NOT_FINE_TUNE: "Do not fine-tune",
    Outcome.UNDECIDED: "Undecided",
    Outcome.SHIP: "Ship the fine-tuned model",
    Outcome.DO_NOT_SHIP: "Do not ship the fine-tuned model",
}
AFTER_PILOT = "Fine-tune"
# A label whose bound is so many times the certified one is named.
FAR = 3.0


@frozen
class TodaysAgreement:
    """What is known without right answers: how often options answer as today's model does.

    Attributes:
        model: Today's.
        certificates: Of the options with probabilities, what they may keep.
        saved_usd_per_month: What the certificate that keeps most saves of today's bill; None if unknown.
    """

    model: str
    certificates: Sequence[Certificate] = ()
    saved_usd_per_month: float | None = None

    @property
    def certificate(self) -> Certificate | None:
        """The one that keeps most; of those that keep nothing, any."""
        return max(self.certificates, key=lambda one: one.share, default=None)

    @property
    def reasons(self) -> list[str]:
        """The certificate, what a score is, and what limits the certificate."""
        first = f"Nobody has labelled the cases, so each score is the agreement with {self.model}, not accuracy."
        one = self.certificate
        if not one:
            return [first, "No option reports its confidence, so there is no certificate."]
        if one.threshold is None:
            return [first, f"There is no certificate for {one.name}: {one.refused}."]
        worst = max(one.labels, key=lambda label: one.labels[label].upper)
        kept = one.labels[worst]
        share = (
            f"{one.name} may answer {one.share:.0%} of the traffic: with {one.confidence:.0%} confidence, at most "
            f"{one.upper:.1%} of these answers differ from today's ({one.difference:.1%} of {one.n} prompts did)."
        )
        limits = join_sentences(
            f"It saves ${self.saved_usd_per_month:,.2f} a month." if self.saved_usd_per_month else "",
            f"Least certain is the answer {worst}: {kept.differ} of {kept.n} differ."
            if kept.upper > FAR * one.most
            else "",
            f"{self.model} itself differs from its usual answer in {one.today_differs:.1%} of repeated calls."
            if one.today_differs
            else "",
            "This applies while the traffic stays as recorded.",
        )
        return [share, first, limits]


@frozen
class Verdict(Shown):
    """The answer.

    Attributes:
        outcome: The answer for machines, with the stage it is about and a code of what decided.
        reasons: At most three sentences for people, the weightiest first.
        options: What could run tomorrow.
        recommendation: Name of the option to run; None if there is no such option.
        best_within_bill: Name of the option with the highest score that costs no more than today's; None if unknown.
        after_gates: Open gates that the recommended option has to pass first: of a fine-tuned model.
        label_ceiling: Share of wrong labels of test, and the score that it allows; None before the audit.
        agreement: What is known without right answers; None with them. Scores of options are then agreement.
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
    reasons: Texts
    gates: Sequence[GateResult]
    errors: Sequence[ErrorShare]
    forecast: Forecast
    economics: EconomicsResult
    next_action: NextAction
    valid_until: str
    options: Options = ()
    recommendation: str | None = None
    best_within_bill: str | None = None
    after_gates: Texts = ()
    domain_text: DomainText | None = None
    label_ceiling: LabelCeiling | None = None
    agreement: TodaysAgreement | None = None
    training: TrainingAdvice = field(default_factory=TrainingAdvice)
    would_change: Texts = ()
    stale: Texts = ()

    def summary(self) -> Summary:
        rows = [
            [
                f"{'* ' if one.option == self.recommendation else ''}{one.option}",
                "" if one.score is None else f"{one.score:.1%}",
                one.target or "",
                "" if one.usd_per_month is None else f"${one.usd_per_month:,.2f}",
            ]
            for one in self.options
        ]
        heading = "agreement" if self.agreement else "score"
        return [f"{answer_of(self)}. {self.reasons[0]}"], [["option", heading, "target", "per month"], *rows]

    def to_dict(self) -> JsonObject:
        """Return the contract of `decide --json`: plain data, `class` for the name of an error class."""
        content: JsonObject = orjson.loads(
            orjson.dumps(self, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
        )
        for row, gate in zip(content["gates"], self.gates, strict=True):
            del row["message"], row["fix"]
            row["detail"] = gate.detail
        if self.agreement:  # no reader may take it for a score
            content["agreement"]["options"] = [
                {"option": row["option"], "agreement": row.pop("score"), "ci95": row.pop("ci95")}
                for row in content["options"]
            ]
            content["options"] = [{**row, "score": None, "ci95": None} for row in content["options"]]
        for row in content["errors"]:
            row["probe"] = join_sentences(row["probe"], *row.pop("limits"))
        content["errors"] = [{"class": row.pop("name"), **row} for row in content["errors"]]
        return content


def answer_of(verdict: Verdict) -> str:
    """Return the answer without a full stop; training is advised outright only once a pilot forecasts a gain."""
    return (
        AFTER_PILOT
        if verdict.outcome is Outcome.FINE_TUNE and passed_pilot(verdict.gates)
        else ANSWERS[verdict.outcome]
    )


def domain_sentence(verdict: Verdict) -> str:
    """Return the finding about the text of the domain; "" if it was not scored, or a reason says it already."""
    row = next((row for row in verdict.training.reasons if row.reason == "domain"), None)
    scored = verdict.domain_text and verdict.domain_text.n > 0
    said = not row or any(row.evidence in reason for reason in verdict.reasons)
    return row.evidence if row and scored and not said else ""


SIZE_FROM = {
    "file": "as its files say",
    "project": "as the project file says",
    "assumed": "assumed, as its size is unknown",
}


def serving_sentence(verdict: Verdict) -> str:
    """Name the way in which the recommended option is served, else the trained model, and what the trainings cost.

    "" if neither has one. The trainings are named only where training is in question.
    """
    requests = verdict.economics.assumptions.get("requests_per_month", Fact(None)).value
    traffic = requests if isinstance(requests, float | int) else None
    question = verdict.outcome is not Outcome.DO_NOT_FINE_TUNE
    served = [one for one in verdict.options if one.server and (question or one.kind != "fine_tune")]
    chosen = next((one for one in served if one.option == verdict.recommendation), served[-1] if served else None)
    way = chosen.running.way_at(traffic) if chosen and chosen.running else None
    text = _way_words(verdict, chosen, way, traffic) if chosen and way else ""
    trainings = [row for row in verdict.economics.ways if row.usd_per_month is not None]
    if not question or not trainings:
        return text
    each = "; ".join(f"{_TRAININGS[row.training]} ({row.serving}) ${row.usd_per_month:,.0f}" for row in trainings)
    once = ", ".join(f"{part} ${usd:,.0f}" for part, usd in verdict.economics.one_off.items())
    return join_sentences(text, f"Monthly cost of each kind of training, upkeep included: {each}. One-off: {once}.")


_TRAININGS = {"own": "own model", "hosted": "hosted model", "encoder": "encoder"}


def _way_words(verdict: Verdict, chosen: Option, way: Way, traffic: float | None) -> str:
    if not way.params_b or not way.usd_per_month:
        return ""
    text = f"{chosen.option} is served by: {way.title}, ${way.usd_per_month:,.0f} a month, for "
    text += f"{way.params_b:.3g}B parameters ({SIZE_FROM[way.size_from]})"
    if traffic is not None:
        text += f"; it needs {float(f'{way.machines(traffic):.3g}'):,.10g} at this traffic"
        if way.kept_s and (cold := max(0.0, 1 - way.machines(traffic))):
            text += f", and {cold:.1%} of the requests wait {hardware_table().start_s:.0f} s for a cold start"
        text += ", an estimate without token counts" if way.tokens_assumed and chosen.score is not None else ""
    facts = verdict.economics.assumptions
    keys = {"serve_hardware", "serve_params_b"} if way.size_from == "assumed" else {"serve_hardware"}
    assumed = sorted(f"`economics.{key}`" for key in keys if facts[key].mark != "project")
    return f"{text}. To change this, set {' and '.join(assumed)}." if assumed else f"{text}."


FILE = "verdict"
# How long a verdict holds where no price or model in it ends sooner.
FRESH_DAYS = 90
DECIDING = ("run", "errors", "judge", "project", "suspects")
# What a verdict about shipping rests on besides that.
SHIPPING = ("pilot", "parity", "serving", "shadow", "datasets/latest", "models/latest-adapter", "reviews")


CHANGED_SINCE = {
    "run": "the ladder was run again",
    "errors": "the error analysis was run again",
    "judge": "the judge was validated again",
    "project": "the project file has changed",
    "suspects": "failed cases were relabelled",
    "pilot": "a new pilot was run",
    "parity": "parity was checked again",
    "serving": "the fine-tuned model was served again",
    "shadow": "traffic was replayed again",
    "canary": "a canary was rolled back, or passed again",
    "datasets/latest": "a new version of the training data was frozen",
    "models/latest-adapter": "a new adapter was trained",
    "reviews": "the training data was reviewed again",
}


class StoredHashes(OpenRecord):
    """Content of `verdict.json` besides the verdict: hashes of its inputs, and commands that changed none of these."""

    of: dict[str, str]
    tried: NotRequired[list[str]]
    next_action: NotRequired[JsonObject]


@frozen
class StoredVerdict:
    """A verdict that was stored.

    Attributes:
        verdict: As it was computed.
        changed: What is different since, in words; empty if it holds.
    """

    verdict: Verdict
    changed: list[str]

    @property
    def holds(self) -> bool:
        """Whether nothing that it was computed from has changed."""
        return not self.changed


def store_verdict(project: Project, verdict: Verdict, tried: Texts) -> None:
    """Store a verdict, with the commands that were tried (see `tried_commands`)."""
    document = orjson.loads(orjson.dumps(verdict, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)) | {
        "of": input_hashes(project),
        "tried": [*tried],
    }
    Folder(project.root).write(FILE, signed_document(document))


def tried_commands(project: Project) -> list[str]:
    """Return the commands that earlier verdicts named, and that were run since and changed nothing.

    The document of the run is written by each run, with the same content if nothing is new. Of a step of several
    commands, only its runs count.
    """
    folder, document = Folder(project.root), None
    with suppress(UserError):  # a damaged verdict is replaced
        document = folder.read(FILE, StoredHashes)
    run, verdict = (folder.path / f"{name}.json" for name in ("run", FILE))
    if document is None or document["of"] != input_hashes(project) or not run.exists():
        return []
    commands = (
        document.get("next_action", {}).get("command", "").split(" && ")
        if run.stat().st_mtime_ns > verdict.stat().st_mtime_ns
        else ()
    )
    return [*document.get("tried", []), *(command for command in commands if command.startswith("tuneworthy run"))]


def load_verdict(project: Project, today: date | None = None) -> StoredVerdict | None:
    """Return the last verdict with what changed since; None if nothing was decided yet.

    Raises:
        UserError: The file is not a verdict.
    """
    folder = Folder(project.root)
    document = folder.read(FILE, StoredHashes)
    if document is None:
        return None
    verdict = shaped(document, Verdict, f"{folder.path / FILE}.json")
    then, now = document["of"], input_hashes(project)
    changed = [
        CHANGED_SINCE[name]
        for name in [*DECIDING, *((*SHIPPING, "canary") if verdict.stage == "to_ship" else ())]
        if then.get(name, "") != now[name]
    ]
    if origin := document_origin(document):
        changed.append(f"the verdict was computed elsewhere (signed by: {origin:.18})")
    day = today or date.today()
    if verdict.valid_until and verdict.valid_until < day.isoformat():
        changed.append(f"the verdict expired on {verdict.valid_until}")
    if verdict.valid_until > (day + timedelta(days=FRESH_DAYS)).isoformat():
        changed.append(f"the system clock was ahead when the verdict was computed (valid until {verdict.valid_until})")
    return StoredVerdict(verdict=verdict, changed=changed)


def input_hashes(project: Project) -> NamedTexts:
    folder, beside = Folder(project.root), {"reviews": project.root / REVIEWS, "suspects": suspects_path(project)}
    candidates = {
        path.stem.partition("-")[2]
        for name in (STATE, RESTARTED)
        for path in folder.path.glob(f"{name.format('*')}.json")
    }
    is_unfinished = (folder.path / "run-unfinished.json").exists() and (record := shown_run(project)) and record.at
    files = {"run": "run-unfinished"} if is_unfinished else {}
    return {
        **{
            name: content_hash(folder.read(files.get(name, name), object))
            for name in (*DECIDING, *SHIPPING)
            if name not in {"project", *beside}
        },
        **{name: sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for name, path in beside.items()},
        "project": content_hash(project.model_dump(mode="json")),
        "canary": "".join(sorted(one for one in candidates if rolled_back(folder, one))),
    }
