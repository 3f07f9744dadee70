"""Grants of trust to a project folder. A project file is a stranger's until the user says otherwise.

A `Grant` is one thing that a project file asks for: code that runs here, a server that is called, a key that is sent
to it, a file outside the folder. It is needed at the place of use (`require`), and nothing else is needed there.

    $XDG_CONFIG_HOME/tuneworthy/trust.json   {"FOLDER": [["code", "grader.py:score", "FOLDER/grader.py"], ...], ...}

Invariant: consent is for one folder, for the exact words of the grant, and for the content of the Python files in that
folder: it is void when the project file says something else, and each changed file needs it again. It is stored in the
user's own configuration, never in the project folder. Under the path of that file itself it lists the Python files that
`export` wrote: by their content, so that no project can claim to have an export.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import orjson

from tuneworthy.errors import UserError
from tuneworthy.text import visible
from tuneworthy.types import NamedTexts

Kind = Literal["code", "content", "program", "server", "key", "file"]
# Folders whose projects are trusted, as a PATH: for CI, which has no one to ask.
VARIABLE = "TUNEWORTHY_TRUST"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# A vendor's own key to the vendor's own server is no secret told to a stranger.
VENDORS: Final[NamedTexts] = {
    "ANTHROPIC_API_KEY": "https://api.anthropic.com",
    "CEREBRAS_API_KEY": "https://api.cerebras.ai",
    "COHERE_API_KEY": "https://api.cohere.com",
    "DEEPSEEK_API_KEY": "https://api.deepseek.com",
    "FIREWORKS_API_KEY": "https://api.fireworks.ai",
    "GEMINI_API_KEY": "https://generativelanguage.googleapis.com",
    "GROQ_API_KEY": "https://api.groq.com",
    "JINA_API_KEY": "https://api.jina.ai",
    "MISTRAL_API_KEY": "https://api.mistral.ai",
    "OPENAI_API_KEY": "https://api.openai.com",
    "OPENROUTER_API_KEY": "https://openrouter.ai",
    "TOGETHER_API_KEY": "https://api.together.xyz",
    "VOYAGE_API_KEY": "https://api.voyageai.com",
    "XAI_API_KEY": "https://api.x.ai",
}
_SENTENCES: Final[Mapping[Kind, str]] = {
    "code": "run the Python function {what} ({where}) on this machine",
    "content": "run the file {what}, which is new or has changed",
    "program": "run the program `{what}` ({where}) on this machine",
    "server": "send requests to {where}{what}",
    "key": "send the API key in {what} to {where}",
    "file": "use {what} outside the project folder ({where})",
}
SKIPPED_HINT = (
    "`tuneworthy trust` skips hidden folders, virtual environments and linked folders. Move the file to another folder "
    f"of the project. In CI, set {VARIABLE} to the project folder."
)
FUNCTION_FORM = (
    "Write `file.py:name` for a file in the project folder, or `package.module:name` for an installed package."
)
_PORTS = {"http": 80, "https": 443}
# Temporary folders of this process: the user typed all that they call.
TYPED_FOLDERS: Final[set[Path]] = set()


class Grant(NamedTuple):
    """One thing that a project file asks for.

    Attributes:
        kind: Of what.
        what: As it appears in the project file: the function, the environment variable, the path; of a server the path
            of requests that no chat API has.
        where: Its target: the file of the function, the SHA-256 of a content, the server, the path without links.
    """

    kind: Kind
    what: str
    where: str

    def __str__(self) -> str:
        return visible(_SENTENCES[self.kind].format(**self._asdict())).replace("\n", "\\n")


class Untrusted(UserError):
    """A project needs a permission that you have not given.

    Attributes:
        root: The project folder.
        grants: The permissions that it needs.
    """

    error_code = "E-TRUST-01"

    def __init__(self, root: Path, grants: Iterable[Grant], *, hint: str = "") -> None:
        self.root, self.grants = root, tuple(grants)
        listed = [
            f"You have not allowed the project in {root} to do the following:",
            *(f"  {grant}" for grant in self.grants),
        ]
        super().__init__("\n".join(listed), hint=hint or trust_hint(root))


def trust_hint(root: Path) -> str:
    command = "tuneworthy trust" if root.resolve() == Path.cwd().resolve() else f"tuneworthy trust --project {root}"
    return f"If you trust the project, run `{command}`. In CI, set {VARIABLE} to the project folder."


def require(root: Path, *grants: Grant | None) -> None:
    """Go on only if a person allowed the project in `root` all of `grants` (None asks for nothing).

    Raises:
        Untrusted: A grant is missing.
    """
    wanted = [grant for grant in grants if grant is not None]
    if not is_allowed(root, *wanted):
        raise Untrusted(root, [grant for grant in wanted if not is_allowed(root, grant)])


def is_allowed(root: Path, *grants: Grant) -> bool:
    folder = root.resolve()
    listed = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    is_listed = folder in TYPED_FOLDERS or any(folder.is_relative_to(part.resolve()) for part in listed)
    return is_listed or {*grants} <= {*allowed(root)}


def allowed(root: Path) -> list[Grant]:
    return [Grant(*row) for row in _read().get(str(root.resolve()), [])]


def allow(root: Path, grants: Iterable[Grant]) -> None:
    """Store `grants` for the project in `root`, and with code the content of its files; an empty set revokes all."""
    granted = set(grants)
    if any(grant.kind == "code" for grant in granted):
        granted.update(contents(root))
    rows = list(map(list, sorted(granted)))
    document = {**_read(), str(root.resolve()): rows}
    if not rows:
        del document[str(root.resolve())]
    path = trust_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".trust.")  # readable by its owner only
    with os.fdopen(handle, "wb") as file:
        file.write(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)


def trust_file() -> Path:
    """Return the file of all that the user allowed; a folder of configuration that is not absolute does not count."""
    configured = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (configured if configured.is_absolute() else Path.home() / ".config") / "tuneworthy" / "trust.json"


def _read() -> dict[str, list[Any]]:
    path = trust_file()
    try:
        document = orjson.loads(path.read_bytes())
        rows = [row for listed in document.values() for row in listed]
        if not all(len(row) == 3 and all(isinstance(part, str) for part in row) for row in rows):
            raise TypeError("not rows of three texts")
    except FileNotFoundError:
        return {}
    except (orjson.JSONDecodeError, AttributeError, TypeError, OSError) as error:
        raise UserError(
            f"{path} cannot be read: {error}.", hint="Fix or remove the file, then run the command again."
        ) from None
    return document  # type: ignore[no-any-return]


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address; "" if it has no host.

    >>> origin_of("HTTPS://Example.com:443/v1?x=1")
    'https://example.com'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if not host:
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in {None, _PORTS.get(parts.scheme)} else "")


def key_grant(variable: str | None, url: str, *, priced: bool = False) -> Grant | None:
    """Return the grant for sending the key in `variable` to the server at `url`; None for its vendor's own.

    Args:
        variable: Of the environment.
        url: Of the server.
        priced: Whether the project file sets the price of a call. Then the vendor's own server needs consent too:
            a price that is too low would lift every spending limit.
    """
    origin = origin_of(url)
    own = VENDORS.get(variable or "") == origin and not priced
    return None if variable is None or own else Grant("key", variable, origin)


def server_grant(url: str, *, any_path: bool = False) -> Grant | None:
    """Return the grant for sending requests to the server at `url`; None for a vendor and for this machine.

    Other spellings of such a host (a number, a name, an address that is mapped to it) need consent.

    Args:
        url: Of the server.
        any_path: Whether the project file sets the whole path. Then each server needs consent: services of this machine
            that are no chat API take commands.
    """
    origin = origin_of(url)
    if not any_path and (origin in VENDORS.values() or urlsplit(origin).hostname in LOOPBACK):
        return None
    return Grant("server", f"/{''.join(url.split('/', 3)[3:])}" if any_path else "", origin)


def content_grant(root: Path, path: Path) -> Grant:
    """Return the grant for running the file at `path` of the project in `root` as it is now."""
    return Grant("content", os.path.relpath(path, root.resolve()), hashlib.sha256(path.read_bytes()).hexdigest())


def contents(root: Path, skipped: Collection[str] = ()) -> Iterator[Grant]:
    """Yield the grant for each file below `root` that Python can import; not in hidden folders and environments.

    Args:
        root: The project folder.
        skipped: SHA-256 of contents that need no grant.
    """
    for folder, inner, names in os.walk(root.resolve()):
        inner[:] = [name for name in inner if name[0] != "." and not Path(folder, name, "pyvenv.cfg").exists()]
        paths = [
            Path(folder, name)
            for name in names
            if name.endswith((*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)) or name[name.find(".") :] == ".pyc"
        ]
        yield from (
            grant for path in paths if path.is_file() and (grant := content_grant(root, path)).where not in skipped
        )


def code_grant(spec: str, root: Path) -> Grant:
    """Return the grant for running the function `spec`: `file.py:name` or `package.module:name`."""
    place = spec.rpartition(":")[0].replace("\0", "\ufffd")  # no path has a null byte
    return Grant("code", spec, str((root / place).resolve()) if place.endswith(".py") else place)


def file_grant(root: Path, name: str) -> Grant | None:
    """Return the grant for reading a path outside the project folder, or a URL; None for a path in the folder."""
    if "://" in name:
        return server_grant(name, any_path=True)
    path = _expanded(root, name).resolve()
    return None if path.is_relative_to(root.resolve()) else Grant("file", name, str(path))


def path_of(root: Path, name: str) -> Path:
    """Return the path `name` of a project file, for reading.

    Raises:
        Untrusted: It leads out of the folder `root` without permission.
    """
    require(root, file_grant(root, name))
    return _expanded(root, name)


def own_path(root: Path, name: str) -> Path:
    """Return the path of a file of ours in the folder `root`: no link in it may lead out.

    Raises:
        UserError: One does.
    """
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"{path} is a link to {path.resolve()}, which is outside the project folder.",
            hint="Remove the link, then run the command again.",
        )
    return path


def _expanded(root: Path, name: str) -> Path:
    name = name.replace("\0", "\ufffd")  # no path has a null byte
    try:
        return root / Path(name).expanduser()
    except RuntimeError:  # there is no such user
        return root / name


def refuse_standard_library(place: str) -> None:
    """Refuse a function of Python itself, such as `os:system`: no grader or model is among them.

    Raises:
        UserError: The module `place` is part of Python.
    """
    if place.partition(".")[0] in sys.stdlib_module_names:
        raise UserError(f"{place} is part of Python. It cannot be a grader or a model.", hint=FUNCTION_FORM)
