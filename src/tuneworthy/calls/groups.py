"""Recorded calls in groups of one template each, with the facts that show which group can be cheaper.

Invariant: a case of a group, asked with the group's prompt, is the recorded request, message by message.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import accumulate, product
from math import isfinite
from pathlib import Path
from typing import Any, TypeGuard

from tuneworthy.calls.rows import RowMasker
from tuneworthy.calls.templates import END, MIN_PROMPTS, MIN_SHARE, PLAIN, Template, group_prompts, template_of
from tuneworthy.cases import Rejects, guess_kind, stream_examples
from tuneworthy.cases.formats.tool_calls import plain_calls
from tuneworthy.cases.formats.values import at, dict_at, first_at
from tuneworthy.cases.normalize import variables_text
from tuneworthy.cases.readers.faults import Reject
from tuneworthy.cases.task_kind import Kind, parse_object
from tuneworthy.errors import UserError
from tuneworthy.prompts.templates import chat
from tuneworthy.providers.model_names import VENDORS
from tuneworthy.providers.prices import price_of
from tuneworthy.shadow.recording import DATE_KEYS, moment_of
from tuneworthy.types import (
    UNLABELLED,
    Case,
    JsonMapping,
    JsonObject,
    NamedInts,
    NamedTexts,
    Texts,
    TodaysAnswer,
    Turns,
    Variant,
    calls_of,
    canonical,
    content_hash,
    frozen,
    grouped,
    role_of,
    text_of,
)

# Days of a month, and the fewest days from which traffic is extrapolated.
MONTH, MIN_DAYS = 365 / 12, 1.0
# Share of the calls of a group that answer with tool calls, from which it is one of tool calls.
_MOST_TOOLS = 0.5
# Characters a token, where no usage is recorded.
_CHARACTERS = 4
# Digits of the hash by which equal objects are found.
_DIGITS = 32
# Answers from which the kind of a group is guessed.
_MAX_GUESSED = 2_000


@frozen
class Reply:
    """One call of a prompt.

    Attributes:
        answer: The text; None for tool calls.
        calls: These, `{"name", "arguments"}`.
        about: Model, provider, address and settings of the request; equal values share one object.
        when: Of the answer; None without a date.
        seconds: Of the call; None if not recorded.
        tokens: Of the prompt, of these from the cache, and of the answer.
        estimated: Whether the tokens are estimated.
        weight: Calls that it represents: more than one if calls were sampled.
    """

    answer: str | None
    about: JsonMapping
    when: datetime | None
    seconds: float | None
    tokens: tuple[float, float, float]
    estimated: bool
    weight: float
    calls: Sequence[JsonObject] = ()

    @property
    def model(self) -> str:
        return str(self.about["model"])

    @property
    def usd(self) -> float | None:
        """The price of the call in dollars; None if it is not known."""
        price = next(filter(None, (price_of(name, self.model) for name in _vendors(self.about))), None)
        sent, cached, got = self.tokens
        return price.cost(sent, got, cached) if price else None


@dataclass(slots=True)
class Prompt:
    """A distinct question, with every call that asked it.

    Attributes:
        turns: The messages, without the answer; a developer's message is the system's.
        tools: Schemas.
        name: Of the recording.
        replies: In the order of the file.
    """

    turns: Turns
    tools: tuple[JsonObject, ...]
    name: str
    replies: list[Reply] = field(default_factory=list)

    @property
    def system(self) -> str:
        return text_of(self.turns[0]) if role_of(self.turns[0]) == "system" else ""

    @property
    def user(self) -> str:
        return next(text_of(turn) for turn in self.turns if role_of(turn) == "user")

    @property
    def single(self) -> bool:
        """Whether it is one question, without a conversation before it."""
        return [role_of(turn) for turn in self.turns if role_of(turn) != "system"] == ["user"]

    @property
    def latest(self) -> float:
        return max((one.when.timestamp() for one in self.replies if one.when), default=0.0)


@dataclass(frozen=True, kw_only=True)
class CallGroup:
    """Calls of one template.

    Attributes:
        name: Of the recording, or of the template's first words.
        prompts: Distinct.
        days: Of the whole file; 0 without dates.
    """

    name: str
    prompts: Sequence[Prompt]
    days: float

    @cached_property
    def replies(self) -> list[Reply]:
        return [one for prompt in self.prompts for one in prompt.replies]

    @property
    def calls(self) -> float:
        """Calls of the file, each with its weight."""
        return sum(one.weight for one in self.replies)

    @property
    def calls_a_month(self) -> float | None:
        return self.calls * MONTH / self.days if self.days >= MIN_DAYS else None

    @cached_property
    def models(self) -> NamedInts:
        """Calls by model, the most frequent first."""
        return dict(Counter(one.model for one in self.replies).most_common())

    @cached_property
    def usd(self) -> float | None:
        """Dollars of all calls of the file; None if the price of a model is not known."""
        costs = [(one.usd, one.weight) for one in self.replies]
        return None if any(cost is None for cost, _ in costs) else sum(cost * weight for cost, weight in costs if cost)

    @property
    def seconds(self) -> list[float]:
        return sorted(one.seconds for one in self.replies if one.seconds is not None)

    @property
    def p95_s(self) -> float | None:
        times = self.seconds
        return times[min(len(times) - 1, int(0.95 * len(times)))] if times else None

    @property
    def uses_tools(self) -> bool:
        return sum(one.answer is None for one in self.replies) > _MOST_TOOLS * len(self.replies)

    @cached_property
    def kind(self) -> Kind:
        answers = [one.answer for one in self.replies if one.answer is not None]
        return guess_kind(answers[:: max(1, len(answers) // _MAX_GUESSED)])

    @property
    def repeated(self) -> float:
        """Share of the calls whose prompt was asked before."""
        return 1 - len(self.prompts) / len(self.replies)

    @property
    def differing(self) -> float | None:
        """Share of the calls of repeated prompts whose answer is not the prompt's usual one."""
        counts = [
            Counter(canonical(self._value(one)) for one in prompt.replies)
            for prompt in self.prompts
            if len(prompt.replies) > 1
        ]
        n = sum(one.total() for one in counts)
        return 1 - sum(one.most_common(1)[0][1] for one in counts) / n if n else None

    @cached_property
    def templates(self) -> tuple[Template | None, Template]:
        """The templates of the system text (None without one) and of the user's text of single questions.

        They have the same values: `input` if there is one value.
        """
        single = [prompt for prompt in self.prompts if prompt.single]
        system = template_of(_distinct([prompt.system for prompt in self.prompts]))
        user = template_of(_distinct([prompt.user for prompt in single]), system.names) if single else PLAIN
        if not user.names and not system.names:  # one question, always the same
            user = PLAIN
        if not system.names and len(user.names) == 1:
            user = Template(pieces=user.pieces, names=("input",))
        return (system if any(prompt.system for prompt in self.prompts) else None), user

    def today(self, model: str) -> "TodaysSettings":
        """Return how `model` was asked most often."""
        replies = [one.about for one in self.replies if one.model == model]
        about = Counter(map(id, replies)).most_common(1)[0][0]
        return _settings_of(next(one for one in replies if id(one) == about))

    @property
    def opening(self) -> str:
        """The constant text of the template, by which people recognise the group, with `…` for values; "" if no word
        is constant."""
        text = " ".join("…".join(one.pieces) for one in self.templates if one).strip("… \n")
        return text if re.search(r"\w", text) else ""

    @property
    def remark(self) -> str:
        """What can be tried in place of today's model."""
        remarks = {"label": "try a classifier", "free_text": "agreement needs a judge"}
        return "try a smaller model" if self.uses_tools else remarks.get(self.kind.name, "try a smaller model")

    @property
    def facts(self) -> JsonObject:
        """The group for machines: `calls` and `usd` are those of the file, by weight; None if not known."""
        names = ("name", "calls", "calls_a_month", "usd", "p95_s", "repeated", "models", "opening")
        return {name: getattr(self, name) for name in names} | {
            "kind": "tool_calls" if self.uses_tools else self.kind.name
        }

    def cases(self, model: str, answered_by: str) -> Iterator[Case]:
        """Yield a case for each prompt that `model` answered, the earliest first, as agreement is measured.

        The system turn of the template is left to the project's prompt; `answered_by` names the model in the cases.
        Calls of tools whose schemas were not recorded are left out: no other model could be offered them.
        """
        system, user = self.templates
        prompt_of = Variant(
            name="", model="", model_identity={}, system=system.source if system else None, user=user.source
        )
        chats = any(not prompt.single for prompt in self.prompts)
        for prompt in sorted(self.prompts, key=lambda one: one.latest):
            own = [one for one in prompt.replies if one.model == model and (prompt.tools or not one.calls)]
            if not own:
                continue
            values = [self._value(one) for one in own]
            keys = [canonical(one) for one in values]
            usual, same = Counter(keys).most_common(1)[0]
            value = values[keys.index(usual)]
            question = self._question(prompt, prompt_of, system, user)
            asked = question["input"] if "input" in question else list(question["messages"])
            yield Case(
                id=Case.make_id(asked, prompt.tools),
                **question,
                expected=value,
                group=self._conversations[_starts(prompt.turns)[-1]] if chats else None,
                tools=prompt.tools,
                today=TodaysAnswer(value, answered_by, len(own), same, borrowed=True),
            )

    @cached_property
    def _conversations(self) -> NamedTexts:
        """Conversation by the last of `_starts`: the longest that goes on from it. Two that begin alike stay two."""
        names: dict[str, str] = {}
        for starts in sorted((_starts(prompt.turns) for prompt in self.prompts), key=len, reverse=True):
            name = names.get(starts[-1], starts[-1])
            for start in starts:
                names.setdefault(start, name)
        return names

    def _value(self, reply: Reply) -> Any:
        """Return an answer: calls, an object where answers are JSON, or a text."""
        text = (reply.answer or "").strip()
        parsed = parse_object(text) if self.kind.name == "json" else UNLABELLED
        return [*reply.calls] if reply.answer is None else text if parsed is UNLABELLED else parsed

    def _question(self, prompt: Prompt, today: Variant, system: Template | None, user: Template) -> JsonObject:
        """Return the question of a case: the values of the template, else the messages."""
        values = [*(system.values(prompt.system) or () if system else ())] if prompt.single else []
        found = user.values(prompt.user) if prompt.single else None
        names = [*(system.names if system else ()), *user.names]
        if found is not None and len(values) + len(found) == len(names):
            named = dict(zip(names, [*values, *found], strict=True))
            text = named["input"] if names == ["input"] else variables_text(named)
            if text.strip() and chat(today, Case(id="", input=text), ()) == prompt.turns:
                return {"input": text}
        plain = system and not system.names and system.values(prompt.system) is not None
        return {"messages": prompt.turns[1:] if plain and prompt.system else prompt.turns}


@frozen
class TodaysSettings:
    """How today's model is asked.

    Attributes:
        model: `PROVIDER:NAME` or `PROVIDER:NAME@URL`; "" if no model was recorded.
        recorded: Whether settings were recorded; without any, those of a new project apply.
        parameters: Sampling parameters by our names.
        max_tokens: Limit of the answer; None if not set.
        stop: Texts that end an answer.
    """

    model: str
    recorded: bool = False
    parameters: JsonMapping = field(default_factory=dict)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


# Sampling parameters whose names the APIs share.
_SHARED = ("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty")
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxTokens")


def _settings_of(about: JsonMapping) -> TodaysSettings:
    name, settings = about["model"], about["settings"]
    if not name:
        return TodaysSettings(model="")
    provider = about["provider"] if about["provider"] in VENDORS else "anthropic" if "claude" in name else "openai"
    url = about["base_url"].rstrip("/")
    if provider == "anthropic":
        url = url.removesuffix("/v1")
    elif about["responses_api"]:
        url += "/responses" * bool(url)
    own = url in {"https://api.openai.com/v1", "https://api.anthropic.com", ""}
    effort = first_at(settings, "reasoning_effort", "reasoning/effort")
    stop, limit = first_at(settings, "stop", "stop_sequences"), first_at(settings, *_LIMITS)
    return TodaysSettings(
        model=f"{provider}:{name}{'' if own else f'@{url}'}",
        recorded=isinstance(settings, dict) or bool(url),  # only `record` stores an address: a call without settings
        parameters={key: value for key in _SHARED if _is_number(value := at(settings, key))}
        | ({"effort": effort} if isinstance(effort, str) else {}),
        max_tokens=limit if isinstance(limit, int) else None,
        stop=tuple(map(str, stop)) if isinstance(stop, list) else (stop,) if isinstance(stop, str) else (),
    )


@frozen
class RecordedCalls:
    """The calls of a file.

    Attributes:
        groups: The one that costs most first.
        n_calls: Read.
        others: Calls that belong to no group.
        skipped: Calls without a question and an answer, by reason.
        masked: Personal data that the file had, by kind.
        first: Date of the earliest call; None without dates.
        last: Of the latest.
    """

    groups: Sequence[CallGroup]
    n_calls: int
    others: int
    skipped: NamedInts
    masked: NamedInts
    first: datetime | None
    last: datetime | None


def read_calls(path: Path, inputs: Texts = (), expected: str | None = None) -> RecordedCalls:
    """Read recordings, or any log or export of another tool, mask the calls as a recording does, and group them.

    Args:
        path: The file.
        inputs: Columns of the question of a table.
        expected: Column of the answer.

    Raises:
        UserError: The file cannot be read, or has no call with a question and an answer.
    """
    rejects = Rejects(path)
    stream = stream_examples(path, rejects, input_column=inputs, expected_column=expected)
    prompts: dict[str, Prompt] = {}
    shared: dict[str, JsonObject] = {}
    n, skipped, masked = 0, Counter[str](), Counter[str]()
    for line, fields in stream.rows:
        skipped.update(map(_reason, rejects.take(line)))
        if fields is None:
            continue
        meta, masker = fields.get("meta", {}), RowMasker()
        *turns, answer = masker.mask([*fields["messages"]])
        asked = tuple(_once(_plain_turn(turn), shared) for turn in turns)
        tools = tuple(_once(tool, shared) for tool in masker.mask([*(meta.get("tools") or ())]))
        name = str(meta.get("name") or "")
        masked += masker.masker.counts
        prompt = prompts.setdefault(content_hash([asked, tools, name], _DIGITS), Prompt(asked, tools, name))
        prompt.replies.append(_reply(asked, answer, meta, shared))
        n += 1
    skipped.update(map(_reason, rejects.take(2**62)))
    if not n:
        reasons = "; ".join(map("{} ({:,})".format, skipped, skipped.values())) or "nothing"
        raise UserError(f"{path} has no call with a question and an answer.", hint=f"Left out: {reasons}.")
    whens = [one.when for prompt in prompts.values() for one in prompt.replies if one.when]
    first, last = (min(whens), max(whens)) if whens else (None, None)
    days = (last - first).total_seconds() / 86_400 if first and last else 0.0
    groups = [CallGroup(name="", prompts=members, days=days) for members in _grouped([*prompts.values()], n)]
    named = [replace(one, name=_name(one)) for one in sorted(groups, key=lambda one: (-(one.usd or 0), -one.calls))]
    others = n - sum(len(group.replies) for group in named)
    return RecordedCalls(groups=named, n_calls=n, others=others, skipped=skipped, masked=masked, first=first, last=last)


def _reason(reject: Reject) -> str:
    """Return why a call is left out; a fault names the expected content."""
    return f"expected {reject.words}" if reject.got else reject.words


def _once(value: JsonObject, shared: dict[str, JsonObject]) -> JsonObject:
    """Return the first object that equals `value`: prompts share instructions, tools and earlier turns."""
    return shared.setdefault(content_hash(value, _DIGITS), value)


def _plain_turn(turn: JsonObject) -> JsonObject:
    return turn | {"role": "system"} if role_of(turn) == "developer" else turn


def _reply(asked: Turns, answer: JsonObject, meta: JsonMapping, shared: dict[str, JsonObject]) -> Reply:
    inner = dict_at(meta, "metadata")
    about: JsonObject = {
        key: str(first_at(meta, key) or first_at(inner, key) or "") for key in ("model", "provider", "base_url")
    } | {
        "responses_api": bool(meta.get("responses_api")),
        "settings": first_at(meta, "settings", "model_parameters", "modelParameters"),
    }
    seconds, milliseconds = (_number(first_at(meta, *keys)) for keys in (_SECONDS, _MILLISECONDS))
    tokens, estimated = _tokens(asked, answer, meta)
    share = meta.get("share")
    return Reply(
        answer=None if calls_of(answer) else text_of(answer),
        calls=plain_calls(answer),
        about=_once(about, shared),
        when=moment_of(*(place.get(key) for place, key in product((meta, inner), DATE_KEYS))),
        seconds=milliseconds / 1000 if seconds is None and milliseconds else seconds,
        tokens=tokens,
        estimated=estimated,
        weight=1 / share if _is_number(share) and 0 < share <= 1 else 1.0,
    )


def _tokens(asked: Turns, answer: JsonObject, meta: JsonMapping) -> tuple[tuple[float, float, float], bool]:
    """Return the tokens of a prompt, of these from the cache, and of the answer; and whether they are estimated."""
    usage = first_at(meta, "usage", "metadata/usage") or meta  # columns of a table
    sent, got, cached = (_number(first_at(usage, *keys)) for keys in (_SENT, _GOT, _CACHED))
    if sent is None or got is None:
        return (sum(len(text_of(turn)) for turn in asked) / _CHARACTERS, 0, len(text_of(answer)) / _CHARACTERS), True
    if at(usage, "cache_read_input_tokens") is not None:  # Anthropic's input is without its cache
        sent += (at(usage, "cache_read_input_tokens") or 0) + (at(usage, "cache_creation_input_tokens") or 0)
    return (sent, cached or 0, got), False


_SENT = ("prompt_tokens", "input_tokens", "input", "promptTokens", "prompt")
_GOT = ("completion_tokens", "output_tokens", "output", "completionTokens", "completion")
_CACHED = ("prompt_tokens_details/cached_tokens", "input_tokens_details/cached_tokens", "cache_read_input_tokens")
_SECONDS, _MILLISECONDS = ("seconds", "latency", "latency_s", "duration"), ("latency_ms", "duration_ms")


def _number(value: Any) -> float | None:
    """Return a number, which is a text in a table; else None."""
    with suppress(TypeError, ValueError):
        return number if isfinite(number := float(value)) and not isinstance(value, bool) else None
    return None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _vendors(about: JsonMapping) -> list[str]:
    """Return the vendors whose price may be that of a model: the recorded one, else any that has the name."""
    vendors = ["openai", "anthropic", "gemini"]
    return [about["provider"]] if about["provider"] in vendors else vendors


def _grouped(prompts: Sequence[Prompt], n: int) -> Iterator[Sequence[Prompt]]:
    """Yield the prompts of each group with enough calls.

    A recording's name, the tools, and whether there is a system text separate calls; so does, in one log, a template.
    """
    keyed = grouped((content_hash([one.name, one.tools, bool(one.system)]), one) for one in prompts)
    least = max(MIN_PROMPTS, MIN_SHARE * n) if len(keyed) > 1 or n > MIN_PROMPTS else 0
    for members in keyed.values():
        places = grouped((f"{one.system}{END}{one.user}", one) for one in members)
        texts, answers = [*places], [some[-1].replies[0].answer or "" for some in places.values()]
        for numbers in group_prompts(texts, answers) or [[*range(len(texts))]]:
            group = [one for number in numbers for one in places[texts[number]]]
            if sum(len(one.replies) for one in group) >= least:
                yield group


def _name(group: CallGroup) -> str:
    return group.prompts[0].name or " ".join(group.opening.split()[:4]) or "prompts"


def _starts(turns: Turns) -> list[str]:
    """Return a hash of the turns up to each one."""
    return [*accumulate(turns, lambda before, turn: content_hash([before, turn]), initial="")][1:]


def _distinct(texts: Texts) -> list[str]:
    return [*dict.fromkeys(texts)]
