"""The check of the project's own store: answers, records and models."""

from tuneworthy.doctor.examine import examine
from tuneworthy.ladder.checks import check
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.rules import Finding, Findings
from tuneworthy.text import count
from tuneworthy.types import grouped


@check()
def store(facts: Facts) -> Findings:
    """A stored answer, a record or a model file is damaged. `tuneworthy doctor` lists each fault."""
    for file, (first, *more) in grouped((one.file, one) for one in examine(facts.folder).damages).items():
        place = "" if first.what.startswith(str(file)) else f"{file}: "
        also = f" {count(len(more), 'further fault')} in this file." if more else ""
        yield Finding(
            message=f"{place}{first.what} {first.cost}{also}",
            fix="Run `tuneworthy doctor --repair`." if first.repair else "",
        )
