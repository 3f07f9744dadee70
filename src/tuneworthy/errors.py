"""Every error the tool raises on purpose, and the exit status each one means.

    TuneworthyError
    ├── UserError            2   the user can mend it
    │   ├── ConfigError          the project file (all faults at once)
    │   ├── DataError            a row of a file: path, line, expected, got
    │   │   └── DataFaults           all that is wrong with one file, a line each
    │   ├── ModelError           a model that cannot be found, read, trusted or asked
    │   └── AuthError            a key that is missing or was refused
    ├── NotEnough            4   not enough evidence
    │   └── BudgetSpent          the money is spent; what was answered is kept
    ├── OutsideFault         5   a provider is down; resumable
    └── ProviderError        -   one call failed; data, not an exit (see providers.base)

Exit status 3, "no" (a gate failed, a comparison was lost), is an answer and no error.
A message is one line that says what was expected, what came and what to do.
"""

from __future__ import annotations


class TuneworthyError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: One line: what was expected and what came.
        hint: What to do next; printed after the message.
    """

    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class UserError(TuneworthyError):
    """Something the user can mend."""

    exit_status = 2


class ConfigError(UserError):
    """The project file is wrong; `faults` holds every fault, one line each."""

    def __init__(self, faults: list[str], *, hint: str = "") -> None:
        super().__init__("\n".join(faults), hint=hint)
        self.faults = faults


class DataError(UserError):
    """A row of a data file cannot be used.

    Args:
        path: The file.
        line: 1-based line (or row) number; None if the whole file is meant.
        expected: What a right row holds.
        got: What stands there (shortened by the caller).
        hint: What to do.
    """

    def __init__(self, path: object, line: int | None, expected: str, got: str, *, hint: str = "") -> None:
        where = f"{path}:{line}" if line is not None else f"{path}"
        super().__init__(f"{where}: expected {expected}, got {got}", hint=hint)
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
            lines.append(f"{first.path}: and {n_faults - len(faults)} more faults")
        self.message = "\n".join(lines)
        self.args = (self.message,)
        self.faults, self.n_faults = faults, n_faults


class ModelError(UserError):
    """A model cannot be found, read or trusted, or its server refuses whatever it is asked."""


class AuthError(UserError):
    """An API key is missing or was refused."""


class Undecided(TuneworthyError):
    """There is not enough evidence to answer."""

    exit_status = 4


class BudgetSpent(Undecided):
    """The next call could exceed the budget, so it was not sent."""


class OutsideFault(TuneworthyError):
    """A service outside the tool does not work; run the command again to resume."""

    exit_status = 5


class ProviderError(TuneworthyError):
    """One call failed. The runner turns it into a trace with an error; it never stops siblings.

    Args:
        message: What the provider said, shortened, secrets removed.
        code: `rate_limit`, `server`, `timeout`, `connection`, `malformed`, `auth`, `crash`; `bad_request` (this
            question is refused for good), `refused` (so is every question: a wrong address or model, no permission),
            `pipeline` (a function or service of the user's own failed).
        retryable: Whether the same call may succeed later.
        retry_after_s: The provider's own wish, seconds, if it told one.
    """

    def __init__(self, message: str, *, code: str, retryable: bool, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
        self.retry_after_s = retry_after_s
