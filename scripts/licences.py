"""THIRD_PARTY.md: the packages that an installation of tuneworthy brings, each with its licence, from their metadata.

Run in an environment that has them (`make setup`): `.venv/bin/python scripts/licences.py [--check]`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "THIRD_PARTY.md"
HEAD = """# Third-party packages

tuneworthy includes no code of these packages; `pip` installs them next to it. The table has all packages of an
installation without extras. `requirements.lock` has the versions of all extras. `scripts/licences.py` writes this page
from the metadata of the packages.

python-stdnum is under the LGPL, version 2 or later: it is imported unchanged, and you may replace it by a version of
your own.

| Package | Version | Licence |
|---|---|---|
"""


def core() -> list[str]:
    """Return the names of the packages that an installation without extras brings, sorted."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names: set[str] = set()
    waiting = list(project["dependencies"])
    while waiting:
        requirement = Requirement(waiting.pop())
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in names or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        names.add(name)
        waiting += distribution(name).requires or []
    return sorted(names)


def licence_of(name: str) -> str:
    """Return the licence of an installed package: SPDX, classifiers, or its first line."""
    metadata = distribution(name).metadata
    classifiers = [
        row.rpartition(" :: ")[2] for row in metadata.get_all("Classifier", []) if row.startswith("License ::")
    ]
    named = [row for row in classifiers if row != "OSI Approved"]
    stated = (
        metadata.get("License-Expression") or ", ".join(named) or (metadata.get("License") or "").partition("\n")[0]
    )
    if not stated:
        raise SystemExit(f"{name} states no licence.")
    return str(stated).strip()


def page() -> str:
    """Return the text of the page."""
    versions = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().splitlines()
    )
    rows = [f"| {name} | {versions[name]} | {licence_of(name)} |\n" for name in core()]
    return HEAD + "".join(rows)


if __name__ == "__main__":
    text = page()
    if sys.argv[1:] == ["--check"]:
        sys.exit(text != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")
