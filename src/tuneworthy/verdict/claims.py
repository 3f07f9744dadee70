"""The claims of the article that the tool grew from, checked: what holds instead, by what source, and who acts on it.

The claims stand in `claims.json`; docs/article.md is written from them by `article_page`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from tuneworthy.verdict.article_lints import LINTS

NOT_BUILT = "not built yet"
_CODE = re.compile(r"(`[^`]*`)")
_SPECIAL = re.compile(r"[<>*_\[\]~]")


class ClaimVerdict(StrEnum):
    """What was found of a claim."""

    TRUE = "true"
    WRONG = "wrong"
    OUTDATED = "outdated"
    UNSUPPORTED = "unsupported"
    INCOMPLETE = "incomplete"
    CONTESTED = "contested"
    INCONSISTENT = "inconsistent"
    BUG = "bug"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim.

    Attributes:
        id: Short name. section: Of the article.
        says: What the article says, shortened.
        verdict: What was found.
        holds: What holds instead, or what completes it; "" if nothing is to be added.
        source: Section and row of facts.md with the paper, or "article, unsupported".
        mark: Of the source (see `matrix.Cell`); several may stand beside one another.
        acts_on: Where the product acts on it: a kind and a name such as ``gate economics`` or ``module a.b``, or
            ``not built yet (issue N): what``.
        row: Of the table in section 0 of facts.md, if it stands there.
    """

    id: str
    section: str
    says: str
    verdict: ClaimVerdict
    holds: str
    source: str
    mark: str
    acts_on: tuple[str, ...]
    row: int | None = None

    @property
    def built(self) -> bool:
        """Whether something that is built acts on it."""
        return any(not place.startswith(NOT_BUILT) for place in self.acts_on)


@cache
def load_claims() -> Sequence[Claim]:
    """Return all claims, in the order of the article's sections.

    >>> next(claim.verdict.value for claim in load_claims() if claim.id == "lima-wins")
    'wrong'
    """
    found = [
        Claim(**{**row, "verdict": ClaimVerdict(row["verdict"]), "acts_on": tuple(row["acts_on"])})
        for row in _document()["claims"]
    ]
    return tuple(sorted(found, key=lambda claim: sections().index(claim.section)))


def sections() -> Sequence[str]:
    """Return the article's sections, in its order."""
    names: Sequence[str] = _document()["sections"]
    return names


def article_page() -> str:
    """Return docs/article.md."""
    claims = load_claims()
    counts = Counter(claim.verdict for claim in claims)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ClaimVerdict if counts[verdict])
    lines = [
        "# The article, claim by claim",
        "",
        "tuneworthy grew from an engineering article, “Fine-tuning vs Prompting”. It is right in its order of doing",
        f"things and wrong in many of its numbers. {len(claims)} of its claims were checked on {_document()['read']}:",
        f"{told}.",
        "",
        "Sources are sections and rows of facts.md, collected for this tool. Marks: **V** read in the primary source,",
        "**V2** in a secondary one, **C** computed (tests/verdict/test_claims.py computes many of them again), **K**",
        "known, not verified.",
    ]
    for section in sections():
        lines += ["", f"## {section}", ""]
        lines += ["| the article says | verdict | what holds | source | where the product acts on it |"]
        lines += ["|---|---|---|---|---|"]
        lines += [_table_row(claim) for claim in claims if claim.section == section]
    lines += ["", "## Its code", ""]
    lines += ["The four snippets trip these lints (`verdict/article_lints.py`); tests name what each snippet trips."]
    lines += ["", "| lint | what it finds | source |", "|---|---|---|"]
    lines += [f"| `{code}` | {_cell(lint.page)} | {lint.source} |" for code, lint in LINTS.items()]
    return "\n".join(lines) + "\n"


def _table_row(claim: Claim) -> str:
    source = f"{claim.source} [{claim.mark.replace(' ', ', ')}]" if claim.mark else claim.source
    places = "<br>".join(_place(place) for place in claim.acts_on)
    return (
        f"| {_cell(claim.says)} | {claim.verdict} | {_cell(claim.holds or 'holds up')} | {_cell(source)} | {places} |"
    )


def _place(place: str) -> str:
    """Return where the product acts, with names as code."""
    if place.startswith(NOT_BUILT):
        return _cell(place)
    kind, _, name = place.partition(" ")
    return f"{kind} `{name}`"


def _cell(text: str) -> str:
    """Return text as it may stand in a cell of a Markdown table; what stands in backticks stays code."""
    parts = _CODE.split(" ".join(text.split()).replace("|", "\\|"))
    return "".join(part if part.startswith("`") else _SPECIAL.sub(r"\\\g<0>", part) for part in parts)


@cache
def _document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = orjson.loads(files(__package__).joinpath("claims.json").read_bytes())
    return document
