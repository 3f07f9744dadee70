"""The last verdict of a project, stored in its folder with hashes of what it was computed from.

Invariant: a verdict holds only if the run, the error analysis, the labels of failures that people checked, the judge's
validation and the project file (and for one about shipping the proofs, the data and its reviews) are byte for byte what
it was computed from, and its last day has not passed.
"""

from contextlib import suppress
from datetime import date, timedelta
from hashlib import sha256
from typing import NotRequired

import orjson

from tuneworthy.config import Project
from tuneworthy.errors import UserError
from tuneworthy.ladder.provenance import shown_run
from tuneworthy.people.review_log import FILE_NAME as REVIEWS
from tuneworthy.shadow.canary import RESTARTED, STATE
from tuneworthy.shadow.releases import rolled_back
from tuneworthy.store import Folder
from tuneworthy.store.shapes import OpenRecord, shaped
from tuneworthy.store.signatures import document_origin, signed_document
from tuneworthy.types import JsonObject, NamedTexts, Texts, content_hash, frozen
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.suspects import suspects_path

FILE = "verdict"
# How long a verdict holds where no price or model in it ends sooner.
FRESH_DAYS = 90
DECIDING = ("run", "errors", "judge", "project", "suspects")
# What a verdict about shipping rests on besides that.
SHIPPING = ("pilot", "parity", "serving", "shadow", "datasets/latest", "models/latest-adapter", "reviews")


CHANGED_SINCE = {
    "run": "the ladder was run again",
    "errors": "the error analysis was run again",
    "judge": "the judge was validated again",
    "project": "the project file has changed",
    "suspects": "failed cases were relabelled",
    "pilot": "a new pilot was run",
    "parity": "parity was checked again",
    "serving": "the fine-tuned model was served again",
    "shadow": "traffic was replayed again",
    "canary": "a canary was rolled back, or passed again",
    "datasets/latest": "a new version of the training data was frozen",
    "models/latest-adapter": "a new adapter was trained",
    "reviews": "the training data was reviewed again",
}


class StoredHashes(OpenRecord):
    """Content of `verdict.json` besides the verdict: hashes of its inputs, and commands that changed none of these."""

    of: dict[str, str]
    tried: NotRequired[list[str]]
    next_action: NotRequired[JsonObject]


@frozen
class StoredVerdict:
    """A verdict that was stored.

    Attributes:
        verdict: As it was computed.
        changed: What is different since, in words; empty if it holds.
    """

    verdict: Verdict
    changed: list[str]

    @property
    def holds(self) -> bool:
        """Whether nothing that it was computed from has changed."""
        return not self.changed


def store_verdict(project: Project, verdict: Verdict, tried: Texts) -> None:
    """Store a verdict, with the commands that were tried (see `tried_commands`)."""
    document = orjson.loads(orjson.dumps(verdict, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)) | {
        "of": input_hashes(project),
        "tried": [*tried],
    }
    Folder(project.root).write(FILE, signed_document(document))


def tried_commands(project: Project) -> list[str]:
    """Return the commands that earlier verdicts named, and that were run since and changed nothing.

    The document of the run is written by each run, with the same content if nothing is new. Of a step of several
    commands, only its runs count.
    """
    folder, document = Folder(project.root), None
    with suppress(UserError):  # a damaged verdict is replaced
        document = folder.read(FILE, StoredHashes)
    run, verdict = (folder.path / f"{name}.json" for name in ("run", FILE))
    if document is None or document["of"] != input_hashes(project) or not run.exists():
        return []
    commands = (
        document.get("next_action", {}).get("command", "").split(" && ")
        if run.stat().st_mtime_ns > verdict.stat().st_mtime_ns
        else ()
    )
    return [*document.get("tried", []), *(command for command in commands if command.startswith("tuneworthy run"))]


def load_verdict(project: Project, today: date | None = None) -> StoredVerdict | None:
    """Return the last verdict with what changed since; None if nothing was decided yet.

    Raises:
        UserError: The file is not a verdict.
    """
    folder = Folder(project.root)
    document = folder.read(FILE, StoredHashes)
    if document is None:
        return None
    verdict = shaped(document, Verdict, f"{folder.path / FILE}.json")
    then, now = document["of"], input_hashes(project)
    changed = [
        CHANGED_SINCE[name]
        for name in [*DECIDING, *((*SHIPPING, "canary") if verdict.stage == "to_ship" else ())]
        if then.get(name, "") != now[name]
    ]
    if origin := document_origin(document):
        changed.append(f"the verdict was computed elsewhere (signed by: {origin:.18})")
    day = today or date.today()
    if verdict.valid_until and verdict.valid_until < day.isoformat():
        changed.append(f"the verdict expired on {verdict.valid_until}")
    if verdict.valid_until > (day + timedelta(days=FRESH_DAYS)).isoformat():
        changed.append(f"the system clock was ahead when the verdict was computed (valid until {verdict.valid_until})")
    return StoredVerdict(verdict=verdict, changed=changed)


def input_hashes(project: Project) -> NamedTexts:
    folder, beside = Folder(project.root), {"reviews": project.root / REVIEWS, "suspects": suspects_path(project)}
    candidates = {
        path.stem.partition("-")[2]
        for name in (STATE, RESTARTED)
        for path in folder.path.glob(f"{name.format('*')}.json")
    }
    is_unfinished = (folder.path / "run-unfinished.json").exists() and (record := shown_run(project)) and record.at
    files = {"run": "run-unfinished"} if is_unfinished else {}
    return {
        **{
            name: content_hash(folder.read(files.get(name, name), object))
            for name in (*DECIDING, *SHIPPING)
            if name not in {"project", *beside}
        },
        **{name: sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for name, path in beside.items()},
        "project": content_hash(project.model_dump(mode="json")),
        "canary": "".join(sorted(one for one in candidates if rolled_back(folder, one))),
    }
