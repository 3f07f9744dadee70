"""Files of a project behind URLs, such as `s3://bucket/cases.jsonl`: copied below `.tuneworthy/remote/`, read there.

Invariant: a copy is whole, and of the version that the server has now. A process copies a file at most
once.
"""

from functools import cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from secrets import token_hex
from urllib.parse import urlsplit

from tuneworthy.errors import OutsideFault, UserError
from tuneworthy.trust import origin_of
from tuneworthy.types import canonical

# Protocols of fsspec that read files of this machine, which have a path of their own.
LOCAL = frozenset({"file", "local"})
# Where servers report the version of a file; without one, each process reads the file.
VERSION = (
    "etag", "content-md5", "digest", "last-modified", "lastmodified", "last_modified", "mtime", "modify", "updated",
    "created", "blob_id",
)  # fmt: skip


@cache
def local_copy(root: Path, url: str) -> Path:
    """Return a copy of the file at `url`, below the project folder `root`; it is made again if the file has changed.

    Raises:
        UserError: The address has no host, or its protocol needs a package that is not installed.
        OutsideFault: The file cannot be read.
    """
    import fsspec  # slow

    own_name = PurePosixPath(urlsplit(url).path).name
    if not ((origin := origin_of(url)) and own_name) or origin.split(":")[0] in LOCAL:
        raise UserError(f"{url} is not PROTOCOL://HOST/PATH.", hint="Write a file of this machine as a plain path.")
    folder = root / ".tuneworthy" / "remote" / sha256(url.encode()).hexdigest()[:16]
    path, mark = folder / own_name, folder / ".version"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        system, name = fsspec.url_to_fs(url)
        facts = {key.lower(): value for key, value in system.info(name).items()}
        version = canonical({key: str(facts[key]) for key in VERSION if facts.get(key)})
        if version == b"{}" or not (path.exists() and mark.exists() and mark.read_bytes() == version + _time(path)):
            part = folder / f".{token_hex(4)}"
            try:
                system.get_file(name, str(part))
                version += _time(part)
                part.replace(path)
                mark.write_bytes(version)
            finally:
                part.unlink(missing_ok=True)
    except ImportError as error:
        raise UserError(f"{url} cannot be read: {str(error).rstrip('.')}.", hint="Install this package.") from None
    except Exception as error:  # each protocol has errors of its own
        raise OutsideFault(
            f"{url} cannot be read: {str(error) or type(error).__name__}.",
            hint="Check the address and your credentials.",
        ) from error
    return path


def _time(path: Path) -> bytes:
    """Return when a file was written: a mark is of one file, as another process may put an older one in its place."""
    return str(path.stat().st_mtime_ns).encode()
