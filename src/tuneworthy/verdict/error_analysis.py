"""Where the failures of the best variant come from: each failed dev case gets exactly one class, and a lever.

Pure: `probes` calls the models, this file names the classes, stores them and says when they have gone stale.

The order of the classes is part of their meaning: the first that applies is taken, what is observed before what needs
calls, cheap levers before dear ones. A guess that a document would have prevented counts as knowledge, not as
instability; what only a stronger model gets right is reasoning.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, get_args

from scipy.special import bdtrc

from tuneworthy.ladder.cascade import CASCADE
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.session import Session
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.types import JsonMapping, JsonObject, NamedTexts, Texts, Variant, content_hash, frozen, positional
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import ErrorClass, ErrorShare

FILE = "errors"
# The class of failures that people settle by labelling again.
LABELS: Final = "label_or_grader"
# Raised whenever the probes or the order of the classes change: stored results are then stale.
VERSION = 12
# In the order in which a case is given its class; what no class explains is `unexplained`.
PROBES: tuple[ErrorClass, ...] = (
    "refusal",
    "format",
    "label_or_grader",
    "knowledge",
    "tools",
    "instability",
    "reasoning",
)
# Failed cases that are probed, at most; a seeded sample if there are more.
MOST_CASES = 60
# Further answers to a case (the k of pass@k).
SAMPLES = 4
# Accepted chance of passing by guessing: with few labels more of the k answers must be right.
LUCK = 0.15
# Rung or command; "" where no lever but training is known.
FIXED_BY = {
    "refusal": "prompt",
    "format": "few_shot",
    "label_or_grader": "label cases",
    "knowledge": "retrieval",
    "tools": "tools",
    "instability": "decoding",
    "reasoning": "model",
    "unexplained": "",
}


@dataclass(slots=True, kw_only=True)
class FailedCase:
    """What the probes say of one failed case; None where a probe was not made.

    Attributes:
        case: Its id.
        reason: The grader's.
        malformed: Whether the form of the answer is wrong.
        in_form: Whether it is right once its form is.
        readable_by: The grader that reads it as right (`graders.text`); "" if it is wrong.
        suspected: The answer that is probably right instead of the label; "" if the label stands.
        doubtful: The same where the votes cannot tell a wrong label from an error that the voters share.
        oracle: Whether it is right with the document.
        tools: Whether it is right with the project's tools.
        passes: How many of `SAMPLES` further answers are right.
        stronger: Whether a stronger model gets it right.
    """

    case: str
    reason: str = ""
    malformed: bool = False
    in_form: bool | None = None
    readable_by: str = ""
    suspected: str | None = None
    doubtful: str = ""
    oracle: bool | None = None
    tools: bool | None = None
    passes: int | None = None
    stronger: bool | None = None


ANALYSIS_PARTS = {
    "version": "the version of the error analysis",
    "variant": "the best variant",
    "graders": "the primary grader",
    "dev": "the dev cases or their labels",
    "models": "the section [models]",
    "documents": "the documents",
    "tools": "the tools",
}

REFUSALS = frozenset({"refused", "answered_unanswerable"})


def class_of(failed: FailedCase, enough: int = 2) -> ErrorClass:
    """Return the class of a failed case: the first of `PROBES` that applies.

    Args:
        failed: What the probes say.
        enough: Passes that are not luck (`enough_passes`).

    >>> class_of(FailedCase(case="a", reason="refused", stronger=True))
    'refusal'
    >>> class_of(FailedCase(case="b", passes=1, stronger=True))
    'reasoning'
    """
    applies = {
        "refusal": failed.reason in REFUSALS,
        "format": failed.malformed and bool(failed.in_form),
        "label_or_grader": bool(failed.suspected or failed.readable_by),
        "knowledge": bool(failed.oracle),
        "tools": bool(failed.tools),
        "instability": failed.passes is not None and failed.passes >= enough,
        "reasoning": bool(failed.stronger),
    }
    return next((name for name in PROBES if applies[name]), "unexplained")


def enough_passes(n_labels: int) -> int:
    """Return how many of `SAMPLES` answers must be right not to be luck: at least 2, more where there are few labels.

    Args:
        n_labels: Labels to guess among; 0 where answers are open.

    >>> enough_passes(0), enough_passes(77), enough_passes(3), enough_passes(2)
    (2, 2, 3, 4)
    """
    return (
        2
        if n_labels < 2
        else next((m for m in range(2, SAMPLES) if bdtrc(m - 1, SAMPLES, 1 / n_labels) <= LUCK), SAMPLES)
    )


@frozen
class ErrorAnalysis:
    """The error analysis of one variant on dev.

    Attributes:
        of: Hashes of what it was computed from (`fingerprint`).
        n_dev: Dev cases.
        n_failed: Failed cases.
        n_probed: Those that were probed.
        rows: The classes, largest first.
        classes: Case id to class.
        suspects: Case id to the answer that is probably right instead of the label.
        doubtful: The same where the votes cannot tell a wrong label from an error that the voters share.
        label_chance: Probability that wrong labels are more than half of the failures, from the votes.
        answers: Case id to what the variant answered, of the failed cases that were probed and are no matter of the
            grader.
        not_probed: Probe to why it could not be made.
        rated: False where a judge finds the failures and people rated too few answers of this variant.
        stronger: Models that are shown to be stronger on dev.
        pass_rate: Share of samples on dev that pass: cases that were right count as right, failed ones
            by the share of their samples that pass, else as wrong.
        calls: Of the probes, stored answers not counted.
        cost_usd: Of these calls.
    """

    of: JsonMapping
    n_dev: int
    n_failed: int
    n_probed: int
    rows: Sequence[ErrorShare] = ()
    classes: Mapping[str, ErrorClass] = field(default_factory=dict)
    suspects: NamedTexts = field(default_factory=dict)
    doubtful: NamedTexts = field(default_factory=dict)
    label_chance: float = 0.0
    answers: NamedTexts = field(default_factory=dict)
    not_probed: NamedTexts = field(default_factory=dict)
    rated: bool = True
    stronger: Texts = ()
    pass_rate: float | None = None
    calls: int = 0
    cost_usd: float = 0.0


def rows_of(
    classes: Mapping[str, ErrorClass],
    probed: Collection[str],
    *,
    limits: Mapping[str, Texts] | None = None,
    real: float = 1.0,
    unseen: int = 0,
    grader: str = "",
) -> tuple[ErrorShare, ...]:
    """Return the classes with their shares, largest first; a class that could not be probed has no row.

    Args:
        classes: Case id to class, of all failed cases that were looked at.
        probed: The probes that were made.
        limits: Class to what could not be measured; that of a class without a row stands with `unexplained`.
        real: Share of the failures that are failures by people, where a judge found them.
        unseen: Failures by people that the judge passes: no one knows their cause.
        grader: The grader that reads most failures of the class `label_or_grader` as right; "" if their labels are
            suspected.
    """
    counts = Counter({name: round(real * count) for name, count in Counter(classes.values()).items()})
    counts["unexplained"] += unseen
    n = counts.total()
    if not n:
        return ()
    names = [name for name in get_args(ErrorClass) if name in probed or name == "unexplained" or counts[name]]
    known = dict(limits or {})
    known["unexplained"] = [sentence for name, words in known.items() if name not in names for sentence in words]
    rows = [
        ErrorShare(
            name=name,
            n_failed=counts[name],
            n=n,
            share=counts[name] / n,
            ci95=clopper_pearson(counts[name], n),
            fixed_by=(name == LABELS and grader) or FIXED_BY[name],
            probe=messages.PROBES[grader if name == LABELS and grader else name],
            limits=tuple(known.get(name, ())),
        )
        for name in names
    ]
    order = (*PROBES, "unexplained")
    return tuple(sorted(rows, key=lambda row: (-row.n_failed, order.index(row.name))))


@positional
class StoredErrors:
    """What `errors.json` holds of any version: the hashes of what it depends on."""

    of: JsonObject


def fingerprint(session: Session, variant: Variant) -> JsonObject:
    """Return the hashes of what the error analysis of `variant` depends on; opens no model."""
    return {
        "version": VERSION,
        "variant": variant.id,
        "graders": content_hash(dict(session.primary.identity)),
        "dev": content_hash([[case.id, case.expected] for case in sorted(session.split.dev, key=lambda case: case.id)]),
        "models": content_hash(
            {
                name: model.model_dump(mode="json")
                for name, model in session.project.models.items()
                if name not in session.project.forms
            }
        ),
        "documents": session.library.corpus.hash if session.library else "",
        **({"tools": session.toolbox.stamp} if session.project.tools else {}),
    }


def load_error_analysis(session: Session, variant: Variant) -> tuple[ErrorAnalysis | None, list[str]]:
    """Return the stored error analysis and what changed since, in words; stale error analysis must not be used.

    Returns:
        None and no words if nothing is stored.
    """
    stored = session.folder.read(FILE, StoredErrors)
    if stored is None:
        return None, []
    now = fingerprint(session, variant)
    changed = [words for part, words in ANALYSIS_PARTS.items() if stored.of.get(part) != now.get(part)]
    return (
        (None, changed[:1])
        if stored.of.get("version") != VERSION
        else (session.folder.read(FILE, ErrorAnalysis), changed)
    )


def best_language_model(record: RunRecord) -> Variant | None:
    """Return the best language-model variant of a stored run: what the probes look at; None without one.

    Where the classical baseline or a cascade is best, that is what it was compared with. Of a quick run, the best on
    dev.
    """
    best = record.best
    row = record.rung(best.rung) if best and best.rung in {"classical", CASCADE} else None
    if row is not None:
        return record.variants.get(row.compared_to or "")
    if best:
        return record.variants.get(best.variant)
    explored = [row for row in record.rungs if row.rung != "classical" and row.variant and row.candidates]
    return record.variant_of(max(explored, key=lambda row: row.candidates[0].score)) if explored else None
