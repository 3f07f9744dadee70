"""The model card of a fine-tuned model: a README.md in Hugging Face's format.

Invariant: the card has ids, numbers, hashes and names, but no case, no row, no prompt and no path. An unknown fact is
stated as unknown.

Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md. The Hub accepts the identifiers in licences.json
(https://github.com/huggingface/huggingface_hub/issues/4218); any other licence is `other` with a name.
"""

import re
from typing import Final

from tuneworthy import __version__
from tuneworthy.cases.pii import Masker
from tuneworthy.config import Project
from tuneworthy.dataset.distill.teacher import terms_of
from tuneworthy.dataset.freeze import Version, find_version
from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.ladder.session import shown_run
from tuneworthy.report.names import names_of
from tuneworthy.report.render import markdown_of
from tuneworthy.report.text import plain
from tuneworthy.shadow.releases import Release, release_of, rolled_back
from tuneworthy.ship.gguf import source_header
from tuneworthy.ship.merge import ancestors
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, Kind, ModelSource, latest_artifact, open_artifact
from tuneworthy.store.shapes import bundled
from tuneworthy.types import frozen
from tuneworthy.verdict.answer import StoredVerdict, answer_of, load_verdict
from tuneworthy.verdict.base import Outcome

# The form that is served comes first.
FORMS: Final[tuple[Kind, ...]] = ("gguf", "merged", "adapter", "classifier")


@frozen
class ModelCard:
    """A model card.

    Attributes:
        text: The card.
        release: The release of its model, recorded or not; None if the model cannot be released.
        blocked: Why it cannot be released, in sentences; "" if it can.
    """

    text: str
    release: Release | None
    blocked: str


def model_card(project: Project) -> ModelCard:
    """Return the card of the model that was compared on test, else of the latest model.

    Raises:
        UserError: There is no fine-tuned model, or its files have changed.
    """
    store, record = Folder(project.root), _comparison(project)
    rung = record.rung("fine_tune") if record else None
    made = _subject(store, rung)
    chain, found = ancestors(store, made), load_verdict(project)
    trained = chain.get("adapter", made)
    version, header = find_version(store, str(trained.about.dataset)), source_header(store, made)
    source = chain["base"].about.source if "base" in chain else ModelSource()
    licences = {
        "Base model": str(header.get("general.license", "")),
        "Training data": _data_licence(version),
        **({"Raw documents": ""} if trained.about.method == "continued" else {}),
    }
    blocked = _blocked(store, made, rung, found)
    planned = release_of(store, made, rung.variant or "" if rung else "", trained.about.dataset)
    release = planned if planned.created or not blocked else None
    text = markdown_of(
        "model_card.md.j2",
        task=project.task.name,
        release=release,
        blocked=plain(blocked),
        made=made,
        trained=trained,
        source=source,
        spec=re.sub(r"^(?!hf:|pypi:).*/", "", source.spec),
        header=header,
        licences=licences,
        licence=hub_licence(*licences.values()),
        known=bundled("tuneworthy.report", "licences.json", list[str]),
        version=version,
        terms_of=terms_of,
        rung=rung,
        record=record,
        names_of=names_of,
        found=found,
        answer_of=answer_of,
        code=__version__,
    )
    return ModelCard(text=text, release=release, blocked=blocked)


def _comparison(project: Project) -> RunRecord | None:
    """Return the run if it compared a fine-tuned model on test, and was measured here."""
    record = shown_run(project)
    rung = record.rung("fine_tune") if record and not record.elsewhere else None
    return record if rung and rung.score is not None and isinstance(rung.detail, TunedDetail) else None


def _subject(store: Folder, rung: RungRecord | None) -> Artifact:
    """Return the model that answered the test, else the latest one; checked by its hashes."""
    tested = [(kind, identity) for kind in FORMS if rung and (identity := getattr(rung.detail, kind, None))]
    latest = [(kind, one.id) for kind in FORMS if (one := latest_artifact(store, kind))]
    return open_artifact(store, *[*tested, *latest, ("adapter", None)][0])


def _blocked(store: Folder, made: Artifact, rung: RungRecord | None, found: StoredVerdict | None) -> str:
    """Return why a model cannot be released, as a sentence; "" if it can."""
    why = rolled_back(store, rung.variant or "") if rung else ""
    faults = (
        (made.kind == "classifier", "A classifier is released as a folder: `tuneworthy export classifier`."),
        (not rung, "It has not been compared on a test set. Run `tuneworthy run --rung fine_tune`."),
        (why, f"Its canary was rolled back. {why}"),
        (
            not found or not found.holds or found.verdict.outcome is not Outcome.SHIP,
            "The last verdict is not to ship it, or is out of date. Run `tuneworthy decide`.",
        ),
    )
    return next((text for applies, text in faults if applies), "")


def _data_licence(version: Version | None) -> str:
    """Return the licence of all training rows; "" if the licence of a row is unknown."""
    if version is None or version.recipe.licence:
        return Masker().mask(version.recipe.licence or "") if version else ""
    rows = {str(row.meta.get("licence") or row.meta.get("license") or "") for row in version.examples()}
    return "" if "" in rows else " and ".join(sorted(rows))


def hub_licence(*parts: str) -> str:
    """Return the licence as the Hub names it: that of all parts if they agree, else a name of all.

    >>> hub_licence("Apache-2.0", "apache-2.0"), hub_licence("apache-2.0", "")
    ('apache-2.0', 'apache-2.0-and-unknown')
    """
    names = [re.sub(r"[^a-z0-9.+]+", "-", one.lower()).strip("-") or "unknown" for one in parts]
    return "-and-".join(dict.fromkeys(names))
