"""The folder of an export: it accepts no other files, no file of an earlier export stays, and it runs on its own."""

import json
import os
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson
from jinja2 import Environment, StrictUndefined

from tuneworthy import processes
from tuneworthy.errors import GateFailed, UserError
from tuneworthy.ladder import messages
from tuneworthy.store import write_atomic
from tuneworthy.trust import allow, allowed, content_grant, own_path, trust_file
from tuneworthy.types import Texts

# Beginning of a script that can import the modules of a folder, NumPy and nothing else, and reads its cases.
CLOSED = """
import json, sys, time
folder, packages, work, *modules = sys.argv[1:]
allowed = {*sys.stdlib_module_names, "numpy", *modules}
class Closed:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Closed)
sys.path[:] = [folder, *sys.path, packages]
cases = json.load(open(work, encoding="utf-8"))
"""


def rendered(name: str, /, **values: Any) -> str:
    source = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return (
        Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
        .from_string(source)
        .render(**values)
    )


async def run_closed(script: str, folder: Path, modules: Texts, cases: Any, what: str) -> Any:
    """Return the JSON that `script` prints, run by a Python that has only NumPy and `modules` of `folder`.

    Raises:
        GateFailed: It fails.
    """
    with TemporaryDirectory() as name:
        work = Path(name).resolve() / "cases.json"
        work.write_bytes(orjson.dumps(cases))
        arguments = [str(folder.resolve()), str(Path(np.__file__).parent.parent), str(work), *modules]
        done = await processes.run_async(processes.python("-S", "-B", "-c", CLOSED + script, *arguments))
    if done.returncode:
        fault = done.stderr.strip().rpartition("\n")[2]
        raise GateFailed(
            f"The exported {what} does not run, so nothing was written: {fault}.", hint=messages.say("report_fault")
        )
    return json.loads(done.stdout)


def write_export(
    folder: Path, files: Mapping[str, bytes], mark: tuple[str, bytes], others: Iterable[str] = ()
) -> list[Path]:
    """Write `files` into `folder`, and return their paths.

    Args:
        folder: Made if it is not there.
        files: Content by path in the folder.
        mark: One of `files`, with its content in every export of this kind, which identifies earlier exports.
        others: Paths that another export of this kind may have written; removed from an earlier one.

    Raises:
        UserError: The folder is no earlier export and has a file of one of these names, or a link in it leads out.
    """
    name, text = mark
    for path in {*files, *others}:
        own_path(folder, path)
    is_own = (folder / name).is_file() and text in (folder / name).read_bytes()
    taken = [] if is_own else [path for path in files if os.path.lexists(folder / path)]
    if taken:
        raise UserError(
            f"{folder / taken[0]} already exists and is not an earlier export.",
            hint="Pass an empty or new folder to --out.",
        )
    for path in set(others) - files.keys() if is_own else ():
        (folder / path).unlink(missing_ok=True)
    for path in sorted(files, key=lambda path: path != name):  # the mark first: identifies an interrupted export
        write_atomic(folder / path, files[path])
    if os.access(trust_file().parent, os.W_OK):
        allow(  # no question for our own files
            trust_file(),
            [
                *allowed(trust_file()),
                *(content_grant(folder, folder.resolve() / path) for path in files if path.endswith(".py")),
            ],
        )
    return [folder / path for path in files]
