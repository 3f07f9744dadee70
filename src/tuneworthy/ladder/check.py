"""All that is wrong with a project, at once, and what a run will cost: before money is spent.

A check is a small function behind `@check(code, level)`; its docstring is its page in docs/checks.md. It looks at
`Facts` and yields a `Fault` for each thing that it finds. Checks never stop one another, and nothing is asked of a
model: servers that the project file names get one GET that costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tuneworthy.errors import ConfigError, TuneworthyError
from tuneworthy.registry import Registry

if TYPE_CHECKING:
    from tuneworthy.ladder.checks.facts import Facts, Resolution
    from tuneworthy.ladder.estimate import Estimate

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
AREAS = ("prompt", "data", "documents", "graders", "models", "decoding", "plan")
"""Modules of `ladder.checks` that hold the built-in checks, in the order in which their findings are shown."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that a check found.

    Attributes:
        message: One line: what was expected and what came.
        hint: What to do.
        level: Where it differs from the check's own.
    """

    message: str
    hint: str = ""
    level: Level | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault with the check that found it. `error` means that a run would fail or measure nothing."""

    level: Level
    code: str
    message: str
    hint: str = ""


Look = Callable[["Facts"], Iterator[Fault]]


@dataclass(frozen=True, slots=True)
class Check:
    """A registered check: its code, the level of what it finds, and the function."""

    code: str
    level: Level
    look: Look

    @property
    def page(self) -> str:
        """The documentation page: the docstring of the function."""
        return cleandoc(self.look.__doc__ or "")

    def findings(self, facts: Facts) -> list[Finding]:
        """Return what it finds; a check that fails says so and stops nothing."""
        try:
            return [Finding(f.level or self.level, self.code, f.message, f.hint) for f in self.look(facts)]
        except TuneworthyError as error:
            return [Finding("error", self.code, error.message, error.hint)]
        except Exception as error:
            words = f"expected the check {self.code} to run, got {type(error).__name__}: {error}"
            return [Finding("warning", "check_failed", words, "this is a bug of the check: report it")]


CHECKS: Registry[Check] = Registry("checks", {})
_BUILT_IN: list[str] = []


def check(code: str, level: Level) -> Callable[[Look], Look]:
    """Return a decorator that registers a function as the check `code`, whose findings are of `level`."""

    def add(look: Look) -> Look:
        CHECKS.register(code)(Check(code, level, look))
        _BUILT_IN.append(code)
        return look

    return add


def all_checks() -> dict[str, Check]:
    """Return every check by code: ours by area, then those of installed packages."""
    for area in AREAS:
        import_module(f"tuneworthy.ladder.checks.{area}")
    names = dict.fromkeys([*_BUILT_IN, *CHECKS])
    return {name: CHECKS.get(name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What was found.

    Attributes:
        task: Name of the task; None if the project file cannot be read.
        findings: Errors first.
        estimate: What a run will take (see `estimate.Estimate`); None if that cannot be said.
        resolution: What difference can be seen (see `checks.facts.Resolution`); None if there is no split.
    """

    task: str | None
    findings: tuple[Finding, ...]
    estimate: Mapping[str, Any] | None = None
    resolution: Mapping[str, Any] | None = None

    def count(self, level: Level) -> int:
        """Return how many findings are of `level`."""
        return sum(finding.level == level for finding in self.findings)

    @property
    def errors(self) -> int:
        """How many errors there are."""
        return self.count("error")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        counts = {"errors": self.errors, "warnings": self.count("warning"), "notes": self.count("note")}
        return {**counts, **asdict(self)}


def check_project(root: Path, *, contact: bool = True, checks: Mapping[str, Check] | None = None) -> CheckReport:
    """Look at the project in `root` with every check.

    Args:
        root: The project folder, or its file.
        contact: Whether servers that the project file names are contacted.
        checks: Those to use; all of them if None.
    """
    from tuneworthy.config import load
    from tuneworthy.ladder.checks.facts import Facts

    try:
        project = load(root)
    except ConfigError as error:
        hint = error.hint or "see docs/project-file.md"
        return CheckReport(task=None, findings=tuple(Finding("error", "config", line, hint) for line in error.faults))
    facts = Facts(project, contact=contact)
    used = all_checks() if checks is None else checks
    found = [finding for one in used.values() for finding in one.findings(facts)]
    found.sort(key=lambda finding: LEVELS.index(finding.level))
    return CheckReport(
        task=project.task.name,
        findings=tuple(found),
        estimate=_numbers(lambda: facts.estimate),
        resolution=_numbers(lambda: facts.resolution),
    )


def _numbers(get: Callable[[], Estimate | Resolution | None]) -> dict[str, Any] | None:
    """Return a fact as plain data; None if it cannot be had (a check has told why)."""
    try:
        found = get()
    except Exception:
        return None
    return found.to_dict() if found else None
