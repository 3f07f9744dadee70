"""One run of the command line, as the object that click hands from command to command."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

# The commands that have `--project`, as sentences name them.
_COMMAND = re.compile(
    r"\btuneworthy (?:(?:cases|data|decode|export|models|shadow) (?!list\b)[a-z]+"
    r"|check|compare|decide|doctor|label|plan|report|run|serve|status|train|trust)\b(?! --project)"
)


@dataclass
class Invocation:
    """State of one run of the command line.

    Attributes:
        arguments: The arguments as they were typed.
        project: The project folder that the command works on.
        debug: Whether the traceback of an error is printed.
        verbose: Whether details are printed.
        as_json: Whether the result is printed as JSON.
        answered: Whether the JSON of the result was printed: a later error then adds no JSON.
    """

    arguments: list[str] = field(default_factory=list)
    project: Path = Path()
    debug: bool = False
    verbose: bool = False
    as_json: bool = False
    answered: bool = False

    def complete(self, text: str) -> str:
        """Return `text` with `--project DIR` in the commands that it names, if the user works on another folder."""
        if self.project == Path():
            return text
        return _COMMAND.sub(lambda match: f"{match[0]} --project {shlex.quote(str(self.project))}", text)
