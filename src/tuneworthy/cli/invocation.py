"""One run of the command line, as the object that click hands from command to command."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

# The commands that have `--project`, as sentences name them.
_COMMAND = re.compile(
    r"\btuneworthy (?:(?:cases|data|decode|export|models|shadow) (?!list\b)[a-z]+"
    r"|check|compare|decide|doctor|label((?! [a-z]+ --labeller))?|plan|report|run|serve|status|train|trust|ui)\b"
    r"(?! --(?:project|labeller))"
)


@dataclass
class Invocation:
    """State of one run of the command line.

    Attributes:
        arguments: The arguments as they were typed.
        project: The project folder that the command works on.
        labeller: Who labels, if the name was given.
        debug: Whether the traceback of an error is printed.
        verbose: Whether details are printed.
        as_json: Whether the result is printed as JSON.
        answered: Whether the JSON of the result was printed: a later error then adds no JSON.
    """

    arguments: list[str] = field(default_factory=list)
    project: Path = Path()
    labeller: str = ""
    debug: bool = False
    verbose: bool = False
    as_json: bool = False
    answered: bool = False

    def complete(self, text: str) -> str:
        """Return `text` with `--project DIR` and `--labeller NAME` in its commands, if the user gave them."""
        folder = "" if self.project == Path() else f" --project {shlex.quote(str(self.project))}"
        name = f" --labeller {shlex.quote(self.labeller)}" if self.labeller else ""
        return _COMMAND.sub(lambda found: found[0] + folder + name * (found[1] is not None), text)
