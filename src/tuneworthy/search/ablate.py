"""Ablation of a long prompt: which of its paragraphs earn their tokens?

Paragraphs are left out one after the other, the longest first. One that is shown to be needed (the wager of the race)
stays; one without which the prompt is within one paired standard error of the *whole* prompt earns nothing
and stays out. Every step is compared with the whole prompt, so that small losses do not add up.
"""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tuneworthy.search.racing import ALPHA, LOOKS, DevScores, Measure, differences, within_one_error
from tuneworthy.stats.betting import wager
from tuneworthy.stats.intervals import score_interval
from tuneworthy.types import Case, Variant

BYTES_A_TOKEN = 4
# Marks of a paragraph with a placeholder, or with the end of a placeholder that spans paragraphs.
JINJA = ("{{", "}}", "{%", "%}", "{#", "#}")
# Paragraphs that are tried, at most: the longest.
MOST = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ParagraphTrial:
    """A paragraph that was left out.

    Attributes:
        text: The paragraph.
        cut: Whether it earns nothing.
        n: Cases that were asked without it (and without those that were cut before).
        unscored: Of these, left out of the scores because an answer is unscored.
        score, ci95: Of the others, with its interval.
        whole, whole_ci95: The same of the whole prompt on them.
    """

    text: str
    cut: bool
    n: int
    unscored: int
    score: float
    ci95: tuple[float, float]
    whole: float
    whole_ci95: tuple[float, float]

    @property
    def tokens(self) -> int:
        """Of the paragraph, estimated."""
        return tokens_of(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """A shortened prompt: its text, its paragraphs, and the paragraphs that were tried, in that order."""

    text: str
    paragraphs: int
    tried: Sequence[ParagraphTrial]

    @property
    def cut(self) -> int:
        """How many paragraphs earn nothing."""
        return sum(one.cut for one in self.tried)


def tokens_of(text: str) -> int:
    """Return the tokens of a text, estimated from its bytes."""
    return round(len(text.encode()) / BYTES_A_TOKEN)


def paragraphs(text: str) -> list[str]:
    """Return the parts of `text` between blank lines; a fenced block stays whole.

    >>> paragraphs("One.\\n\\n```\\na\\n\\nb\\n```\\n\\nTwo.")
    ['One.', '```\\na\\n\\nb\\n```', 'Two.']
    """
    found: list[str] = []
    open_fence = False
    for part in re.split(r"\n[ \t]*\n+", text.strip()):
        if open_fence:
            found[-1] += f"\n\n{part}"
        else:
            found.append(part)
        open_fence ^= part.count("```") % 2 == 1
    return [part for part in found if part.strip()]


def may_go(text: str) -> list[int]:
    """Return the places of the paragraphs that are tried, the longest first; one with a placeholder always stays."""
    parts = paragraphs(text)
    places = [place for place, part in enumerate(parts) if not any(mark in part for mark in JINJA)]
    return sorted(places, key=lambda place: (-len(parts[place]), place))[:MOST] if len(parts) > 1 else []


async def ablate(whole: Variant, cases: Sequence[Case], measure: Measure) -> Ablation:
    """Cut the paragraphs of the system prompt that earn nothing on `cases`; the last one stays."""
    parts = paragraphs(whole.system or "")
    remaining = set(range(len(parts)))
    tried = []
    for place in may_go(whole.system or ""):
        if len(remaining) == 1:
            break
        shorter = replace(whole, system=_joined(parts, remaining - {place}))
        tried.append(await _try(whole, shorter, parts[place], cases, measure))
        if tried[-1].cut:
            remaining.remove(place)
    return Ablation(text=_joined(parts, remaining), paragraphs=len(parts), tried=tried)


async def _try(whole: Variant, shorter: Variant, text: str, cases: Sequence[Case], measure: Measure) -> ParagraphTrial:
    """Say whether the whole prompt is shown to be better, or at least not within one standard error."""
    needed = False
    for look in range(1, LOOKS + 1):
        head = cases[: math.ceil(len(cases) * look / LOOKS)]
        full, less = await measure(whole, head), await measure(shorter, head)
        needed = wager(differences(full, less)) >= 1 / ALPHA
        if needed:
            break
    both = ~(np.isnan(full.num) | np.isnan(less.num))
    (score, ci95), (level, whole_ci95) = _level(less, head, both), _level(full, head, both)
    return ParagraphTrial(
        text=text,
        cut=not needed and within_one_error(full, less, len(cases)),
        n=len(head),
        unscored=int((~both).sum()),
        score=score,
        ci95=ci95,
        whole=level,
        whole_ci95=whole_ci95,
    )


def _level(measured: DevScores, cases: Sequence[Case], chosen: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the score on the cases that are `chosen`, and its interval; 0 and [0, 1] without cases."""
    if not measured.den[chosen].sum():
        return 0.0, (0.0, 1.0)
    sources = np.array([case.source for case in cases])[chosen]
    found = score_interval(measured.num[chosen], measured.den[chosen], sources)
    return found.value, (found.lo, found.hi)


def _joined(parts: Sequence[str], places: Collection[int]) -> str:
    return "\n\n".join(part for place, part in enumerate(parts) if place in places)
