"""[[graders]]: how an answer is judged. The first is primary; the others are shown beside it."""

from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny

from tuneworthy.config.base import Count, NonNegative, Section
from tuneworthy.config.strangers import open_to_strangers


class Exact(Section):
    """The answer, stripped of outer white space, equals the expected text (one of them, if a list is expected)."""

    type: Literal["exact"]


class NormalisedExact(Section):
    """Equal after folding of Unicode forms, case, punctuation (but not within numbers) and white space."""

    type: Literal["normalised_exact"]


class Includes(Section):
    """The answer contains the expected text (all of them, if a list is expected)."""

    type: Literal["includes"]
    ignore_case: bool = True
    """Compare without case."""


class Regex(Section):
    """`pattern` (or the expected value, taken as a pattern) is found in the answer."""

    type: Literal["regex"]
    pattern: str | None = None
    """Regular expression; the expected value of each case if not set."""


class Numeric(Section):
    """The last number of the answer equals the expected number within the tolerance."""

    type: Literal["numeric"]
    tolerance_abs: NonNegative = 0.0
    """Difference that is allowed."""
    tolerance_rel: NonNegative = 1e-6
    """Difference that is allowed, as a share of the expected number."""
    decimal_comma: bool = False
    """Read 1.234,56 instead of 1,234.56."""


class SquadExactMatch(Section):
    """SQuAD's exact match: best over the accepted answers."""

    type: Literal["squad_em"]


class SquadF1(Section):
    """SQuAD's token F1: best over the accepted answers. Case, articles and punctuation do not count: where the form
    of the answer matters, use `exact`."""

    type: Literal["squad_f1"]


class JsonFields(Section):
    """Micro F1 over the (field, value) pairs of a JSON object; a rightly empty object is right."""

    type: Literal["json_fields"]
    fields: list[str] | None = None
    """Fields that count (`a.b` for a nested one), with all below them; all fields if not set."""
    ignore_case: bool = True
    """Compare texts without case."""
    strict: bool = False
    """Accept only an answer that is the JSON object and nothing else."""


class JsonSchema(Section):
    """The answer parses as JSON and is valid under a schema."""

    type: Literal["json_schema"]
    path: str
    """JSON Schema file below the project; references to other files or the network are refused."""
    strict: bool = False
    """Accept only an answer that is JSON and nothing else."""


class Choice(Section):
    """The answer names exactly one of the labels, and it is the expected one."""

    type: Literal["choice"]
    labels: list[str] | None = None
    """All labels; those of cases and examples if not set."""


class BalancedAccuracy(Section):
    """As `choice`, but every label counts as much as any other, however rare it is."""

    type: Literal["balanced_accuracy"]
    labels: list[str] | None = None
    """All labels; those of cases and examples if not set."""


class ToolCall(Section):
    """The expected tool is called with the expected arguments."""

    type: Literal["tool_call"]
    arguments: bool = True
    """Whether arguments count, or only the tool's name."""
    ignore_case: bool = True
    """Compare texts in arguments without case."""


class RougeL(Section):
    """ROUGE-L F1 against the expected text."""

    type: Literal["rouge_l"]


class ChrF(Section):
    """chrF against the expected text, 0..1."""

    type: Literal["chrf"]


class Abstention(Section):
    """Declines where declining is right (`"expected": null`), answers where an answer is known."""

    type: Literal["abstention"]
    phrases: list[str] | None = None
    """Parts of an answer that mean declining (case is ignored); a built-in list if not set."""


class Style(Section):
    """Brand voice: a classifier of brand against generic text, and lexical rules; the mean of both parts."""

    type: Literal["style"]
    generic: str
    """JSONL of generic texts (`{"text": ...}`), at least 20; brand texts are the examples' answers."""
    min_words: int | None = Field(default=None, ge=0)
    """Fewest words of an answer."""
    max_words: int | None = Field(default=None, ge=1)
    """Most words of an answer."""
    banned: list[str] = []
    """Phrases that must not appear in the answer (case is ignored)."""
    required: list[str] = []
    """Regular expressions that must all be found."""


class PythonFunction(Section):
    """A function of the project's own: `(answer: str, expected, case) -> float | bool | Score`."""

    type: Literal["python"]
    function: str = Field(pattern=r"^.+:[A-Za-z_]\w*$")
    """`file.py:name` below the project, or `package.module:name`."""
    needs_expected: bool = True
    """False for a function that judges form alone: it is called for every case, whatever is expected."""


class Judge(Section):
    """A language model says whether the answer is good. As the first grader it decides only where people's verdicts
    on both variants correct it (`tuneworthy cases label --judge`)."""

    type: Literal["judge"]
    model: str
    """Key of `[models]`; best of another family than the models that are judged, and able to be held to a choice."""
    rubric: str
    """What makes an answer good: a text, or a `.md` or `.txt` file below the project."""
    needs_expected: bool = True
    """False for a judge of form alone: it is asked about every case and never sees the expected answer."""
    mask: bool = True
    """Mask e-mail addresses, phone numbers, IBANs, cards, IP addresses and keys before the judge sees them."""
    max_tokens: Count = 256
    """Limit of the judge's answer, tokens; a model that thinks first needs more."""


class StrangerGrader(Section):
    """A grader of an installed package that names no section of its own: it takes no keys."""

    type: str


KnownGrader = (
    Exact
    | NormalisedExact
    | Includes
    | Regex
    | Numeric
    | SquadExactMatch
    | SquadF1
    | JsonFields
    | JsonSchema
    | Choice
    | BalancedAccuracy
    | ToolCall
    | RougeL
    | ChrF
    | Abstention
    | Style
    | PythonFunction
    | Judge
)
Grader = Annotated[
    KnownGrader,
    Field(discriminator="type"),
    open_to_strangers("graders", "type", KnownGrader, StrangerGrader),
    SerializeAsAny(),
]
