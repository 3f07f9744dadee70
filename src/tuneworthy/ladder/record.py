"""What a run leaves: one record a rung and one for the whole, plain data for `--json`, files and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.types import RungStatus

AGAIN = "run `tuneworthy run` again: what was answered is not asked again"


@dataclass(frozen=True, slots=True, kw_only=True)
class RungRecord:
    """One rung. Scores, intervals and latencies are of test, except `candidates` and `reasons`, which are of dev.

    Attributes:
        rung: Its name.
        status, reason_code, reason: What became of it, for machines and people.
        variant, name: Id and name of what was put to test.
        compared_to: Id of the best language-model variant before this rung.
        candidates_tried: Variants asked on dev (or preregistered).
        n, unscored: Test cases, and how many could not be scored.
        score, ci95: Primary grader on test. bounds95: one-sided 95 % lower and upper bound, each on its own.
        delta, delta_ci, p_value, alpha: Paired difference to `compared_to`; the interval is at 1 - alpha.
        cost_usd: All calls that this rung was the first to need: the race, test, latency, a judge's; stored ones too.
        usd_per_1k: A thousand test answers.
        latency_p50_ms, latency_p95_ms, latency_n: Single calls at concurrency 1.
        input_tokens, output_tokens: Means of an answer.
        repeats: Answers to each test case.
        graders: Every grader's score on test, by type.
        fields: Per field of a JSON task, on test: precision, recall, F1.
        candidates: On dev, best first: name, variant, n, unscored, score, ci95, cost_usd, left (why
            it saw no more of dev).
        calls, calls_full, saved_usd: Of the race on dev: cases answered, those of the full grid, and what was saved.
        examined, examined_usd: Further calls on dev that a closer look at the winner was the first to need.
        reasons: On dev: why answers of the winner were wrong, with counts.
        prompt: Of the rung `prompt`, on dev: what GEPA and the ablation tried and found (`ladder.optimising`).
        retrieval: Of the rung `retrieval`, on dev: documents, search, blame, oracle, latency (`ladder.retrieval`).
        model: Of the rung `model`, on dev: score, cost and time of every model, and the Pareto front (`ladder.model`).
        violated: The constraint that the variant breaks, in words; "" if none. Such a variant is never the best.
        tuned: Of the rung `fine_tune`: what was put to test is made of, and what was measured beside the score: how
            sure base and tuned are of their first tokens, and what the regression sets say.
        notes: What was left out or dropped.
    """

    rung: str
    status: RungStatus
    reason: str = ""
    reason_code: str = ""
    variant: str | None = None
    name: str | None = None
    compared_to: str | None = None
    candidates_tried: int = 0
    n: int = 0
    unscored: int = 0
    score: float | None = None
    ci95: tuple[float, float] | None = None
    bounds95: tuple[float, float] | None = None
    delta: float | None = None
    delta_ci: tuple[float, float] | None = None
    p_value: float | None = None
    alpha: float | None = None
    cost_usd: float = 0.0
    usd_per_1k: float | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_n: int = 0
    input_tokens: float | None = None
    output_tokens: float | None = None
    repeats: int = 1
    graders: Mapping[str, float] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    candidates: Sequence[Mapping[str, Any]] = ()
    calls: int = 0
    calls_full: int = 0
    saved_usd: float = 0.0
    examined: int = 0
    examined_usd: float = 0.0
    reasons: Mapping[str, int] = field(default_factory=dict)
    prompt: Mapping[str, Any] = field(default_factory=dict)
    retrieval: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    violated: str = ""
    tuned: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A walk up the ladder.

    Attributes:
        task: Name; kind: of task; target, margin: from the project file.
        quick: Whether test was left alone; then all scores are None and `candidates` hold what was seen.
        n_dev, n_test: Cases. explored: Whether dev was large enough to explore.
        partial: Why the walk stopped before its end; "" for a whole one. A partial record says what was walked so far.
        alpha_per_comparison: Of the looks planned first. comparisons_made: Looks taken so far.
        cost_usd: All calls of the walk, those of a rung that was not ended included.
        best: ``{"rung", "variant"}``, a variant that breaks no constraint; the classical baseline where nothing above it is worth
            its price; None if nothing that was put to test is eligible.
        classical_wins: A sentence if a classifier or rule beats every prompt, else "".
        split: How dev and test were drawn. overlaps: What left the examples.
        variants: Id to resolved content, of everything in the table.
        judges: Identities of the models that grade, by name: their stored verdicts are found without opening them.
        provenance: Versions, seed, hashes.
        stale: What changed since, in words: known only to who reads the record again.
        notes: What a reader must know.
    """

    task: str
    kind: str
    primary: str
    target: float
    margin: float
    quick: bool
    n_dev: int
    n_test: int
    explored: bool
    alpha_per_comparison: float | None
    comparisons_made: int
    cost_usd: float
    rungs: Sequence[RungRecord]
    best: Mapping[str, Any] | None
    partial: str = ""
    classical_wins: str = ""
    split: Mapping[str, Any] = field(default_factory=dict)
    overlaps: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Any] = field(default_factory=dict)
    judges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    stale: Sequence[str] = ()
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)

    def rung(self, name: str) -> RungRecord | None:
        """Return the record of the rung `name`, if it was walked."""
        return next((record for record in self.rungs if record.rung == name), None)


def read_record(folder: Folder, name: str = "run") -> dict[str, Any] | None:
    """Return the stored record of the last run (or of the last `quick` one) as plain data; None if there is none.

    Keys that an older version did not write have their defaults.

    Raises:
        UserError: The document is not such a record.
    """
    document = folder.read(name)
    if document is None:
        return None
    try:
        return record_from(document).to_dict()
    except UserError as error:
        raise UserError(f"{folder.path / name}.json: {error.message}", hint=AGAIN) from None


def record_from(document: Any) -> RunRecord:
    """Return the record that `ClimbRecord.to_dict` wrote; keys that this version does not know are left out.

    Raises:
        UserError: It is not such a record.
    """
    try:
        rungs = [
            RungRecord(**_known(RungRecord, rung) | {"status": RungStatus(rung["status"])})
            for rung in document["rungs"]
        ]
        record = RunRecord(**_known(RunRecord, document) | {"rungs": rungs})
        _check(record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"expected the record of a run, got one that this version cannot read ({type(error).__name__}: {error})",
            hint=AGAIN,
        ) from None
    return record


def _known(cls: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of `document` that `cls` has.

    Raises:
        KeyError: One without a default is missing.
    """
    for one in fields(cls):
        if one.name not in document and one.default is MISSING and one.default_factory is MISSING:
            raise KeyError(one.name)
    names = {one.name for one in fields(cls)}
    return {name: value for name, value in document.items() if name in names}


def _check(record: RunRecord) -> None:
    """Look at the parts that readers reach into.

    Raises:
        KeyError, TypeError: One is of another shape.
    """
    for part in (record.split, record.overlaps, record.variants, record.provenance, record.best or {}):
        if not isinstance(part, Mapping):
            raise TypeError(f"expected a table, got {part!r:.40}")
    if record.best:
        record.variants[record.best["variant"]], record.best["rung"]
    for rung in record.rungs:
        for row in rung.candidates:
            row["name"], row["n"], float(row["score"]), row["ci95"]
