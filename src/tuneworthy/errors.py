"""Every error that is raised on purpose, with exit statuses.

    TuneworthyError              1   a fault on our side that was foreseen
    ├── UserError                2   the user can fix it
    │   ├── UnknownName              a name that is not one of those allowed; names the nearest one
    │   ├── ConfigError              the project file, all faults at once
    │   ├── DataError                a row of a file: path, line, expected form, actual content
    │   │   └── DataFaults               all faults of a file, one line per fault
    │   ├── ModelError               a model that cannot be found, read, trusted or called
    │   ├── DamagedRecord            a stored file that cannot be used                 (store.shapes)
    │   ├── AuthError                a key that is missing or was refused
    │   ├── MissingPackage           an optional package that is not installed       (extras)
    │   ├── UsageError               the command line                                (cli.usage)
    │   ├── Untrusted                a permission that the project lacks             (trust)
    │   ├── OverLimit                a stranger's text needs too much time or memory  (limited)
    │   └── DivergedError            training diverged                           (train.trainer)
    ├── GateFailed               3   a gate or a proof failed
    ├── Undecided                4   not enough evidence
    │   └── BudgetSpent              the next call could exceed the budget
    ├── OutsideFault             5   a service outside the tool does not work; run again to resume
    └── ProviderError            -   one call failed: data, not an exit

Internal signals that never leave their folder: `RowFault`, `Dropped` (cases.readers.faults), `Unreadable`
(retrieval.parsing), `CannotHold` (dataset.writers), `UsedUp` (stats.comparisons).

Exit status 3 otherwise means "no" (a comparison was lost, a gate failed): an answer, not an error. Any exception that
is not in this tree is a bug: it keeps its traceback, and the command line writes that to a log file.

Invariant: `str(error)` is made of full sentences, the message first and the hint after it.
"""

from collections.abc import Iterable, Set
from difflib import get_close_matches
from typing import Any, ClassVar


class TuneworthyError(Exception):
    """Base of all errors that are raised on purpose.

    Args:
        message: What happened and where, as full sentences.
        hint: What to do next, as full sentences; printed after the message.

    Attributes:
        error_code: Stable code of the class, e.g. `E-CONFIG-01`; docs/reference/errors.md lists them.
        exit_status: Exit status of the command that it ends.
    """

    error_code: ClassVar[str] = "E-TOOL-01"
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return join_sentences(self.message, self.hint) if self.hint else self.message

    def __reduce__(self) -> Any:
        """Let a child process send an error, whatever its class takes."""
        return Exception.__new__, (type(self), *self.args), self.__dict__


class GateFailed(TuneworthyError):
    """A gate or a proof failed: nothing is handed over."""

    error_code = "E-GATE-01"
    exit_status = 3


class UserError(TuneworthyError):
    """Something that the user can fix."""

    error_code = "E-INPUT-01"
    exit_status = 2


class NotStored(UserError):
    """An answer is not stored, and no model may be called."""


class UnknownName(UserError):
    """A name that is not one of those allowed.

    Args:
        kind: Noun of the named thing, e.g. "rung".
        name: The name as it was written.
        allowed: The names that exist, in the order to show them (a set: sorted).
    """

    error_code = "E-NAME-01"

    def __init__(self, kind: str, name: str, allowed: Iterable[str]) -> None:
        names = sorted(allowed) if isinstance(allowed, Set) else list(allowed)
        choices = f"Choose one of: {', '.join(names)}." if names else ""
        super().__init__(
            f"Unknown {kind.replace('_', ' ')}: {name!r}.",
            hint=join_sentences(did_you_mean(name, names), choices),
        )


class ConfigError(UserError):
    """The project file is wrong; `faults` lists every fault, one line each."""

    error_code = "E-CONFIG-01"

    def __init__(self, faults: list[str], *, hint: str = "") -> None:
        super().__init__("\n".join(faults), hint=hint)
        self.faults = faults


class DataError(UserError):
    """A row of a data file cannot be used.

    Args:
        path: The file.
        line: 1-based line (or row) number; None if the whole file is meant.
        expected: Form of a right row.
        got: Actual content (shortened by the caller).
        hint: The next step.
    """

    error_code = "E-DATA-01"

    def __init__(self, path: object, line: int | None, expected: str, got: str, *, hint: str = "") -> None:
        super().__init__(f"{path}{'' if line is None else f':{line}'}: expected {expected}, got {got}.", hint=hint)
        self.path, self.line, self.expected, self.got = str(path), line, expected, got


class DataFaults(DataError):
    """Everything that is wrong with one file, one line a fault.

    Attributes:
        faults: The first faults, in file order.
        n_faults: How many there are in all.
    """

    def __init__(self, faults: list[DataError], n_faults: int) -> None:
        first = faults[0]
        super().__init__(first.path, first.line, first.expected, first.got)
        lines = [str(fault) for fault in faults]
        if n_faults > len(faults):
            lines.append(f"{first.path}: further errors: {n_faults - len(faults)}.")
        self.message = "\n".join(lines)
        self.args = (self.message,)
        self.faults, self.n_faults = faults, n_faults


class ModelError(UserError):
    """A model cannot be found, read or trusted, or its server refuses every request."""

    error_code = "E-MODEL-01"


class AuthError(UserError):
    """An API key is missing or was refused."""

    error_code = "E-AUTH-01"


class MissingPackage(UserError):
    """An optional package is not installed."""

    error_code = "E-EXTRA-01"


class UsageError(UserError):
    """The command line has an unknown command, option or value."""

    error_code = "E-USAGE-01"


class Undecided(TuneworthyError):
    """There is not enough evidence to answer."""

    error_code = "E-EVIDENCE-01"
    exit_status = 4


class BudgetSpent(Undecided):
    """The next call could exceed the budget, so it was not sent."""

    error_code = "E-BUDGET-01"


class OutsideFault(TuneworthyError):
    """A service outside the tool does not work; run the command again to resume."""

    error_code = "E-SERVICE-01"
    exit_status = 5


class ProviderError(TuneworthyError):
    """One call failed. The runner turns it into a trace with an error; it never stops the other calls.

    Args:
        message: The provider's message, shortened, secrets removed.
        code: `rate_limit`, `server`, `timeout`, `connection`, `incomplete` (the answer broke off), `malformed` (a whole
            answer that cannot be read), `auth`, `crash`; `bad_request` (this question is refused for good), `refused`
            (so is every question: a wrong address or model, no permission), `pipeline` (a function or service of the
            user's own failed).
        retryable: Whether the same call may succeed later.
        retry_after_s: How long the provider asks to wait, seconds; None if it does not say.
        status: Of HTTP; 0 without an answer.
    """

    def __init__(
        self, message: str, *, code: str, retryable: bool, retry_after_s: float | None = None, status: int = 0
    ) -> None:
        super().__init__(message)
        self.code, self.retryable = code, retryable
        self.retry_after_s, self.status = retry_after_s, status


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return the question that names the nearest of the `allowed` names; "" without one.

    >>> did_you_mean("few_shots", ["prompt", "few_shot"])
    "Did you mean 'few_shot'?"
    """
    near = nearest(name, allowed)
    return f"Did you mean {near!r}?" if near else ""


def nearest(name: str, allowed: Iterable[str], least: float = 0.6) -> str:
    """Return the nearest of the `allowed` names, upper and lower case being the same; "" without one.

    Args:
        least: How alike two names must be, 0 to 1.

    >>> nearest("Label", ["input", "label"])
    'label'
    """
    names = {one.lower(): one for one in allowed}
    near = get_close_matches(name.lower(), list(names), n=1, cutoff=least)
    return names[near[0]] if near else ""


def join_sentences(first: str, *more: str) -> str:
    """Join sentences with a space (after several lines: each on its own line), adding a full stop where one is missing.

    >>> join_sentences("No GGUF file yet", "Run `tuneworthy export gguf`.")
    'No GGUF file yet. Run `tuneworthy export gguf`.'
    """
    stopped = [part if part.endswith((".", "!", "?", ":")) else f"{part}." for part in (first, *more) if part]
    return ("\n" if "\n" in first else " ").join(stopped)
