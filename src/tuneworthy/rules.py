"""The one rule engine: named rules that examine a subject and yield findings, with a documentation page each.

Data checks, project checks, decoding lints, training lints, parity checks and gates are all rules. A rule is a function
``subject -> findings`` or a class whose instances are such functions and whose arguments are the rule's settings. A
finding may be its message only ("" for no finding), or an error, whose message and hint it repeats. Its docstring is
its documentation page. The engine names, orders, runs and documents rules; only a rule knows its subject.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import field, replace
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar

from tuneworthy.errors import TuneworthyError
from tuneworthy.registry import Registry
from tuneworthy.types import JsonMapping, NamedTexts, frozen

Severity = Literal["error", "warning", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")
Status = Literal["pass", "fail", "waived", "unknown", "not_applicable", "skipped"]


@frozen
class Finding:
    """One thing that a rule found.

    Attributes:
        message: One sentence: the fault, or the measurement.
        code: One of the rule's `codes`, or "".
        fix: What to do, as a sentence; "" if there is nothing to do.
        severity: Where it differs from the rule's own.
        status: Result of the rule; a rule that only reports faults leaves `fail`.
        numbers: The measured figures it rests on, JSON-able.
        rule, source: Filled in by `RuleBook.run`.
    """

    message: str = ""
    code: str = ""
    fix: str = ""
    severity: Severity | None = None
    status: Status = "fail"
    numbers: JsonMapping = field(default_factory=dict)
    rule: str = ""
    source: str = ""


# What most rules return: findings, or their messages only.
Findings = Iterator[Finding]
Sentences = Iterator[str]
F = TypeVar("F", bound=Finding)
R = TypeVar("R", bound=Callable[..., Any])


@frozen
class Rule(Generic[F]):
    """A registered rule.

    Attributes:
        name: Unique in its book.
        examine: The function, or the class to be instantiated with the rule's settings.
        severity: Of its findings, unless a finding sets its own.
        group: Its heading, e.g. the stage of a gate.
        source: Evidence, as a link or a citation.
        fix: Of its findings, unless a finding sets its own.
        codes: Code to words, for all that it can find.
        bad, good: A subject that trips it, and one that does not.
    """

    name: str
    examine: Callable[..., Any]
    severity: Severity = "error"
    group: str = ""
    source: str = ""
    fix: str = ""
    codes: NamedTexts = field(default_factory=dict)
    bad: Any = None
    good: Any = None

    @property
    def page(self) -> str:
        """The documentation page: the docstring of the function or class."""
        return cleandoc(self.examine.__doc__ or "")

    def build(self, **settings: Any) -> Callable[..., Iterable[F] | F]:
        """Return the function to call; a rule that is a class is instantiated with `settings`."""
        return self.examine(**settings) if isinstance(self.examine, type) else self.examine

    def run(self, *subject: Any, **settings: Any) -> Iterator[F]:
        result = self.build(**settings)(*subject)
        for one in filter(None, [result] if isinstance(result, Finding | str) else result):
            error = one if isinstance(one, TuneworthyError) else TuneworthyError(str(one))
            found: Any = one if isinstance(one, Finding) else Finding(message=error.message, fix=error.hint)
            severity, source, fix = found.severity or self.severity, found.source or self.source, found.fix or self.fix
            yield replace(found, rule=self.name, severity=severity, source=source, fix=fix)


class RuleBook(Registry[Rule[F]]):
    """The rules of one kind, in their order: those of our modules first, then those of installed packages.

    Args:
        kind: Plural noun; also the suffix of the entry-point group ``tuneworthy.<kind>``.
        modules: Modules that register the built-in rules on import, in the order in which rules run.
        rule_class: Subclass of `Rule` with further attributes of this kind of rule.
    """

    def __init__(self, kind: str, modules: Collection[str], rule_class: type[Rule[F]] = Rule) -> None:
        super().__init__(kind, {})
        self._modules, self._rule_class = modules, rule_class

    def rule(self, name: str = "", **facts: Any) -> Callable[[R], R]:
        """Return a decorator that registers a function or class as a rule.

        Args:
            name: Of the rule; the function's own name if "".
            facts: Fields of the rule's class.
        """

        def add(examine: R) -> R:
            own = name or examine.__name__
            self.register(own)(self._rule_class(name=own, examine=examine, **facts))
            return examine

        return add

    def get(self, name: str, root: Path | None = None) -> Rule[F]:
        """Return the rule `name`.

        Raises:
            UserError: No such rule.
        """
        self._load()
        return super().get(name, root)

    def all(self) -> dict[str, Rule[F]]:
        """Return every rule by name, in order."""
        self._load()
        rules = [self.get(name) for name in dict.fromkeys([*self._entries, *self])]
        places = {module: place for place, module in enumerate(self._modules)}  # whatever was imported before
        rules.sort(key=lambda rule: places.get(rule.examine.__module__, len(places)))
        return {rule.name: rule for rule in rules}

    def run(self, *subject: Any, only: Collection[str] | None = None) -> list[F]:
        rules = [rule for name, rule in self.all().items() if only is None or name in only]
        return sorted(
            (finding for rule in rules for finding in rule.run(*subject)),
            key=lambda one: SEVERITIES.index(one.severity or "error"),
        )

    def _load(self) -> None:
        for module in self._modules:
            import_module(module)
