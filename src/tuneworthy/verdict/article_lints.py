"""Faults of the article's code that plain parsing finds: for code like it, and as a check of what we say of it.

A lint is a function behind `@lint(code, source)` that walks the syntax tree and yields the line of each fault and
what to write instead; its docstring is its page. Nothing is imported or run.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import cleandoc

from tuneworthy.errors import UserError
from tuneworthy.train.lints.trl import converted_arguments, removed_arguments

VERDICT_WORDS = frozenset({"GOOD", "YES", "PASS", "TRUE", "CORRECT", "VALID"})
TEXT_METHODS = frozenset({"upper", "lower", "strip", "casefold"})
TEXT_NAMES = frozenset({"text", "content", "reply", "answer", "output", "response", "verdict"})

Fault = tuple[ast.AST, str]
Look = Callable[[ast.Module], Iterator[Fault]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: the lint, the line, what to write instead, and the source."""

    code: str
    line: int
    message: str
    source: str


@dataclass(frozen=True, slots=True)
class Lint:
    """A lint: its code, what it rests on, and the function."""

    code: str
    source: str
    look: Look

    @property
    def page(self) -> str:
        """What it is about: the docstring of the function."""
        return cleandoc(self.look.__doc__ or "")


LINTS: dict[str, Lint] = {}


def lint(code: str, source: str) -> Callable[[Look], Look]:
    """Return a decorator that registers a function as the lint `code`."""

    def add(look: Look) -> Look:
        LINTS[code] = Lint(code, source, look)
        return look

    return add


def lint_code(text: str, lints: Mapping[str, Lint] = LINTS) -> list[Finding]:
    """Return what the lints find in Python source, in the order of its lines.

    Raises:
        UserError: It does not parse.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise UserError(f"expected Python source, got line {error.lineno}: {error.msg}", hint="mend the file") from None
    found = [
        Finding(one.code, getattr(node, "lineno", 1), message, one.source)
        for one in lints.values()
        for node, message in one.look(tree)
    ]
    return sorted(found, key=lambda finding: (finding.line, finding.code))


@lint("gain_is_a_wish", "facts.md 0, row 33")
def gain_is_a_wish(tree: ast.Module) -> Iterator[Fault]:
    """Target minus baseline is what is wished for, not what training is expected to gain."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any("gain" in _name(target) for target in node.targets):
            value = node.value
            if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Sub):
                left, right = _name(value.left), _name(value.right)
                if "target" in left and ("baseline" in right or "score" in right):
                    yield node, f"{left} - {right} is a wish; forecast the gain from a pilot, with its interval"


@lint("judge_substring", "facts.md 0, row 29")
def judge_substring(tree: ast.Module) -> Iterator[Fault]:
    """A verdict that is looked for inside free text is found in "NOT GOOD" as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In):
            word = _text(node.left)
            if word in VERDICT_WORDS and _is_text(node.comparators[0]):
                yield node, f"{word!r} in text is true of 'NOT {word}': compare an enum that a schema enforces"


@lint("answer_unchecked", "facts.md 0, row 37")
def answer_unchecked(tree: ast.Module) -> Iterator[Fault]:
    """Without a look at `stop_reason`, answers that were cut off or refused become labels."""
    if any(isinstance(node, ast.Attribute) and node.attr == "stop_reason" for node in ast.walk(tree)):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "text" and isinstance(node.value, ast.Subscript):
            inner = node.value
            first = isinstance(inner.slice, ast.Constant) and inner.slice.value == 0
            if first and isinstance(inner.value, ast.Attribute) and inner.value.attr == "content":
                yield (
                    node,
                    "check stop_reason (max_tokens, refusal, ...) and join the text blocks; the first may be none",
                )


@lint("similarity_dense", "facts.md 0, row 30")
def similarity_dense(tree: ast.Module) -> Iterator[Fault]:
    """All pairs at once need N x N numbers: 3.2 GB at 20,000 rows, 20 GB at 50,000."""
    for call in _calls(tree, "cosine_similarity"):
        if len(call.args) == 1 and not call.keywords:
            yield call, "N x N in memory (20 GB at 50,000 rows): find candidates first, then compare those"


@lint("sample_unseeded", "facts.md B, acceptance sampling")
def sample_unseeded(tree: ast.Module) -> Iterator[Fault]:
    """A review proves something only of a random sample that can be drawn again: record the seed."""
    if any(call for call in _calls(tree, "seed")):
        return
    for call in _calls(tree, "sample"):
        if isinstance(call.func, ast.Attribute) and _name(call.func.value) == "random":
            yield call, "draw with random.Random(seed) and keep the seed"


@lint("trl_arguments", "facts.md 0, row 25; A4")
def trl_arguments(tree: ast.Module) -> Iterator[Fault]:
    """`tokenizer` and `max_seq_length` are no arguments of SFTTrainer in TRL 1.16."""
    yield from removed_arguments(tree)


@lint("trl_truncates", "facts.md 0, row 25; A4")
def trl_truncates(tree: ast.Module) -> Iterator[Fault]:
    """TRL turns TrainingArguments into an SFTConfig with max_length=1024 and cuts longer rows off, silently."""
    yield from converted_arguments(tree)


@lint("response_format_shape", "facts.md 0, row 23")
def response_format_shape(tree: ast.Module) -> Iterator[Fault]:
    """A JSON schema goes inside `{"name": ..., "schema": ...}`; `name` is required."""
    named = _named_dicts(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Dict) or "json_schema" not in (keys := _keys(node)):
            continue
        if _text(keys.get("type")) == "json_schema":
            value = keys["json_schema"]
            inner = named.get(value.id) if isinstance(value, ast.Name) else value
            if not isinstance(inner, ast.Dict) or not {"name", "schema"} <= set(_keys(inner)):
                yield value, 'write "json_schema": {"name": ..., "schema": ...}'


@lint("token_probability", "facts.md 0, row 24")
def token_probability(tree: ast.Module) -> Iterator[Fault]:
    """A fixed threshold on the sampled token's log-probability is no sign of a wrong answer until it is calibrated."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute) and node.left.attr == "logprob":
            bound = node.comparators[0]
            bound = bound.operand if isinstance(bound, ast.UnaryOp) else bound
            if isinstance(bound, ast.Constant):
                yield node, "that is the sampled token's raw probability: calibrate the threshold on graded answers"


@lint("repetition_penalty", "facts.md 0, row 22")
def repetition_penalty(tree: ast.Module) -> Iterator[Fault]:
    """A repetition penalty depends on an arbitrary offset of the logits, and counts the prompt's tokens too."""
    for node in ast.walk(tree):
        pairs = list(_keys(node).items()) if isinstance(node, ast.Dict) else []
        pairs += [(word.arg, word.value) for word in node.keywords if word.arg] if isinstance(node, ast.Call) else []
        for key, value in pairs:
            if key == "repetition_penalty" and isinstance(value, ast.Constant) and value.value not in {1, None}:
                yield value, f"{value.value!r} does not transfer between models: measure it, or use a frequency penalty"


def _calls(tree: ast.Module, name: str) -> list[ast.Call]:
    """Return the calls of a function or method called `name`."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if _name(call.func) == name]


def _name(node: ast.AST) -> str:
    """Return the last name of `a`, `a.b` or `a["b"]`; "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return _text(node.slice) if isinstance(node, ast.Subscript) else ""


def _text(node: ast.AST | None) -> str:
    """Return the text of a string constant; "" of anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_text(node: ast.expr) -> bool:
    """Whether an expression is a model's text, as far as its name or the method called on it tells."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr in TEXT_METHODS
    return not isinstance(node, ast.Subscript) and _name(node) in TEXT_NAMES


def _keys(node: ast.Dict) -> dict[str, ast.expr]:
    """Return the values of a dict display by those keys that are strings."""
    return {_text(key): value for key, value in zip(node.keys, node.values, strict=True) if _text(key)}


def _named_dicts(tree: ast.Module) -> dict[str, ast.Dict]:
    """Return the dict displays that are assigned to names."""
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    return {_name(target): node.value for node in assigned for target in node.targets}  # type: ignore[misc]
