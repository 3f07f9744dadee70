"""Functions of the user's own, named in the project file as ``file.py:name`` or ``package.module:name``.

Providers and graders load them through here, so one spelling, one set of errors and one module per file apply
everywhere. A file must lie below the project folder. All that it imports from there is loaded from source, and only
with the content that a person allowed.
"""

import inspect
import sys
import sysconfig
from collections.abc import Callable, Mapping
from datetime import date
from datetime import time as clock_time
from decimal import Decimal
from importlib import import_module
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import module_from_spec, spec_from_file_location
from math import isnan
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import orjson

from tuneworthy.errors import ProviderError, UnknownName, UserError
from tuneworthy.input_files import read_input_text
from tuneworthy.trust import (
    FUNCTION_FORM,
    SKIPPED_HINT,
    Untrusted,
    code_grant,
    content_grant,
    contents,
    is_allowed,
    refuse_standard_library,
    require,
)
from tuneworthy.types import content_hash

# Resolved folders of the projects whose functions were loaded.
_ROOTS: Final[list[Path]] = []
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


class _SourceLoader(SourceFileLoader):
    """Loads from the source: a compiled copy may have another content."""

    def path_stats(self, path: Any) -> Any:
        raise OSError  # the import system then compiles the source


class _ProjectFinder(FileFinder):
    """Finds the modules of a project's folder that a person allowed with this content."""

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = super().find_spec(fullname, target)
        if spec is not None and spec.origin is not None:
            root = next(root for root in _ROOTS if _is_below(self.path, root))
            grant = content_grant(root, Path(spec.origin))
            if not is_allowed(root, grant):
                raise Untrusted(root, [grant], hint="" if grant in contents(root) else SKIPPED_HINT)
        return spec


def _find_in(folder: str) -> FileFinder:
    """Return the finder of modules in a project's folder: a hook of `sys.path_hooks`.

    Raises:
        ImportError: The folder belongs to no project, or packages are installed there.
    """
    if not any(_is_below(folder, root) for root in _ROOTS) or any(_is_below(folder, place) for place in _INSTALLED):
        raise ImportError(folder)
    return _ProjectFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_SourceLoader, SOURCE_SUFFIXES))


def _is_below(folder: str, above: Path) -> bool:
    return Path(folder).resolve().is_relative_to(above)


sys.path_hooks.insert(0, _find_in)


def load_function(spec: str, root: Path) -> Callable[..., Any]:
    """Load the function that `spec` names.

    Args:
        spec: `file.py:name`, the file below `root`, or `package.module:name`.
        root: The project folder; it is appended to the import path, so that the file can import its neighbours.

    Raises:
        UserError: No such file, module or function, the file lies outside `root`, it fails to import, or the function
            is one of Python itself.
        Untrusted: The project may not run it.
    """
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise UserError(f"{spec!r} is not a valid reference to a function.", hint=FUNCTION_FORM)
    refuse_standard_library(place)
    require(root, code_grant(spec, root))
    folder = root.resolve()
    if folder not in _ROOTS:
        _ROOTS.append(folder)
        sys.path_importer_cache.clear()  # of finders that did not know this project
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last, so that nothing in a project shadows an installed package
    module = _module_of_file(place, root) if place.endswith(".py") else _module_of_name(place)
    function = getattr(module, name, None)
    if function is None:
        raise UnknownName(
            f"function in {place}",
            name,
            [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")],
        )
    if not callable(function):
        raise UserError(f"{spec!r} is not a function; its type is {type(function).__name__}. Specify a function.")
    if inspect.isroutine(function) or inspect.isclass(function):  # a file may export an imported name
        refuse_standard_library(str(function.__module__))
    return function  # type: ignore[no-any-return]


def source_hash(function: Callable[..., Any]) -> str:
    """Hash the file that `function` is written in, so that answers of an older version are not taken for its own.

    Files that it imports are not included; "" if it has no source (built in, or compiled).
    """
    try:
        path = inspect.getsourcefile(inspect.unwrap(function))
        return content_hash(Path(path).read_text("utf-8")) if path else ""
    except (TypeError, OSError, UnicodeDecodeError):
        return ""


def as_answer(value: Any) -> str:
    """Turn the return value of a pipeline into the text of an answer: None becomes "", other values become JSON.

    >>> as_answer({"city": "Oslo"}), as_answer(250.0)
    ('{"city":"Oslo"}', '250.0')

    Raises:
        ProviderError: The value cannot be written as JSON, for example a generator.
    """
    value = plain(value)
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        raise ProviderError(
            f"The function returned a value of type {type(value).__name__}, not text or JSON.",
            code="pipeline",
            retryable=False,
        ) from None


def plain(value: Any) -> Any:
    """Return the JSON value that a value of NumPy, pandas or the standard library means; others stay as they are.

    >>> plain(Decimal("43.00")), plain(date(2026, 1, 31)), plain({"sizes": (1, 2.5)})
    (43.0, '2026-01-31', {'sizes': [1, 2.5]})
    """
    kind = type(value).__name__
    if kind in {"NAType", "NaTType"}:  # pandas' missing values; pandas is not imported here
        return None
    if isinstance(value, Mapping):
        return {
            key: None if isinstance(one, float) and isnan(one) else plain(one) for key, one in value.items()
        }  # as pandas fills a gap
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):
        return plain(float(str(value)) if kind in {"float16", "float32"} else value.tolist())
    if isinstance(value, date | clock_time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return float(value) if isinstance(value, Decimal) else value


def whole(value: Any) -> Any:
    """Return a float without a fraction as an integer, since pandas reads integers with gaps as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def last_line(error: BaseException) -> str:
    """Return the last line of a traceback of `error`: the class and the first line of the message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _module_of_file(place: str, root: Path) -> ModuleType:
    """Execute the file once for each version of its content, and return its module."""
    path = (root / place.replace("\0", "\ufffd")).resolve()  # no path has a null byte
    if not path.is_relative_to(root.resolve()):
        raise UserError(f"{place} is outside the project folder.", hint="Move it into the project folder.")
    if not path.is_file():
        raise UserError(f"There is no Python file {place} in {root}.", hint=FUNCTION_FORM)
    require(root, content_grant(root, path))
    text = read_input_text(path)
    name = f"tuneworthy_project_{path.stem}_{content_hash([str(path), text])}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    assert spec is not None  # it ends in .py and exists
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses of the file look themselves up here
    try:
        # Cached bytecode may be older than the last change.
        exec(compile(text, path, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _import_fault(error, place, "Fix the file, then run the command again.") from error
    return module


def _module_of_name(place: str) -> ModuleType:
    try:
        return import_module(place)
    except (Exception, SystemExit) as error:
        raise _import_fault(error, place, FUNCTION_FORM) from error


def _import_fault(error: BaseException, place: str, hint: str) -> UserError:
    return (
        error
        if isinstance(error, Untrusted)
        else UserError(f"Importing {place} failed: {last_line(error)}.", hint=hint)
    )
