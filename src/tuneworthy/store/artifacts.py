"""Model folders of a project: written whole or not at all, named by their content, never changed.

    .tuneworthy/models/<id>/manifest.json    kind, parents, settings, a hash per file
                            ...              the files themselves (safetensors, GGUF, JSON)
    .tuneworthy/models/latest-<kind>.json    the latest artifact of a kind

See `frozen` for how they are written; a folder without a manifest is no artifact.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from tuneworthy.errors import UserError
from tuneworthy.store.folder import Folder
from tuneworthy.store.frozen import changed, freeze_folder
from tuneworthy.store.lines import now
from tuneworthy.store.shapes import Pointer, shaped
from tuneworthy.types import JsonMapping, JsonObject, NamedTexts

FORMAT = 1
MANIFEST = "manifest.json"
Kind = Literal["base", "adapter", "merged", "gguf", "classifier"]
# Kind to the verb of the command line that makes it.
MADE_BY: Final[NamedTexts] = {
    "base": "train",
    "adapter": "train",
    "merged": "train",
    "gguf": "export gguf",
    "classifier": "train",
}

# Kinds of stored models, as nouns
KINDS: Final[NamedTexts] = {
    "base": "base model",
    "adapter": "adapter",
    "merged": "merged model",
    "gguf": "GGUF file",
    "classifier": "classifier",
}


@dataclass(frozen=True)
class Times:
    """When a frozen folder was made."""

    created: str


@dataclass(frozen=True)
class ModelSource:
    """Files that a model was converted from."""

    spec: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Curves:
    """Loss of a training run, and the step whose weights were kept."""

    n_steps: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    kept_step: int = 0
    stopped_early: bool = False


@dataclass(frozen=True)
class HeldOut:
    """Score of a training run on rows that it did not learn from."""

    n: int = 0
    score: float | None = None
    rows: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TrainedRows:
    """Lengths of the training rows."""

    longest: int = 0


@dataclass(frozen=True)
class Memory:
    """Memory that a training run took."""

    peak_bytes: float = 0


@dataclass(frozen=True)
class MergeRoute:
    """Weights that an adapter was merged into."""

    name: str = "original"


@dataclass(frozen=True)
class Manifest:
    """The keys of a `manifest.json` that code reads; the settings of training are a document of `train`."""

    kind: Kind
    parent: str | None
    times: Times
    files: JsonObject
    source: ModelSource = ModelSource()
    dtype: str = ""
    dequantised_from: str | None = None
    template_sha256: str | None = None
    run: str = ""
    dataset: str | None = None
    gated: bool = True
    settings: JsonObject = field(default_factory=dict)
    prompt: JsonObject | None = None
    rows: TrainedRows = TrainedRows()
    held_out: HeldOut | None = None
    text: JsonObject | None = None
    curves: Curves = Curves()
    memory: Memory = Memory()
    seconds: float = 0.0
    route: MergeRoute = MergeRoute()
    n_changed: int = 0
    file_type: str = ""

    @property
    def method(self) -> str:
        return str(self.settings.get("method", ""))


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model folder that is whole.

    Attributes:
        folder: Its path.
        manifest: The content of its `manifest.json`.
        about: The same, typed.
    """

    folder: Path
    manifest: JsonMapping
    about: Manifest

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def kind(self) -> str:
        """`base`, `adapter`, `merged`, `gguf` or `classifier`."""
        return self.about.kind

    @property
    def parent(self) -> str | None:
        return self.about.parent

    @property
    def created(self) -> str:
        return self.about.times.created

    def verify(self) -> None:
        """Compare every file with its hash, and the manifest with the id.

        Raises:
            UserError: Something was changed or is gone.
        """
        if (path := changed(self.folder, MANIFEST)) is not None:
            raise UserError(
                f"{path} has been added, modified or deleted since the model was created.",
                hint=f"Run `tuneworthy {MADE_BY[self.kind]}`.",
            )

    @property
    def whole(self) -> bool:
        return changed(self.folder, MANIFEST) is None


def write_artifact(
    store: Folder,
    kind: Kind,
    fill: Callable[[Path], None],
    *,
    parent: str | None,
    about: JsonMapping,
    latest: bool = True,
) -> Artifact:
    """Make a model folder, or return the one that is there if it is the same.

    Args:
        store: The project's folder; the caller has the lock.
        kind: Such as `adapter`, `merged` or `gguf`.
        fill: Writes the files into an empty folder.
        parent: Id of the artifact that it was made from.
        about: All else that describes it, JSON-able: settings, dataset version, hashes, versions of libraries.
        latest: Whether it is the latest of its kind from now on, which verbs take unless told.
    """
    store.create()
    folder = freeze_folder(
        store.path / "models",
        MANIFEST,
        fill,
        {**about, "format": FORMAT, "kind": kind, "parent": parent},
        times={"created": now()},
    )
    if latest:
        store.write(f"models/latest-{kind}", {"id": folder.name})
    found = find_artifact(store, folder.name)
    assert found is not None
    return found


def find_artifact(store: Folder, identity: str) -> Artifact | None:
    manifest, folder = store.read(f"models/{identity}/manifest", dict), store.path / "models" / identity
    return None if manifest is None else Artifact(folder, manifest, shaped(manifest, Manifest, folder / MANIFEST))


def latest_artifact(store: Folder, kind: Kind) -> Artifact | None:
    document = store.read(f"models/latest-{kind}", Pointer)
    return None if document is None else find_artifact(store, document.id)


def open_artifact(store: Folder, kind: Kind, identity: str | None = None) -> Artifact:
    """Return the artifact of `kind` whose id begins with `identity` (or the latest), checked by its hashes.

    Raises:
        UserError: No artifact begins so, several begin so, or it was changed.
    """
    hits = [one for one in artifacts(store, kind) if identity and one.id.startswith(identity)]
    found = latest_artifact(store, kind) if identity is None else hits[0] if len(hits) == 1 else None
    if found is None:
        noun, verb = KINDS[kind], MADE_BY[kind]
        if identity is None:
            raise UserError(f"No {noun} yet.", hint=f"Run `tuneworthy {verb}`.")
        raise UserError(
            f"The ID prefix {identity!r} does not match exactly one {noun}.",
            hint=f"If you passed an ID, check it. Otherwise, run `tuneworthy {verb}`.",
        )
    found.verify()
    return found


def artifacts(store: Folder, kind: Kind) -> list[Artifact]:
    """Return all artifacts of `kind`, the oldest first and the latest last."""
    models = store.path / "models"
    names = [path.name for path in models.iterdir() if path.is_dir()] if models.is_dir() else []
    found = [one for name in names if not name.startswith(".") and (one := find_artifact(store, name)) is not None]
    latest = store.read(f"models/latest-{kind}", Pointer) or Pointer("")  # whatever the clock said when it was made
    return sorted((one for one in found if one.kind == kind), key=lambda one: (one.id == latest.id, one.created))
