"""Which method of training `plan` names: that of the last verdict, with its reason and what to do for it."""

from dataclasses import asdict, dataclass

from tuneworthy.config.project import Project
from tuneworthy.errors import join_sentences
from tuneworthy.types import JsonObject
from tuneworthy.verdict.base import Method
from tuneworthy.verdict.last_verdict import load_verdict
from tuneworthy.verdict.training_method import METHODS


@dataclass(frozen=True, slots=True)
class PlannedMethod:
    """A method, or why no method is named.

    Attributes:
        method: None where no verdict advises to train.
        why: Why this method, or why none.
        source: A document that can be opened; "" without a method.
        step: What to do for it.
    """

    method: Method | None
    why: str
    source: str = ""
    step: str = ""

    @property
    def sentence(self) -> str:
        """All of it for people; "" if there is nothing to say."""
        if self.method is None:
            return join_sentences(self.why, self.step)
        return f"Method: {self.method}. {self.why} {self.step} [{self.source}]"

    def to_dict(self) -> JsonObject:
        """Return it as JSON-able values."""
        return asdict(self)


def planned_method(project: Project) -> PlannedMethod:
    """Return the method that the last verdict of a project advises; nothing is measured for it."""
    stored = load_verdict(project)
    if stored is None:
        return PlannedMethod(None, "No verdict names a method of training yet.", step="Run `tuneworthy decide`.")
    verdict, advice = stored.verdict, stored.verdict.training
    if advice.method is None:
        return PlannedMethod(
            None,
            "The last verdict does not advise training, so it names no method." if verdict.stage == "to_decide" else "",
        )
    why = join_sentences(
        advice.why,
        "" if stored.holds else f"The verdict is out of date ({stored.changed[0]}). Run `tuneworthy decide`.",
    )
    return PlannedMethod(advice.method, why, advice.source, METHODS[advice.method].step)
