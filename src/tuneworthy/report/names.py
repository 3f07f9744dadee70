"""Names of options for people: `few_shot/per_case-4` is "small model, 4 examples per question".

Machine names stay in JSON, in commands and in text between backticks.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from tuneworthy.classical.base import METHODS
from tuneworthy.ladder.own_models import IN_PROCESS, TUNED
from tuneworthy.ladder.record import RunRecord
from tuneworthy.text import count, number_text
from tuneworthy.types import NamedTexts, RungStatus, TextPair, Variant
from tuneworthy.verdict.evidence import RungEvidence
from tuneworthy.verdict.options import Option

T = TypeVar("T")
TODAY = "today's prompt"
# By name of the transform.
PROMPTS = {
    "xml_contract": "XML prompt with contract",
    "contract": "prompt with contract",
    "xml": "XML prompt",
    "role": "role prompt",
    "half": "halved prompt",
    "chain_of_thought": "chain-of-thought prompt",
    "gepa": "optimised prompt",
}
OUTPUTS = {
    "choice": "constrained labels",
    "json_schema": "constrained JSON",
    "ranked": "ranked labels",
}
# Words of names, with their meaning.
MEANINGS = {
    "contract": "contract: the prompt states the allowed answers",
    "effort": "effort: how long the model thinks before it answers",
    "constrained": "constrained: the server allows only valid answers",
    "is unsure": "unsure: the first model gives its answer a probability below a threshold, chosen on dev",
}
# By part of a name, the words where a variant has no such part.
WITHOUT = {
    "first": "no cascade",
    "model": "no model",
    "prompt": TODAY,
    "examples": "no examples",
    "documents": "no documents",
    "tools": "no tools",
    "output": "free output",
    "decoding": "default sampling",
}
# Fields with machine names only.
MACHINE = frozenset({"command", "dev_answers", "dev_cases", "variants", "provenance", "model"})


def title(variant: Variant, today: Variant | None = None) -> str:
    """Return the name of a variant: its model, and its differences from today's setup.

    >>> small = Variant(name="baseline/small", model="small", model_identity={}, system=None, user="{{ input }}")
    >>> title(replace(small, decoding={"temperature": 0.7, "top_p": 1}), small)
    'small model, temperature 0.7'
    """
    return ("; " if variant.cascade else ", ").join(_parts(variant, today).values())


def _parts(variant: Variant, today: Variant | None) -> dict[str, str]:
    if variant.cascade is not None:
        return {"first": title(variant.cascade.first), "model": f"{variant.model} where it is unsure"}
    if variant.model.startswith(IN_PROCESS) or variant.name.startswith("classical/"):
        method = variant.name.partition("/")[2]
        return {"model": METHODS.get(method, f"a {method or variant.name}").partition(" ")[2]}
    shots, search = variant.shots, variant.retrieval
    changed = today and (variant.system, variant.user) != (today.system, today.user)
    notes = (PROMPTS[note] for note in reversed(variant.notes) if note in PROMPTS)
    parts = {
        "model": "fine-tuned model" if variant.model.startswith(TUNED) else f"{variant.model} model",
        "examples": shots and f"{shots.k} {'fixed examples' if shots.ids else 'examples per question'}",
        "documents": search and ("all documents" if search.mode == "all" else f"{search.k} retrieved passages"),
        "tools": variant.tools and count(len(variant.tools.schemas), "tool"),
        "prompt": next(notes, "another prompt" if changed else None),
        "output": OUTPUTS.get(variant.output.kind),
        "decoding": _decoding(variant, today),
    }
    differing = {key: text for key, text in parts.items() if text is not None}
    return {key: text for key, text in differing.items() if text} | ({} if len(differing) > 1 else {"prompt": TODAY})


def _decoding(variant: Variant, today: Variant | None) -> str | None:
    if not variant.by_tag and variant.decoding == (today.decoding if today else {}):
        return None
    shown = [key for key in ("temperature", "effort") if key in variant.decoding] or [*variant.decoding][:1]
    parts = [f"{key} {number_text(variant.decoding[key])}" for key in shown]
    return " and ".join(parts + ["settings by tag"] * bool(variant.by_tag))


def differences(a: Variant, b: Variant) -> TextPair:
    """Name two variants by their differences.

    >>> small = Variant(name="", model="small", model_identity={}, system=None, user="{{ input }}")
    >>> differences(small, replace(small, decoding={"temperature": 0}))
    ('default sampling', 'temperature 0')
    """
    sides = [_parts(a, None), _parts(b, None)]
    if (a.system, a.user) != (b.system, b.user):
        for one, parts in zip((a, b), sides, strict=True):
            n = len(f"{one.system or ''}{one.user}")
            parts["prompt"] = parts.get("prompt", TODAY).replace(TODAY, f"prompt of {n:,} characters")
    ours, theirs = sides
    keys = [key for key, words in WITHOUT.items() if ours.get(key, words) != theirs.get(key, words)]
    first, second = (", ".join(parts.get(key, WITHOUT[key]) for key in keys) for parts in sides)
    return (first, second) if first != second else (f"{first} {a.id[:8]}".strip(), f"{second} {b.id[:8]}".strip())


def names_of(record: RunRecord) -> NamedTexts:
    """Return the names for people of a run's variants by machine name; each is of one variant."""
    baseline = record.rung("baseline")
    today = record.variant_of(baseline) if baseline else None
    named = [(one, title(variant, today)) for one in record.rungs if one.name and (variant := record.variant_of(one))]
    n_titles = Counter(words for _, words in named)
    return {str(one.name): words if n_titles[words] == 1 else f"{words} ({one.rung})" for one, words in named}


def option_name(option: Option) -> str:
    """Return the name of an option of a verdict for people; that of training before there is a model, too."""
    return "fine-tuned model" if option.kind == "fine_tune" else option.option


def meanings(texts: Iterable[str]) -> str:
    """Explain the words of the names in `texts`; "" where they need no explanation.

    >>> meanings(["small model, effort low"])
    'Effort: how long the model thinks before it answers.'
    """
    shown = "; ".join(MEANINGS[word] for word in MEANINGS if word in " ".join(texts))
    return shown and f"{shown[0].upper()}{shown[1:]}."


def in_sentence(words: str) -> str:
    """Return a name as a part of a sentence.

    >>> in_sentence("small model, 4 examples per question, temperature 0.7")
    'the small model with 4 examples per question and temperature 0.7'
    """
    first, *others = re.split("[,;] ", words)
    *others, last = others or [""]
    return f"the {first}" + (f" with {', '.join(others)}{' and ' * bool(others)}{last}" if last else "")


def for_people(value: T, names: Mapping[str, str]) -> T:
    """Return a record or a verdict, or a part, with the names for people in its texts."""
    words = {name: in_sentence(title) for name, title in names.items()}
    for name in names:
        rung = name.partition("/")[0]
        label = RungEvidence(rung=rung, status=RungStatus.REFERENCE, name=name).label
        words[label] = words[label[0].upper() + label[1:]] = "today's setup" if rung == "baseline" else words[name]
    longest = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    pattern = re.compile(rf"`[^`]*`|(?<![\w/-])(?:{longest})(?![\w/=+-]|\.\d)")

    def renamed(found: re.Match[str]) -> str:
        name, before = found[0], found.string[: found.start()]
        if name in names and before.endswith("("):
            return names[name]
        text = words.get(name, name)
        return text[0].upper() + text[1:] if not before.strip() or before.endswith((". ", "? ")) else text

    def of(value: Any) -> Any:
        if isinstance(value, str):
            return names.get(value) or pattern.sub(renamed, value)
        if is_dataclass(value) and not isinstance(value, type):
            kept = [field.name for field in fields(value) if field.name not in MACHINE]
            return replace(value, **{name: of(getattr(value, name)) for name in kept})
        if isinstance(value, list | tuple):
            return type(value)(map(of, value))
        return {key: of(one) for key, one in value.items()} if isinstance(value, dict) else value

    return cast(T, of(value) if names else value)
