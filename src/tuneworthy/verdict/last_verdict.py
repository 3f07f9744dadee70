"""The last verdict of a project, kept in its folder with hashes of what it was computed from.

Invariant: a verdict is said to hold only if the run, the error analysis, the judge's validation and the project file (and
for one about shipping the proofs, the data and its reviews) are byte for byte what it was computed from, and its last
day has not passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any

from tuneworthy.config import Project
from tuneworthy.dataset.review.log import FILE_NAME as REVIEWS
from tuneworthy.errors import UserError
from tuneworthy.ladder.judging import DOCUMENT
from tuneworthy.store import Folder
from tuneworthy.types import content_hash
from tuneworthy.verdict.base import Outcome, Verdict
from tuneworthy.verdict.error_analysis import FILE as ERRORS
from tuneworthy.verdict.gather_training import PARITY, PILOT, SERVING

FILE = "verdict"
_CHANGED = {
    "run": "there was another run",
    ERRORS: "the failures were looked at again",
    DOCUMENT: "the judge was validated again",
    "project": "the project file changed",
}
_SHIPPING = {
    PILOT: "there was another pilot",
    PARITY: "the forms of the tuned model were compared again",
    SERVING: "the tuned model was served again",
    "datasets/latest": "another version of the training data was frozen",
    "models/latest-adapter": "another adapter was trained",
    REVIEWS: "the training data was reviewed again",
}
"""What a verdict about shipping rests on beside that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A verdict that was kept.

    Attributes:
        content: `Verdict.to_dict()`. changed: What is different since, in words; empty if it holds.
    """

    content: Mapping[str, Any]
    changed: list[str]

    @property
    def holds(self) -> bool:
        """Whether nothing that it was computed from has changed."""
        return not self.changed


def keep(project: Project, verdict: Verdict) -> None:
    """Keep the verdict of an opened project."""
    Folder(project.root).write(FILE, verdict.to_dict() | {"of": _hashes(project)})


def kept(project: Project, today: date | None = None) -> Kept | None:
    """Return the last verdict with what changed since; None if nothing was decided yet.

    Raises:
        UserError: The file is not a verdict.
    """
    folder = Folder(project.root)
    content = folder.read(FILE)
    if content is None:
        return None
    if not (isinstance(content, dict) and content.get("outcome") in list(Outcome)):
        raise UserError(
            f"expected a verdict in {folder.path / FILE}.json, got something else", hint="run `tuneworthy decide` again"
        )
    then, now = content.pop("of", {}), _hashes(project)
    changed = [words for name, words in _CHANGED.items() if then.get(name) != now[name]]
    if content.get("stage") == "to_ship":
        changed += [words for name, words in _SHIPPING.items() if then.get(name) != now[name]]
    until = content.get("valid_until", "")
    if until and until < (today or date.today()).isoformat():
        changed.append(f"it was valid until {until}")
    return Kept(content=content, changed=changed)


def _hashes(project: Project) -> dict[str, str]:
    folder = Folder(project.root)
    documents = ("run", ERRORS, DOCUMENT, *(name for name in _SHIPPING if name != REVIEWS))
    hashes = {name: content_hash(folder.read(name)) for name in documents}
    reviews = project.root / REVIEWS
    hashes[REVIEWS] = sha256(reviews.read_bytes()).hexdigest() if reviews.is_file() else ""
    return hashes | {"project": content_hash(project.model_dump(mode="json"))}
