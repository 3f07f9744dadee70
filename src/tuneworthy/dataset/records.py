"""Schemas of the documents that this folder writes: rows, rejects, imports, distillations, recipes of versions.

Each is written with `orjson` and read through `store.shapes`, so that a reader gets attributes or a `DamagedRecord`.
Raise `SCHEMA_VERSION` whenever a document changes so that an earlier reader would misread it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal

from tuneworthy.types import Bounds, Example, JsonObject, TextTuple, frozen, positional

SCHEMA_VERSION: Final = 5

# Request of a finding: drop the row, keep it as the check's `repair` changes it, or keep it and report.
Action = Literal["drop", "mask", "report"]
# Keys of a message that training reads.
MESSAGE_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "weight", "reasoning_content"})


# --- rows -----------------------------------------------------------------------------------------------------------


@positional
class RowPlace:
    """Id and source (file:line) of a row."""

    id: str
    source: str


@frozen
class RowLine:
    """A line of `rejects.jsonl` (a dropped row) or `findings.jsonl` (a finding on a row that stays).

    Attributes:
        source: File and line of the row; "" for a finding on the whole set.
        reason: Code of the reason.
        detail: Explanation for people.
        check: Name of the check, or `teacher`; "" for an import.
        id: Id of the row; "" if the row was rejected before it had one.
        contamination: Whether the row overlaps with a case.
        score: Confidence or similarity, where the check measures it.
        other: The row that it repeats.
        action: For findings: `mask` or `report`.
        row: For rejects: the row as far as it was read, mostly `messages` and `meta`.
        text: For rejects: the unparsed text, cut if it is long.
        n_bytes: Size of a row that was cut.
    """

    source: str = ""
    reason: str
    detail: str = ""
    check: str = ""
    id: str = ""
    contamination: bool = False
    score: float | None = None
    other: RowPlace | None = None
    action: Action | None = None
    row: Any = None
    text: str | None = None
    n_bytes: int | None = None

    @property
    def example(self) -> Example | None:
        chat = self.row.get("messages") if isinstance(self.row, dict) else None
        return (
            Example(id=self.id, source=self.source, messages=tuple(chat), meta=self.row.get("meta", {}))
            if chat
            else None
        )

    def to_dict(self) -> JsonObject:
        return {
            one.name: value
            for one in fields(self)
            if not ((value := getattr(self, one.name)) is None or value is False or value == "")
        }


def file_of(row: Example | RowLine) -> str:
    return row.source.rpartition(":")[0]


def row_of(example: Example) -> JsonObject:
    row = {"id": example.id, "source": example.source, "messages": list(example.messages)}
    rest = {"group": example.group, "tags": list(example.tags), "meta": dict(example.meta)}
    return row | {name: value for name, value in rest.items() if value}


# --- imports --------------------------------------------------------------------------------------------------------


@frozen
class ImportRequest:
    """How to read the files: see `cases.read_examples`."""

    inputs: TextTuple = ()
    expected: str | None = None


@frozen
class ReadAs(ImportRequest):
    """How a file was read, and by which release."""

    version: str


@positional
class ShownTurn:
    """Beginning of a turn, with the names of its tool calls."""

    role: str
    content: str
    calls: list[str] = field(default_factory=list)


@frozen
class SourceRecord:
    """A file of an import.

    Attributes:
        name: File name, with the folders that distinguish it.
        sha256: Hash of its bytes.
        n_bytes: Its size.
        format: Name of the format.
        path: Relative to the project; "" in a recipe.
        read: How it was read.
        title: Name of the format for people.
        unit: Noun for a record of the file.
        companion: Whether it only annotates rows of other files.
        n_rated: Rows with feedback.
        example: End of its first chat.
        n_kept: Rows imported.
        n_rejected: Rows rejected.
    """

    name: str
    sha256: str
    n_bytes: int
    format: str = ""
    path: str = ""
    read: ReadAs | None = None
    title: str = ""
    unit: str = "row"
    companion: bool = False
    n_rated: int = 0
    example: list[ShownTurn] = field(default_factory=list)
    n_kept: int = 0
    n_rejected: int = 0


@dataclass(slots=True)
class RejectReason:
    """Number of rows rejected for one reason, the first rows, and the reason's description."""

    words: str
    first: str
    n: int = 0


@frozen
class TeacherPin:
    """The model that answered a row (`meta.teacher`): all that makes answers alike, and its terms.

    Attributes:
        model: Its name as configured.
        identity: Hash of the model's identity.
        variant: Name of the variant.
        prompt: Hash of the prompt.
        parameters: Decoding parameters that were sent.
        served: The model that the server reports.
        hosted: Whether the model runs elsewhere.
        allows_training: Whether its terms allow training on its outputs; None if unknown.
        terms: Where the terms say so.
        date: Day of the answer.
        samples: Number of samples, how this one was chosen, share that agrees.
    """

    model: str = "?"
    identity: str | None = None
    variant: str | None = None
    prompt: str | None = None
    parameters: JsonObject | None = None
    served: str | None = None
    hosted: bool | None = None
    allows_training: bool | None = None
    terms: str | None = None
    date: str = ""
    samples: JsonObject | None = None


@frozen
class TeacherRecord(TeacherPin):
    """A teacher of a version: hash of the pin, number of rows, first and last day of its answers."""

    pin: str
    n_rows: int
    first: str
    last: str


@positional
class TeacherScore:
    """Score of the teacher's first answers against known answers, with its 95% interval."""

    score: float
    ci95: Bounds
    n: int
    unscored: int


@frozen
class DistillRecord:
    """How a teacher answered the questions of an import.

    Attributes:
        queries: Id of the import with the questions.
        teacher: Who answered.
        settings: `[teacher]` of the project file.
        n_asked: Questions.
        n_answers: Answers.
        n_kept: Questions with a selected answer.
        endings: Answers without a proper end, by reason.
        chosen_by: Selected answers by method.
        days: Days of the answers.
        cost_usd: Their cost.
        agreement: Score of the first answers; None where no right answer is known.
    """

    queries: str
    teacher: TeacherPin
    settings: JsonObject
    n_asked: int
    n_answers: int
    n_kept: int
    endings: dict[str, int]
    chosen_by: dict[str, int]
    days: list[str]
    cost_usd: float
    agreement: TeacherScore | None


@frozen
class ImportRecord:
    """`import.json`.

    Attributes:
        made_by: `files`, `questions` or `distill`.
        sources: Its files.
        notes: For the reader.
        limit: Maximum number of questions asked.
        distilled: Set if a teacher answered.
        n_read: Rows.
        n_kept: Rows imported.
        n_rejected: Rows rejected.
        n_repaired: Rows imported with a corrected answer.
        reasons: Rejected rows by reason, most frequent first.
        sha256: Hash per file of the import.
        id: Hash that names the import.
        seconds: Duration.
    """

    made_by: str
    sources: list[SourceRecord]
    notes: list[str]
    limit: int | None = None
    distilled: DistillRecord | None = None
    n_read: int = 0
    n_kept: int = 0
    n_rejected: int = 0
    n_repaired: int = 0
    reasons: dict[str, RejectReason] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    id: str = ""
    seconds: float = 0.0
    schema_version: Literal[5] = SCHEMA_VERSION


# --- versions -------------------------------------------------------------------------------------------------------


@positional
class Difference:
    """Accuracy with some rows minus accuracy with others.

    Attributes:
        delta: The difference; for an effect, accuracy without the dropped rows minus accuracy with them.
        ci95: 95% interval.
        n: Questions.
    """

    delta: float
    ci95: Bounds
    n: int

    @property
    def costs(self) -> bool:
        return self.ci95[1] < 0


@frozen
class Effect:
    """Effect of dropping rows on accuracy.

    Attributes:
        status: `certain` rows are dropped at any cost, `few` are too few to measure.
        n_rows: Rows before.
        n_dropped: Rows dropped.
        labels: Dropped rows and their share of the label's rows, the greatest shares first; for label tasks.
        dev: The difference on the dev cases; None unless measured.
        rows: The difference on held-out rows, with an interval that covers all and those that stay; None with too few.
        baseline: The model that was trained.
    """

    status: Literal["certain", "few", "unmeasured", "measured"]
    n_rows: int
    n_dropped: int
    labels: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    dev: Difference | None = None
    rows: Difference | None = None
    baseline: str = ""

    @property
    def loss(self) -> Difference | None:
        return self.shown if self.shown is not None and self.shown.costs else None

    @property
    def shown(self) -> Difference | None:
        """The difference that decides, else that on the dev cases."""
        both = (self.dev, self.rows)
        return next((one for one in both if one is not None and (one.costs or one.ci95[0] > 0)), self.dev)


@dataclass(slots=True)
class CodeCounts:
    words: str
    drop: int = 0
    mask: int = 0
    report: int = 0


@positional
class SetFinding:
    reason: str
    words: str
    detail: str
    score: float | None


@frozen
class CheckRecord:
    """Result of one check: rows in and out, rows by action and by code, findings on the set, effect on accuracy."""

    check: str
    version: int
    settings: JsonObject
    n_in: int
    n_out: int
    n_drop: int
    n_mask: int
    n_report: int
    reasons: dict[str, CodeCounts]
    whole_set: list[SetFinding]
    effect: Effect | None


@positional
class DataGate:
    """Gate of a version: passes if no row that its check bars remains; `detail` says why it fails."""

    check: str
    passed: bool
    detail: str = ""


@positional
class LabelRow:
    """Rows of a label before and after the checks, and its cases."""

    label: str
    before: int
    after: int
    cases: int


@positional
class HashedCount:
    n: int
    sha256: str


@frozen
class Depends:
    """Everything but rows and settings that a build depends on.

    Attributes:
        rows: Hash per file of the import.
        cases: Cases that no row may overlap with.
        labels: Labels of a task that has few.
        held_out: Dev cases drawn from the examples.
        found_bad: Hash of the rows that reviewers rejected.
        corrections: Hash of people's corrections.
        seed: Random seed.
        encoder: Name of the sentence encoder.
        judge: Hash of the judge's model, rubric and settings.
    """

    rows: dict[str, str]
    cases: HashedCount
    labels: HashedCount
    held_out: int
    found_bad: str | None
    corrections: str | None
    seed: int = 0
    encoder: str | None = None
    judge: str | None = None


@frozen
class FileRecord:
    sha256: str
    n_bytes: int
    n: int


@frozen
class BuildTimes:
    """When a version was frozen, and the seconds per check."""

    created: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


@frozen
class Recipe:
    """`recipe.json`: how a version was built.

    Attributes:
        task: Name of the task.
        input: The import, without paths and times.
        code: Release of tuneworthy.
        settings: `[data]` of the project file.
        depends: Everything else that the result depends on.
        checks: Results of the checks, in their order.
        n_rows: Rows that stay.
        n_pairs: Preference pairs among them.
        effect: Effect of all checks together on accuracy.
        labels: Rows and cases per label.
        gates: Gates, passed or not.
        notes: For the reader.
        licence: Licence of all rows.
        teachers: Models that answered rows, most rows first.
        unsafe: Whether it was frozen although a gate failed.
        honest: Id of the version without the rows that overlap with cases, which is measured instead; "" for that
            version.
        files: Files of the version.
        times: Not part of the id.
    """

    task: str
    input: ImportRecord
    code: str
    settings: JsonObject
    depends: Depends
    checks: list[CheckRecord]
    n_rows: int
    n_pairs: int
    effect: Effect
    labels: list[LabelRow]
    gates: list[DataGate]
    notes: list[str]
    licence: str | None
    teachers: list[TeacherRecord]
    unsafe: bool = False
    honest: str = ""
    files: dict[str, FileRecord] = field(default_factory=dict)
    times: BuildTimes = BuildTimes()
    schema_version: Literal[5] = SCHEMA_VERSION

    @property
    def failed(self) -> TextTuple:
        return tuple(f"{gate.check}: {gate.detail}" for gate in self.gates if not gate.passed)

    @property
    def lost_labels(self) -> list[str]:
        return [row.label for row in self.labels if row.before > 0 == row.after and row.cases > 0]

    def to_dict(self) -> JsonObject:
        return asdict(self)
