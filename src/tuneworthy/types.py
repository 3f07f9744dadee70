"""The nouns of the tool: values that stages hand to one another and write to files.

Plain frozen dataclasses, no behaviour beyond identity and conversion, no input or output.
A `Message` is a chat message in the OpenAI shape: ``{"role": ..., "content": ..., "tool_calls"?: ...}``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

import orjson
from annotated_types import Interval

T = TypeVar("T")
K = TypeVar("K")
JsonObject = dict[str, Any]
# The same where it is only read.
JsonMapping = Mapping[str, Any]
# Texts, and texts and numbers by a name, that are only read.
Texts = Sequence[str]
# Texts where they are a key or compared.
TextTuple = tuple[str, ...]
TextPair = tuple[str, str]
NamedTexts = Mapping[str, str]
NamedInts = Mapping[str, int]
NamedFloats = Mapping[str, float]
# The lower and the upper bound of an interval.
Bounds = tuple[float, float]
# The same where the upper one is None if it is open.
OpenBounds = tuple[float, float | None]
Message = JsonObject
Messages = Sequence[Message]
Turns = tuple[Message, ...]
# Token ids of a text, and of several.
Tokens = Sequence[int]
TokenLists = Sequence[Tokens]
Paths = Sequence[Path]
# Gets a sentence for the user.
Say = Callable[[str], None]


def role_of(message: Message) -> str:
    """Return the role of a message; "" if it has no role."""
    return str(message.get("role") or "")


def text_of(message: Message) -> str:
    """Return the content of a message as text; "" if it has no content."""
    return str(message.get("content") or "")


def calls_of(message: Message) -> list[JsonObject]:
    """Return the tool calls of a message."""
    return message.get("tool_calls") or []


def are_calls(value: Any, *, named: bool = True) -> bool:
    """Whether `value` is a tool call or a list of such: in OpenAI's shape or, if `named`, `{"name", "arguments"}`."""
    own = [
        one.get("function", one if named else None) if isinstance(one, dict) else None
        for one in (value if isinstance(value, list) else [value])
    ]
    return bool(own) and all(isinstance(one, dict) and {"name", "arguments"} <= one.keys() for one in own)


JsonSchema = JsonObject
# Share of the cases that may be unscored where a score decides anything.
MOST_UNSCORED = 0.02
# No amount of money, number of requests or time reaches it: products of several stay finite.
MAX_AMOUNT = 1e15
# US dollars: neither nan nor infinite.
Dollars = Annotated[float, Interval(ge=0, lt=MAX_AMOUNT)]
# Share of the cases or rows that a second person judges, so that the agreement of people is known.
SECOND_SHARE = 0.25


class Unlabelled:
    """The type of `UNLABELLED`: no right answer is known yet (unlike None: decline)."""

    def __repr__(self) -> str:
        return "UNLABELLED"

    def __bool__(self) -> bool:
        return False


UNLABELLED = Unlabelled()


def canonical(value: Any) -> bytes:
    """Serialise JSON-able `value` with sorted keys, the form that every hash is taken of."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def grouped(pairs: Iterable[tuple[K, T]]) -> dict[K, list[T]]:
    """Return the values by key, keys and values in the order in which they appear.

    >>> grouped([("a", 1), ("b", 2), ("a", 3)])
    {'a': [1, 3], 'b': [2]}
    """
    found: dict[K, list[T]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def content_hash(value: Any, length: int = 16) -> str:
    """Return the first `length` hex digits of the SHA-256 of `canonical(value)`."""
    return hashlib.sha256(canonical(value)).hexdigest()[:length]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(kind: type[T]) -> type[T]:
    """Make a class a dataclass that is frozen, has slots, and takes its fields by name only.

    A `repr` of its own stays.
    """
    own = kind.__repr__ is not object.__repr__
    return dataclass(frozen=True, slots=True, kw_only=True, repr=not own)(kind)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def positional(kind: type[T]) -> type[T]:
    """Make a class a dataclass that is frozen, has slots, and takes its fields by position or name."""
    return dataclass(frozen=True, slots=True)(kind)


@positional
class TodaysAnswer:
    """What today's model answered in recorded calls of one prompt.

    Attributes:
        answer: The most frequent answer, any JSON.
        model: Who gave it.
        calls: Recorded calls with this prompt.
        same: Of these, calls with this answer.
        borrowed: Whether it is compared with in place of a right answer, which nobody has given yet.
    """

    answer: Any
    model: str
    calls: int = 1
    same: int = 1
    borrowed: bool = False


@frozen
class Case:
    """A question and its expected answer.

    Attributes:
        id: Given, or the content hash of the question (so a corrected label keeps the id).
        input: The text, or template variables by name; None if `messages` is given.
        messages: A conversation that ends with the user's turn, instead of `input`.
        expected: The right answer (any JSON); None if declining is right; UNLABELLED if unknown.
        group: Cases with one group share a source and stay on one side of a split.
        tags: Free labels for reports.
        documents: Ids of the documents with the answer.
        tools: JSON schemas of the tools that may be called (OpenAI shape).
        today: Recorded answer of today's model; None without one.
        weight: Cases that it stands for in a sample.
        drafted: Whether a model drafted it and a person accepted it, so that no user asked it.
    """

    id: str
    input: str | JsonObject | None = None
    messages: Turns = ()
    expected: Any = UNLABELLED
    group: str | None = None
    tags: TextTuple = ()
    documents: TextTuple = ()
    tools: tuple[JsonObject, ...] = ()
    today: TodaysAnswer | None = None
    weight: float = 1.0
    drafted: bool = False

    @staticmethod
    def make_id(question: Any, tools: Sequence[JsonObject] = ()) -> str:
        """Hash the question (`input` or `messages`, and `tools`)."""
        return content_hash([question, list(tools)] if tools else question)

    @property
    def text(self) -> str:
        """The question as one text: for search, overlap checks and display."""
        if isinstance(self.input, str):
            return self.input
        if self.input is not None:
            return "\n".join(str(v) for v in self.input.values())
        return "\n".join(text_of(m) for m in self.messages)

    @property
    def source(self) -> str:
        """What cases of one group share; a case without a group has a source of its own."""
        return self.group or f"#{self.id}"

    @property
    def labelled(self) -> bool:
        """Whether a right answer (declining included) is known."""
        return self.expected is not UNLABELLED

    @property
    def has_answer(self) -> bool:
        """Whether a right answer other than declining is known."""
        return self.labelled and self.expected is not None

    @property
    def expects_calls(self) -> bool:
        """Whether tool calls are right, and no text."""
        return are_calls(self.expected, named=bool(self.tools))

    @property
    def replays_tools(self) -> bool:
        """Whether tools or their results were recorded with it, so that no tool runs for it."""
        return bool(self.tools) or any(role_of(turn) == "tool" for turn in self.messages)


@frozen
class Example:
    """A training or few-shot record with its provenance.

    Attributes:
        messages: The chat; the last message is the assistant's answer.
        id: Content hash of `messages`.
        source: File and line it came from.
        group: As in `Case`.
        tags: Free labels.
        meta: Further provenance (teacher, feedback, checks passed, who approved it).
    """

    messages: Turns
    id: str
    source: str = ""
    group: str | None = None
    tags: TextTuple = ()
    meta: JsonMapping = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The text of the last user turn."""
        users = [m for m in self.messages if role_of(m) == "user"]
        return text_of(users[-1]) if users else ""

    @property
    def answer(self) -> str:
        """The text of the final assistant turn."""
        last = self.messages[-1] if self.messages else {}
        return text_of(last) if role_of(last) == "assistant" else ""


Ids = TextTuple
Cases = Sequence[Case]
CaseTuple = tuple[Case, ...]
Examples = Sequence[Example]
CaseOrExample = Case | Example

OutputKind = Literal["free", "choice", "json_schema", "ranked"]
# How the log-probabilities of ranked labels are made comparable: not at all, by length, or by those after no content.
Ranking = Literal["", "sum", "per_byte", "prior"]


@frozen
class OutputFormat:
    """How the answer is constrained: not at all, to one of `choices`, or to a JSON `schema`.

    Attributes:
        kind: `ranked` generates nothing: the answer is the choice that the model finds most probable.
        choices: The only answers there are.
        schema: Of the answer.
        ranking: How ranked choices are compared. It is applied to the stored log-probabilities: no call depends on it.
        prior: Log-probability per choice after a question without content, for the ranking `prior`.
    """

    kind: OutputKind = "free"
    choices: TextTuple = ()
    schema: JsonSchema | None = None
    ranking: Ranking = ""
    prior: tuple[float, ...] = ()


@frozen
class Shots:
    """Which examples appear in the prompt.

    Attributes:
        mode: `fixed` (the same for all cases), `per_case` (the nearest by words) or `by_meaning` (the nearest vectors).
        k: How many.
        pool_hash: Content hash of the pool they are drawn from, and of the encoder that finds the nearest.
        ids: The example ids of a fixed set; empty for others.
    """

    mode: Literal["fixed", "per_case", "by_meaning"]
    k: int
    pool_hash: str
    ids: TextTuple = ()


@frozen
class Passage:
    """A piece of a document that is shown to a model: data, never instructions.

    Attributes:
        document: Id of the document, which an answer may cite.
        text: Its content.
        heading: Title and headings above it; "" without any.
    """

    document: str
    text: str
    heading: str = ""


@frozen
class Retrieval:
    """Selection of the passages before the question.

    Attributes:
        mode: `search`; `all`: all documents, in the same order for each case, at the start of the prompt; or `oracle`:
            the documents that the case itself names.
        documents: Content hash of all documents.
        k: Passages that are shown.
        encoder: Source of the dense vectors (model and hash, or address); empty for words only.
        reranker: What reorders the best of the fused list; empty without a reranker.
        chunk_tokens: Size of a chunk.
        overlap_tokens: Shared with the chunk before.
        pool: Chunks that words and vectors each bring to the fusion.
        bm25_weight: Share of the words in the fusion, 0..1; the vectors have the rest.
        language: Of stemming and stop words.
        cite: Whether the answer is asked to end with the ids of the documents that it rests on.
    """

    mode: Literal["search", "all", "oracle"] = "search"
    documents: str
    k: int
    encoder: JsonMapping = field(default_factory=dict)
    reranker: JsonMapping = field(default_factory=dict)
    chunk_tokens: int = 256
    overlap_tokens: int = 32
    pool: int = 50
    bm25_weight: float = 0.5
    language: str = "English"
    cite: bool = False


@frozen
class ToolUse:
    """Tools that a model may call before it answers.

    Attributes:
        schemas: In OpenAI's shape.
        source: Content hash of the functions and the lists of MCP servers.
        max_steps: Requests per case, at most; the last one allows no call.
        native: Whether requests offer the tools; otherwise the prompt describes them.
    """

    schemas: tuple[JsonObject, ...]
    source: str
    max_steps: int
    native: bool = True


@frozen
class Cascade:
    """Who answers before the variant that has it: a cheap variant, where it is sure.

    Attributes:
        first: Gives label probabilities with its answer.
        threshold: Probability of its answer from which it is sure; every other case is sent on.
    """

    first: Variant
    threshold: float


@frozen
class TagSetting:
    """The settings of requests with a tag.

    Attributes:
        decoding: Sampling parameters, or effort.
        max_tokens: Limit of the answer, tokens: more effort needs more room.
    """

    decoding: JsonMapping
    max_tokens: int


@frozen
class Variant:
    """The thing compared. Its identity is a hash of the resolved content; `name` is only for people.

    Attributes:
        name: Short and readable, e.g. `few_shot/per_case-8`.
        model: Key of `[models]`.
        model_identity: Resolved model (provider, model id, file hash, base URL); no secrets.
        system: System template text, or None.
        user: User template text.
        shots: Few-shot examples, or None.
        retrieval: Passages of the project's documents, or None.
        tools: Tools that are called before the answer, or None.
        decoding: Sampling parameters that are set; those not set are left to the provider's default.
        output: Constraint on the answer.
        max_tokens: Limit of the answer, tokens.
        stop: Texts that end an answer.
        answer_after: A marker: the answer is what follows its last occurrence (the rest is thinking aloud).
        cascade: Who answers first; None for a variant that answers every case itself.
        by_tag: Settings of cases by their first tag; those without an entry get `decoding` and `max_tokens`.
        notes: How it was made (transforms applied), for the report; not part of the identity.
    """

    name: str
    model: str
    model_identity: JsonMapping
    system: str | None
    user: str
    shots: Shots | None = None
    retrieval: Retrieval | None = None
    tools: ToolUse | None = None
    decoding: JsonMapping = field(default_factory=dict)
    output: OutputFormat = field(default_factory=OutputFormat)
    max_tokens: int = 256
    stop: TextTuple = ()
    answer_after: str | None = None
    cascade: Cascade | None = None
    by_tag: Mapping[str, TagSetting] = field(default_factory=dict)
    notes: TextTuple = ()

    @property
    def parameters(self) -> JsonObject:
        """Settings of a request: sampling parameters and stop texts."""
        return {**self.decoding, "stop": list(self.stop)} if self.stop else dict(self.decoding)

    def for_tags(self, tags: TextTuple) -> Variant:
        """Return the variant with the settings of a request with these tags, of which the first counts."""
        own = self.by_tag.get(tags[0]) if tags else None
        return replace(self, decoding=own.decoding, max_tokens=own.max_tokens, by_tag={}) if own else self

    @property
    def documents_first(self) -> bool:
        """Whether all documents are at the start of the prompt, in a system turn."""
        return self.retrieval is not None and self.retrieval.mode == "all"

    @property
    def id(self) -> str:
        """Content hash of everything that can change an answer."""
        content = asdict(self)
        del content["name"], content["notes"]
        if self.cascade is None:
            del content[
                "cascade"
            ]  # a variant without one keeps the id that it had before there were any, like the next
        else:
            content["cascade"] = [self.cascade.first.id, self.cascade.threshold]
        if not self.by_tag:
            del content["by_tag"]
        if not self.output.ranking:
            del content["output"]["ranking"], content["output"]["prior"]
        # variants without documents and tools keep the ids that they had before there were any
        new = {name for name in ("retrieval", "tools") if content[name] is None}
        return content_hash({name: value for name, value in content.items() if name not in new})


# How many variants are timed in turn at most.
LANES = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """Of a request that is timed: an engine of ours may reuse only what other cases share of the prompt.

    Attributes:
        lane: Number of the variant among those timed in turn, below `LANES`: they share no cache.
        group: Content hash of the variants that are timed in turn; "" for a single variant.
    """

    lane: int = 0
    group: str = ""


@frozen
class Request:
    """One question to a provider, fully resolved.

    Attributes:
        messages: The chat that is sent; empty if plain texts, not answers, are ranked.
        max_tokens: Limit of the answer, tokens.
        decoding: Sampling parameters to send (already filtered by the capability table).
        output: Constraint on the answer.
        tools: Tool schemas, OpenAI shape.
        tool_choice: `none` if the model must answer without a call; part of the key.
        logprobs: Number of alternatives per token to ask for; None requests no log-probabilities, 0 only the chosen
            token's.
        repeat: Index of the repeat; part of the key, so no repeat is served from another.
        payload: Input of a user's own pipeline instead of messages (the case's input).
        timing: Set if the answer is timed; part of the key.
        source: Of the case; a model that learns from dev answers without the rows of that source.
    """

    messages: Turns
    max_tokens: int = 256
    decoding: JsonMapping = field(default_factory=dict)
    output: OutputFormat = field(default_factory=OutputFormat)
    tools: tuple[JsonObject, ...] = ()
    tool_choice: Literal["auto", "none"] = "auto"
    logprobs: int | None = None
    repeat: int = 0
    payload: Any = None
    timing: Timing | None = None
    source: str = ""


@frozen
class Response:
    """A provider's answer.

    Attributes:
        text: The answer ("" if only tools were called or the model declined without words).
        finish_reason: `stop`, `length`, `tool_calls`, `refusal`, `content_filter` or the provider's own word.
        input_tokens: Of the prompt; None if not reported, like the next two.
        output_tokens: Of the answer.
        cached_tokens: Those of the prompt that were read from a cache.
        tool_calls: OpenAI shape.
        logprobs: One entry a token: ``{"token", "logprob", "top": [[token, logprob], ...]}``.
        label_logprobs: Log-probability per label; of a provider that ranks labels, not normalised.
        model: Name that the server reports.
        dropped: Parameters that were left out because the model does not accept them.
        seconds: Wall time of the successful attempt.
        fingerprint: Of the server's configuration, as OpenAI reports it; "" if not given.
        written_tokens: Those of the prompt that were written into a cache, at a price of their own.
        endpoint: Address that answered, of a model with several; else "".
        price_factor: Share of the price of a single call that was paid, as in a batch.
    """

    text: str
    finish_reason: str = "stop"
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    tool_calls: tuple[JsonObject, ...] = ()
    logprobs: tuple[JsonObject, ...] | None = None
    model: str = ""
    dropped: TextTuple = ()
    seconds: float = 0.0
    label_logprobs: NamedFloats | None = None
    fingerprint: str = ""
    written_tokens: int | None = None
    endpoint: str = ""
    price_factor: Annotated[float, Interval(gt=0, le=1)] = 1.0


@frozen
class Failure:
    """Why a call gave no response (see `errors.ProviderError` for the codes); `tool` for a tool, with its seconds."""

    code: str
    message: str
    attempts: int = 1
    seconds: float = 0.0


Answer = Response | Failure


@frozen
class Trace:
    """One case answered once by one variant.

    Exactly one of `response` and `error` is set. If the variant thinks aloud first, `response.text` is the
    final answer and `thinking` the text before it. If it cites, `cited` has the ids from the brackets at the end. If it
    used tools, `calls` has the calls in OpenAI's shape, with their seconds and whether they failed.
    """

    case_id: str
    variant_id: str
    repeat: int
    messages: Turns
    response: Response | None
    cost_usd: float = 0.0
    error: Failure | None = None
    thinking: str = ""
    cited: TextTuple = ()
    calls: tuple[JsonObject, ...] = ()
    stored: bool = False

    @property
    def text(self) -> str:
        """The answer, or "" where the call failed."""
        return self.response.text if self.response else ""


Traces = Sequence[Trace]


@frozen
class Score:
    """A trace judged by a grader: a contribution (`num`, `den`) to a ratio, or unscored.

    The score of a set is ``sum(num) / sum(den)``. For most graders `den` is 1 and `num` is in [0, 1],
    so that is the mean; micro F1 uses ``num = 2 tp`` and ``den = 2 tp + fp + fn``.

    Attributes:
        num: The contribution; 0 <= num <= den.
        den: Its largest possible value.
        reason: "" if right; else a class such as `wrong`, `format`, `refused`, `answered_unanswerable`.
        unscored: Why infrastructure or judge failed ("" if scored). Unreadable output is *scored* 0
            with reason `format`.
        detail: For people (parsed answer, per-field counts).
    """

    num: float = 0.0
    den: float = 1.0
    reason: str = ""
    unscored: str = ""
    detail: JsonMapping = field(default_factory=dict)

    @property
    def value(self) -> float | None:
        """num / den, or None if unscored."""
        if self.unscored:
            return None
        return self.num / self.den if self.den else 1.0

    @classmethod
    def failed(cls, why: str) -> Score:
        """An unscored result: the infrastructure or the judge failed, not the model."""
        return cls(unscored=why)


class RungStatus(StrEnum):
    """Outcome of a rung."""

    REFERENCE = "reference"
    ADOPTED = "adopted"
    NO_GAIN = "no_gain"
    INCONCLUSIVE = "inconclusive"
    VIOLATES_CONSTRAINT = "violates_constraint"
    SKIPPED = "skipped"
    FAILED = "failed"
