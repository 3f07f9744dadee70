"""Releases: the numbered models of a project that went into production.

    .tuneworthy/releases/<number>.json   a release, written once and never changed
                         <number>.md     its model card
                         started.json    numbers of the releases that `serve` started, in this order

A release names a model folder by its content. Later training writes other folders, so an earlier release stays as it
was, and a changed byte is found before the model is served. The current release is the one that `serve` started last;
before any start, the first one. A release whose canary was rolled back is not current until a replay passes again.

Invariant: once a release was started, one that was never started is not current.
"""

from dataclasses import asdict, replace

from tuneworthy.errors import UserError
from tuneworthy.shadow.canary import canary_state
from tuneworthy.store.artifacts import KINDS, MANIFEST, Artifact, find_artifact
from tuneworthy.store.folder import Folder, write_atomic
from tuneworthy.store.frozen import changed
from tuneworthy.store.lines import now
from tuneworthy.types import frozen

FOLDER = "releases"
STARTED = f"{FOLDER}/started"


@frozen
class Release:
    """One release.

    Attributes:
        number: From 1.
        created: Time in UTC, ISO 8601; "" until it is recorded.
        artifact: Id of the model folder, which is the hash of its manifest.
        kind: Of the artifact: `gguf`, `merged` or `adapter`.
        variant: Id of the variant that was compared on test.
        dataset: Version of the training data; None if the model does not record it.
    """

    number: int
    created: str
    artifact: str
    kind: str
    variant: str
    dataset: str | None


def all_releases(store: Folder) -> list[Release]:
    """Return the releases, the first one first."""
    numbers = sorted(int(path.stem) for path in (store.path / FOLDER).glob("*.json") if path.stem.isdecimal())
    return [one for number in numbers if (one := store.read(f"{FOLDER}/{number}", Release))]


def rolled_back(store: Folder, variant: str) -> str:
    """Return why the canary of a variant was rolled back; "" if it was not, or a replay has passed since."""
    return state.rolled_back if (state := canary_state(store, variant)) else ""


def current_release(store: Folder, *, only_started: bool = False) -> Release | None:
    usable = {one.number: one for one in all_releases(store) if not rolled_back(store, one.variant)}
    started = store.read(STARTED, list[int]) or [*usable][: not only_started]
    return next((usable[number] for number in reversed(started) if number in usable), None)


def start_release(store: Folder, release: Release) -> None:
    store.write(STARTED, [*(n for n in store.read(STARTED, list[int]) or () if n != release.number), release.number])


def release_lines(store: Folder) -> list[str]:
    """Name the current release, those that were rolled back with the reason, and those that wait for their start."""
    current = current_release(store)
    return [
        f"Release {one.number} "
        + (
            f"is current: {KINDS[one.kind]} {one.artifact}."
            if one == current
            else f"was rolled back. {why}"
            if why
            else f"is not current. To start it: tuneworthy serve --release {one.number}"
        )
        for one in all_releases(store)
        if (why := rolled_back(store, one.variant)) or not current or one.number >= current.number
    ]


def find_release(store: Folder, artifact: str, variant: str = "") -> Release | None:
    """Return the last release of a model, asked as `variant` if that is given."""
    return next(
        (one for one in all_releases(store)[::-1] if one.artifact == artifact and variant in {"", one.variant}), None
    )


def release_of(store: Folder, made: Artifact, variant: str = "", dataset: str | None = None) -> Release:
    """Return the release of a model; the next one, not recorded yet, if the model is no release.

    Args:
        store: The project's folder.
        made: The model.
        variant: Id of the variant that was compared on test.
        dataset: Version of the training data.
    """
    # of cards too: a number is not used again if its record is lost
    numbers = [int(path.stem) for path in (store.path / FOLDER).glob("*.*") if path.stem.isdecimal()]
    return find_release(store, made.id, variant) or Release(
        number=max(numbers, default=0) + 1,
        created="",
        artifact=made.id,
        kind=made.kind,
        variant=variant,
        dataset=dataset,
    )


def record_release(store: Folder, release: Release, card: str) -> None:
    """Write a release and its card; the caller has the lock."""
    write_atomic(store.path / FOLDER / f"{release.number}.md", card.encode())
    store.write(f"{FOLDER}/{release.number}", asdict(replace(release, created=now())))


def open_release(store: Folder, number: int | None = None) -> tuple[Release, Artifact]:
    """Return a release (the current one if not named) and its model, unchanged since.

    Raises:
        UserError: There is no such release, no release is current, or a file of its model was changed or deleted.
    """
    known = all_releases(store)
    release = current_release(store) if number is None else next((one for one in known if one.number == number), None)
    others = ", ".join(str(one.number) for one in known if one != release)
    if release is None:
        raise UserError(
            f"There is no release {number}."
            if number
            else "No release is current: each was rolled back, or never started.",
            hint=f"Choose --release from {others}. `tuneworthy status` names those that were rolled back."
            if others
            else "Run `tuneworthy export card` to record a release.",
        )
    damaged = changed(store.path / "models" / release.artifact, MANIFEST)
    made = None if damaged else find_artifact(store, release.artifact)
    if made is None:
        raise UserError(
            f"{damaged} of release {release.number} was changed or deleted, so this release is not served.",
            hint=f"Restore the folder {release.artifact} from a backup"
            + (f", or serve another release (--release {others})." if others else "."),
        )
    return release, made
