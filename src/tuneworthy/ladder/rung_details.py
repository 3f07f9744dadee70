"""Records of single rungs in addition to the shared part; `kind` names the rung."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal

from tuneworthy.regressions.compare import RegressionResult
from tuneworthy.search.optimise import Optimised
from tuneworthy.stats.certificate import CONFIDENCE, MOST_DIFFERENT
from tuneworthy.types import Bounds, NamedFloats, NamedInts, NamedTexts, frozen


@frozen
class GepaDetail:
    """How GEPA searched for a better prompt.

    Attributes:
        search: Its result.
        model: The model that rewrote.
        cut_off: Rewrites that were cut off at their limit of tokens.
        refused: Rewrites that were not tried, because of their placeholders.
        set_aside: Cases that today's prompt has no score of.
        file: Where the best prompt is, below the project; "" if no prompt was better.
    """

    search: Optimised
    model: str
    cut_off: int
    refused: int
    set_aside: int
    file: str = ""


@frozen
class PromptDetail:
    """The search of the rung `prompt`; None without one."""

    kind: Literal["prompt"] = "prompt"
    gepa: GepaDetail | None = None


@frozen
class DocumentsDetail:
    """Documents that the rung searches.

    Attributes:
        n: Documents.
        left_out: Files that could not be read.
        unknown: Names in cases that are of no document.
        n_chunks: Of the winner's index.
        hash: Content hash of all documents.
        injected: Document to an instruction to a model within it.
    """

    n: int
    left_out: int
    unknown: int
    n_chunks: int
    hash: str
    injected: NamedTexts


@frozen
class SearchQuality:
    """How well one form of the search finds the documents that cases name.

    Attributes:
        name: Of the form.
        chosen: Whether it is the winner's.
        n: Cases that name documents.
        means: Measure to its mean.
        ci95: Interval of recall@5 and nDCG@10.
    """

    name: str
    chosen: bool
    n: int
    means: NamedFloats
    ci95: Mapping[str, Bounds]


@frozen
class Attribution:
    """Where wrong answers come from: the index, the search or the answer.

    Attributes:
        n: Scored answers.
        failed: Those that are not fully right.
        counts: Cause to its number.
        lost_ci95: Interval of the share of `failed` whose documents were out of reach; None if no case names any.
        missed: Document to how often it was not shown although it was needed.
        not_there: Name that is of no document, to how often it was needed.
    """

    n: int
    failed: int
    counts: NamedInts
    lost_ci95: Bounds | None
    missed: NamedInts
    not_there: NamedInts


@frozen
class OracleDetail:
    """Upper bound of any search: the score with the documents that a case names.

    Attributes:
        n: Cases that winner and oracle have both scored.
        winner: Score with the search.
        score: Score with the right documents.
        delta: Their paired difference, with its 95 % interval.
        n_cut: Cases whose documents did not fit.
        cut_share: Mean share of the text of these that was handed over; None if all fitted.
    """

    n: int
    winner: float
    score: float
    delta: float
    ci95: Bounds
    n_cut: int = 0
    cut_share: float | None = None


@frozen
class StageTime:
    """Milliseconds of one stage of a search."""

    p50: float
    p95: float


@frozen
class CitationCounts:
    """How answers cite.

    Attributes:
        n: Answers.
        cite: Those that cite.
        cite_unseen: Those that cite a document which they were not shown.
        supported: Those whose words appear in a cited document.
    """

    n: int
    cite: int
    cite_unseen: int
    supported: int


@frozen
class RetrievalDetail:
    """Result of the rung `retrieval`.

    Attributes:
        documents: The searched documents.
        search: Forms of the search; empty where too few cases name documents.
        causes: Where wrong answers come from.
        oracle: None where too few cases name documents.
        latency_ms: Stage of the search to its time.
        citations: None where answers are not asked to cite.
    """

    kind: Literal["retrieval"] = "retrieval"
    documents: DocumentsDetail
    search: Sequence[SearchQuality]
    causes: Attribution
    oracle: OracleDetail | None
    latency_ms: Mapping[str, StageTime]
    citations: CitationCounts | None = None


@frozen
class ToolsDetail:
    """Result of the rung `tools`, on dev.

    Attributes:
        n: Cases that both variants answered.
        failed: Failures of the variant before.
        fixed: Those that are right after a tool call that did not fail.
        fixed_ci95: Of their share; None without failures.
        calls: Tool to the number of its calls.
        errors: Calls that failed.
    """

    kind: Literal["tools"] = "tools"
    n: int
    failed: int
    fixed: int
    fixed_ci95: Bounds | None
    calls: NamedInts
    errors: int


@frozen
class ModelResult:
    """A model on the dev cases that it was asked.

    Attributes:
        name: Of the variant.
        variant: Its id.
        n: Cases.
        score: None where nothing could be scored.
        usd_per_1k: A thousand answers.
        p50_ms: Median time, several calls at once.
        memory_mib: Of its file and its process, as in `RungRecord`.
        delta: Paired difference to the best variant so far, with its 95% interval; None without one.
        retires: When it is switched off, if that is soon; else "".
        pareto: Whether it stayed in the race, and no other is as good in score, cost and time and better in one.
    """

    name: str
    variant: str
    n: int
    score: float | None
    usd_per_1k: float | None
    p50_ms: float | None
    retires: str
    pareto: bool
    memory_mib: Bounds | None = None
    delta: float | None = None
    delta_ci: Bounds | None = None


@frozen
class ModelDetail:
    """All models of the rung `model`, side by side."""

    kind: Literal["model"] = "model"
    models: Sequence[ModelResult]


@frozen
class TunedDetail:
    """Parts of the variant of the rung `fine_tune`, and measurements in addition to its score.

    Attributes:
        engine: Its engine.
        gguf: Id of the artifact; None where it was not made, like the next three.
        dataset: Version of the training data; None if the artifact does not tell.
        file_type: Of the GGUF file.
        compared_with: The untuned model that it is compared with, in words.
        compared_base: Id of the base that this is; None if it is another model.
        regressions: Results by regression set.
    """

    kind: Literal["fine_tune"] = "fine_tune"
    engine: str
    gguf: str | None = None
    merged: str | None = None
    adapter: str | None = None
    base: str | None = None
    classifier: str | None = None
    dataset: str | None = None
    file_type: str = ""
    compared_with: str = ""
    compared_base: str | None = None
    regressions: Sequence[RegressionResult] = ()


@frozen
class CascadeDetail:
    """Measurements of the rung `cascade` in addition to its score.

    Attributes:
        first: Name of the variant that answers where it is sure.
        large: Id of the variant that answers elsewhere.
        threshold: Probability from which the first one is sure; chosen on dev.
        sent: Share of test that is sent on.
        first_tokens: Mean tokens of prompt and answer of the first variant; None where they are not reported.
    """

    kind: Literal["cascade"] = "cascade"
    first: str
    large: str
    threshold: float
    sent: float
    first_tokens: tuple[float, float] | None = None


Detail = PromptDetail | RetrievalDetail | ToolsDetail | ModelDetail | TunedDetail | CascadeDetail


@frozen
class KeptLabel:
    """Calibration units that are kept with one answer.

    Attributes:
        n: Of them.
        differ: Those whose answer of today differs.
        upper: Upper bound of that share at `CONFIDENCE`, of this label only.
    """

    n: int
    differ: int
    upper: float


@frozen
class Certificate:
    """What a cheap variant may keep; without `threshold`, why nothing can be said.

    Attributes:
        variant: Id of the variant that keeps.
        name: Its name.
        refused: Why it certifies nothing; "" if it certifies a threshold.
        threshold: The lowest confidence that is kept.
        share: Of the traffic that is kept, with its 95% interval over prompts.
        difference: Share of the kept traffic whose answer differs from today's.
        upper: Upper bound of that share with `confidence`.
        n: Distinct prompts that were kept, of `n_calibration`.
        today_differs: Share of the recorded calls in which today's model differs from its own usual answer; None where
            no prompt was recorded twice.
        labels: Kept prompts by answer.
        confidence: Of all certificates of the project together.
        most: Share that may differ.
        look: Number of this certificate, from 1.
    """

    variant: str
    name: str
    refused: str = ""
    threshold: float | None = None
    share: float = 0.0
    share_ci: Bounds = (0.0, 1.0)
    difference: float = 0.0
    upper: float = 1.0
    n: int = 0
    n_calibration: int = 0
    today_differs: float | None = None
    labels: Mapping[str, KeptLabel] = field(default_factory=dict)
    confidence: float = CONFIDENCE
    most: float = MOST_DIFFERENT
    look: int = 1
